"""Adam and its learning-rate schedules, and averages of what is trained."""

import math
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.errors import InputError, shown


@checked
@cache
def make_optimizer(
    learning_rate: float = 1e-3,
    *,
    schedule: Literal["constant", "cosine", "linear"] = "constant",
    num_optimizer_steps: int | None = None,
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
) -> optax.GradientTransformation:
    """Makes Adam with a learning-rate schedule, decoupled weight decay and gradient clipping.

    All three are off by default. `fit` takes any other optax optimizer as well. The same arguments
    return the same object, so that `fit` does not compile again.

    Args:
        learning_rate: Adam's learning rate, before any decay.
        schedule: constant, or a decay to zero along a half cosine or a line.
        num_optimizer_steps: steps at whose end the decay reaches zero; needed for a decay.
        warmup_steps: the first steps, over which the rate rises linearly from zero.
        weight_decay: at each step every parameter shrinks by this times the learning rate (AdamW).
        clip_norm: gradients with a larger global norm are scaled down to it; None clips nothing.

    Raises:
        InputError: for a rate, decay or norm out of range, an unknown schedule, or a decay without
            more steps than the warm-up.

    Source:
        Kingma and Ba (2015); Loshchilov and Hutter (2019) for the decay and the cosine.

    Example:
        >>> import jaxcast
        >>> optimizer = jaxcast.training.make_optimizer(
        ...     3e-3, schedule="cosine", num_optimizer_steps=1000, clip_norm=1.0
        ... )
    """
    numbers = (learning_rate, weight_decay, 1.0 if clip_norm is None else clip_norm)
    if not all(map(math.isfinite, numbers)) or learning_rate <= 0 or min(*numbers, warmup_steps) < 0 or clip_norm == 0:
        raise InputError(
            "expected a positive, finite learning_rate and clip_norm, and weight_decay and warmup_steps of at least 0, "
            f"got {learning_rate}, {clip_norm}, {weight_decay}, {warmup_steps}"
        )
    if schedule not in ("constant", "cosine", "linear"):
        raise InputError(f"schedule must be constant, cosine or linear, got {shown(repr(schedule))}")
    if schedule != "constant" and (num_optimizer_steps is None or num_optimizer_steps <= warmup_steps):
        raise InputError(
            f"a {schedule} schedule needs num_optimizer_steps above the {warmup_steps} of warm-up, got "
            f"{num_optimizer_steps}"
        )
    rate: Any = learning_rate
    if schedule == "cosine":
        rate = optax.cosine_decay_schedule(learning_rate, (num_optimizer_steps or 0) - warmup_steps)
    elif schedule == "linear":
        rate = optax.linear_schedule(learning_rate, 0.0, (num_optimizer_steps or 0) - warmup_steps)
    if warmup_steps:
        after = rate if callable(rate) else optax.constant_schedule(rate)
        rate = optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup_steps), after], [warmup_steps])
    adam = optax.adamw(rate, weight_decay=weight_decay) if weight_decay else optax.adam(rate)
    return adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)


class AverageState(NamedTuple):
    """The state of an optimizer that also averages the parameters.

    Args:
        inner: state of the optimizer.
        average: of the parameters.
        num_steps: steps taken.
    """

    inner: Any
    average: Any
    num_steps: Array


@cache
def average_parameters(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """Makes an optimizer that also keeps a moving average of the parameters.

        average <- d average + (1 - d) parameters,  d = min(decay, (1 + n) / (10 + n)) at step n

    `fit` and `fit_stream` train the parameters as before; they validate, keep and return the
    average, whose loss is lower and varies less from epoch to epoch.

    Args:
        optimizer: that trains.
        decay: d; the average reaches back over about 1 / (1 - decay) steps.

    Raises:
        InputError: for a decay outside of [0, 1).

    Source:
        Polyak and Juditsky (1992); the rule of the first steps is that of TensorFlow's
        ExponentialMovingAverage.

    Example:
        >>> import jaxcast
        >>> optimizer = jaxcast.training.average_parameters(jaxcast.training.make_optimizer(1e-3), 0.99)
    """
    check_number("decay", decay, least=0, below=1)

    def init(params: Any) -> AverageState:
        return AverageState(optimizer.init(params), params, jnp.zeros((), jnp.int32))

    def update(updates: Any, state: AverageState, params: Any = None) -> tuple[Any, AverageState]:
        updates, inner = optimizer.update(updates, state.inner, params)
        share = jnp.maximum(1 - decay, 9 / (10 + state.num_steps.astype(jnp.float32)))

        def moved(average: Array, param: Array, update: Array) -> Array:
            return average + share.astype(average.dtype) * (param + update - average)

        average = jax.tree.map(moved, state.average, params, updates)
        return updates, AverageState(inner, average, state.num_steps + 1)

    return optax.GradientTransformation(init, update)
