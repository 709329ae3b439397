"""The filter over state and hidden regime that all regime forecasters are."""

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.precision import product
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.kalman import GaussianState, observe, predict
from jaxcast.regime.motions import Motion
from jaxcast.rollout import Input, Output
from jaxcast.types import Info

MOST_SPREAD = 3.0
"""Bound of the filter's uncertainty, in standard deviations of the state."""


class Beliefs(NamedTuple):
    """What may be believed of the numbers that describe a regime.

    Args:
        mean: of each belief, (belief, number).
        root: a root of its covariance, (belief, number, number).
        log_weights: of the beliefs.
    """

    mean: Float[Array, "belief number"]
    root: Float[Array, "belief number number"]
    log_weights: Float[Array, " belief"]


class RegimeCarry(NamedTuple):
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

    @property
    def usable_weights(self) -> Float[Array, " belief"]:
        """The logarithmic weights, of which beliefs that the next step leads out of range have none."""
        return jnp.where(jnp.isfinite(self.ahead.mean).all(1), self.log_weights, -jnp.inf)


class RegimeCell(CandidateCell):
    """Base of cells that filter state and regime under several beliefs at once.

    Each belief is a normal distribution that is filtered by itself; its weight grows with the
    density of what is observed. The forecast is that of the most probable belief; the spread is
    that of all about this forecast. A subclass is a frozen pytree with the fields below.

    Args:
        emulator: of the ensemble.
        value_noise: standard deviation of an observed value.
        model_noise: standard deviation of the truth about the emulator's step.
        interpolation: weights of the candidates for each feature of the coordinates.
        interpolation_degree: highest degree of these features.
        is_corrected: whether the truth has corrected the emulator, which then forecasts alone.

    Source:
        Alspach and Sorenson (1972) for the sum of normal distributions.
    """

    emulator: Emulator
    value_noise: Float[Array, " dim"]
    model_noise: Float[Array, " dim"]
    interpolation: Float[Array, "coordinate_feature model"]
    forecast_map: ForecastMap | None
    interpolation_degree: int
    is_corrected: bool

    @property
    @abc.abstractmethod
    def regime_motion(self) -> Motion:
        """How the numbers that describe the regime move."""

    @property
    @abc.abstractmethod
    def regime_wander(self) -> Float[Array, " number"]:
        """Standard deviations that each step adds to these numbers."""

    @abc.abstractmethod
    def first_beliefs(self, time: Any) -> Beliefs:
        """Returns the beliefs before anything is seen.

        Args:
            time: of the first value, None if it is not known.
        """

    @property
    def warmup(self) -> int:
        return 1

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> RegimeCarry:
        return self._begun(value, exogenous, self.value_noise)

    def _begun(self, value: Float[Array, " dim"], exogenous: Any, value_noise: Float[Array, " dim"]) -> RegimeCarry:
        dim = len(value)
        is_time = exogenous is not None and len(jax.tree.leaves(exogenous)) <= 2 and jnp.shape(exogenous) == ()
        mean, root, log_weights = self.first_beliefs(exogenous if is_time else None)
        num_beliefs, size = mean.shape
        whole = jnp.zeros((num_beliefs, dim + size, dim + size), mean.dtype)
        start = GaussianState(
            jnp.concatenate([jnp.broadcast_to(value, (num_beliefs, dim)), mean], 1),
            whole.at[:, :dim, :dim].set(jnp.diag(value_noise)).at[:, dim:, dim:].set(root),
        )
        return RegimeCarry(start, start, log_weights, jnp.asarray(False))

    def __call__(self, carry: RegimeCarry, x: Input) -> tuple[RegimeCarry, Output]:
        dim = x.value.shape[0]
        known = jnp.broadcast_to(x.known, (dim,))
        noise = jnp.diag(jnp.concatenate([self.model_noise, self.regime_wander]))
        value_noise = self._noise_of(x)

        def look(_: Any) -> tuple[GaussianState, Array]:
            def one(belief: GaussianState) -> tuple[GaussianState, Array]:
                return observe(self._step, belief, x.value, known, noise, value_noise)

            now, density = jax.vmap(one)(carry.now)
            return self._without_lost(now, carry.log_weights + density, x, value_noise)

        def follow(_: Any) -> tuple[GaussianState, Array]:
            # An unknown component has the forecast value, which the user may have changed.
            shift = x.value - carry.ahead.mean[jnp.argmax(carry.usable_weights), :dim]
            fed = carry.ahead.mean.at[:, :dim].add(shift)
            first = carry.now.mean.at[:, :dim].set(x.value)
            root = carry.now.root.at[:, :dim, :dim].set(jnp.diag(value_noise))
            return GaussianState(
                jnp.where(carry.has_begun, fed, first),
                jnp.where(carry.has_begun, carry.ahead.root, root),
            ), carry.log_weights

        now, log_weights = jax.lax.cond(carry.has_begun & known.any(), look, follow, None)
        ahead = jax.vmap(lambda belief: _bounded(predict(self._step, belief, noise), self.emulator.system.scale))(now)
        later = RegimeCarry(now, ahead, log_weights, jnp.asarray(True))
        return later, self._output(later, x.exogenous)

    def _noise_of(self, x: Input) -> Float[Array, " dim"]:
        """Returns the standard deviation of a value; a filter that has diverged tells none."""
        if x.deviation is None:
            return self.value_noise
        return jnp.hypot(self.value_noise, jnp.where(jnp.isfinite(x.deviation), x.deviation, 0))

    def _without_lost(
        self, now: GaussianState, log_weights: Array, x: Input, value_noise: Array
    ) -> tuple[GaussianState, Array]:
        """Replaces beliefs that have left the emulator's range.

        They become the most probable of the others, without a weight. Where there is no other, the
        filter has diverged, and begins again at the newest value.
        """
        is_finite = jnp.isfinite(now.mean).all(1) & jnp.isfinite(now.root).all((1, 2)) & jnp.isfinite(log_weights)
        log_weights = jnp.where(is_finite, log_weights, -jnp.inf)
        best = jnp.argmax(log_weights)
        value = jnp.where(jnp.isfinite(x.value), x.value, self.emulator.system.origin)
        anew = self._begun(value, x.exogenous, value_noise)

        def replaced(belief: Array, first: Array) -> Array:
            is_kept = is_finite.reshape(-1, *[1] * (belief.ndim - 1))
            return jnp.where(is_finite.any(), jnp.where(is_kept, belief, belief[best]), first)

        log_weights = jnp.where(is_finite.any(), log_weights - log_weights[best], anew.log_weights)
        return jax.tree.map(replaced, now, anew.now), log_weights

    def _output(self, carry: RegimeCarry, exogenous: Any) -> Output:
        emulator, motion, dim = self.emulator, self.regime_motion, len(self.value_noise)
        best = jnp.argmax(carry.usable_weights)
        now, ahead = (jax.tree.map(lambda a: a[best], belief) for belief in (carry.now, carry.ahead))
        state, numbers = now.mean[:dim], now.mean[dim:]
        regime = motion.path(numbers)
        halfway = regime(emulator.dt / 2)
        features = products(halfway, monomials(len(halfway), self.interpolation_degree))
        weights = product(features, self.interpolation)
        forecast = ahead.mean[:dim]
        if self.forecast_map is not None and not self.is_corrected:
            forecast = forecast + product(weights, emulator.misses(self.forecast_map, state, exogenous))
        at_now = jax.jacfwd(lambda numbers: motion.path(numbers)(0.0))(numbers)
        apart = carry.ahead.mean[:, :dim] - ahead.mean[:dim]
        variances = carry.ahead.deviation[:, :dim] ** 2 + apart**2
        shares = jax.nn.softmax(carry.usable_weights)
        info: Info = {
            "weights": weights,
            "regime": emulator.offset + emulator.unit * regime(0.0),
            "regime_deviation": emulator.unit * jnp.linalg.norm(product(at_now, now.root[dim:]), axis=-1),
            "spread": jnp.sqrt(product(shares, jnp.where(shares[:, None] > 0, variances, 0))),
        }
        return Output(forecast, info)

    def _step(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        """Returns state and regime one sample later."""
        dim, motion = len(self.value_noise), self.regime_motion
        path = motion.path(numbers[dim:])
        return jnp.concatenate([self.emulator(numbers[:dim], path), motion.later(numbers[dim:])])


def _bounded(belief: GaussianState, scale: Float[Array, " dim"]) -> GaussianState:
    shrink = jnp.minimum(1, MOST_SPREAD * scale / belief.deviation[: len(scale)])
    return GaussianState(belief.mean, belief.root.at[: len(scale)].multiply(shrink[:, None]))
