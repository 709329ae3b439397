"""The cell that infers a hidden regime from the candidates' errors, and pools them by it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_number, check_positive, check_whole, sizes_of
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.errors import InputError
from jaxcast.numerics.polynomials import check_factors, monomials, products
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.harmonics import HarmonicSchedule
from jaxcast.regime.kalman import GaussianState, observe, predict
from jaxcast.rollout import Input, Output
from jaxcast.types import Info

MOST_SUBSTEPS = 1000
"""Most substeps of a stored emulator; `fit_emulator` tries up to 50."""
MOST_SPREAD = 3.0
"""Bound of the filter's uncertainty, in standard deviations of the state."""


class RegimeCarry(NamedTuple):
    """The filtered and the predicted state.

    Args:
        now: state and regime, filtered.
        ahead: the same, predicted one step ahead.
        has_begun: whether any value has been assimilated.
    """

    now: GaussianState
    ahead: GaussianState
    has_begun: Any


class RegimeForecaster(CandidateCell, Checked, FrozenPytree, name="regime"):
    """A filter over the state and the hidden regime, and the pool of candidates at that regime.

        y = Phi(u; c(t)) + sum_i a_i(c) [F_i(u) - Phi(u; c_i)]

    Phi is the emulator's flow, F_i are the candidates, c is the regime halfway to the next sample,
    and a_i are the affine weights that interpolate between the candidates' coordinates. The
    forecast thus interpolates the candidates, corrected for the drift of the regime within a step
    and for the curvature between candidates. A true value is assimilated by a square-root iterated
    Kalman filter. In closed loop the regime follows its own dynamics, and the uncertainty grows.
    `fit_regime` returns it.

    `info` holds weights, (model,); regime and regime_deviation, in the user's coordinates,
    (coordinate,); and spread, the standard deviation of the forecast, (dim,).

    Args:
        emulator: of the ensemble.
        schedule: the schedule of the regime; its numbers are their mean before any observation.
        schedule_deviation: standard deviations of these numbers.
        wander: standard deviations that each step adds to them.
        value_noise: standard deviation of an observed value.
        model_noise: standard deviation of the truth about the emulator's step.
        interpolation: weights of the candidates for each feature of the coordinates.
        forecast_map: of the candidates; without them the emulator forecasts alone.
        interpolation_degree: highest degree of these features.
        is_corrected: whether the truth has corrected the emulator, which then forecasts alone.

    Raises:
        InputError: when saved or loaded, for arrays that do not match or settings out of range.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md; Kailath, Sayed and Hassibi
        (2000), section 12.1, for the square-root filter; Kullberg, Skog and Hendeby (2022) for its
        iterations.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = jaxcast.flow_map(
        ...     jaxcast.stack_systems([jaxcast.Rossler(c=c) for c in (4.0, 6.0)]), dt=0.4, h=0.1
        ... )
        >>> truth = jaxcast.simulate(
        ...     jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0
        ... )
        >>> cell = jaxcast.fit_regime(truth, forecast_map=candidates, coordinates=np.array([4.0, 6.0]), num_substeps=4)
        >>> output = jaxcast.forecast(cell, truth.states[:6], 10, truth.times[:15])
        >>> bool(abs(output.info["regime"][-1, 0] - 5.0) < 1e-2)  # which neither candidate has
        True
    """

    emulator: Emulator
    schedule: HarmonicSchedule
    schedule_deviation: HarmonicSchedule
    wander: HarmonicSchedule
    value_noise: Float[Array, " dim"]
    model_noise: Float[Array, " dim"]
    interpolation: Float[Array, "coordinate_feature model"]
    forecast_map: ForecastMap | None = None
    interpolation_degree: int = static(default=1)
    is_corrected: bool = static(default=False)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(dataclasses.replace(self, forecast_map=None))
        sizes = self._sizes()
        for name, factors, size in (
            ("state_factors", self.emulator.system.state_factors, sizes["dim"]),
            ("coordinate_factors", self.emulator.system.coordinate_factors, sizes["coordinate"]),
        ):
            check_factors(name, factors, size)
        check_whole("interpolation_degree", self.interpolation_degree, most=sizes["weight_term"])
        if sizes["weight_term"] != len(monomials(sizes["coordinate"], self.interpolation_degree)):
            raise InputError(f"interpolation must have a row for each term, got {sizes['weight_term']}")
        check_whole("num_substeps", self.emulator.num_substeps, most=MOST_SUBSTEPS)
        check_flag("is_corrected", self.is_corrected)
        check_positive(dt=self.emulator.dt, unit=self.emulator.unit, scale=self.emulator.system.scale)
        for name in ("value_noise", "model_noise"):
            check_number(name, float(getattr(self, name).min()), least=0)
        check_number("error", float(self.emulator.error), least=0)

    def _sizes(self) -> dict[str, int]:
        """Checks the axes of all arrays, which might otherwise broadcast silently."""
        schedule = {"level": "coordinate", "slope": "coordinate", "frequencies": "wave"}
        schedule |= {"cosines": "wave coordinate", "sines": "wave coordinate"}
        system = self.emulator.system
        theta = f"{len(system.state_factors)} {len(system.coordinate_factors)} dim"
        shapes = {
            ".emulator.system.theta": theta,
            ".emulator.system.origin": "dim",
            ".emulator.system.scale": "dim",
            ".emulator.system.coordinates": "model coordinate",
            ".emulator.offset": "coordinate",
            ".emulator.unit": "coordinate",
            ".emulator.dt": "",
            ".emulator.error": "",
            **{
                f".{part}.{name}": schedule[name]
                for part in ("schedule", "schedule_deviation", "wander")
                for name in schedule
            },
            ".value_noise": "dim",
            ".model_noise": "dim",
            ".interpolation": "weight_term model",
        }
        return sizes_of(dataclasses.replace(self, forecast_map=None), shapes, may_be_empty=("wave",))

    @property
    def warmup(self) -> int:
        return 1

    @property
    def periods(self) -> Float[Array, " oscillation"]:
        """Periods of the oscillations."""
        return 2 * jnp.pi / self.schedule.frequencies

    @property
    def amplitudes(self) -> Float[Array, "oscillation coordinate"]:
        """Amplitudes of the oscillations, in the user's coordinates."""
        return self.emulator.unit * jnp.sqrt(self.schedule_deviation.cosines**2 + self.schedule_deviation.sines**2)

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> RegimeCarry:
        mean = jnp.concatenate([value, self._numbers(self.schedule)])
        root = jnp.diag(jnp.concatenate([self.value_noise, self._numbers(self.schedule_deviation)]))
        start = GaussianState(mean, root)
        return RegimeCarry(start, start, jnp.asarray(False))

    def __call__(self, carry: RegimeCarry, x: Input) -> tuple[RegimeCarry, Output]:
        dim = x.value.shape[0]
        known = jnp.broadcast_to(x.known, (dim,))
        # An unknown component has the forecast value, which the user may have changed.
        fed = GaussianState(carry.ahead.mean.at[:dim].set(x.value), carry.ahead.root)
        first = GaussianState(carry.now.mean.at[:dim].set(x.value), carry.now.root)
        noise = self._noise_root()

        def look(_: Any) -> GaussianState:
            return observe(self._step, carry.now, x.value, known, noise, self.value_noise)[0]

        now = jax.lax.cond(carry.has_begun & known.any(), look, lambda _: _either(carry.has_begun, fed, first), None)
        ahead = predict(self._step, now, noise)
        carry = RegimeCarry(now, bounded(ahead, self.emulator.system.scale), jnp.asarray(True))
        return carry, self._output(now, carry.ahead, x.exogenous)

    def _output(self, now: GaussianState, ahead: GaussianState, exogenous: Any) -> Output:
        emulator, dim = self.emulator, len(self.value_noise)
        state, schedule = now.mean[:dim], self._schedule(now.mean[dim:])
        weights = interpolating_weights(schedule(emulator.dt / 2), self.interpolation, self.interpolation_degree)
        forecast = ahead.mean[:dim]
        if self.forecast_map is not None and not self.is_corrected:
            forecast = forecast + weights @ emulator.misses(self.forecast_map, state, exogenous)
        at_now = jax.jacfwd(lambda numbers: self._schedule(numbers)(0.0))(now.mean[dim:])
        deviation = jnp.linalg.norm(at_now @ now.root[dim:], axis=-1)
        info: Info = {
            "weights": weights,
            "regime": emulator.offset + emulator.unit * schedule(0.0),
            "regime_deviation": emulator.unit * deviation,
            "spread": ahead.deviation[:dim],
        }
        return Output(forecast, info)

    def _step(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        """Returns state and regime one sample later."""
        dim = len(self.value_noise)
        schedule = self._schedule(numbers[dim:])
        return jnp.concatenate(
            [self.emulator(numbers[:dim], schedule), self._numbers(schedule.later(self.emulator.dt))]
        )

    def _noise_root(self) -> Array:
        return jnp.diag(jnp.concatenate([self.model_noise, self._numbers(self.wander)]))

    def _numbers(self, schedule: HarmonicSchedule) -> Array:
        return ravel_pytree(dataclasses.replace(schedule, frequencies=schedule.frequencies[:0]))[0]

    def _schedule(self, numbers: Array) -> HarmonicSchedule:
        without = dataclasses.replace(self.schedule, frequencies=self.schedule.frequencies[:0])
        return dataclasses.replace(ravel_pytree(without)[1](numbers), frequencies=self.schedule.frequencies)


def interpolating_weights(
    regime: Float[Array, " coordinate"], interpolation: Float[Array, "coordinate_feature model"], degree: int
) -> Float[Array, " model"]:
    """Returns affine weights that interpolate the candidates at a regime.

    Args:
        regime: the coordinates.
        interpolation: weights of the candidates for each feature of the coordinates.
        degree: highest degree of these features.
    """
    return products(regime, monomials(len(regime), degree)) @ interpolation


def bounded(belief: GaussianState, scale: Float[Array, " dim"]) -> GaussianState:
    """Returns a distribution whose spread of the state is at most `MOST_SPREAD`.

    Args:
        belief: over the state and what follows it.
        scale: standard deviation of the state.
    """
    shrink = jnp.minimum(1, MOST_SPREAD * scale / belief.deviation[: len(scale)])
    return GaussianState(belief.mean, belief.root.at[: len(scale)].multiply(shrink[:, None]))


def _either(condition: Any, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), a, b)
