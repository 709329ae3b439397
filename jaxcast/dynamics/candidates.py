"""An ensemble of candidate models as one system with stacked parameters: one state -> (model, dim) forecasts.

A *forecast map* is any function (value, exogenous) -> forecasts, or value -> forecasts: the flow map of a stacked system is
one, and so are a trained network, a function that returns rows which somebody else forecast, and an `ExternalCandidates` simulator.
`exogenous` is whatever comes with that step; here, the time.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.clock import has_float64
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import FlowMap, Trajectory
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.sampling import check_sampling, exact_times, with_all_digits
from jaxcast.tracing import OutsideJax

ForecastMap: TypeAlias = Callable[..., Any]
"""(value (dim,), exogenous) or value alone -> forecasts (model, dim) of the next value."""


@checked
def stack_systems(systems: Sequence[System]) -> System:
    """One system whose every parameter has a leading model axis; its flow map gives (model, dim).

    Raises:
        InputError: for an empty list, or systems of different kinds or with different kinds of parameters.

    Example:
        >>> import jaxcast
        >>> ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (28.0, 30.0, 32.0)])
        >>> candidates = jaxcast.flow_map(ensemble, dt=0.1, h=0.01)
        >>> candidates([1.0, 1.0, 20.0]).shape
        (3, 3)
    """
    if not systems or not all(isinstance(system, System) for system in systems):
        kinds_given = ", ".join(sorted({type(system).__name__ for system in systems})) or "none"
        raise InputError(f"stack expects at least one system, got {kinds_given}")
    kinds = {jax.tree.structure(system) for system in systems}
    if len(kinds) > 1:
        raise InputError(
            f"stack expects systems of one kind with the same kinds of parameters, got {len(kinds)} kinds: "
            + ", ".join(sorted({type(system).__name__ for system in systems}))
            + "; give every system the same kind of schedule for a parameter, or none (plain functions of time are "
            "different kinds: subclass Schedule)"
        )
    return jax.tree.map(lambda *leaves: _stacked(leaves), *systems)


def _stacked(leaves: Sequence[Any]) -> Any:
    """The leaves along a new axis; numbers of Python and NumPy keep the digits that JAX would cut off."""
    if has_float64() or any(isinstance(leaf, jax.Array) for leaf in leaves):
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])
    return np.stack([np.asarray(leaf) for leaf in leaves])


@checked
def unstack_systems(ensemble: System) -> list[System]:
    """The systems of a stack: the inverse of `stack_systems`.

    Raises:
        InputError: for a system that is no stack.

    Example:
        >>> import jaxcast
        >>> ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (28.0, 30.0)])
        >>> [float(system.rho) for system in jaxcast.dynamics.unstack_systems(ensemble)]
        [28.0, 30.0]
    """
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(ensemble)}
    if len(lengths) != 1 or () in lengths:
        raise InputError(f"expected a stack of systems, got one {type(ensemble).__name__}")
    ((num_models,),) = lengths
    return [jax.tree.map(lambda leaf, i=i: leaf[i], ensemble) for i in range(num_models)]


class ExternalCandidates(FrozenPytree, OutsideJax):
    """Candidates that JAX cannot see into: a simulator in NumPy, another language, another process.

    `function(value, exogenous)`, or `function(value)`, gets NumPy arrays and returns (num_models, dim). It is called on the host, once for every
    state, and must give the same answer for the same state: the compiler may call it more or less often than the
    program says. It has no gradient: pools are trained over its forecasts, in open loop, as over any other's, but
    nothing can be differentiated through a closed loop of it.

    Raises:
        InputError: when differentiated, when the function raises, and for a result of another shape. Inside of a program
            that the caller compiled, the latter two come as a `jax.errors.JaxRuntimeError` with the same message.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> def simulator(value, exogenous):
        ...     return np.stack([0.9 * value, 1.1 * value])
        >>> cell = jaxcast.Forecaster(jaxcast.equal_weights(2), jaxcast.dynamics.ExternalCandidates(simulator, num_models=2))
        >>> jaxcast.forecast(cell, jnp.ones((3, 1)), num_leads=2).forecast.shape
        (2, 1)
    """

    function: Callable[[np.ndarray, Any], Any] = static()
    num_models: int = static()

    @checked
    def __call__(self, value: Float[Array, " dim"], exogenous: Any = None) -> Float[Array, "model dim"]:
        return _call_outside(self.function, self.num_models, value, exogenous)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _call_outside(function: Callable[..., Any], num_models: int, value: Array, exogenous: Any) -> Array:
    result = jax.ShapeDtypeStruct((num_models, *value.shape), value.dtype)

    def checked(value: Any, exogenous: Any) -> np.ndarray:
        exogenous = jax.tree.map(np.asarray, exogenous)
        arguments = (np.asarray(value), exogenous) if _takes_exogenous(function) else (np.asarray(value),)
        try:
            forecasts = np.asarray(function(*arguments))
            numbers = forecasts.astype(result.dtype)
        except Exception as error:
            raise InputError(
                f"the external function raised {type(error).__name__}: {shown(error)}; it gets a value of shape {result.shape[1:]}"
            ) from error
        if forecasts.shape != result.shape:
            raise InputError(f"expected forecasts {result.shape} of the external function, got {forecasts.shape}")
        return numbers

    return jax.pure_callback(checked, result, value, exogenous, vmap_method="sequential")


@_call_outside.defjvp
def _call_outside_jvp(function: Any, num_models: int, primals: Any, tangents: Any) -> Any:
    raise InputError(
        "external candidates have no gradient: train over their forecasts in open loop, or give a JAX function instead"
    )


class _OfValue(FrozenPytree):
    """A forecast map that does not look at what is given."""

    function: Any

    def __call__(self, value: Any, exogenous: Any) -> Any:
        return self.function(value)


def as_forecast_map(forecast_map: ForecastMap | None) -> Any:
    """The forecast map as a pytree of two arguments, so that it can be an argument of a compiled function.

    Raises:
        InputError: for something that cannot be called with a value.
    """
    if forecast_map is None or isinstance(forecast_map, FlowMap | ExternalCandidates | _OfValue):
        return forecast_map
    if not callable(forecast_map):
        raise InputError(
            f"expected a forecast map (value, exogenous) -> (model, dim), got {type(forecast_map).__name__}"
        )
    as_tree = jax.tree_util.Partial(forecast_map) if jax.tree_util.all_leaves([forecast_map]) else forecast_map
    return as_tree if _takes_exogenous(forecast_map) else _OfValue(as_tree)


def _takes_exogenous(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        pass  # a builtin that does not tell
    return True


def candidate_shapes(forecast_map: ForecastMap | None, value: Any, exogenous: Any) -> Any:
    """What the candidates would return, as shapes, without running them; None where there are none.

    Raises:
        InputError: unless it is (model, dim), or where the function is not one of JAX operations.
    """
    if forecast_map is None:
        return None
    try:
        shapes = jax.eval_shape(forecast_map, value, exogenous)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        raise InputError(
            "the forecast map uses NumPy, float() or if on what JAX traces; write it in jax.numpy, or wrap it: "
            "jaxcast.dynamics.ExternalCandidates(function, num_models=...)"
        ) from None
    if not isinstance(shapes, jax.ShapeDtypeStruct):
        raise InputError(f"the forecast map must return one array (model, dim), got a {type(shapes).__name__}")
    if shapes.ndim < 2:
        raise InputError(f"the forecast map must return (model, dim), got shape {shapes.shape}; is its system a stack?")
    if shapes.shape[1:] != jnp.shape(value):
        raise InputError(
            f"the candidates must forecast values like those that they get, of shape {jnp.shape(value)}, got forecasts "
            f"(model, dim) of shape {shapes.shape}; give candidates of the trajectory's dimension"
        )
    return shapes


@checked
def forecasts_along(forecast_map: ForecastMap, trajectory: Trajectory) -> Float[Array, "time model dim"]:
    """What the candidates forecast from every sample of a trajectory: row n is their forecast of sample n + 1.

    Raises:
        InputError: unless the candidates return (model, dim), for times that are not evenly spaced, and for a flow map
            whose dt is not their spacing.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=4)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (28.0, 30.0)]))
        >>> forecasts = jaxcast.dynamics.forecasts_along(candidates, truth)
        >>> bool(abs(forecasts[0, 0] - truth.states[1]).max() < 1e-5)  # the first candidate is the truth
        True
    """
    checked = as_forecast_map(forecast_map)
    check_sampling(trajectory.times, checked)
    return run_along(with_all_digits(checked), timed(trajectory, checked))


def timed(trajectory: Trajectory, *models: Any) -> Trajectory:
    """The trajectory with times whose digits survive compilation, where the models follow schedules."""
    return trajectory._replace(times=exact_times(trajectory.times, *models))


@jax.jit
def run_along(forecast_map: ForecastMap, trajectory: Trajectory) -> Array:
    """`forecasts_along` without checks of the trajectory, whose times may be instants."""
    candidate_shapes(forecast_map, trajectory.states[0], trajectory.times[0])
    return jax.vmap(forecast_map)(trajectory.states, trajectory.times)
