"""All cases of the benchmark."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxcast.benchmark.case import Case
from jaxcast.benchmark.truths import HiddenChaos, Sawtooth, Thomas, always, square_wave, switching
from jaxcast.checks import check_names
from jaxcast.dynamics.catalogue.entries import catalogue_entry
from jaxcast.dynamics.schedules import Cosine
from jaxcast.dynamics.spectral import KuramotoSivashinsky
from jaxcast.dynamics.systems import Lorenz63, System
from jaxcast.dynamics.two_scale import TwoScaleLorenz96

PAPER_TRUTH = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
LORENZ = "lorenz63(rho=linspace(28, 48, 11))"
TWINS_VALID = 14.3
"""How long Lorenz '63 solved with h = 0.005 and h = 0.002 agrees, in the median."""


def _period(period: float) -> str:
    return f"lorenz63(rho=cosine(mean=38, amplitude=-10, period={period}))"


def _twin(name: str, about: str, truth: Any = PAPER_TRUTH, **changes: Any) -> Case:
    """Makes a case of the paper's candidates; a truth is a text, a system, or a function of the seed."""
    made = always(truth) if isinstance(truth, str | Lorenz63) else truth
    return Case(name, about, made, LORENZ, **{"ground_truth_time": TWINS_VALID} | changes)


def _twins() -> Iterable[Case]:
    yield _twin("paper", "the paper's protocol: rho varies, every candidate has it constant; six true samples")
    yield _twin("spin_up", "the same with 100 true samples before each window", history_size=100)
    yield _twin("long", "the same with six true samples and windows of 25.6, reported up to 14.3", num_leads=256)
    for period in (0.9, 2.7, 5.0):
        yield _twin(f"period_{period:g}", f"rho with a period of {period:g}", _period(period))
    cosines = "sum_of_cosines(mean=38, amplitudes=[-6, 4], periods=[1.577132, 2.551853], phases=[0, 1])"
    yield _twin("two_cosines", "rho is a sum of two incommensurate cosines", f"lorenz63(rho={cosines})")
    ramp = "lorenz63(rho=linear_ramp(start=28, stop=48, begin=0, end=3960))"
    yield _twin("ramp", "rho rises slowly, from 28 to 31 in training and from 28 to 48 in the windows", ramp)
    sigma = PAPER_TRUTH.replace("(rho", "(sigma=11, rho")
    yield _twin("sigma_11", "the truth also has another sigma, 11 for the candidates' 10", sigma)
    yield _twin("finer_step", "the truth is solved with a quarter of the candidates' step", truth_h=0.0025)
    for size in (500, 1000):
        yield _twin(f"samples_{size}", f"{size} training samples instead of 4000", num_train=size)
    yield Case(
        "rossler",
        "the Rössler system with a varying c",
        always("rossler(c=cosine(mean=5.7, amplitude=1, period=7))"),
        "rossler(c=linspace(4.7, 6.7, 9))",
        dt=0.2,
        h=0.02,
        threshold=6.8,
        num_leads=694,
    )
    yield Case(
        "lorenz96",
        "Lorenz '96 with 8 sites and a varying forcing",
        always("lorenz96(dim=8, forcing=cosine(mean=8, amplitude=2, period=2))"),
        "lorenz96(dim=8, forcing=linspace(6, 10, 9))",
        dt=0.05,
        threshold=4.8,
        num_leads=110,
    )
    yield Case(
        "thomas",
        "the system of Thomas, whose vector field of sines is no polynomial, with a varying b",
        always(Thomas(b=Cosine(mean=0.18, amplitude=0.03, period=20.0))),
        tuple(Thomas(b=float(b)) for b in np.linspace(0.15, 0.21, 9)),
        dt=1.0,
        h=0.1,
        threshold=1.8,
        num_leads=226,
    )


def _jumps() -> Iterable[Case]:
    yield _twin("switching", "rho holds random values for random times", switching, group="jumps")
    yield _twin("square_wave", "rho jumps between 31 and 45 every 0.8 time units", square_wave, group="jumps")
    hundred: dict[str, Any] = {"history_size": 100, "group": "jumps"}
    yield _twin("square_wave_100", "the same with 100 true samples before each window", square_wave, **hundred)
    tooth = Lorenz63(rho=Sawtooth(low=28.0, high=48.0, period=2.4))
    yield _twin("sawtooth", "rho rises from 28 to 48 in 2.4 time units, and again", tooth, group="jumps")


def _noise() -> Iterable[Case]:
    for percent in (1, 5, 10):
        about = f"observation noise of {percent} % in training and histories, 100 noisy samples before each window"
        yield _twin(f"noise_{percent}", about, observation_noise=percent / 100, history_size=100, group="noise")
    for scale in (0.2, 0.5, 1.0):
        yield _twin(
            f"process_noise_{scale:g}",
            f"process noise of {scale:g} per square root of a time unit on every component; 100 true samples",
            process_noise=scale,
            history_size=100,
            ground_truth_time=None,
            group="noise",
        )
    yield _twin(
        "x_alone",
        "only the first component is seen, with noise of 5 %, in training and histories; it alone is scored",
        observation_noise=0.05,
        history_size=100,
        seen=(0,),
        threshold=32.0,
        group="partial",
    )


def _hidden() -> Iterable[Case]:
    about = "rho = 38 + 0.45 X, X of a slower Lorenz '63 that is not seen; "
    for name, size in (("hidden_chaos", 6), ("hidden_chaos_100", 100)):
        yield Case(
            name, f"{about}{size} true samples", always(HiddenChaos()), LORENZ, history_size=size, dim=3, group="hidden"
        )


def _scales() -> Iterable[Case]:
    for ratio in (10, 4):
        yield Case(
            f"two_scale_{ratio}",
            f"the 8 slow variables of two-scale Lorenz '96, the fast ones {ratio} times faster; "
            "candidates of one scale",
            always(TwoScaleLorenz96(time_ratio=float(ratio))),
            "lorenz96(dim=8, forcing=linspace(6, 16, 11))",
            dt=0.05,
            truth_h=0.005,
            threshold=12.0,
            num_leads=100,
            dim=8,
            transient=20.0,
            group="scales",
        )


def _fields() -> Iterable[Case]:
    sizes = ((22, 32, 0.5, 200, 4000, 140.0), (44, 64, 0.6, 150, 4000, 100.0), (200, 512, 0.6, 80, 2000, 60.0))
    for length, num_points, threshold, num_leads, num_train, ground_truth_time in sizes:
        yield Case(
            f"kuramoto_sivashinsky_{length}",
            f"the Kuramoto-Sivashinsky equation, length {length}, {num_points} points; viscosities off by 10 to 20 %",
            always(KuramotoSivashinsky(length=float(length), num_points=num_points)),
            tuple(
                KuramotoSivashinsky(length=float(length), num_points=num_points, viscosity=viscosity)
                for viscosity in (0.8, 0.9, 1.1, 1.2)
            ),
            dt=1.0,
            h=0.25,
            threshold=threshold,
            num_leads=num_leads,
            num_train=num_train,
            ground_truth_time=ground_truth_time,
            transient=250.0,
            group="fields",
        )
    yield Case(
        "lorenz96_40",
        "Lorenz '96 with 40 sites and a varying forcing",
        always("lorenz96(dim=40, forcing=cosine(mean=8, amplitude=2, period=2))"),
        "lorenz96(dim=40, forcing=linspace(6, 10, 9))",
        dt=0.05,
        threshold=4.8,
        num_leads=110,
        transient=20.0,
        group="fields",
    )


def _beyond() -> Iterable[Case]:
    yield _twin(
        "other_period",
        "rho has a period of 1.577 in training and of 2.3 in the windows; 100 true samples",
        windows_truth=always(_period(2.3)),
        history_size=100,
        group="beyond",
    )
    yield _twin(
        "drift",
        "rho rises from 28 to 29.3 in training and from there to 48 in the windows; 100 true samples",
        "lorenz63(rho=linear_ramp(start=28, stop=48, begin=0, end=6240))",
        windows_start=400.0,
        history_size=100,
        group="beyond",
    )
    rng = np.random.default_rng(0)
    ranges = {"sigma": (8.0, 12.0), "rho": (28.0, 48.0), "beta": (2.2, 3.2)}
    drawn = {name: rng.uniform(*ends, 20).round(2).tolist() for name, ends in ranges.items()}
    yield Case(
        "three_parameters",
        "the paper's truth, and 20 candidates of which three parameters are wrong",
        always(PAPER_TRUTH),
        f"lorenz63({', '.join(f'{name}={values}' for name, values in drawn.items())})",
        ground_truth_time=TWINS_VALID,
        group="beyond",
    )


def _catalogued(name: str) -> Case:
    """Makes the case of a system of the catalogue: candidates have its first parameter off by 5 and 10 %."""
    entry = catalogue_entry(name)
    parameter, value = _first_parameter(entry.system)
    dt = entry.period / 30
    exponent = entry.published_exponent
    # Trajectories that begin close to each other must have parted: some e-fold slowly.
    transient = max(100 * entry.period, 30 / entry.exponents[0])
    return Case(
        f"catalogue_{name}",
        f"{name} of the catalogue; candidates have {parameter} off by 5 and 10 %",
        always(entry.system),
        tuple(dataclasses.replace(entry.system, **{parameter: value * factor}) for factor in (0.9, 0.95, 1.05, 1.1)),
        dt=dt,
        h=entry.h,
        threshold=float(f"{0.35 * np.mean(entry.scale**2):.3g}"),
        num_leads=int(np.clip(round(9 / exponent / dt), 50, 300)),
        num_train=2000,
        transient=round(transient / dt) * dt,
        start=tuple(entry.start.tolist()),
        group="catalogue",
    )


def _first_parameter(system: System) -> tuple[str, float]:
    """Returns the first parameter of a system that is a number other than zero."""
    for field in dataclasses.fields(system):
        value = vars(system)[field.name]
        if not field.metadata.get("static") and np.ndim(value) == 0 and float(value):
            return field.name, float(value)
    raise ValueError(f"{type(system).__name__} has no parameter")


CATALOGUED = (
    "Aizawa",
    "Arneodo",
    "BurkeShaw",
    "Chen",
    "Chua",
    "Dadras",
    "HastingsPowell",
    "GenesioTesi",
    "Halvorsen",
    "HyperRossler",
    "Hadley",
    "LorenzStenflo",
    "MooreSpiegel",
    "NewtonLiepnik",
    "QiChen",
    "RikitakeDynamo",
    "Rucklidge",
    "ShimizuMorioka",
    "Sakarya",
    "WangSun",
)
"""Systems of the catalogue that are cases, each called catalogue_ and its name."""


@functools.cache
def all_cases() -> dict[str, Case]:
    """Returns all cases by name; systems of the catalogue are read on the first call."""
    made = (_twins(), _jumps(), _noise(), _hidden(), _scales(), _fields(), _beyond(), map(_catalogued, CATALOGUED))
    return {case.name: case for cases in made for case in cases}


def find_case(name: str) -> Case:
    """Returns the case of this name.

    Args:
        name: one of `case_names`.

    Returns:
        The case.

    Raises:
        InputError: for another name, with those that there are.

    Example:
        >>> import jaxcast
        >>> jaxcast.benchmark.find_case("noise_10").observation_noise
        0.1
    """
    (found,) = check_names("case", [name], all_cases(), listed_by="jaxcast benchmark list")
    return all_cases()[found]


def case_names() -> tuple[str, ...]:
    """Returns the names of all cases.

    Example:
        >>> import jaxcast
        >>> "paper" in jaxcast.benchmark.case_names()
        True
    """
    return tuple(all_cases())
