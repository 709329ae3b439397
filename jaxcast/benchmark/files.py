"""The files by which a tool in any language takes part: data of a case, and what its arrays mean."""

import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.benchmark.case import Case
from jaxcast.benchmark.task import SEED, Task, make_task
from jaxcast.checks import check_whole
from jaxcast.dynamics.candidates import forecasts_along
from jaxcast.dynamics.catalogue.classes import CatalogueSystem
from jaxcast.dynamics.spectral import SpectralSystem
from jaxcast.dynamics.systems import System


@checked
def case_arrays(
    case: Case,
    *,
    seed: int = SEED,
    num_truths: int | None = None,
    num_windows: int | None = None,
    num_train: int | None = None,
) -> dict[str, np.ndarray]:
    """Returns what a tool may see of a case: everything but the truth of the windows.

    Args:
        case: the case.
        seed: of the first truth.
        num_truths: truths; by default those of the case.
        num_windows: windows of each truth; by default those of the case.
        num_train: training samples; by default those of the case.

    Returns:
        Arrays by name; `described_case` says what each holds.

    Raises:
        InputError: for a seed or number that is not whole.

    Example:
        >>> import jaxcast
        >>> case = jaxcast.benchmark.find_case("paper")
        >>> arrays = jaxcast.benchmark.case_arrays(case, seed=1, num_truths=1, num_windows=2, num_train=100)
        >>> {name: array.shape for name, array in arrays.items()}["history"]
        (1, 2, 6, 3)
    """
    return arrays_of(tasks_of(case, seed=seed, num_truths=num_truths, num_windows=num_windows, num_train=num_train))


def tasks_of(
    case: Case, *, seed: int, num_truths: int | None, num_windows: int | None, num_train: int | None
) -> list[Task]:
    """Makes the truths of a case.

    Args:
        case: the case.
        seed: of the first truth.
        num_truths: how many; None for those of the case.
        num_windows: of each; None for those of the case.
        num_train: training samples; None for those of the case.

    Returns:
        The data of each truth.
    """
    if num_truths is not None:
        check_whole("num_truths", num_truths)
    return [
        make_task(case, seed=seed + number, num_windows=num_windows, num_train=num_train)
        for number in range(num_truths or case.num_truths)
    ]


def arrays_of(tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """Returns what a tool may see of some truths.

    Args:
        tasks: the data of each truth of one case.

    Returns:
        Arrays by name.
    """
    first = tasks[0]
    arrays = {
        "train_times": np.asarray(first.train.times),
        "train_states": np.stack([task.train.states for task in tasks]),
        "history": np.stack([task.windows.history for task in tasks]),
        "history_times": np.asarray(first.windows.times)[:, : first.case.history_size],
        "scale": np.stack([_seen_scale(task) for task in tasks]),
    }
    if first.forecast_map is not None and first.case.seen is None:
        arrays["candidate_forecasts"] = np.stack([_forecasts(task) for task in tasks])
    return arrays


def _seen_scale(task: Task) -> np.ndarray:
    seen = task.case.seen
    return task.scale if seen is None else np.where(np.isin(np.arange(len(task.scale)), seen), task.scale, np.nan)


def _forecasts(task: Task) -> np.ndarray:
    assert task.forecast_map is not None
    return np.asarray(forecasts_along(task.forecast_map, task.train))


@checked
def described_case(case: Case, arrays: dict[str, Float[Any, "..."]], *, seed: int = SEED) -> dict[str, Any]:
    """Returns what a tool must know of a case, as JSON values.

    Args:
        case: the case.
        arrays: as `case_arrays` makes them.
        seed: of the first truth; only the public one is written.

    Returns:
        The convention of the valid time, the meaning and shape of every array, the candidates and
        their equations, and the shape of the forecasts to hand in.

    Example:
        >>> import jaxcast
        >>> case = jaxcast.benchmark.find_case("paper")
        >>> arrays = jaxcast.benchmark.case_arrays(case, seed=1, num_truths=1, num_windows=2, num_train=100)
        >>> record = jaxcast.benchmark.described_case(case, arrays)
        >>> record["forecasts"]["shape"], record["candidates"][0]
        ([1, 2, 128, 3], 'lorenz63(sigma=10.0, rho=28.0, beta=2.6666666666666665)')
    """
    num_truths, num_windows, _, dim = arrays["history"].shape
    systems = case.candidate_systems()
    return {
        "case": case.name,
        "about": case.about,
        "seed": seed if seed == SEED else None,
        "dt": case.dt,
        "num_leads": case.num_leads,
        "threshold": case.threshold,
        "scored_components": list(range(dim) if case.seen is None else case.seen),
        "longest_valid_time": case.longest_valid_time,
        "observation_noise": case.observation_noise,
        "process_noise": case.process_noise,
        "valid_time": convention(case),
        "arrays": {
            name: {"shape": list(array.shape), "axes": AXES[name], "about": ABOUT[name]}
            for name, array in arrays.items()
        },
        "forecasts": {
            "shape": [num_truths, num_windows, case.num_leads, dim],
            "about": "what to hand in: a .npz with one array of this shape, (truth, window, lead, dim), where lead 1 "
            "is dt after the last sample of the history; NaN is a failure, and no error in components that are not "
            "scored. Or a .csv with a row for each window and lead: columns truth and window, counted from 0, lead, "
            "counted from 1, and one for each component",
        },
        "candidates": case.described_candidates(),
        "equations": equations(type(systems[0])) if systems else "",
        "candidates_solved_by": f"{_solver(systems)} with steps of {case.h:g}",
    }


def _solver(systems: Sequence[System]) -> str:
    if systems and isinstance(systems[0], SpectralSystem):
        return "ETDRK4, an exponential Runge-Kutta method of order four in Fourier space,"
    return "the classical Runge-Kutta method of order four"


def convention(case: Case) -> str:
    """Returns the convention of the valid time in words.

    Args:
        case: the case.
    """
    scored = "components"
    if case.seen is not None:
        scored = f"component{'' if len(case.seen) == 1 else 's'} {', '.join(map(str, case.seen))} (counted from 0)"
    capped = "" if case.longest_valid_time >= case.window else f", and at most {case.longest_valid_time:g}"
    return (
        f"The error of a lead is the mean over the {scored} of the squared difference of forecast and truth. The "
        f"valid time is dt times the number of leads before the first whose error is not below {case.threshold:g} (NaN "
        f"is not), or of all leads where there is none{capped}. The score is the median over windows, then over truths."
    )


def equations(kind: type) -> str:
    """Returns what the docstring of a system says before its arguments, in Markdown.

    Args:
        kind: class of the system; one of the catalogue has its vector field as code.
    """
    text = (inspect.getdoc(kind) or "").split("\nArgs:")[0].strip()
    if not issubclass(kind, CatalogueSystem):
        return text
    code = textwrap.indent(kind.equations(), 4 * " ")
    return f"In Python, with parameters p, time p.t, state u, and jnp for NumPy:\n\n{code}\n\nSource: {text}"


AXES: dict[str, Sequence[str]] = {
    "train_times": ["time"],
    "train_states": ["truth", "time", "dim"],
    "history": ["truth", "window", "time", "dim"],
    "history_times": ["window", "time"],
    "scale": ["truth", "dim"],
    "candidate_forecasts": ["truth", "time", "model", "dim"],
}
ABOUT = {
    "train_times": "times of the training samples, in the system's time unit",
    "train_states": "training trajectories, as observed: with noise where there is some, NaN where nothing is seen",
    "history": "the last samples before each window, oldest first, as observed",
    "history_times": "their times",
    "scale": "standard deviation of each component of the truth, NaN where nothing is seen",
    "candidate_forecasts": "one-step forecasts by each candidate from each training state; "
    "compare those from train_states[k] with train_states[k + 1]",
}
"""What the arrays of a case hold."""


def readme(record: dict[str, Any]) -> str:
    """Returns the text that goes with the files of a case, in Markdown.

    Args:
        record: as `described_case` makes it.
    """
    lines = [f"- `{name}` ({', '.join(one['axes'])}), {one['shape']}: {one['about']}" for name, one in _arrays(record)]
    candidates = [f"- candidate {number}: `{text}`" for number, text in enumerate(record["candidates"])]
    command = f"    jaxcast benchmark score {record['case']} forecasts.npz --exported ."
    how = ["Then, in this folder:", "", command] if record["seed"] == SEED else ["Hand it to whoever made these files."]
    return "\n".join(
        [
            f"# Case {record['case']}",
            "",
            f"{record['about'][0].upper()}{record['about'][1:]}.",
            "",
            "`data.npz` holds these arrays (a zip of NumPy arrays, float64):",
            "",
            *lines,
            "",
            f"Forecast every window by {record['num_leads']} leads of {record['dt']:g} and write one array of shape "
            f"{record['forecasts']['shape']} (truth, window, lead, dim) into a `.npz`. Or write a `.csv` with "
            "a row for each window and lead: columns truth and window, counted from 0, lead, counted from 1, and one "
            f"for each component. {how[0]}",
            *how[1:],
            "",
            record["valid_time"],
            "",
            *(_candidates(record, candidates) if candidates else ["There are no candidates."]),
            "",
        ]
    )


def _arrays(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(record["arrays"].items())


def _candidates(record: dict[str, Any], candidates: list[str]) -> list[str]:
    return [
        f"The candidates are solved by {record['candidates_solved_by']}:",
        "",
        *candidates,
        "",
        record["equations"],
    ]
