"""Reanalyses: the states of a whole record, each estimated from all of its observations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from jaxcast.arguments import checked
from jaxcast.assimilation.smoothing import Estimate, Smoothable, smoothed
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.rollout import Cell, Input
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
    cell: Cell,
    values: Float[Any, "time observation"],
    exogenous: PyTree = None,
    *,
    known: Bool[Any, "..."] | None = None,
) -> Reanalysis:
    """Estimates the state at every step of a record from all of its values, earlier and later.

        E_n^s = E_n^a + (E_(n+1)^s - E_(n+1)^f) pinv(X_(n+1)^f) X_n^a

    E^a and E^f are the members of the filter after an analysis and before the next one, X their
    anomalies. It is the smoother of Rauch, Tung and Striebel, with the covariances of the ensemble;
    for a smoother with a window E^a has seen the values of the window, too, and for 4D-Var X are
    columns of the root of its covariance. With localisation each component has a gain of its own,
    by the tapers between components. Training a pool on the states, as a `Trajectory`, gives it a
    record without noise and gaps.

    Args:
        cell: an `EnsembleKalmanFilter` with any analysis, an `IterativeEnsembleSmoother` or a
            `VariationalFilter`. A `ParticleFilter` has none: what its members were before they were
            resampled is lost.
        values: observations of the record, oldest first; NaN where nothing is observed.
        exogenous: what else the model gets, such as times, with a leading time axis.
        known: which values are observed, (time,) or (time, observation); by default those that are
            not NaN.

    Returns:
        States and parameters, with their spread.

    Raises:
        InputError: for a cell that has no reanalysis, localisation where not the whole state is
            observed, a mask of another shape, inputs of different lengths, or a first value from
            which the filter cannot start.

    Source:
        Raanes, Q. J. R. Meteorol. Soc. 142, 1259-1264 (2016). Own design with localisation.

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
    if not isinstance(cell, Smoothable):
        raise InputError(
            f"a {type(cell).__name__} has no reanalysis; take an EnsembleKalmanFilter, an IterativeEnsembleSmoother or "
            "a VariationalFilter"
        )
    values = jnp.asarray(values)
    mask = np.ones(len(values), bool) if known is None else jnp.asarray(known)
    if mask.dtype != bool or mask.shape not in (values.shape[:1], values.shape):
        raise InputError(f"known must be a boolean mask {values.shape[:1]} or {values.shape}, got {mask.shape}")
    for leaf in jax.tree.leaves(exogenous):
        if len(leaf) != len(values):
            raise InputError(f"expected exogenous inputs of {len(values)} steps, got {len(leaf)}")
    check_exogenous(cell, exogenous)
    cell.check_first(values[0], mask[0])
    # Every step belongs to the history: what is not observed is a gap in it.
    gaps = jnp.where(mask if mask.ndim == values.ndim else mask[:, None], values, jnp.nan)
    steps = Input(gaps, jnp.ones(len(values), bool), exact_times(exogenous, cell))
    sizes = jax.eval_shape(
        lambda x: cell.estimate(cell.init_carry(x.value, x.exogenous), x)[2], jax.tree.map(lambda a: a[0], steps)
    )
    check_arrays(f"estimates at {len(values)} steps", (2 * len(values), *sizes.anomalies.shape))
    return _reanalyse(with_all_digits(cell), steps)


@jax.jit
def _reanalyse(cell: Any, xs: Input) -> Reanalysis:
    def forward(carry: Any, x: Input) -> tuple[Any, Any]:
        carry, output, now, later = cell.estimate(carry, x)
        return carry, (now, later, output.info["analysis"])

    first = jax.tree.map(lambda a: a[0], xs)
    start = cell.init_carry(first.value, first.exogenous)
    _, (now, later, analyses) = jax.lax.scan(forward, start, xs)
    dim, lag = analyses.shape[1], min(cell.lag, len(analyses) - 1)

    def on(estimate: Estimate, exogenous: Any) -> tuple[Estimate, Estimate]:
        moved = cell.moved(estimate, exogenous)
        return moved, moved

    def back(known: Estimate, pair: tuple[Estimate, Estimate]) -> tuple[Estimate, Estimate]:
        found = smoothed(cell, *pair, known)
        return found, found

    # The last estimate has seen all values, and so has what follows it in its window.
    last = jax.tree.map(lambda a: a[-1], now)
    given = jax.tree.map(lambda a: a[len(analyses) - 1 - lag : -1], xs.exogenous)
    _, ending = jax.lax.scan(on, last, given, length=lag)
    _, before = jax.lax.scan(back, last, jax.tree.map(lambda a: a[lag:-1], (now, later)), reverse=True)
    whole = jax.tree.map(lambda a, b, c: jnp.concatenate([a, b[None], c]), before, last, ending)
    parameters, deviations = jax.vmap(cell.parameters_of)(whole)
    spread = jnp.linalg.norm(whole.anomalies[:, :, :dim], axis=1)
    return Reanalysis(whole.mean[:, :dim], spread, parameters, deviations, analyses)
