"""The cell that infers a hidden regime from the candidates' errors, and pools them by it."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_number, check_positive, check_whole, sizes_of
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.errors import InputError
from jaxcast.numerics.polynomials import check_factors, monomials
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.regime.emulator import MOST_SUBSTEPS, Emulator
from jaxcast.regime.filtering import Beliefs, RegimeCell
from jaxcast.regime.harmonics import HarmonicSchedule
from jaxcast.regime.oscillations import Changes, Clock, HarmonicMotion

CHANGED = math.log(0.01)
"""Logarithmic weight of the belief that the schedule has changed since training, before anything is seen."""


class RegimeForecaster(RegimeCell, Checked, FrozenPytree, name="regime"):
    """A filter over the state and the hidden regime, and the pool of candidates at that regime.

        y = Phi(u; c(t)) + sum_i a_i(c) [F_i(u) - Phi(u; c_i)]

    Phi is the emulator's flow, F_i are the candidates, c is the regime halfway to the next sample,
    and a_i are the affine weights that interpolate between the candidates' coordinates. The
    forecast thus interpolates the candidates, corrected for the drift of the regime within a step
    and for the curvature between candidates. A true value is assimilated by a square-root iterated
    Kalman filter. In closed loop the regime follows its own dynamics, and the uncertainty grows.
    Where there are several beliefs about the schedule, each is filtered by itself, its weight grows
    with the density of what was observed, and the most probable forecasts. `fit_regime` returns it.

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
        clock: what the schedule is by the clock of the training trajectory; None to leave all
            phases unknown.
        changes: how much the schedule, its frequencies included, may have changed since training;
            None for not at all.

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
    clock: Clock | None = None
    changes: Changes | None = None

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(dataclasses.replace(self, forecast_map=None))
        sizes = self._sizes()
        for name, factors, size in (
            ("state_factors", self.emulator.system.state_factors, self.emulator.system.num_variables),
            ("coordinate_factors", self.emulator.system.coordinate_factors, sizes["coordinate"]),
        ):
            check_factors(name, factors, size)
        check_whole("interpolation_degree", self.interpolation_degree, most=sizes["weight_term"])
        if sizes["weight_term"] != len(monomials(sizes["coordinate"], self.interpolation_degree)):
            raise InputError(f"interpolation must have a row for each term, got {sizes['weight_term']}")
        check_whole("num_substeps", self.emulator.num_substeps, most=MOST_SUBSTEPS)
        check_flag("is_corrected", self.is_corrected)
        check_positive(dt=self.emulator.dt, unit=self.emulator.unit, scale=self.emulator.system.scale)
        for name, noise in (("value_noise", self.value_noise), ("model_noise", self.model_noise)):
            check_number(name, float(noise.min()), least=0)
        check_number("error", float(self.emulator.error), least=0)

    def _sizes(self) -> dict[str, int]:
        """Checks the axes of all arrays, which might otherwise broadcast silently."""
        schedule = {"level": "coordinate", "slope": "coordinate", "frequencies": "wave"}
        schedule |= {"cosines": "wave coordinate", "sines": "wave coordinate"}
        parts = ["schedule", "schedule_deviation", "wander"]
        parts += ["clock.schedule", "clock.deviation"] * (self.clock is not None)
        parts += ["changes.deviation"] * (self.changes is not None)
        system = self.emulator.system
        outputs = "dim" if system.neighbourhood is None else "1"
        theta = f"{len(system.state_factors)} {len(system.coordinate_factors)} {outputs}"
        shapes = {
            ".emulator.system.theta": theta,
            ".emulator.system.origin": "dim",
            ".emulator.system.scale": "dim",
            ".emulator.system.coordinates": "model coordinate",
            ".emulator.offset": "coordinate",
            ".emulator.unit": "coordinate",
            ".emulator.dt": "",
            ".emulator.error": "",
            **{f".{part}.{name}": schedule[name] for part in parts for name in schedule},
            **({".clock.origin": ""} if self.clock is not None else {}),
            ".value_noise": "dim",
            ".model_noise": "dim",
            ".interpolation": "weight_term model",
        }
        return sizes_of(dataclasses.replace(self, forecast_map=None), shapes, may_be_empty=("wave",))

    @property
    def periods(self) -> Float[Array, " oscillation"]:
        """Periods of the oscillations."""
        return 2 * jnp.pi / self.schedule.frequencies

    @property
    def amplitudes(self) -> Float[Array, "oscillation coordinate"]:
        """Amplitudes of the oscillations, in the user's coordinates."""
        return self.emulator.unit * jnp.sqrt(self.schedule_deviation.cosines**2 + self.schedule_deviation.sines**2)

    @property
    def regime_motion(self) -> HarmonicMotion:
        """How the numbers that describe the regime move."""
        return HarmonicMotion(self.schedule, self.emulator.dt, has_frequencies=self.changes is not None)

    @property
    def regime_wander(self) -> Float[Array, " number"]:
        """Standard deviations that each step adds to these numbers."""
        return self._deviations(self.wander)

    def first_beliefs(self, time: Any) -> Beliefs:
        """Returns what is believed before anything is seen.

        The schedule with unknown phases; by the clock, as it went on since training; and one of
        another period or slope.

        Args:
            time: of the first value, None if it is not known.
        """
        motion = self.regime_motion
        mean = motion.numbers(self.schedule)
        beliefs = [(mean, jnp.diag(self._deviations(self.schedule_deviation)), 0.0)]
        if self.clock is not None and time is not None:
            beliefs.append((*self.clock.at(time, motion), 0.0))
        if self.changes is not None:
            beliefs.append((mean, jnp.diag(motion.numbers(self.changes.deviation)), CHANGED))
        means, roots, log_weights = zip(*beliefs, strict=True)
        return Beliefs(jnp.stack(means), jnp.stack(roots), jnp.asarray(log_weights, mean.dtype))

    def _deviations(self, schedule: HarmonicSchedule) -> Array:
        """Returns deviations of the numbers; frequencies are certain."""
        tiny = 4096 * float(jnp.finfo(schedule.level.dtype).eps) * self.schedule.frequencies
        return self.regime_motion.numbers(dataclasses.replace(schedule, frequencies=tiny))
