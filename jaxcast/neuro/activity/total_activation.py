"""Total Activation: deconvolution of fMRI by sparse innovations and smooth space."""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.neuro.activity.filters import HaemodynamicModel, haemodynamic_filter
from jaxcast.neuro.activity.noise import wavelet_noise_level
from jaxcast.neuro.activity.operators import FilterOperator, filter_operator
from jaxcast.neuro.activity.series import check_centred, check_not_constant, check_series, checked_noise_level
from jaxcast.neuro.activity.spatial import SpatialTerm
from jaxcast.neuro.activity.temporal import TemporalProblem, solve_temporal
from jaxcast.tracing import is_traced

WEIGHT = 0.5
"""Of each of the two terms in the generalised forward-backward splitting."""


class Activation(NamedTuple):
    """What `total_activation` finds; the axes of the voxels are those of the series.

    Args:
        signal: x, the series without noise.
        activity: u, the activity behind it: the signal through the filter for spikes.
        innovations: what the temporal term makes sparse: the jumps of the activity for blocks, the
            activity itself for spikes.
        penalty: lambda of the temporal term. Without a spatial term it is infinite where the noise
            is as large as the series; with one it then keeps the last finite value.
        noise_level: standard deviation of the noise, given or estimated.
        residual_level: root mean square of what the signal leaves over of the series.
        gap: the duality gap of the temporal term over its primal objective, at the end.
        num_iterations: iterations of the temporal term, in the last outer one.
        num_outer_iterations: of the two terms together; 1 where there is one term only.
        change: how much the last outer iteration changed the signal, as a share of its norm.
    """

    signal: Float[Array, "time ..."]
    activity: Float[Array, "time ..."]
    innovations: Float[Array, "time ..."]
    penalty: Float[Array, "..."]
    noise_level: Float[Array, "..."]
    residual_level: Float[Array, "..."]
    gap: Float[Array, "..."]
    num_iterations: Int[Array, "..."]
    num_outer_iterations: Int[Array, ""]
    change: Float[Array, ""]


class _Result(NamedTuple):
    signal: Array
    penalty: Array
    gap: Array
    num_iterations: Array
    num_outer: Array
    change: Array


@checked
def total_activation(
    series: Shaped[ArrayLike, "time ..."],
    *,
    repetition_time: float,
    model: HaemodynamicModel | str = "balloon",
    activity: Literal["block", "spike"] = "block",
    noise_level: Any = None,
    penalty: Any = None,
    temporal: bool = True,
    spatial: SpatialTerm | None = None,
    max_iterations: int | None = None,
    tolerance: float = 1e-5,
    restarts: bool = True,
    num_outer_iterations: int = 10,
    outer_tolerance: float = 1e-3,
) -> Activation:
    """Deconvolves fMRI series: finds the activity behind the haemodynamic response.

        min_x  1/2 |y - x|^2 + sum_v lambda_v |A x_v|_1 + sum_t R(x_t)

    A is the haemodynamic filter (`haemodynamic_filter`), so that A x are the jumps of an activity
    that is piecewise constant ("block"), or the activity itself ("spike"). R is the spatial term.

    The temporal term is solved by FISTA on its dual, all voxels in one compiled program, each until
    its duality gap is below the tolerance. lambda adapts: after each step it becomes
    lambda sigma / sqrt(mean (lambda A' z)^2), so that the residual y - x has the noise's standard
    deviation sigma. With a spatial term, both take turns (generalised forward-backward splitting
    with weights of 1/2); sigma is then the level of what the temporal term by itself removes.

    Args:
        series: y, one column for each voxel or region, with its mean removed. See `masked_series`
            for an image.
        repetition_time: TR, seconds from scan to scan.
        model: "balloon", "spm", or a haemodynamic model of your own.
        activity: "block" or "spike".
        noise_level: sigma, one for all voxels or one for each; by default `wavelet_noise_level` of
            the series with the divisor of the original.
        penalty: lambda, one for all voxels or one for each; it then stays as it is, whatever the
            noise.
        temporal: False leaves the temporal term out.
        spatial: `StructuredSparsity` or `Tikhonov`; None for no spatial term.
        max_iterations: of the temporal term; by default 10 000, which few voxels need, or 500 in
            each outer iteration where there is a spatial term.
        tolerance: relative duality gap at which a voxel is done.
        restarts: whether momentum starts again where it points uphill, which converges several
            times faster. False, 2500 iterations and a tolerance of 0 reproduce the original.
        num_outer_iterations: turns of both terms, at most.
        outer_tolerance: relative change of the signal at which the turns end.

    Returns:
        Signal, activity and innovations, and what tells whether they have converged.

    Raises:
        InputError: for fewer than 12 scans, NaN, constant voxels, a mean that was not removed,
            noise levels or penalties that are not positive, a spatial term of other voxels, no term
            at all, or settings out of range.

    Source:
        Karahanoglu, Caballero-Gaudes, Lazeyras and Van De Ville, NeuroImage 73, 121-134 (2013);
        Beck and Teboulle, SIAM J. Imaging Sciences 2, 183-202 (2009); O'Donoghue and Candes,
        Found. Comput. Math. 15, 715-732 (2015); Raguet, Fadili and Peyre, SIAM J. Imaging Sciences
        6, 1199-1226 (2013).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp, numpy as np
        >>> data = jaxcast.neuro.simulate_activity(np.asarray([0, 1]), snr=6.0, key=jax.random.key(0))
        >>> found = jaxcast.neuro.total_activation(data.series, repetition_time=1.0)
        >>> bool(jnp.corrcoef(found.activity[:, 0], data.activity[:, 0])[0, 1] > 0.8)
        True
    """
    check_series(series)
    check_not_constant(series)
    check_centred(series)
    for name, flag in (("temporal", temporal), ("restarts", restarts)):
        check_flag(name, flag)
    if max_iterations is None:
        max_iterations = 10_000 if spatial is None else 500
    check_whole("max_iterations", max_iterations)
    check_whole("num_outer_iterations", num_outer_iterations)
    check_number("tolerance", tolerance, least=0)
    check_number("outer_tolerance", outer_tolerance, least=0)
    if not temporal and spatial is None:
        raise InputError("expected a temporal or a spatial term, got neither; leave temporal=False out")
    series = jnp.asarray(series)
    shape, columns = series.shape, series.reshape(len(series), -1)
    if spatial is not None:
        spatial.check()
        if spatial.num_voxels != columns.shape[1]:
            raise InputError(f"the spatial term is for {spatial.num_voxels} voxels, the series have {columns.shape[1]}")
    level = checked_noise_level(wavelet_noise_level(series) if noise_level is None else noise_level, columns, shape[1:])
    strength = level if penalty is None else _checked_penalty(penalty, columns, shape[1:])
    chosen = haemodynamic_filter(model, repetition_time=repetition_time, activity=activity)
    spikes = haemodynamic_filter(model, repetition_time=repetition_time, activity="spike")
    dtype = columns.dtype
    problem = TemporalProblem(
        filter_operator(chosen, len(columns), dtype),
        jnp.asarray(1 / chosen.largest_squared_gain, dtype),
        jnp.asarray(tolerance, dtype),
        jnp.asarray(max_iterations, jnp.int32),
        penalty is None,
        restarts,
    )
    limits = (jnp.asarray(num_outer_iterations, jnp.int32), jnp.asarray(outer_tolerance, dtype))
    found = _run(
        problem, filter_operator(spikes, len(columns), dtype), spatial, columns, level, strength, limits, temporal
    )
    of_voxels = (array.reshape(*array.shape[:-1], *shape[1:]) for array in found[:-2])
    return Activation(*of_voxels, *found[-2:])


def _checked_penalty(penalty: Any, series: Array, shape: tuple[int, ...]) -> Array:
    """Returns lambda of each voxel."""
    found = jnp.asarray(penalty, series.dtype)
    if found.shape not in ((), shape):
        raise InputError(f"expected one penalty or one for each voxel, {shape}, got shape {found.shape}")
    if not is_traced(found) and not bool(((found > 0) & jnp.isfinite(found)).all()):
        raise InputError(f"penalty must be positive and finite, got {float(found.min()):g}")
    return jnp.broadcast_to(found, shape).reshape(-1)


@partial(jax.jit, static_argnums=7)
def _run(
    problem: TemporalProblem,
    spikes: FilterOperator,
    spatial: SpatialTerm | None,
    series: Array,
    noise_level: Array,
    penalty: Array,
    limits: tuple[Array, Array],
    temporal: bool,
) -> tuple[Array, ...]:
    """Solves, and computes everything that is reported; the order is that of `Activation`."""
    if spatial is None:
        found = _temporal_alone(problem, series, noise_level, penalty)
    elif not temporal:
        found = _spatial_alone(spatial, series, noise_level)
    else:
        found = _both(problem, spatial, series, noise_level, penalty, limits)
    residual_level = jnp.sqrt(jnp.mean((series - found.signal) ** 2, 0))
    activity, innovations = spikes.forward(found.signal), problem.operator.forward(found.signal)
    return (
        found.signal,
        activity,
        innovations,
        found.penalty,
        noise_level,
        residual_level,
        found.gap,
        found.num_iterations,
        found.num_outer,
        found.change,
    )


def _temporal_alone(problem: TemporalProblem, series: Array, noise_level: Array, penalty: Array) -> _Result:
    found = solve_temporal(problem, series, noise_level, penalty, jnp.zeros_like(series))
    one = jnp.ones((), jnp.int32)
    return _Result(found.signal, found.penalty, found.gap, found.num_iterations, one, jnp.zeros((), series.dtype))


def _spatial_alone(spatial: SpatialTerm, series: Array, noise_level: Array) -> _Result:
    signal, _ = spatial.prox(series.T, noise_level, 1, spatial.start(series.T))
    zeros, none = jnp.zeros_like(noise_level), jnp.zeros(len(noise_level), jnp.int32)
    return _Result(signal.T, zeros, zeros, none, jnp.ones((), jnp.int32), jnp.zeros((), series.dtype))


class _Turn(NamedTuple):
    """Where the splitting stands: the auxiliary signals of both terms, and what they start with."""

    number: Array
    signal: Array
    of_time: Array
    of_space: Array
    dual: Array
    penalty: Array
    begin: Any
    gap: Array
    num_iterations: Array
    change: Array


def _both(
    problem: TemporalProblem,
    spatial: SpatialTerm,
    series: Array,
    noise_level: Array,
    penalty: Array,
    limits: tuple[Array, Array],
) -> _Result:
    """Takes turns of both proximal operators.

    z_i <- z_i + prox_i(2 x - z_i - (x - y)) - x,    x = (z_1 + z_2) / 2
    """
    most, tolerance = limits

    def turn(now: _Turn) -> _Turn:
        found = solve_temporal(problem, now.signal - now.of_time + series, noise_level, now.penalty, now.dual)
        smooth, begin = spatial.prox((now.signal - now.of_space + series).T, noise_level, 1 / WEIGHT, now.begin)
        of_time = now.of_time + found.signal - now.signal
        of_space = now.of_space + smooth.T - now.signal
        signal = WEIGHT * of_time + (1 - WEIGHT) * of_space
        size = jnp.sqrt(jnp.sum(signal**2))
        change = jnp.sqrt(jnp.sum((signal - now.signal) ** 2)) / jnp.where(size > 0, size, 1)
        # An infinite penalty is no place to start from.
        strength = jnp.where(jnp.isfinite(found.penalty), found.penalty, now.penalty)
        return _Turn(
            now.number + 1,
            signal,
            of_time,
            of_space,
            found.dual,
            strength,
            begin,
            found.gap,
            found.num_iterations,
            change,
        )

    zeros, none = jnp.zeros_like(series), jnp.zeros(len(noise_level), jnp.int32)
    start = _Turn(
        jnp.zeros((), jnp.int32),
        zeros,
        zeros,
        zeros,
        zeros,
        penalty / WEIGHT,
        spatial.start(series.T),
        jnp.full_like(noise_level, jnp.inf),
        none,
        jnp.asarray(jnp.inf, series.dtype),
    )
    end = jax.lax.while_loop(lambda now: (now.number < most) & (now.change > tolerance), turn, start)
    return _Result(end.signal, WEIGHT * end.penalty, end.gap, end.num_iterations, end.number, end.change)
