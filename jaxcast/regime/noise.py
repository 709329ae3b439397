"""Splits the residuals into regime, observation and model noise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.precision import highest
from jaxcast.regime.checks import NUM_BLOCKS
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.harmonics import HarmonicSchedule, Steps, certain, revealed

MOST_SLOPES = 2**17
"""Derivatives that are computed at once."""


class Residuals(NamedTuple):
    """Standard deviations of the residuals of emulator and schedule.

    Args:
        regime: of the regime about its schedule, (coordinate,).
        wander: that each step adds to it, (coordinate,).
        value: of observed values, (dim,).
        model: of steps, (dim,).
    """

    regime: Array
    wander: Array
    value: Array
    model: Array


def explanations(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps) -> list[Residuals]:
    """Splits the residuals by how those of one step correlate with those of the next.

    An error of the value at j appears twice, as e_j and as -J_j e_j; an error of a step once; a
    regime off its schedule repeatedly. With r_j the residuals in standard deviations of the state
    and J_j the slope of step j, componentwise

        E[r_j-1 (J_j^T r_j)] = -E[J_j^T J_j] E[e^2]
        E[r^2] = (1 + E[J^2]) E[e^2] + E[model^2]

    These moments hold only for small errors and the right schedule. So two more explanations
    follow: all residuals are due to steps, or all to values.

    Args:
        emulator: of the ensemble.
        schedule: the fitted schedule.
        steps: of the trajectory.
    """
    shift, information, unexplained = revealed(schedule, emulator, steps)
    seen = (*certain(shift, information), unexplained)
    regime, wander, shares = _told_apart(seen, emulator, schedule, steps)
    if not shares[0][0].any():
        shares = shares[:2]
    return [Residuals(regime, wander, value, model) for value, model in shares]


@jax.jit
@highest
def _told_apart(
    seen: tuple[Array, Array, Array], emulator: Emulator, schedule: HarmonicSchedule, steps: Steps
) -> tuple[Array, Array, list[tuple[Array, Array]]]:
    """Returns deviations of the regime, and of values and steps in three explanations."""
    shift, weight, unexplained = seen
    weight = jnp.diagonal(weight, axis1=1, axis2=2)

    def covariance(lag: int) -> tuple[Array, Array]:
        products, weights = (a[lag:] * a[:-lag] for a in (shift, weight))
        blocks = [part.mean(0) for part in jnp.array_split(products, NUM_BLOCKS)]
        return products.sum(0) / weights.sum(0), jnp.stack(blocks).mean(0) / (
            jnp.stack(blocks).std(0) / NUM_BLOCKS**0.5
        )

    # Neighbouring steps share a value and its error; from lag two on, only the regime.
    (two, clear), (three, _) = covariance(2), covariance(3)
    wanders = (clear > 3) & (two > 0)
    # Without residuals, two and three are zero.
    persistence = jnp.clip(jnp.where(wanders, three / jnp.where(wanders, two, 1), 1), 0.5, 0.999)
    variance = jnp.where(wanders, two / persistence**2, 0)
    slopes = _slopes(emulator, schedule, steps)
    total = _misses(emulator, schedule, steps)
    dim, num_coordinates = unexplained.shape[1], len(variance)
    missed = jnp.where(wanders.any(), unexplained * jnp.sqrt(dim / max(dim - num_coordinates, 1)), total)
    norms = jnp.linalg.norm(missed, axis=1)
    # A regime that jumps within a step is not noise.
    ordinary = ~wanders.any() | (norms <= jnp.quantile(norms, 0.95))
    keep = ordinary[:, None]
    mean = lambda a: (a * keep[-len(a) :]).sum(0) / keep.sum()  # noqa: E731
    twice = -mean(missed[:-1] * jnp.einsum("ned,ne->nd", slopes[1:], missed[1:]))
    squares = jnp.einsum("ned,n->ed", slopes**2, ordinary) / ordinary.sum()
    squared = mean(missed**2)
    value = jnp.maximum(twice / squares.sum(0), 0)
    model = jnp.maximum(squared - value - squares @ value, 0)
    if_values = value * squared.sum() / jnp.where(value.any(), (value + squares @ value).sum(), 1)
    shares = [(value, model), (0 * value, squared), (if_values, 0 * model)]
    regime, wander = jnp.sqrt(variance), jnp.sqrt(variance * (1 - persistence**2))
    return regime, wander, jax.tree.map(jnp.sqrt, shares)


def _misses(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps) -> Float[Array, "step dim"]:
    def one(step: Any) -> Array:
        return (step.after - emulator(step.before, schedule.later(step.time))) / emulator.system.scale

    return jax.vmap(one)(steps)


def _slopes(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps) -> Float[Array, "step dim dim"]:
    scale = emulator.system.scale

    def one(step: Any) -> Array:
        return jax.jacfwd(lambda v: emulator(scale * v, schedule.later(step.time)) / scale)(step.before / scale)

    dim = len(scale)
    # Of a field with many sites not all at once.
    return jax.lax.map(one, steps, batch_size=max(1, MOST_SLOPES // dim**2))
