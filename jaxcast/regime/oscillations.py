"""The motion of a regime that is a level, a trend and oscillations, and what a clock says of it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.harmonics import HarmonicSchedule
from jaxcast.regime.motions import Motion


class HarmonicMotion(Motion, FrozenPytree):
    """The motion of a `HarmonicSchedule`, whose numbers describe the regime.

    Args:
        schedule: with the frequencies, and the shapes of all else.
        dt: interval between samples.
        has_frequencies: whether the frequencies are among the numbers.
    """

    schedule: HarmonicSchedule
    dt: Float[Array, ""]
    has_frequencies: bool = static(default=False)

    def described(self) -> str:
        return f"is a level, a trend and {len(self.schedule.frequencies)} oscillations"

    def at(self, time: Any) -> None:
        """Returns None: the schedule has no clock of its own.

        Args:
            time: not used.
        """

    def path(self, numbers: Float[Array, " number"]) -> HarmonicSchedule:
        shapes = self._without(self.schedule)
        schedule: HarmonicSchedule = ravel_pytree(shapes)[1](numbers)
        return schedule if self.has_frequencies else self._with(schedule, self.schedule.frequencies)

    def later(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        return self.numbers(self.path(numbers).later(self.dt))

    def numbers(self, schedule: HarmonicSchedule) -> Array:
        """Returns the numbers of a schedule.

        Args:
            schedule: of the same shapes.
        """
        return ravel_pytree(self._without(schedule))[0]

    def _without(self, schedule: HarmonicSchedule) -> HarmonicSchedule:
        return schedule if self.has_frequencies else self._with(schedule, schedule.frequencies[:0])

    def _with(self, schedule: HarmonicSchedule, frequencies: Array) -> HarmonicSchedule:
        return dataclasses.replace(schedule, frequencies=frequencies)


class Clock(FrozenPytree, name="regime_clock"):
    """A schedule by the clock of the training trajectory, and how well it is known.

    Args:
        schedule: that was fitted, told from the origin.
        deviation: standard deviations of its numbers, its frequencies included.
        origin: its time 0.
    """

    schedule: HarmonicSchedule
    deviation: HarmonicSchedule
    origin: Float[Array, ""]

    def at(self, time: Any, motion: HarmonicMotion) -> tuple[Array, Array]:
        """Returns mean and root of a motion's numbers at a time.

        Args:
            time: when they are wanted.
            motion: of the same shapes.
        """
        since = jnp.asarray(time - self.origin, self.origin.dtype)
        flat, unravel = ravel_pytree(self.schedule)

        def numbers(flat: Array) -> Array:
            return motion.numbers(unravel(flat).later(since))

        root = jax.jacfwd(numbers)(flat) * ravel_pytree(self.deviation)[0]
        return numbers(flat), jnp.linalg.qr(root.T, mode="r").T


class Changes(FrozenPytree, name="regime_changes"):
    """How much a schedule may have changed since training.

    Args:
        deviation: standard deviations of its numbers, its frequencies included.
    """

    deviation: HarmonicSchedule
