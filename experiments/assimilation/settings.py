"""The two settings of the assimilation literature, and every method with its published error."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.assimilation.baselines import StaticFilter
from jaxcast.assimilation import (
    EnsembleKalmanFilter,
    EnsembleTransform,
    IterativeEnsembleSmoother,
    LocalEnsembleTransform,
    ParticleFilter,
    PerturbedObservations,
    VariationalFilter,
    localise_ring,
)


class Setting(NamedTuple):
    """A system and how it is observed: every component, with independent noise.

    Args:
        title: in tables.
        system: of truth and model.
        dt: between observations.
        h: step of the solver.
        noise: standard deviation of an observation.
        start: mean of the first state of truth and members.
        variance: of that state, the same for each component.
        num_burned: first cycles that do not count.
    """

    title: str
    system: Any
    dt: float
    h: float
    noise: float
    start: np.ndarray
    variance: float
    num_burned: int

    @property
    def model(self) -> Any:
        return jaxcast.flow_map(self.system, dt=self.dt, h=self.h)


SETTINGS = {
    "lorenz63": Setting(
        "Lorenz '63, dt 0.25, R = 2 I",
        jaxcast.Lorenz63(),
        0.25,
        0.01,
        2**0.5,
        np.asarray([1.509, -1.531, 25.46]),
        2.0,
        64,
    ),
    "lorenz96": Setting(
        "Lorenz '96, 40 sites, dt 0.05, R = I", jaxcast.Lorenz96(dim=40), 0.05, 0.05, 1.0, np.eye(40)[0], 0.001, 400
    ),
}


class Method(NamedTuple):
    """A method in one setting.

    Args:
        name: in tables.
        setting: its name.
        make: (setting, climatology, key) -> cell; the climatology is a mean and a covariance.
        published: analysis RMSE in the comments of DAPPER's settings; None where there is none.
        num_members: of an ensemble; 0 for none.
    """

    name: str
    setting: str
    make: Callable[[Setting, tuple[Any, Any], Any], Any]
    published: float | None = None
    num_members: int = 0


def ensemble_of(setting: Setting, num_members: int, key: Any) -> jax.Array:
    """Draws the members before the first observation."""
    noise = jax.random.normal(jax.random.fold_in(key, 0), (num_members, len(setting.start)))
    return jnp.asarray(setting.start) + setting.variance**0.5 * noise


def _kalman(
    name: str, setting: str, num_members: int, analysis: Callable[[], Any], published: float | None = None
) -> Method:
    def make(at: Setting, _: Any, key: Any) -> Any:
        start = ensemble_of(at, num_members, key)
        return EnsembleKalmanFilter(
            at.model, at.noise, key, num_members=num_members, initial_ensemble=start, analysis=analysis()
        )

    return Method(f"{name}, {num_members} members", setting, make, published, num_members)


def _optimal_interpolation(at: Setting, climatology: Any, _: Any) -> Any:
    return StaticFilter(model=None, background=climatology[0], covariance=climatology[1], noise=at.noise)


def _three_d_var(share: float) -> Callable[..., Any]:
    def make(at: Setting, climatology: Any, _: Any) -> Any:
        return StaticFilter(
            model=at.model, background=jnp.asarray(at.start), covariance=share * climatology[1], noise=at.noise
        )

    return make


def _four_d_var(lag: int, inflation: float) -> Callable[..., Any]:
    def make(at: Setting, _: Any, key: Any) -> Any:
        covariance = at.variance * np.eye(len(at.start))
        return VariationalFilter(at.model, at.noise, at.start, covariance, lag=lag, inflation=inflation)

    return make


def _smoother(at: Setting, _: Any, key: Any) -> Any:
    start = ensemble_of(at, 10, key)
    return IterativeEnsembleSmoother(at.model, at.noise, key, num_members=10, initial_ensemble=start)


def _particles(at: Setting, _: Any, key: Any) -> Any:
    start = ensemble_of(at, 800, key)
    settings = {"resampling_share": 0.2, "jitter": 0.9}
    return ParticleFilter(at.model, at.noise, key, num_members=800, initial_ensemble=start, **settings)


def _climatology(at: Setting, climatology: Any, _: Any) -> Any:
    return StaticFilter(model=None, background=climatology[0], covariance=climatology[1], noise=1e6)


def _local(inflation: float = 1.0, *, is_finite_size: bool = False) -> LocalEnsembleTransform:
    return LocalEnsembleTransform(localise_ring(40, radius=4.0), inflation, is_finite_size=is_finite_size)


SMALL = partial(EnsembleTransform, is_finite_size=True)
FIRM = partial(EnsembleTransform, is_finite_size=True, certainty=2.0)
METHODS = (
    Method("climatology", "lorenz63", _climatology, 7.6),
    Method("optimal interpolation", "lorenz63", _optimal_interpolation, 1.25),
    Method("3D-Var", "lorenz63", _three_d_var(0.1), 1.04),
    _kalman("EnKF, perturbed", "lorenz63", 10, partial(PerturbedObservations, 1.04), 0.65),
    _kalman("EnKF, perturbed", "lorenz63", 100, partial(PerturbedObservations, 1.01), 0.56),
    _kalman("EnKF", "lorenz63", 10, partial(EnsembleTransform, 1.02), 0.60),
    _kalman("EnKF", "lorenz63", 50, partial(EnsembleTransform, 1.01)),
    _kalman("EnKF", "lorenz63", 100, partial(EnsembleTransform, 1.01)),
    _kalman("EnKF, finite size", "lorenz63", 3, SMALL, 0.60),
    _kalman("EnKF, finite size", "lorenz63", 10, SMALL, 0.54),
    _kalman("EnKF, finite size", "lorenz63", 50, SMALL),
    _kalman("EnKF, finite size", "lorenz63", 100, SMALL),
    Method("particle filter, 800 members", "lorenz63", _particles, 0.28, 800),
    Method("iterative smoother, 10 members", "lorenz63", _smoother, 0.31, 10),
    Method("4D-Var, 6 steps", "lorenz63", _four_d_var(6, 1.4)),
    Method("climatology", "lorenz96", _climatology, 3.6),
    Method("optimal interpolation", "lorenz96", _optimal_interpolation, 0.95),
    Method("3D-Var", "lorenz96", _three_d_var(0.02), 0.41),
    _kalman("EnKF", "lorenz96", 24, partial(EnsembleTransform, 1.013), 0.18),
    _kalman("EnKF", "lorenz96", 40, partial(EnsembleTransform, 1.013)),
    _kalman("EnKF, finite size", "lorenz96", 24, SMALL, 0.21),
    _kalman("EnKF, firm finite size", "lorenz96", 24, FIRM, 0.18),
    _kalman("EnKF, firm finite size", "lorenz96", 40, FIRM),
    _kalman("LETKF", "lorenz96", 7, partial(_local, 1.04), 0.22),
    _kalman("LETKF", "lorenz96", 10, partial(_local, 1.02)),
    _kalman("LETKF, finite size", "lorenz96", 7, partial(_local, is_finite_size=True)),
)
