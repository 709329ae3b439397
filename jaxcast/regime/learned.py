"""The cell that follows a hidden regime whose motion is learned, from several first beliefs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_number, check_positive, check_whole
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.errors import InputError
from jaxcast.numerics.polynomials import check_factors
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.emulator import MOST_SUBSTEPS, Emulator
from jaxcast.regime.filtering import Beliefs, RegimeCell
from jaxcast.regime.motions import Motion


class LearnedRegimeForecaster(RegimeCell, Checked, FrozenPytree, name="learned_regime"):
    """A `RegimeForecaster` whose regime moves as it was learned to, instead of by oscillations.

    `fit_regime` returns it where oscillations and a wandering level forecast worse. Before anything
    is seen, several beliefs cover the regimes of the training trajectory, each with a weight. Each
    is filtered by itself, and its weight grows with the density of what was observed. The forecast
    is that of the most probable belief; the spread is that of all about this forecast.

    `info` holds weights, (model,); regime and regime_deviation, in the user's coordinates,
    (coordinate,); and spread, the standard deviation of the forecast, (dim,).

    Args:
        emulator: of the ensemble.
        motion: of the numbers that describe the regime.
        starts: the beliefs about these numbers before any observation.
        wander: standard deviations that each step adds to the numbers.
        value_noise: standard deviation of an observed value.
        model_noise: standard deviation of the truth about the emulator's step.
        interpolation: weights of the candidates for each feature of the coordinates.
        forecast_map: of the candidates; without them the emulator forecasts alone.
        interpolation_degree: highest degree of these features.
        is_corrected: whether the truth has corrected the emulator, which then forecasts alone.

    Raises:
        InputError: when saved or loaded, for arrays that do not match or settings out of range.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md; Alspach and Sorenson (1972) for
        the sum of normal distributions.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> from jaxcast.regime.filtering import Beliefs
        >>> from jaxcast.regime.profile import ProfileMotion
        >>> factors, one = ((0,), (1,)), jnp.ones(1)
        >>> theta = jnp.asarray([[[0.0], [0.0]], [[0.0], [-1.0]]])  # du/dt = -c u
        >>> system = jaxcast.regime.PolynomialSystem(theta, 0 * one, one, jnp.asarray([[-1.0], [1.0]]), factors, factors)
        >>> dt, zero = jnp.asarray(0.1), jnp.asarray(0.0)
        >>> emulator = jaxcast.regime.Emulator(system, 0 * one, one, dt, zero, num_substeps=4)
        >>> levels = jnp.asarray([[1.0], [2.0]])  # for 0.2 time units each
        >>> motion = ProfileMotion(jnp.asarray(0.4), levels, 0 * levels, dt, zero)
        >>> starts = Beliefs(0.1 * jnp.arange(4.0)[:, None], jnp.full((4, 1, 1), 1e-4), jnp.zeros(4))
        >>> tiny, weights = 1e-4 * one, jnp.asarray([[0.5, 0.5], [-0.5, 0.5]])
        >>> cell = jaxcast.regime.LearnedRegimeForecaster(emulator, motion, starts, tiny, tiny, tiny, weights)
        >>> history = jnp.exp(-jnp.asarray([[0.0], [0.2], [0.4], [0.5]]))  # c was 2, 2 and 1
        >>> output = jaxcast.forecast(cell, history, 4)
        >>> [round(c) for c in output.info["regime"][:, 0].tolist()]
        [1, 2, 2, 1]
    """

    emulator: Emulator
    motion: Motion
    starts: Beliefs
    wander: Float[Array, " number"]
    value_noise: Float[Array, " dim"]
    model_noise: Float[Array, " dim"]
    interpolation: Float[Array, "coordinate_feature model"]
    forecast_map: ForecastMap | None = None
    interpolation_degree: int = static(default=1)
    is_corrected: bool = static(default=False)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(dataclasses.replace(self, forecast_map=None))
        dim, (num_beliefs, size) = len(self.value_noise), self.starts.mean.shape
        shapes = {
            "starts.root": (self.starts.root.shape, (num_beliefs, size, size)),
            "starts.log_weights": (self.starts.log_weights.shape, (num_beliefs,)),
            "wander": (self.wander.shape, (size,)),
            "model_noise": (self.model_noise.shape, (dim,)),
            "emulator.system.scale": (self.emulator.system.scale.shape, (dim,)),
        }
        for name, (got, expected) in shapes.items():
            if got != expected:
                raise InputError(f"{name} must have shape {expected}, got {got}")
        system = self.emulator.system
        check_factors("state_factors", system.state_factors, system.num_variables)
        check_whole("num_substeps", self.emulator.num_substeps, most=MOST_SUBSTEPS)
        check_whole("interpolation_degree", self.interpolation_degree)
        check_flag("is_corrected", self.is_corrected)
        check_positive(dt=self.emulator.dt, unit=self.emulator.unit, scale=self.emulator.system.scale)
        for name, noise in (
            ("value_noise", self.value_noise),
            ("model_noise", self.model_noise),
            ("wander", self.wander),
        ):
            check_number(name, float(noise.min()), least=0)
        moved = jax.eval_shape(self.motion.later, self.starts.mean[0])
        if moved.shape != (size,):
            raise InputError(f"the motion must keep {size} numbers, got {moved.shape}")

    @property
    def regime_motion(self) -> Motion:
        """How the numbers that describe the regime move."""
        return self.motion

    @property
    def regime_wander(self) -> Float[Array, " number"]:
        """Standard deviations that each step adds to these numbers."""
        return self.wander

    def first_beliefs(self, time: Any) -> Beliefs:
        """Returns the beliefs before anything is seen; if the motion has a clock, also what it says.

        Args:
            time: of the first value, None if it is not known.
        """
        return with_clock(self.starts, self.motion.at(time))


def with_clock(others: Beliefs, clock: tuple[Array, Array] | None) -> Beliefs:
    """Adds the belief that the clock of the training trajectory has gone on, with even odds.

    Args:
        others: beliefs without a clock.
        clock: mean and root of the numbers by the clock; None without.
    """
    if clock is None:
        return others
    mean, root = clock
    return Beliefs(
        jnp.concatenate([mean[None], others.mean]),
        jnp.concatenate([root[None], others.root]),
        jnp.concatenate([jnp.zeros(1, mean.dtype), others.log_weights]),
    )
