"""Reanalyses: the states of a whole record, each estimated from all of its observations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from jaxcast.arguments import checked
from jaxcast.assimilation.ensemble_filter import EnsembleCarry
from jaxcast.assimilation.ensemble_kalman import EnsembleKalmanFilter
from jaxcast.assimilation.members import moments
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.precision import highest
from jaxcast.rollout import Input
from jaxcast.sampling import check_exogenous, exact_times, with_all_digits


class Reanalysis(NamedTuple):
    """Estimates from a whole record, at each of its steps.

    Args:
        states: the mean of the smoothed ensemble.
        spread: its standard deviation.
        parameters: the mean of the unknown parameters.
        parameter_spread: their standard deviation.
        analyses: the mean of the filter, which has seen no later value.
    """

    states: Float[Array, "time dim"]
    spread: Float[Array, "time dim"]
    parameters: Float[Array, "time parameter"]
    parameter_spread: Float[Array, "time parameter"]
    analyses: Float[Array, "time dim"]


@checked
def reanalyse(
    cell: EnsembleKalmanFilter,
    values: Float[Any, "time observation"],
    exogenous: PyTree = None,
    *,
    known: Bool[Any, "..."] | None = None,
) -> Reanalysis:
    """Estimates the state at every step of a record from all of its values, earlier and later.

        E_n^s = E_n^a + (E_(n+1)^s - E_(n+1)^f) pinv(X_(n+1)^f) X_n^a

    E^a and E^f are the members of the filter after an analysis and before the next one, X their
    anomalies. It is the smoother of Rauch, Tung and Striebel, with the covariances of the ensemble.
    Training a pool on the states, as a `Trajectory`, gives it a record without noise and gaps.

    Args:
        cell: the filter, any `EnsembleKalmanFilter`; smoothers report a "reanalysis" of their own.
        values: observations of the record, oldest first; NaN where nothing is observed.
        exogenous: what else the model gets, such as times, with a leading time axis.
        known: which values are observed, (time,) or (time, observation); by default those that are
            not NaN.

    Returns:
        States and parameters, with their spread.

    Raises:
        InputError: for a mask of another shape, inputs of different lengths, or a first value from
            which the filter cannot start.

    Source:
        Raanes, Q. J. R. Meteorol. Soc. 142, 1259-1264 (2016).

    Example:
        >>> import jax, jaxcast
        >>> system = jaxcast.Lorenz63()
        >>> truth = jaxcast.simulate(system, [1.0, 1.0, 20.0], num_samples=60, transient=5.0).states
        >>> values = truth + jax.random.normal(jax.random.key(0), truth.shape)
        >>> cell = jaxcast.assimilation.EnsembleKalmanFilter(jaxcast.flow_map(system), 1.0, key=jax.random.key(1))
        >>> found = jaxcast.assimilation.reanalyse(cell, values)
        >>> errors = [((states - truth)[5:50] ** 2).mean() for states in (found.states, found.analyses)]
        >>> bool(errors[0] < 0.7 * errors[1])
        True
    """
    values = jnp.asarray(values)
    mask = np.ones(len(values), bool) if known is None else jnp.asarray(known)
    if mask.dtype != bool or mask.shape not in (values.shape[:1], values.shape):
        raise InputError(f"known must be a boolean mask {values.shape[:1]} or {values.shape}, got {mask.shape}")
    for leaf in jax.tree.leaves(exogenous):
        if len(leaf) != len(values):
            raise InputError(f"expected exogenous inputs of {len(values)} steps, got {len(leaf)}")
    check_exogenous(cell, exogenous)
    cell.check_first(values[0], mask[0])
    check_arrays(
        f"{len(values)} steps of {cell.num_members} members", (2 * len(values), cell.num_members, len(values[0]))
    )
    # Every step belongs to the history: what is not observed is a gap in it.
    gaps = jnp.where(mask if mask.ndim == values.ndim else mask[:, None], values, jnp.nan)
    steps = Input(gaps, jnp.ones(len(values), bool), exact_times(exogenous, cell))
    return _reanalyse(with_all_digits(cell), steps)


@jax.jit
def _reanalyse(cell: EnsembleKalmanFilter, xs: Input) -> Reanalysis:
    def members_of(carry: EnsembleCarry) -> Array:
        return jnp.concatenate([carry.states, carry.parameters], 1)

    def forward(carry: Any, x: Input) -> tuple[Any, tuple[Array, Array]]:
        analysed, _ = cell.assimilate(carry, x)
        carry, _ = cell(carry, x)
        return carry, (members_of(analysed), members_of(carry))

    first = jax.tree.map(lambda a: a[0], xs)
    start = cell.init_carry(first.value, first.exogenous)
    carry, (analysed, ahead) = jax.lax.scan(forward, start, xs)
    dim = carry.states.shape[1]

    @highest
    def backward(smoothed: Array, ensembles: tuple[Array, Array]) -> tuple[Array, Array]:
        now, later = ensembles
        inverse = jnp.linalg.pinv(later - later.mean(0))
        smoothed = now + (smoothed - later) @ (inverse @ (now - now.mean(0)))
        return smoothed, smoothed

    # The last values are those of the filter.
    _, smoothed = jax.lax.scan(backward, ahead[-1], (analysed, ahead), reverse=True)
    states, spread = jax.vmap(lambda members: moments(members[:, :dim], None))(smoothed)
    report = jax.vmap(cell.member_model.report)(smoothed)
    analyses = analysed[:, :, :dim].mean(1)
    return Reanalysis(states, spread, report["regime"], report["regime_deviation"], analyses)
