"""The methods among which `fit_pool` chooses, cheapest first, each with its settings."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.dynamics.coordinates import varying_parameters
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.forecasters.nvar import fit_nvar
from jaxcast.forecasters.reservoir import fit_reservoir
from jaxcast.pooling.baselines import Persistence
from jaxcast.pooling.cell import Forecaster
from jaxcast.pooling.component import ComponentAttention
from jaxcast.pooling.corrected import fit_correction
from jaxcast.pooling.hybrid.fit import fit_hybrid
from jaxcast.pooling.hybrid.regressors import KernelRegressor, NetworkRegressor, PolynomialRegressor, Regressor
from jaxcast.pooling.interpolation import fit_regime_interpolation
from jaxcast.pooling.linear import equal_weights, fit_ridge, single_candidate
from jaxcast.pooling.losses import mean_squared_error
from jaxcast.pooling.samples import OneStepSamples, check_candidates, one_step_samples
from jaxcast.pooling.scales import input_scales
from jaxcast.regime.fit import fit_regime
from jaxcast.rollout import Cell
from jaxcast.selection.filters import filter_settings, fit_filter
from jaxcast.training.fitting import fit
from jaxcast.training.optimizers import make_optimizer

NUM_DELAYS = 5
BATCH_SIZE = 64
HYBRID_PENALTIES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
REGRESSORS: dict[str, Regressor] = {
    "polynomial": PolynomialRegressor(),
    "kernel": KernelRegressor(num_centres=500),
    "network": NetworkRegressor(),
}
FEW_SITES = 5
RING_ABOVE = 16
"""Components of a state above which the methods that can take it for a field on a ring."""


class PoolData(NamedTuple):
    """What a method is fitted to.

    Args:
        trajectory: of the truth.
        forecast_map: of the candidates; None without.
        num_models: number of candidates, 0 without.
        history_size: samples before each forecast.
        seed: of what is random in a method.
        known: which components are known, (time, dim); None for all.
    """

    trajectory: Trajectory
    forecast_map: ForecastMap | None
    num_models: int
    history_size: int
    seed: int
    known: Bool[np.ndarray, "time dim"] | None = None

    @property
    def dim(self) -> int:
        """Components of a state."""
        return int(self.trajectory.states.shape[1])

    @property
    def num_delays(self) -> int:
        """Delays of the pools that see errors: as many as the history fills, at most five."""
        return max(1, min(NUM_DELAYS, self.history_size - 1))

    def samples(self, num_delays: int) -> OneStepSamples:
        """Returns the one-step samples whose memory and target are known.

        Args:
            num_delays: past states and errors in the memory.

        Raises:
            InputError: for candidates that return NaN or infinity.
        """
        samples = one_step_samples(self.trajectory, num_delays, self.forecast_map, known=self.known)
        if samples.forecasts is not None:
            check_candidates(samples.forecasts)
        return samples


class Method(NamedTuple):
    """A method of forecasting.

    Args:
        fit: (data, **setting) -> cell.
        settings: data -> settings to try.
        with_candidates: whether it needs candidates.
        with_gaps: what it is fitted to where a trajectory has gaps: its "samples" that are known,
            its longest known "stretch", or all of it by the method's "own" ways.
    """

    fit: Callable[..., Cell]
    settings: Callable[[PoolData], Sequence[dict[str, Any]]]
    with_candidates: bool = True
    with_gaps: Literal["samples", "stretch", "own"] = "samples"


def _once(data: PoolData) -> Sequence[dict[str, Any]]:
    return ({},)


def _persistence(data: PoolData) -> Cell:
    return Forecaster(Persistence())


def _equal(data: PoolData) -> Cell:
    return Forecaster(equal_weights(data.num_models), data.forecast_map)


def _single(data: PoolData, *, candidate: int) -> Cell:
    return Forecaster(single_candidate(candidate, data.num_models), data.forecast_map)


def _ridge(data: PoolData, *, penalty: float) -> Cell:
    samples = data.samples(1)
    scale = samples.targets.var() * len(samples.targets)
    pool = fit_ridge(samples.forecasts, samples.targets, penalty=penalty * scale)
    return Forecaster(pool, data.forecast_map)


def _nvar(data: PoolData, *, num_delays: int, degree: int, penalty: float) -> Cell:
    return fit_nvar(data.trajectory.states, num_delays=num_delays, degree=degree, penalty=penalty, known=data.known)


def _nvar_settings(data: PoolData) -> Sequence[dict[str, Any]]:
    shapes = ((2, 2), (4, 2), (2, 3)) if data.dim <= 4 else ((1, 2), (2, 2)) if data.dim <= 12 else ((2, 1),)
    return [
        {"num_delays": delays, "degree": degree, "penalty": penalty}
        for delays, degree in shapes
        if delays <= data.history_size
        for penalty in (1e-6, 1e-3, 1.0)
    ]


def _reservoir(data: PoolData, *, input_scale: float, penalty: float) -> Cell:
    return fit_reservoir(
        data.trajectory.states,
        key=jax.random.key(data.seed),
        num_nodes=300,
        input_scale=input_scale,
        penalty=penalty,
        num_discarded=min(100, len(data.trajectory.states) // 4),
    )


def _reservoir_settings(data: PoolData) -> Sequence[dict[str, Any]]:
    return [{"input_scale": scale, "penalty": penalty} for scale in (0.1, 0.5) for penalty in (1e-6,)]


def _corrected(data: PoolData) -> Cell:
    samples = data.samples(data.num_delays)
    pool = fit_correction(samples, pool=fit_regime_interpolation(samples))
    return Forecaster(pool, data.forecast_map)


def _hybrid(data: PoolData, *, base: Any, regressor: str, stencil: int | None) -> Cell:
    remembered = 2 if stencil is None else 4  # sites that share their weights have samples for more
    num_errors = max(0, min(remembered, data.history_size - (2 if base == "interpolation" else 1)))
    return fit_hybrid(
        data.trajectory,
        data.forecast_map,
        base=base,
        regressor=REGRESSORS[regressor],
        num_delays=max(1, min(2 if regressor == "polynomial" else remembered, num_errors)),
        num_errors=num_errors,
        stencil=stencil,
        penalties=HYBRID_PENALTIES,
        key=jax.random.key(data.seed),
    )


def _hybrid_settings(data: PoolData) -> Sequence[dict[str, Any]]:
    kinds: list[tuple[str, str, int | None]]
    if data.dim > RING_ABOVE:
        kinds = [(base, "polynomial", 3) for base in ("equal", "ridge", "interpolation")]
        kinds.append(("interpolation", "network", 2))
    else:
        kinds = [(base, kind, None) for kind in ("polynomial", "kernel") for base in ("equal", "interpolation")]
        kinds[0] = ("ridge", "polynomial", None)
        if data.dim >= FEW_SITES:  # perhaps sites of a ring that are alike
            kinds.append(("equal", "network", 2))
    return [{"base": base, "regressor": regressor, "stencil": stencil} for base, regressor, stencil in kinds]


def _regime(data: PoolData) -> Cell:
    assert data.forecast_map is not None
    found = varying_parameters(data.forecast_map)
    return fit_regime(data.trajectory, forecast_map=data.forecast_map, coordinates=None if found is None else found[1])


def _attention(data: PoolData, *, num_epochs: int) -> Cell:
    samples = data.samples(data.num_delays)
    assert data.forecast_map is not None
    scales = input_scales(data.trajectory, data.forecast_map, known=data.known)
    dim, num_models, num_delays = data.dim, data.num_models, data.num_delays

    def init(key: Any) -> Any:
        return ComponentAttention(dim=dim, num_models=num_models, num_delays=num_delays, scales=scales, key=key)

    batch_size = min(BATCH_SIZE, len(samples.targets))
    num_steps = num_epochs * (len(samples.targets) // batch_size)
    trained = fit(
        jax.tree.map(lambda a: a.astype(jnp.float32), samples),
        init=init,
        loss=mean_squared_error,
        keys=jax.random.split(jax.random.key(data.seed), 1),
        optimizer=make_optimizer(3e-3, schedule="cosine", num_optimizer_steps=num_steps),
        num_epochs=num_epochs,
        batch_size=batch_size,
    )
    return Forecaster(jax.tree.map(lambda a: a[0], trained.models), data.forecast_map)


def _filter(data: PoolData, **setting: Any) -> Cell:
    return fit_filter(data.trajectory, data.forecast_map, seed=data.seed, **setting)


METHODS: dict[str, Method] = {
    "persistence": Method(_persistence, _once, with_candidates=False),
    "equal_weights": Method(_equal, _once),
    "best_single": Method(_single, lambda data: [{"candidate": number} for number in range(data.num_models)]),
    "ridge": Method(_ridge, lambda data: [{"penalty": penalty} for penalty in (1e-12, 1e-9, 1e-6, 1e-3)]),
    "nvar": Method(_nvar, _nvar_settings, with_candidates=False),
    "corrected_interpolation": Method(_corrected, _once),
    "regime": Method(_regime, _once, with_gaps="stretch"),
    "ensemble_kalman_filter": Method(_filter, lambda data: filter_settings(), with_gaps="own"),
    "attention": Method(_attention, lambda data: [{"num_epochs": 100}]),
    "reservoir": Method(_reservoir, _reservoir_settings, with_candidates=False, with_gaps="stretch"),
    "hybrid": Method(_hybrid, _hybrid_settings, with_gaps="stretch"),
}
"""All methods by name, cheapest first."""
