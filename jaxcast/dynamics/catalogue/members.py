"""Random members of the families of systems in the catalogue, as data to train on."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxcast.arguments import checked
from jaxcast.dynamics.catalogue.entries import CatalogueEntry, catalogue_entry
from jaxcast.dynamics.ensembles import simulate_ensemble
from jaxcast.dynamics.systems import System, random_starts
from jaxcast.errors import InputError

FARTHEST = 30.0
"""Standard deviations from the usual start beyond which a member counts as unbounded."""
OWN_EXPONENT = 0.3
"""Share of the usual largest exponent below which a member counts as not chaotic."""


class RandomMembers(NamedTuple):
    """Trajectories of one system with random parameters.

    Args:
        system: a stack, with the parameters of each member.
        times: of the samples, in the system's time unit.
        states: of each member; NaN where it diverged.
        is_bounded: whether a member stayed near the usual attractor.
        exponents: growth rate of a small error of each member over the samples, per time unit.
        is_chaotic: whether a member is bounded and its exponent is at least 0.3 of the usual one.
    """

    system: System
    times: Float[Any, " time"]
    states: Float[Array, "member time dim"]
    is_bounded: Bool[np.ndarray, " member"]
    exponents: Float[np.ndarray, " member"]
    is_chaotic: Bool[np.ndarray, " member"]


@checked
def random_members(
    name: str,
    num: int,
    *,
    key: Key[Array, ""],
    num_samples: int = 500,
    samples_per_period: int = 30,
    num_periods_before: int = 10,
    spread: float | int = 0.1,
) -> RandomMembers:
    """Simulates members of a system's family: every parameter is multiplied by a random factor.

        p_i = p (1 + spread z_i),    z_i from N(0, 1)

    A twin of each member starts from a small error, which is brought back to its first size after
    every period; its growth is the exponent. Some members fall onto a fixed point or a cycle, and
    some diverge: `is_chaotic` says which did not. Equal numbers of members and samples compile one
    program for each system.

    Args:
        name: of the system in the catalogue.
        num: how many members.
        key: for parameters, starts and errors.
        num_samples: samples of each member.
        samples_per_period: how many fall into the system's usual period: a divisor of 300.
        num_periods_before: periods before the first sample.
        spread: standard deviation of the factors.

    Returns:
        The trajectories and what they are.

    Raises:
        InputError: for a name that is not in the catalogue, numbers below one, a number of samples
            in a period that does not divide 300, or a spread below zero.

    Example:
        >>> import jax, jaxcast
        >>> members = jaxcast.dynamics.random_members("Rucklidge", 20, num_samples=60, key=jax.random.key(0))
        >>> members.states.shape
        (20, 60, 3)
        >>> chaotic = members.states[members.is_chaotic]
    """
    entry = catalogue_entry(name)
    _check_sizes(num, num_samples, samples_per_period, num_periods_before, spread)
    for_parameters, for_starts, for_errors = jax.random.split(key, 3)
    system = _perturbed(entry.system, num, spread, for_parameters)
    starts = random_starts(entry.system, num, key=for_starts)
    # Not of times and angles, unless the state has nothing else.
    direction = jax.random.normal(for_errors, starts.shape) * jnp.asarray(~entry.drifting | entry.drifting.all())
    states, growth = _with_twins(entry, system, starts, direction, num_samples, samples_per_period, num_periods_before)
    dt = entry.period / samples_per_period
    far = np.abs(np.asarray(states) - entry.start) > FARTHEST * entry.scale
    is_bounded = np.isfinite(states).all((1, 2)) & ~(far & ~entry.drifting).any((1, 2))
    exponents = np.where(is_bounded, growth / ((num_samples - 1) * dt), np.nan)
    is_chaotic = is_bounded & (exponents > OWN_EXPONENT * entry.exponents[0])
    return RandomMembers(system, dt * np.arange(num_samples), states, is_bounded, exponents, is_chaotic)


def _check_sizes(
    num: int, num_samples: int, samples_per_period: int, num_periods_before: int, spread: float | int
) -> None:
    if num < 1 or num_samples < 2 or num_periods_before < 0:
        raise InputError(
            "expected at least 1 member, 2 samples and 0 periods before them, "
            f"got {num}, {num_samples} and {num_periods_before}"
        )
    if samples_per_period < 1 or 300 % samples_per_period:
        raise InputError(f"samples_per_period must divide 300, got {samples_per_period}")
    if spread < 0:
        raise InputError(f"spread must not be negative, got {spread}")


def _perturbed(system: System, num: int, spread: float | int, key: Array) -> System:
    """Returns a stack with random parameters."""
    structure: Any
    leaves, structure = jax.tree.flatten(system)
    factors = 1 + spread * jax.random.normal(key, (len(leaves), num))
    stack: System = structure.unflatten([leaf * factor for leaf, factor in zip(leaves, factors, strict=True)])
    return stack


def _with_twins(
    entry: CatalogueEntry,
    system: System,
    starts: Array,
    direction: Array,
    num_samples: int,
    samples_per_period: int,
    num_periods_before: int,
) -> tuple[Array, np.ndarray]:
    """Simulates members and twins, period after period; returns their states and the errors' growth."""
    num, dt = len(starts), entry.period / samples_per_period
    both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), system)
    size = float(jnp.finfo(starts.dtype).eps) ** 0.5
    scale = jnp.asarray(entry.scale, starts.dtype)
    error = _to_size(direction, scale, size)
    growth, pieces = np.zeros(num), list[Array]()
    num_pieces = -(-(num_samples - 1) // samples_per_period)
    last = num_samples - 1 - (num_pieces - 1) * samples_per_period
    for piece in range(-num_periods_before, num_pieces):
        num_steps = samples_per_period if piece < num_pieces - 1 else last
        found = simulate_ensemble(
            both,
            jnp.concatenate([starts, starts + error * scale]),
            num_samples=samples_per_period + 1,
            dt=dt,
            h=entry.h,
            t0=piece * entry.period,
        ).states[:, : num_steps + 1]
        starts, error = found[:num, -1], (found[num:, -1] - found[:num, -1]) / scale
        if piece >= 0:
            with np.errstate(divide="ignore"):  # a twin may meet its member
                growth += np.log(np.asarray(jnp.linalg.norm(error, axis=1)) / size)
            pieces.append(found[:num, :-1])
        error = _to_size(error, 1.0, size)
    return jnp.concatenate([*pieces, starts[:, None]], axis=1), growth


def _to_size(error: Array, scale: Any, size: float) -> Array:
    scaled = error / scale
    length = jnp.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled * (size / jnp.where(length > 0, length, 1.0))
