"""Candidate models, as one system with stacked parameters or as any other forecast map.

A *forecast map* is a function (value, exogenous) -> forecasts (model, dim), or value -> forecasts.
Examples are the flow map of a stacked system, a trained network, a function that returns rows of
forecasts from elsewhere, and an `ExternalCandidates` simulator. `exogenous` is what comes with the
step; for flow maps, the time.
"""

import functools
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
    """Stacks systems into one, whose parameters have a leading model axis.

    Args:
        systems: of one kind, with the same kinds of parameters.

    Returns:
        One system; its flow map returns (model, dim).

    Raises:
        InputError: for an empty list, or systems of different kinds.

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
            "different kinds: subclass SmoothSchedule)"
        )
    return jax.tree.map(lambda *leaves: _stacked(leaves), *systems)


def _stacked(leaves: Sequence[Any]) -> Any:
    """Stacks leaves; numbers of Python and NumPy keep the digits that JAX would cut off."""
    if has_float64() or any(isinstance(leaf, jax.Array) for leaf in leaves):
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])
    return np.stack([np.asarray(leaf) for leaf in leaves])


@checked
def unstack_systems(ensemble: System) -> list[System]:
    """Splits a stack into its systems: the inverse of `stack_systems`.

    Args:
        ensemble: a stack of systems.

    Returns:
        The systems.

    Raises:
        InputError: for a system that is not a stack.

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
    """Candidates that JAX cannot see into: a simulator in NumPy, another language or process.

    The function is called on the host, once for each state, and must return the same forecasts for
    the same state: the compiler may call it more or less often than the program says. It has no
    gradient. Pools can be trained on its forecasts in open loop, but not through a closed loop.

    Args:
        function: `function(value, exogenous)` or `function(value)`, from NumPy arrays to forecasts
            (num_models, dim).
        num_models: the number of candidates.

    Raises:
        InputError: when differentiated, when the function raises, and for a result of another
            shape. Inside a program that you compiled, the latter two come as a
            `jax.errors.JaxRuntimeError` with the same message.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> def simulator(value, exogenous):
        ...     return np.stack([0.9 * value, 1.1 * value])
        >>> cell = jaxcast.Forecaster(
        ...     jaxcast.equal_weights(2), jaxcast.dynamics.ExternalCandidates(simulator, num_models=2)
        ... )
        >>> jaxcast.forecast(cell, jnp.ones((3, 1)), num_leads=2).forecast.shape
        (2, 1)
    """

    function: Callable[[np.ndarray, Any], Any] = static()
    num_models: int = static()

    @checked
    def __call__(self, value: Float[Array, " dim"], exogenous: Any = None) -> Float[Array, "model dim"]:
        """Calls the function on the host.

        Args:
            value: the newest value.
            exogenous: what comes with it.

        Returns:
            The candidates' forecasts of the next value.
        """
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
                f"the external function raised {type(error).__name__}: {shown(error)}; it gets a value of shape "
                f"{result.shape[1:]}"
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
    """A forecast map that ignores exogenous inputs."""

    function: Any

    def __call__(self, value: Any, exogenous: Any) -> Any:
        return self.function(value)


def name_of_callable(forecast_map: Any) -> str:
    """Returns what a person calls candidates that are code: the name of the function, or of the class.

    Args:
        forecast_map: the candidates, as `as_forecast_map` returns them.

    Returns:
        The name.
    """
    if isinstance(forecast_map, ExternalCandidates | _OfValue):
        return name_of_callable(forecast_map.function)
    if isinstance(forecast_map, functools.partial):
        return name_of_callable(forecast_map.func)
    is_function = inspect.isroutine(forecast_map) or isinstance(forecast_map, type)
    return str(forecast_map.__name__) if is_function else type(forecast_map).__name__


def as_forecast_map(forecast_map: ForecastMap | None) -> Any:
    """Wraps a forecast map as a pytree, so that it can be an argument of a compiled function.

    Args:
        forecast_map: of one or two arguments.

    Returns:
        A forecast map of two arguments; None for None.

    Raises:
        InputError: for something that cannot be called.
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
        pass  # a builtin without a signature
    return True


def candidate_shapes(forecast_map: ForecastMap | None, value: Any, exogenous: Any) -> Any:
    """Finds the shape of the candidates' forecasts without running them.

    Args:
        forecast_map: of one or two arguments, or None.
        value: the value to forecast from.
        exogenous: what comes with it.

    Returns:
        The shape and dtype, (model, dim); None without a forecast map.

    Raises:
        InputError: for another shape, or a function that is not made of JAX operations.
    """
    if forecast_map is None:
        return None
    try:
        shapes = jax.eval_shape(as_forecast_map(forecast_map), value, exogenous)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        raise InputError(
            "the forecast map uses NumPy, float() or if on what JAX traces; write it in jax.numpy, or wrap it: "
            "jaxcast.dynamics.ExternalCandidates(function, num_models=...)"
        ) from None
    if not isinstance(shapes, jax.ShapeDtypeStruct):
        raise InputError(f"the forecast map must return one array (model, dim), got a {type(shapes).__name__}")
    if shapes.ndim < 2:
        raise InputError(
            f"the forecast map must return (model, dim), got shape {shapes.shape}; give it the flow map of "
            "jaxcast.stack_systems([system, ...]), also of a single one"
        )
    if shapes.shape[1:] != jnp.shape(value):
        raise InputError(
            f"the candidates must forecast values like those that they get, of shape {jnp.shape(value)}, got forecasts "
            f"(model, dim) of shape {shapes.shape}; give candidates of the trajectory's dimension"
        )
    return shapes


@checked
def forecasts_along(forecast_map: ForecastMap, trajectory: Trajectory) -> Float[Array, "time model dim"]:
    """Forecasts from every sample of a trajectory with every candidate.

    Args:
        forecast_map: the candidates.
        trajectory: the samples to forecast from.

    Returns:
        The forecasts; row n is the forecast of sample n + 1.

    Raises:
        InputError: unless the candidates return (model, dim), for times that are not evenly spaced,
            and for a flow map whose dt differs from their spacing.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=4)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (28.0, 30.0)]))
        >>> forecasts = jaxcast.dynamics.forecasts_along(candidates, truth)
        >>> bool(abs(forecasts[0, 0] - truth.states[1]).max() < 1e-5)  # it is the truth
        True
    """
    checked = as_forecast_map(forecast_map)
    check_sampling(trajectory.times, checked)
    return run_along(with_all_digits(checked), timed(trajectory, checked))


def timed(trajectory: Trajectory, *models: Any) -> Trajectory:
    """Keeps the digits of a trajectory's times through compilation, if models follow schedules.

    Args:
        trajectory: any.
        models: pytrees that get these times.

    Returns:
        The trajectory.
    """
    return trajectory._replace(times=exact_times(trajectory.times, *models))


@jax.jit
def run_along(forecast_map: ForecastMap, trajectory: Trajectory) -> Array:
    """Runs `forecasts_along` without its checks; times may be instants.

    Args:
        forecast_map: the candidates.
        trajectory: the samples to forecast from.

    Returns:
        The forecasts (time, model, dim).
    """
    candidate_shapes(forecast_map, trajectory.states[0], trajectory.times[0])
    return jax.vmap(forecast_map)(trajectory.states, trajectory.times)
