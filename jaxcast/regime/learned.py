"""The cell that follows a hidden regime whose motion is learned, from several first beliefs."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_number, check_positive, check_whole
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.errors import InputError
from jaxcast.numerics.polynomials import check_factors
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.forecaster import MOST_SUBSTEPS, bounded, interpolating_weights
from jaxcast.regime.kalman import GaussianState, observe, predict
from jaxcast.regime.motions import Motion
from jaxcast.rollout import Input, Output
from jaxcast.types import Info


class LearnedRegimeCarry(NamedTuple):
    """What each belief holds of state and regime.

    Args:
        now: state and regime, filtered, with a leading axis of beliefs.
        ahead: the same, predicted one step ahead.
        log_weights: of the beliefs.
        has_begun: whether any value has been assimilated.
    """

    now: GaussianState
    ahead: GaussianState
    log_weights: Float[Array, " belief"]
    has_begun: Any


class LearnedRegimeForecaster(CandidateCell, Checked, FrozenPytree, name="learned_regime"):
    """A `RegimeForecaster` whose regime moves as it was learned to, instead of by oscillations.

    Such a motion is not linear, so no single normal distribution describes what is known of the
    regime before anything is seen. Several do, each with a weight: beliefs, that cover the regimes
    of the training trajectory. Each is filtered by itself, and its weight grows with the density of
    what was observed. The forecast is that of the most probable belief; the spread is that of all
    about this forecast. `fit_regime` returns it where oscillations and a wandering level forecast
    worse.

    `info` holds weights, (model,); regime and regime_deviation, in the user's coordinates,
    (coordinate,); and spread, the standard deviation of the forecast, (dim,).

    Args:
        emulator: of the ensemble.
        motion: of the numbers that describe the regime.
        starts: the beliefs about these numbers before any observation.
        log_weights: of the beliefs.
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
    """

    emulator: Emulator
    motion: Motion
    starts: GaussianState
    log_weights: Float[Array, " belief"]
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
            "log_weights": (self.log_weights.shape, (num_beliefs,)),
            "wander": (self.wander.shape, (size,)),
            "model_noise": (self.model_noise.shape, (dim,)),
            "emulator.system.scale": (self.emulator.system.scale.shape, (dim,)),
        }
        for name, (got, expected) in shapes.items():
            if got != expected:
                raise InputError(f"{name} must have shape {expected}, got {got}")
        check_factors("state_factors", self.emulator.system.state_factors, dim)
        check_whole("num_substeps", self.emulator.num_substeps, most=MOST_SUBSTEPS)
        check_whole("interpolation_degree", self.interpolation_degree)
        check_flag("is_corrected", self.is_corrected)
        check_positive(dt=self.emulator.dt, unit=self.emulator.unit, scale=self.emulator.system.scale)
        for name in ("value_noise", "model_noise", "wander"):
            check_number(name, float(getattr(self, name).min()), least=0)
        moved = jax.eval_shape(self.motion.later, self.starts.mean[0])
        if moved.shape != (size,):
            raise InputError(f"the motion must keep {size} numbers, got {moved.shape}")

    @property
    def warmup(self) -> int:
        return 1

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> LearnedRegimeCarry:
        dim, (num_beliefs, size) = len(self.value_noise), self.starts.mean.shape
        mean = jnp.concatenate([jnp.broadcast_to(value, (num_beliefs, dim)), self.starts.mean], 1)
        root = jnp.zeros((num_beliefs, dim + size, dim + size), mean.dtype)
        root = root.at[:, :dim, :dim].set(jnp.diag(self.value_noise)).at[:, dim:, dim:].set(self.starts.root)
        start = GaussianState(mean, root)
        return LearnedRegimeCarry(start, start, self.log_weights, jnp.asarray(False))

    def __call__(self, carry: LearnedRegimeCarry, x: Input) -> tuple[LearnedRegimeCarry, Output]:
        dim = x.value.shape[0]
        known = jnp.broadcast_to(x.known, (dim,))
        noise = jnp.diag(jnp.concatenate([self.model_noise, self.wander]))

        def look(_: Any) -> tuple[GaussianState, Array]:
            def one(belief: GaussianState) -> tuple[GaussianState, Array]:
                return observe(self._step, belief, x.value, known, noise, self.value_noise)

            now, density = jax.vmap(one)(carry.now)
            log_weights = carry.log_weights + jnp.nan_to_num(density, nan=-jnp.inf)
            return now, jax.nn.log_softmax(log_weights)

        def follow(_: Any) -> tuple[GaussianState, Array]:
            # An unknown component has the forecast value, which the user may have changed.
            best = jnp.argmax(carry.log_weights)
            fed = carry.ahead.mean.at[:, :dim].add(x.value - carry.ahead.mean[best, :dim])
            first = carry.now.mean.at[:, :dim].set(x.value)
            root = jnp.where(carry.has_begun, carry.ahead.root, carry.now.root)
            return GaussianState(jnp.where(carry.has_begun, fed, first), root), carry.log_weights

        now, log_weights = jax.lax.cond(carry.has_begun & known.any(), look, follow, None)
        ahead = jax.vmap(lambda belief: bounded(predict(self._step, belief, noise), self.emulator.system.scale))(now)
        carry = LearnedRegimeCarry(now, ahead, log_weights, jnp.asarray(True))
        return carry, self._output(carry, x.exogenous)

    def _output(self, carry: LearnedRegimeCarry, exogenous: Any) -> Output:
        emulator, dim = self.emulator, len(self.value_noise)
        best = jnp.argmax(carry.log_weights)
        now, ahead = (jax.tree.map(lambda a: a[best], belief) for belief in (carry.now, carry.ahead))
        state, numbers = now.mean[:dim], now.mean[dim:]
        halfway = self.motion.path(numbers)(emulator.dt / 2)
        weights = interpolating_weights(halfway, self.interpolation, self.interpolation_degree)
        forecast = ahead.mean[:dim]
        if self.forecast_map is not None and not self.is_corrected:
            forecast = forecast + weights @ emulator.misses(self.forecast_map, state, exogenous)
        at_now = jax.jacfwd(lambda numbers: self.motion.path(numbers)(0.0))(numbers)
        shares = jnp.exp(carry.log_weights)[:, None]
        apart = carry.ahead.mean[:, :dim] - ahead.mean[:dim]
        spread = jnp.sqrt(jnp.sum(shares * (carry.ahead.deviation[:, :dim] ** 2 + apart**2), 0))
        info: Info = {
            "weights": weights,
            "regime": emulator.offset + emulator.unit * self.motion.path(numbers)(0.0),
            "regime_deviation": emulator.unit * jnp.linalg.norm(at_now @ now.root[dim:], axis=-1),
            "spread": spread,
        }
        return Output(forecast, info)

    def _step(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        """Returns state and regime one sample later."""
        dim = len(self.value_noise)
        path = self.motion.path(numbers[dim:])
        return jnp.concatenate([self.emulator(numbers[:dim], path), self.motion.later(numbers[dim:])])
