"""The ensemble Kalman filter with augmented parameters: states and what is unknown of the model, estimated together."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxcast.candidates import as_forecast_map
from jaxcast.errors import InputError
from jaxcast.integrate import FlowMap, flow_map
from jaxcast.pytrees import register
from jaxcast.rollout import Input, Output
from jaxcast.systems import System


class EnsembleCarry(NamedTuple):
    """The ensemble's forecast of the next value: states (member, dim), parameters (member, parameter); how many values
    have come, and the key from which every step's randomness is made."""

    states: Float[Array, "member dim"]
    parameters: Float[Array, "member parameter"]
    num_seen: Int[Array, ""]
    key: Key[Array, ""]


@register
@dataclasses.dataclass(frozen=True)
class EnsembleKalmanFilter:
    """An ensemble of states and parameters: run through the model, drawn to what is observed, and run on without it.

        analysis   [u; p] <- mean + K (y - mean u) + (anomalies) T,    T T' = (I + Y' R^-1 Y / (M - 1))^-1
        forecast   p <- p + noise while the truth is seen,    u <- model(u, p) + noise,    y = mean of u

    The analysis is that of the ensemble transform Kalman filter with the symmetric square root: mean and covariance are
    exactly those that the Kalman filter makes of the ensemble's own. Where a value is not known there is no analysis; in
    closed loop the parameters are held, each member keeping its own, and the ensemble goes on with all its spread.

    `info` has the spread of the forecast (dim,), and the mean of the parameters and their deviation, (parameter,), as
    "regime" and "regime_deviation", as a `RegimeForecaster` has.

    Source: Evensen (1994) for the filter; Hunt, Kostelich and Szunyogh, Physica D 230, 112-126 (2007), section 2.3, for
    the transform; Anderson, Mon. Wea. Rev. 129, 2884-2903 (2001), for augmented parameters and for inflation.

    Args:
        model: (u (dim,), parameters (parameter,)) -> u one step later, such as `parameter_map` makes.
        low, high: (parameter,), the range from which the members' first parameters are drawn evenly.
        observation_noise: R's square root, standard deviation of what is observed, a number or (dim,). Where the truth
            is seen without noise, a small number: zero would collapse the ensemble.
        parameter_noise: standard deviation of a parameter's random walk, at each step that is seen, a number or
            (parameter,).
        model_noise: standard deviation of what the model misses in a step, at each step that is seen, a number or (dim,).
        inflation: factor, at least 1, of the anomalies before each analysis.
        num_members: M. key: of the first ensemble and of all noise.

    Raises:
        InputError: for fewer than two members or bounds that do not match, or where the model does not return a state.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(rho=33.0), [1.0, 1.0, 20.0], num_samples=60, transient=5.0)
        >>> cell = jaxcast.EnsembleKalmanFilter(
        ...     jaxcast.parameter_map(jaxcast.Lorenz63(), ["rho"]), low=[25.0], high=[40.0],
        ...     observation_noise=0.1, parameter_noise=0.05, num_members=20, key=jax.random.key(0),
        ... )
        >>> outputs = jaxcast.forecast(cell, truth.states[:50], num_leads=10)
        >>> bool(abs(outputs.info["regime"][-1, 0] - 33.0) < 0.5)
        True
    """

    model: Callable[..., Any]
    low: Any
    high: Any
    observation_noise: Any
    parameter_noise: Any
    key: Any
    model_noise: Any = 0.0
    inflation: Any = 1.0
    num_members: int = dataclasses.field(default=50, metadata={"static": True})

    warmup = 0

    def __post_init__(self) -> None:
        low, high = jnp.asarray(self.low, float), jnp.asarray(self.high, float)
        if self.num_members < 2 or low.ndim != 1 or low.shape != high.shape:
            raise InputError(
                "expected at least 2 members and bounds (parameter,) of one length, "
                f"got {self.num_members} members and bounds {low.shape} and {high.shape}"
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        # As a pytree, so that the filter can be an argument of a compiled function.
        object.__setattr__(self, "model", as_forecast_map(self.model))

    def init_carry(self, value: Float[Array, " dim"], given: Any = None) -> EnsembleCarry:
        """Parameters from their range, and no states yet."""
        low, high = self.low.astype(value.dtype), self.high.astype(value.dtype)
        draw = jax.random.uniform(self.key, (self.num_members, len(low)), value.dtype)
        returned = jax.eval_shape(self.model, value, low)
        if getattr(returned, "shape", None) != value.shape:
            raise InputError(f"the model must return a state {value.shape}, got {getattr(returned, 'shape', returned)}")
        states = jnp.zeros((self.num_members, *value.shape), value.dtype)
        return EnsembleCarry(states, low + (high - low) * draw, jnp.asarray(0), self.key)

    def __call__(self, carry: EnsembleCarry, x: Input) -> tuple[EnsembleCarry, Output]:
        known = jnp.broadcast_to(jnp.asarray(x.known), x.value.shape)
        seen = known.any()
        keys = jax.random.split(jax.random.fold_in(carry.key, carry.num_seen + 1), 3)
        noise = jnp.broadcast_to(jnp.asarray(self.observation_noise, x.value.dtype), x.value.shape)
        # The first value is all that is known of the state: the ensemble begins around it.
        around = x.value + noise * jax.random.normal(keys[0], carry.states.shape, noise.dtype)
        states, parameters = self._analyse(carry, x.value, known, noise)
        is_first = carry.num_seen == 0
        states = jnp.where(is_first, around, states)
        parameters = jnp.where(is_first, carry.parameters, parameters)
        parameters = self._disturb(parameters, self.parameter_noise, seen, keys[1])
        states = jax.vmap(self.model)(states, parameters).astype(states.dtype)
        states = self._disturb(states, self.model_noise, seen, keys[2])
        info = {
            "spread": states.std(0, ddof=1),
            "regime": parameters.mean(0),
            "regime_deviation": parameters.std(0, ddof=1),
        }
        return EnsembleCarry(states, parameters, carry.num_seen + 1, carry.key), Output(states.mean(0), info)

    def feedback(self, output: Output, key: Any) -> Array:
        return output.forecast

    def _analyse(
        self, carry: EnsembleCarry, value: Array, known: Bool[Array, " dim"], noise: Float[Array, " dim"]
    ) -> tuple[Array, Array]:
        dim = len(value)
        prior = jnp.concatenate([carry.states, carry.parameters], 1)
        analysed = transform(prior, value, jnp.where(known, noise, jnp.inf), self.inflation)
        # Without any observation even the inflation is left out: it stands for errors that observations have revealed.
        posterior = jnp.where(known.any(), analysed, prior)
        return posterior[:, :dim], posterior[:, dim:]

    def _disturb(self, members: Array, size: Any, seen: Array, key: Array) -> Array:
        size = jnp.where(seen, jnp.asarray(size, members.dtype), 0)
        return members + size * jax.random.normal(key, members.shape, members.dtype)


def transform(
    prior: Float[Array, "member variable"], value: Float[Array, " dim"], noise: Float[Array, " dim"], inflation: Any
) -> Float[Array, "member variable"]:
    """The ensemble after its first `dim` variables were observed, with these standard deviations (infinite: not at all).

        X <- inflation X,    Y R^(-1/2) = U S V',    k = M - 1
        mean + X' U S / (k + S^2) V' R^(-1/2) (y - mean),    X' (I + U (sqrt(k / (k + S^2)) - 1) U')

    The square root of Hunt et al. (2007), eq. 24, by a thin decomposition: no matrix of members by members is factored.
    """
    k = len(prior) - 1
    mean = prior.mean(0)
    anomalies = inflation * (prior - mean)
    is_observed = jnp.isfinite(noise)
    weight = jnp.where(is_observed, 1 / noise, 0)
    innovation = jnp.where(is_observed, value - mean[: len(value)], 0) * weight
    u, s, vt = jnp.linalg.svd(anomalies[:, : len(value)] * weight, full_matrices=False)
    product = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
    shift = product(u, s / (k + s**2) * product(vt, innovation))
    shrunk = anomalies + product(u * (jnp.sqrt(k / (k + s**2)) - 1), product(u.T, anomalies))
    return mean + product(shift, anomalies) + shrunk


@register
@dataclasses.dataclass(frozen=True)
class ParameterMap:
    """(u, parameters) -> u after dt, of a system whose named parameters are given. Made by `parameter_map`.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> step = jaxcast.parameter_map(jaxcast.Lorenz63(), ["rho"])
        >>> step(jnp.asarray([1.0, 1.0, 20.0]), jnp.asarray([35.0])).shape
        (3,)
    """

    flow: FlowMap
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    def __call__(self, u: Float[Array, " dim"], parameters: Float[Array, " parameter"]) -> Float[Array, " dim"]:
        given = dict(zip(self.names, parameters, strict=True))
        return dataclasses.replace(self.flow, system=dataclasses.replace(self.flow.system, **given))(u)


def parameter_map(system: System, names: Sequence[str], *, dt: float = 0.1, h: float = 0.01) -> ParameterMap:
    """The flow map of a family of systems, as a function of state and parameters.

    Args:
        system: an autonomous one, for all other parameters. names: of the parameters to be given, in their order.
            dt, h: see `flow_map`.

    Raises:
        InputError: for names that the system does not have, schedules, or dt off the h grid.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> step = jaxcast.parameter_map(jaxcast.Lorenz63(), ["rho", "sigma"])
        >>> u = jnp.asarray([1.0, 1.0, 20.0])
        >>> same = jaxcast.flow_map(jaxcast.Lorenz63(rho=35.0, sigma=9.0))(u)
        >>> bool(abs(step(u, jnp.asarray([35.0, 9.0])) - same).max() < 1e-5)
        True
    """
    known = [field.name for field in dataclasses.fields(system)]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{type(system).__name__} has the parameters {known}, got {unknown}")
    if left := sorted(set(system.schedules) - set(names)):
        raise InputError(f"the other parameters must be numbers, got schedules of {left}")
    # A schedule that is to be replaced leaves nothing behind.
    plain = dataclasses.replace(system, **dict.fromkeys(names, 0.0))
    return ParameterMap(flow_map(plain, dt=dt, h=h), tuple(names))
