"""The ensemble Kalman filter with augmented parameters."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.dynamics.candidates import as_forecast_map
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import FlowMap, flow_map
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Cell, Input, Output
from jaxcast.tracing import is_traced
from jaxcast.types import Info


class EnsembleCarry(NamedTuple):
    """The carry of an `EnsembleKalmanFilter`.

    Args:
        states: forecast of the next value by each member.
        parameters: of each member.
        num_seen: number of values so far.
        key: random key of all steps.
    """

    states: Float[Array, "member dim"]
    parameters: Float[Array, "member parameter"]
    num_seen: Int[Array, ""]
    key: Key[Array, ""]


class EnsembleKalmanFilter(Cell, FrozenPytree):
    """An ensemble Kalman filter of states and parameters.

        analysis   [u; p] <- mean + K (y - mean u) + Q (anomalies) T
                   T T' = (I + Y' R^-1 Y / (M - 1))^-1
        forecast   p <- p + noise while the truth is known
                   u <- model(u, p) + noise,    y = mean of u

    The analysis is that of the ensemble transform Kalman filter with the symmetric square root,
    followed by a random rotation Q of the anomalies. Mean and covariance are exactly those of the
    Kalman filter for the ensemble's own; without the rotation, single members would become outliers
    in large ensembles. Components that are unknown or NaN are not observed, and where none is known
    there is no analysis. In closed loop each member keeps its parameters.

    `info` holds "spread", that of the forecast, (dim,); "regime" and "regime_deviation", mean and
    standard deviation of the parameters, (parameter,); and "analysis" and "analysis_spread",
    (dim,), mean and standard deviation of the states after the newest value was assimilated.

    Args:
        model: (u (dim,), parameters (parameter,)) -> u one step later, such as `parameter_map`
            returns.
        low: (parameter,), lower end of the range from which the members' initial parameters are
            drawn uniformly; `[]` for a model without unknown parameters.
        high: (parameter,), the upper end.
        observation_noise: standard deviation of an observation, the root of R, a number or (dim,).
            Use a small number for observations without noise: zero would collapse the ensemble.
        parameter_noise: standard deviation of a parameter's random walk at each observed step, a
            number or (parameter,).
        key: random key of the initial ensemble, of all noise and of the rotations.
        model_noise: standard deviation of the model error at each observed step, a number or
            (dim,).
        inflation: factor, at least 1, of the anomalies before each analysis.
        num_members: M.
        initial_ensemble: (member, dim), states of the members just before the first value, which is
            then assimilated like any other. Without it the ensemble starts around the first value,
            which must be known in full.

    Raises:
        InputError: for fewer than two members, bounds that do not match, an initial ensemble of
            another size, or a model that does not return a state; by `roll`, `open_loop` and
            `forecast` for a first value that is not known in full where there is no initial
            ensemble.

    Source:
        Evensen (1994) for the filter; Hunt, Kostelich and Szunyogh, Physica D 230, 112-126 (2007),
        section 2.3, for the transform; Sakov and Oke, Mon. Wea. Rev. 136, 1042-1053 (2008), and
        Livings, Dance and Nichols, Physica D 237, 1021-1028 (2008), for rotations that keep the
        mean; Anderson, Mon. Wea. Rev. 129, 2884-2903 (2001), for augmented parameters and for
        inflation.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(rho=33.0), [1.0, 1.0, 20.0], num_samples=60, transient=5.0)
        >>> cell = jaxcast.forecasters.EnsembleKalmanFilter(
        ...     jaxcast.forecasters.parameter_map(jaxcast.Lorenz63(), ["rho"]), low=[25.0], high=[40.0],
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
    num_members: int = static(default=50)
    initial_ensemble: Any = None

    warmup = 0

    def __post_init__(self) -> None:
        low, high = jnp.asarray(self.low, float), jnp.asarray(self.high, float)
        if self.num_members < 2 or low.ndim != 1 or low.shape != high.shape:
            raise InputError(
                "expected at least 2 members and bounds (parameter,) of one length, "
                f"got {self.num_members} members and bounds {low.shape} and {high.shape}"
            )
        check_arrays(f"{self.num_members} members", (self.num_members, len(low) + 1))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if self.initial_ensemble is not None:
            object.__setattr__(self, "initial_ensemble", _checked_ensemble(self.initial_ensemble, self.num_members))
        # As a pytree, so that the filter can be an argument of a compiled function.
        object.__setattr__(self, "model", as_forecast_map(self.model))

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> EnsembleCarry:
        low, high = self.low.astype(value.dtype), self.high.astype(value.dtype)
        draw = jax.random.uniform(self.key, (self.num_members, len(low)), value.dtype)
        returned = jax.eval_shape(self.model, value, low)
        found = returned.shape if isinstance(returned, jax.ShapeDtypeStruct) else returned
        if found != value.shape:
            raise InputError(f"the model must return a state {value.shape}, got {shown(found)}")
        shape = (self.num_members, *value.shape)
        states = self.initial_ensemble
        if states is not None and states.shape != shape:
            raise InputError(
                f"expected an initial ensemble {shape}, as the values are, got one of shape {states.shape}"
            )
        states = jnp.zeros(shape, value.dtype) if states is None else states.astype(value.dtype)
        return EnsembleCarry(states, low + (high - low) * draw, jnp.asarray(0), self.key)

    @property
    def reads_tokens(self) -> bool:
        return False

    def check_first(self, value: Float[Any, " dim"], known: Bool[Any, "..."]) -> None:
        if self.initial_ensemble is not None or is_traced(value, known):
            return
        unknown = np.flatnonzero(~np.broadcast_to(known, np.shape(value)) | np.isnan(value))
        if unknown.size:
            raise InputError(
                "without an initial ensemble the first value must be wholly known, got components "
                f"{shown(unknown.tolist())} unknown or NaN; give initial_ensemble (member, dim), whose spread says "
                "how little is known of each component, or begin at a value that is known"
            )

    def __call__(self, carry: EnsembleCarry, x: Input) -> tuple[EnsembleCarry, Output]:
        known = jnp.broadcast_to(jnp.asarray(x.known), x.value.shape) & ~jnp.isnan(x.value)
        seen = known.any()
        key = jax.random.fold_in(carry.key, carry.num_seen + 1)
        keys = jax.random.split(key, 3)
        noise = jnp.broadcast_to(jnp.asarray(self.observation_noise, x.value.dtype), x.value.shape)
        states, parameters = self._analyse(carry, x.value, known, noise, jax.random.fold_in(key, 3))
        if self.initial_ensemble is None:
            # The first value is all that is known of the state: the ensemble begins around it.
            around = x.value + noise * jax.random.normal(keys[0], carry.states.shape, noise.dtype)
            is_first = carry.num_seen == 0
            states = jnp.where(is_first, around, states)
            parameters = jnp.where(is_first, carry.parameters, parameters)
        info: Info = {"analysis": states.mean(0), "analysis_spread": states.std(0, ddof=1)}
        parameters = self._disturb(parameters, self.parameter_noise, seen, keys[1])
        states = jax.vmap(self.model)(states, parameters).astype(states.dtype)
        states = self._disturb(states, self.model_noise, seen, keys[2])
        info |= {
            "spread": states.std(0, ddof=1),
            "regime": parameters.mean(0),
            "regime_deviation": parameters.std(0, ddof=1),
        }
        return EnsembleCarry(states, parameters, carry.num_seen + 1, carry.key), Output(states.mean(0), info)

    def feedback(self, output: Output, key: Any) -> Array:
        """Returns the forecast, the mean of the ensemble.

        Args:
            output: the output of the step before.
            key: not used.

        Returns:
            The forecast.
        """
        return output.forecast

    def _analyse(
        self, carry: EnsembleCarry, value: Array, known: Bool[Array, " dim"], noise: Float[Array, " dim"], key: Array
    ) -> tuple[Array, Array]:
        dim = len(value)
        prior = jnp.concatenate([carry.states, carry.parameters], 1)
        analysed = transform(prior, value, jnp.where(known, noise, jnp.inf), self.inflation)
        # Without an observation there is no inflation either: it stands for errors that
        # observations reveal.
        posterior = jnp.where(known.any(), rotate(analysed, key), prior)
        return posterior[:, :dim], posterior[:, dim:]

    def _disturb(self, members: Array, size: Any, seen: Array, key: Array) -> Array:
        size = jnp.where(seen, jnp.asarray(size, members.dtype), 0)
        return members + size * jax.random.normal(key, members.shape, members.dtype)


def _checked_ensemble(ensemble: Any, num_members: int) -> Array:
    """Returns the initial ensemble as floats.

    Raises:
        InputError: for another number of members, no table, or numbers that are not finite.
    """
    states = jnp.asarray(ensemble, float)
    if states.ndim != 2 or len(states) != num_members:
        raise InputError(
            f"expected an initial ensemble (member, dim) of num_members={num_members}, got shape {states.shape}; "
            "set num_members to its first axis"
        )
    if not is_traced(states) and not bool(jnp.isfinite(states).all()):
        raise InputError("the initial ensemble must be finite, got NaN or infinity")
    return states


def rotate(members: Float[Array, "member variable"], key: Key[Array, ""]) -> Float[Array, "member variable"]:
    """Rotates the members about their mean at random, which keeps mean and covariance.

    Of anomalies U S V' a rotation changes U alone. One that is uniform among those that keep the
    vector of ones makes U uniform among the frames orthogonal to the ones, so that such a frame is
    drawn: the orthogonal factor of Gaussian numbers without their mean. That costs members times
    variables squared, the whole matrix members cubed.

    Args:
        members: the ensemble.
        key: of the rotation.

    Returns:
        The rotated ensemble.

    Source:
        Sakov and Oke (2008), section 4; Chikuse, Statistics on Special Manifolds (2003), theorem
        2.4.1, for the factor.
    """
    rank = min(len(members) - 1, members.shape[1])
    mean = members.mean(0)
    _, s, vt = jnp.linalg.svd(members - mean, full_matrices=False)
    gaussian = jax.random.normal(key, (len(members), rank), members.dtype)
    left, _, right = jnp.linalg.svd(gaussian - gaussian.mean(0), full_matrices=False)
    product = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
    return mean + product(product(left, right) * s[:rank], vt[:rank])


def transform(
    prior: Float[Array, "member variable"], value: Float[Array, " dim"], noise: Float[Array, " dim"], inflation: Any
) -> Float[Array, "member variable"]:
    """Analyses an ensemble whose first variables are observed.

        X <- inflation X,    Y R^(-1/2) = U S V',    k = M - 1
        mean + X' U S / (k + S^2) V' R^(-1/2) (y - mean),    X' (I + U (sqrt(k / (k + S^2)) - 1) U')

    A thin decomposition avoids factoring a matrix of members by members.

    Args:
        prior: the ensemble.
        value: observations of its first variables.
        noise: their standard deviations; infinite for no observation.
        inflation: factor of the anomalies.

    Source:
        Hunt et al. (2007), eq. 24.
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


class ParameterMap(FrozenPytree):
    """The flow map of a family of systems: (u, parameters) -> u after dt.

    `parameter_map` returns it.

    Args:
        flow: the flow map of one of the systems.
        names: of the parameters that vary.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> step = jaxcast.forecasters.parameter_map(jaxcast.Lorenz63(), ["rho"])
        >>> step(jnp.asarray([1.0, 1.0, 20.0]), jnp.asarray([35.0])).shape
        (3,)
    """

    flow: FlowMap
    names: tuple[str, ...] = static()

    @checked
    def __call__(self, u: Float[Array, " dim"], parameters: Float[Array, " parameter"]) -> Float[Array, " dim"]:
        given = dict(zip(self.names, parameters, strict=True))
        return dataclasses.replace(self.flow, system=dataclasses.replace(self.flow.system, **given))(u)


@checked
def parameter_map(system: System, names: Sequence[str], *, dt: float = 0.1, h: float = 0.01) -> ParameterMap:
    """Makes the flow map of a family of systems, a function of state and parameters.

    Args:
        system: that has all other parameters.
        names: of the parameters that vary, in their order.
        dt: duration of a step.
        h: step of the Runge-Kutta integrator; dt is a whole multiple of it.

    Raises:
        InputError: for names that the system does not have, schedules, or dt off the h grid.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> step = jaxcast.forecasters.parameter_map(jaxcast.Lorenz63(), ["rho", "sigma"])
        >>> u = jnp.asarray([1.0, 1.0, 20.0])
        >>> same = jaxcast.flow_map(jaxcast.Lorenz63(rho=35.0, sigma=9.0))(u)
        >>> bool(abs(step(u, jnp.asarray([35.0, 9.0])) - same).max() < 1e-5)
        True
    """
    known = [field.name for field in dataclasses.fields(system)]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{type(system).__name__} has the parameters {known}, got {shown(unknown)}")
    if left := sorted(set(system.schedules) - set(names)):
        raise InputError(f"the other parameters must be numbers, got schedules of {left}")
    # A schedule that is to be replaced leaves nothing behind.
    plain = dataclasses.replace(system, **dict.fromkeys(names, 0.0))
    return ParameterMap(flow_map(plain, dt=dt, h=h), tuple(names))
