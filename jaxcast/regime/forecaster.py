"""The cell that infers a hidden regime from how the candidates err, carries it forward, and pools by it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.candidates import ForecastMap, as_forecast_map, forecasts_along
from jaxcast.integrate import Trajectory
from jaxcast.pytrees import register
from jaxcast.regime.checks import NUM_BLOCKS, check_trajectory
from jaxcast.regime.course import Course, Steps, fit_course, revealed
from jaxcast.regime.emulator import Emulator, fit_emulator, monomials, products
from jaxcast.regime.kalman import Belief, observe, predict
from jaxcast.rollout import Input, Output

MOST_SPREAD = 3.0
"""In deviations of the state: what a diverging covariance is held to."""


class RegimeCarry(NamedTuple):
    """What is believed of state and regime now, and one step ahead; whether anything was seen yet."""

    now: Belief
    ahead: Belief
    has_begun: Any


@register
@dataclasses.dataclass(frozen=True)
class RegimeForecaster:
    """A filter over the state and the regime that candidates' errors reveal, and the pool of candidates at that regime.

        y = Phi(u; course) + sum_i a_i(c) [F_i(u) - Phi(u; c_i)]

    Phi is the emulator's flow, F_i the candidates, c the regime halfway to the next sample, and a_i the affine weights that
    interpolate between the candidates' coordinates: an interpolation of the candidates, corrected for the drift of the regime
    within a step and for the curvature between candidates. Where the value is the truth, the belief about both shrinks
    (a square-root iterated Kalman filter); where it is the cell's own forecast, the regime follows its own dynamics and
    the uncertainty grows. Made by `fit_regime`.

    `info`: weights, (model,); regime and regime_deviation, in the user's coordinates, (coordinate,); spread, the standard
    deviation of the forecast, (dim,).

    Args:
        emulator: of the ensemble. course: its numbers are the mean of the regime before anything was seen.
        course_deviation: a course of the deviations from that. wander: of the deviations that each step adds.
        value_noise, model_noise: deviations of a value from the truth, and of the truth from the emulator, (dim,).
        forecast_map: the candidates; without them the emulator forecasts alone.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Rossler(c=c) for c in (4.0, 6.0)]), dt=0.4, h=0.1)
        >>> truth = jaxcast.simulate(jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0)
        >>> cell = jaxcast.fit_regime(truth, candidates, coordinates=np.array([4.0, 6.0]), num_substeps=4)
        >>> output = jaxcast.forecast(cell, truth.states[:6], 10, truth.times[:15])
        >>> bool(abs(output.info["regime"][-1, 0] - 5.0) < 1e-2)  # which neither candidate has
        True
    """

    emulator: Emulator
    course: Course
    course_deviation: Course
    wander: Course
    value_noise: Float[Array, " dim"]
    model_noise: Float[Array, " dim"]
    interpolation: Float[Array, "coordinate_feature model"]
    forecast_map: ForecastMap | None = None
    interpolation_degree: int = dataclasses.field(default=1, metadata={"static": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "forecast_map", as_forecast_map(self.forecast_map))

    @property
    def warmup(self) -> int:
        return 1

    @property
    def periods(self) -> Float[Array, " oscillation"]:
        """Of the oscillations that were found."""
        return 2 * jnp.pi / self.course.frequencies

    @property
    def amplitudes(self) -> Float[Array, "oscillation coordinate"]:
        """Of the oscillations that were found, in the user's coordinates."""
        return self.emulator.unit * jnp.sqrt(self.course_deviation.cosines**2 + self.course_deviation.sines**2)

    def init_carry(self, value: Float[Array, " dim"], given: Any = None) -> RegimeCarry:
        mean = jnp.concatenate([value, self._numbers(self.course)])
        root = jnp.diag(jnp.concatenate([self.value_noise, self._numbers(self.course_deviation)]))
        start = Belief(mean, root)
        return RegimeCarry(start, start, jnp.asarray(False))

    def __call__(self, carry: RegimeCarry, x: Input) -> tuple[RegimeCarry, Output]:
        dim = x.value.shape[0]
        known = jnp.broadcast_to(x.known, (dim,))
        # An unknown component is what the forecast said, which the user may have changed.
        fed = Belief(carry.ahead.mean.at[:dim].set(x.value), carry.ahead.root)
        first = Belief(carry.now.mean.at[:dim].set(x.value), carry.now.root)
        noise = self._noise_root()

        def look(_: Any) -> Belief:
            return observe(self._step, carry.now, x.value, known, noise, self.value_noise)

        now = jax.lax.cond(carry.has_begun & known.any(), look, lambda _: _either(carry.has_begun, fed, first), None)
        ahead = predict(self._step, now, noise)
        carry = RegimeCarry(now, self._bounded(ahead), jnp.asarray(True))
        return carry, self._output(now, carry.ahead, x.given)

    def feedback(self, output: Output, key: Any) -> Array:
        return output.forecast

    def _output(self, now: Belief, ahead: Belief, given: Any) -> Output:
        emulator, dim = self.emulator, len(self.value_noise)
        state, course = now.mean[:dim], self._course(now.mean[dim:])
        halfway = course(emulator.dt / 2)
        weights = products(halfway, monomials(len(halfway), self.interpolation_degree)) @ self.interpolation
        forecast = ahead.mean[:dim]
        if self.forecast_map is not None:
            missed = self.forecast_map(state, given) - jax.vmap(emulator, (None, 0))(state, emulator.system.coordinates)
            forecast = forecast + weights @ missed
        at_now = jax.jacfwd(lambda numbers: self._course(numbers)(0.0))(now.mean[dim:])
        deviation = jnp.linalg.norm(at_now @ now.root[dim:], axis=-1)
        info = {
            "weights": weights,
            "regime": emulator.offset + emulator.unit * course(0.0),
            "regime_deviation": emulator.unit * deviation,
            "spread": ahead.deviation[:dim],
        }
        return Output(forecast, info)

    def _step(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        """State and regime one sample later."""
        dim = len(self.value_noise)
        course = self._course(numbers[dim:])
        return jnp.concatenate([self.emulator(numbers[:dim], course), self._numbers(course.later(self.emulator.dt))])

    def _noise_root(self) -> Array:
        return jnp.diag(jnp.concatenate([self.model_noise, self._numbers(self.wander)]))

    def _bounded(self, belief: Belief) -> Belief:
        scale = self.emulator.system.scale
        shrink = jnp.minimum(1, MOST_SPREAD * scale / belief.deviation[: len(scale)])
        return Belief(belief.mean, belief.root.at[: len(scale)].multiply(shrink[:, None]))

    def _numbers(self, course: Course) -> Array:
        return ravel_pytree(dataclasses.replace(course, frequencies=()))[0]

    def _course(self, numbers: Array) -> Course:
        without = dataclasses.replace(self.course, frequencies=())
        return dataclasses.replace(ravel_pytree(without)[1](numbers), frequencies=self.course.frequencies)


def _either(condition: Any, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), a, b)


def fit_regime(
    trajectory: Trajectory,
    forecast_map: ForecastMap,
    *,
    coordinates: Shaped[ArrayLike, "..."] | None = None,
    interpolation_degree: int = 3,
    **emulator_settings: Any,
) -> RegimeForecaster:
    """Everything a `RegimeForecaster` needs, from one trajectory of the truth and what the candidates forecast along it.

    The emulator is fitted to the candidates alone, the course of the regime to the truth through the emulator's flow, and
    the noise to what both leave over. No period, phase or shape of the course is given, nor which parameter varies.

    Args:
        trajectory: of the truth, perhaps seen with noise.
        coordinates: (model,) or (model, coordinate), a number or more for every candidate, such as the value of the
            parameter in which they differ; without them they are found from how the forecasts differ.

    Raises:
        InputError: for a trajectory that is too short (78 samples at least), not evenly sampled or not finite, candidates
            that diverge, do not differ or are fewer than two, or coordinates that are not one row for each of them.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Rossler(c=c) for c in (4.0, 6.0)]), dt=0.4, h=0.1)
        >>> truth = jaxcast.simulate(jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0)
        >>> cell = jaxcast.fit_regime(truth, candidates, coordinates=np.array([4.0, 6.0]), num_substeps=4)
        >>> output = jaxcast.forecast(cell, truth.states[:6], 10, truth.times[:15])
        >>> bool(abs(output.forecast - truth.states[6:16]).max() < 1e-2)
        True
    """
    check_trajectory(trajectory)
    states = jnp.asarray(trajectory.states)
    forecasts = forecasts_along(forecast_map, trajectory)
    dt = float((trajectory.times[-1] - trajectory.times[0]) / (len(trajectory.times) - 1))
    emulator = fit_emulator(states, forecasts, dt, coordinates=coordinates, **emulator_settings)
    course = fit_course(emulator, states)
    return _with_noise(emulator, course, states, forecast_map, interpolation_degree)


def _with_noise(
    emulator: Emulator, course: Course, states: Array, forecast_map: ForecastMap, interpolation_degree: int
) -> RegimeForecaster:
    """The forecaster of a course, with noise as large as what emulator and course leave over."""
    num_steps = len(states) - 1
    time = emulator.dt * (jnp.arange(num_steps) - num_steps // 2)
    steps = Steps(time, states[:-1], states[1:], jnp.ones(num_steps))
    scale = emulator.system.scale
    left = _left_over(emulator, course, steps)
    course = course.trimmed()
    floor = 4096 * float(jnp.finfo(states.dtype).eps)
    amplitude = jnp.sqrt((course.cosines**2 + course.sines**2) / 2)
    still = jnp.zeros_like(course.level)
    nowhere = dataclasses.replace(course, level=still, slope=still, cosines=0 * amplitude, sines=0 * amplitude)
    duration = num_steps * emulator.dt
    deviation = dataclasses.replace(
        nowhere, level=jnp.hypot(left.regime, course.slope * duration / 12**0.5), cosines=amplitude, sines=amplitude
    )
    wander = dataclasses.replace(nowhere, level=left.wander)
    deviation, wander = jax.tree.map(lambda leaf: leaf + floor, (deviation, wander))
    degree = min(interpolation_degree, _highest_degree(emulator))
    features = jax.vmap(lambda c: products(c, monomials(len(c), degree)))(emulator.system.coordinates)
    return RegimeForecaster(
        emulator,
        dataclasses.replace(course, cosines=0 * amplitude, sines=0 * amplitude),
        deviation,
        wander,
        (left.value + floor) * scale,
        (left.model + floor) * scale,
        jnp.linalg.pinv(features),
        forecast_map,
        degree,
    )


def _highest_degree(emulator: Emulator) -> int:
    """Such that there are no more features than candidates."""
    num_models, num_coordinates = emulator.system.coordinates.shape
    degree = 1
    while len(monomials(num_coordinates, degree + 1)) <= num_models:
        degree += 1
    return degree


class _LeftOver(NamedTuple):
    """What emulator and course leave over: of the regime, a deviation and what each step adds to it, (coordinate,); of
    the state, what values are wrong by and what steps are, (dim,)."""

    regime: Array
    wander: Array
    value: Array
    model: Array


def _left_over(emulator: Emulator, course: Course, steps: Steps) -> _LeftOver:
    """Told apart by how what is missed at one step goes with what is missed at the next.

    A wrong value at j is missed twice, as e_j and as -J_j e_j; a wrong step once; a regime off its course again and again.
    With r_j the misses in deviations of the state and J_j the slope of step j,

        E[r_j-1 (J_j^T r_j)] = -E[J_j^T J_j] E[e^2]  componentwise,    E[r^2] = (1 + E[J^2]) E[e^2] + E[model^2].
    """
    shift, information, unexplained = revealed(course, emulator, steps)
    sure = jnp.trace(information, axis1=1, axis2=2)
    weight = (sure / (sure + jnp.median(sure)))[:, None]
    size = jnp.median(jnp.abs(shift), axis=0)
    shift = jnp.clip(shift, -20 * size, 20 * size)

    def covariance(lag: int) -> tuple[Array, Array]:
        products, weights = (a[lag:] * a[:-lag] for a in (weight * shift, weight))
        blocks = [part.mean(0) for part in jnp.array_split(products, NUM_BLOCKS)]
        return products.sum(0) / weights.sum(0), jnp.stack(blocks).mean(0) / (
            jnp.stack(blocks).std(0) / NUM_BLOCKS**0.5
        )

    # Neighbours share a value and its error; from a lag of two on, only the regime is the same.
    (two, clear), (three, _) = covariance(2), covariance(3)
    wanders = (clear > 3) & (two > 0)
    # Where nothing at all is left over, two and three are zero.
    persistence = jnp.clip(jnp.where(wanders, three / jnp.where(wanders, two, 1), 1), 0.5, 0.999)
    variance = jnp.where(wanders, two / persistence**2, 0)
    slopes = _slopes(emulator, course, steps)
    total = _misses(emulator, course, steps)
    missed, ordinary = total, jnp.ones(len(total), bool)
    if wanders.any():
        dim, num_coordinates = unexplained.shape[1], len(variance)
        missed = unexplained * jnp.sqrt(dim / max(dim - num_coordinates, 1))
        norms = jnp.linalg.norm(missed, axis=1)
        ordinary = norms <= jnp.quantile(norms, 0.95)  # a regime that jumps within a step is no noise
    keep = ordinary[:, None]
    mean = lambda a: (a * keep[-len(a) :]).sum(0) / keep.sum()  # noqa: E731
    twice = -mean(missed[:-1] * jnp.einsum("ned,ne->nd", slopes[1:], missed[1:]))
    squares = jnp.einsum("ned,n->ed", slopes**2, ordinary) / ordinary.sum()
    value = jnp.maximum(twice / squares.sum(0), 0)
    model = jnp.maximum(mean(missed**2) - value - squares @ value, 0)
    return _LeftOver(jnp.sqrt(variance), jnp.sqrt(variance * (1 - persistence**2)), jnp.sqrt(value), jnp.sqrt(model))


@jax.jit
def _misses(emulator: Emulator, course: Course, steps: Steps) -> Float[Array, "step dim"]:
    def one(step: Any) -> Array:
        return (step.after - emulator(step.before, course.later(step.time))) / emulator.system.scale

    return jax.vmap(one)(steps)


@jax.jit
def _slopes(emulator: Emulator, course: Course, steps: Steps) -> Float[Array, "step dim dim"]:
    scale = emulator.system.scale

    def one(step: Any) -> Array:
        return jax.jacfwd(lambda v: emulator(scale * v, course.later(step.time)) / scale)(step.before / scale)

    return jax.vmap(one)(steps)
