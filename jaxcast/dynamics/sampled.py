"""A schedule through given values, such as those of another system."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.clock import Instant, after_steps, difference, joined
from jaxcast.dynamics.schedules import Parameter, SmoothSchedule
from jaxcast.errors import InputError
from jaxcast.types import Scalar


class SampledSchedule(SmoothSchedule, name="sampled"):
    """A cubic spline through values at evenly spaced times; constant before and after them.

    `sampled_schedule` makes one.

    Args:
        start: the time of the first value.
        step: the time between values.
        values: at least two.
        slopes: the derivatives at the same times.

    Example:
        >>> import jaxcast
        >>> line = jaxcast.dynamics.SampledSchedule(start=0.0, step=0.5, values=[1.0, 2.0], slopes=[2.0, 2.0])
        >>> float(line(0.25)), float(line(9.0))
        (1.5, 2.0)
    """

    times_within = ("start", "step")
    start: Parameter
    step: Parameter
    values: Parameter
    slopes: Parameter

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        values, slopes, step = jnp.asarray(self.values), jnp.asarray(self.slopes), jnp.asarray(joined(self.step))
        most = values.shape[-1] - 2
        position = difference(t, self.start) / step
        i = jnp.clip(jnp.floor(position), 0, most).astype(jnp.int32)
        exact = isinstance(self.start, Instant) and isinstance(self.step, Instant)
        since = difference(t, after_steps(self.start, i, self.step)) / step if exact else position - i
        x = jnp.clip(since, 0.0, 1.0).astype(values.dtype)

        def at(array: Array, i: Array) -> Array:
            return jnp.take_along_axis(array, i[..., None], -1)[..., 0]

        (a, b), (da, db) = ((at(array, i), at(array, i + 1)) for array in (values, step[..., None] * slopes))
        return a + x * (da + x * (3 * (b - a) - 2 * da - db + x * (2 * (a - b) + da + db)))


@checked
def sampled_schedule(times: Shaped[ArrayLike, " time"], values: Shaped[ArrayLike, " time"]) -> SampledSchedule:
    """Makes a schedule of the cubic spline through values.

    So a parameter can follow measured values, or a component of another system: a hidden regime
    that is chaotic itself. A `DrivenSystem` has the same without interpolation, in one state with
    its driver.

    Args:
        times: evenly spaced, at least four.
        values: of the parameter.

    Returns:
        The schedule.

    Raises:
        InputError: for times that are not evenly spaced, for fewer than four, and for numbers that
            are not finite.

    Source:
        de Boor, A Practical Guide to Splines (1978), chapter 4.

    Example:
        >>> import jaxcast
        >>> slow = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=200, dt=0.01, transient=10.0)
        >>> rho = jaxcast.dynamics.sampled_schedule(slow.times / 0.15, 38.0 + 0.45 * slow.states[:, 0])
        >>> times, states = jaxcast.simulate(jaxcast.Lorenz63(rho=rho), [1.0, 1.0, 20.0], num_samples=50)
        >>> states.shape
        (50, 3)
    """
    from scipy.interpolate import CubicSpline  # heavy to import, and needed here alone

    t, x = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if len(t) < 4 or len(t) != len(x):
        raise InputError(f"expected at least four times and as many values, got {len(t)} and {len(x)}")
    if not (np.isfinite(t).all() and np.isfinite(x).all()):
        raise InputError("the times and values of a sampled schedule must be finite; fill the gaps first")
    step = (t[-1] - t[0]) / (len(t) - 1)
    if not step > 0 or np.abs(np.diff(t) - step).max() > 1e-4 * step:
        raise InputError("the times of a sampled schedule must be evenly spaced and rise; interpolate the values first")
    slopes: Any = CubicSpline(t[0] + step * np.arange(len(t)), x)(t[0] + step * np.arange(len(t)), 1)
    return SampledSchedule(float(t[0]), float(step), x, slopes)
