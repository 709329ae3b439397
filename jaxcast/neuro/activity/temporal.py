"""The temporal part of Total Activation: sparse innovations of each series by itself."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcast.backends.blocks import map_chunks
from jaxcast.neuro.activity.operators import FilterOperator
from jaxcast.pytrees import FrozenPytree, static

CHECK_EVERY = 10
"""Iterations between two looks at the duality gap."""
BLOCK_SIZE = 40
"""Voxels that a CPU iterates on at once: what they need stays in its cache."""


class TemporalProblem(FrozenPytree):
    """What all series share.

    Args:
        operator: A, from a signal to its innovations.
        step: one over the largest squared gain of A.
        tolerance: of the relative duality gap and the residual level.
        max_iterations: at which iterations end in any case.
        adapts: whether lambda follows the noise level.
        restarts: whether momentum starts again where it points uphill.
    """

    operator: FilterOperator
    step: Float[Array, ""]
    tolerance: Float[Array, ""]
    max_iterations: Int[Array, ""]
    adapts: bool = static()
    restarts: bool = static()


class TemporalSolution(NamedTuple):
    """Signals and what certifies them.

    Args:
        signal: x.
        dual: z, with which a similar problem can start.
        penalty: lambda.
        gap: the duality gap over the primal objective.
        num_iterations: of each voxel.
    """

    signal: Float[Array, "time voxel"]
    dual: Float[Array, "time voxel"]
    penalty: Float[Array, " voxel"]
    gap: Float[Array, " voxel"]
    num_iterations: Int[Array, " voxel"]


class _Iterate(NamedTuple):
    """Where the iteration stands; `innovations` of z are A A' z."""

    dual: Array
    earlier_dual: Array
    innovations: Array
    earlier_innovations: Array
    momentum: Array
    theta: Array
    penalty: Array


def solve_temporal(
    problem: TemporalProblem,
    series: Float[Array, "time voxel"],
    noise_level: Float[Array, " voxel"],
    penalty: Float[Array, " voxel"],
    dual: Float[Array, "time voxel"],
) -> TemporalSolution:
    """Solves the temporal problem for all voxels, a block at a time.

        min_x  1/2 |y - x|^2 + lambda |A x|_1

    Args:
        problem: what all series share.
        series: y.
        noise_level: standard deviation that the residual is to have, where lambda adapts.
        penalty: lambda to start with.
        dual: z to start with.

    Returns:
        The solution.
    """
    num_voxels = series.shape[1]
    if num_voxels <= BLOCK_SIZE:
        return _solve(problem, series, noise_level, penalty, dual)
    num_blocks = -(-num_voxels // BLOCK_SIZE)
    # The voxels that fill the last block repeat the last one.
    chosen = jnp.minimum(jnp.arange(num_blocks * BLOCK_SIZE), num_voxels - 1).reshape(num_blocks, BLOCK_SIZE)

    def block(voxels: Array) -> TemporalSolution:
        return _solve(problem, series[:, voxels], noise_level[voxels], penalty[voxels], dual[:, voxels])

    found = map_chunks(block, chosen)
    return jax.tree.map(lambda a: _joined(a)[..., :num_voxels], found)


def _joined(blocks: Array) -> Array:
    """Puts (block, ..., voxel) in order as (..., voxel)."""
    return jnp.moveaxis(blocks, 0, -2).reshape(*blocks.shape[1:-1], -1)


def _solve(
    problem: TemporalProblem, series: Array, noise_level: Array, penalty: Array, dual: Array
) -> TemporalSolution:
    """Solves for one block."""
    operator = problem.operator
    of_series = operator.forward(series)
    ones = jnp.ones_like(penalty)
    applied = operator.forward(operator.transposed(dual))
    start = _Iterate(dual, dual, applied, applied, 0 * ones, ones, penalty)
    advance = partial(_advance, problem, of_series, noise_level)

    def is_open(state: tuple[Any, ...]) -> Bool[Array, ""]:
        count, _, done, *_ = state
        return (count < problem.max_iterations) & ~done.all()

    def round_of(state: tuple[Any, ...]) -> tuple[Any, ...]:
        count, iterate, done, gap, iterations = state
        stop = jnp.minimum(count + CHECK_EVERY, problem.max_iterations)
        found = jax.lax.fori_loop(count, stop, lambda _, one: advance(one), iterate)
        # A voxel that has converged stays as it is, whatever its neighbours in the block still do.
        iterate = jax.tree.map(lambda new, old: jnp.where(done, old, new), found, iterate)
        iterations = jnp.where(done, iterations, stop)
        gap = jnp.where(done, gap, _relative_gap(problem, iterate, of_series))
        return stop, iterate, done | (gap <= problem.tolerance), gap, iterations

    # Where the noise is as large as the series, the signal is zero and lambda has no upper end.
    is_noise = problem.adapts & (jnp.mean(series**2, 0) <= noise_level**2)
    gap = jnp.where(is_noise, 0, jnp.full_like(penalty, jnp.inf))
    state = (jnp.zeros((), jnp.int32), start, is_noise, gap, jnp.zeros(len(penalty), jnp.int32))
    _, iterate, _, gap, iterations = jax.lax.while_loop(is_open, round_of, state)
    signal = series - iterate.penalty * operator.transposed(iterate.dual)
    signal, penalty = jnp.where(is_noise, 0, signal), jnp.where(is_noise, jnp.inf, iterate.penalty)
    return TemporalSolution(signal, iterate.dual, penalty, gap, iterations)


def _advance(problem: TemporalProblem, of_series: Array, noise_level: Array, now: _Iterate) -> _Iterate:
    """Takes one step of the dual FISTA; A A' of the momentum point follows from those before."""
    point = now.dual + now.momentum * (now.dual - now.earlier_dual)
    applied = now.innovations + now.momentum * (now.innovations - now.earlier_innovations)
    dual = jnp.clip(point + problem.step * (of_series / now.penalty - applied), -1, 1)
    back = problem.operator.transposed(dual)
    innovations = problem.operator.forward(back)
    theta = (1 + jnp.sqrt(1 + 4 * now.theta**2)) / 2
    momentum = (now.theta - 1) / theta
    if problem.restarts:
        is_uphill = ((point - dual) * (dual - now.dual)).sum(0) > 0
        momentum, theta = jnp.where(is_uphill, 0, momentum), jnp.where(is_uphill, 1, theta)
    penalty = now.penalty
    if problem.adapts:  # so that the residual, lambda A' z, has the level of the noise
        level = jnp.sqrt(jnp.mean(back**2, 0))
        penalty = jnp.where(level > 0, noise_level / jnp.where(level > 0, level, 1), penalty)
    return _Iterate(dual, now.dual, innovations, now.innovations, momentum, theta, penalty)


def _relative_gap(problem: TemporalProblem, now: _Iterate, of_series: Array) -> Float[Array, " voxel"]:
    """Returns the duality gap over the primal objective, at the newest penalty."""
    residual = now.penalty * problem.operator.transposed(now.dual)
    innovations = of_series - now.penalty * now.innovations
    sizes = jnp.abs(innovations)
    primal = (residual**2).sum(0) / 2 + now.penalty * sizes.sum(0)
    gap = now.penalty * (sizes - now.dual * innovations).sum(0)
    return gap / jnp.where(primal > 0, primal, 1)
