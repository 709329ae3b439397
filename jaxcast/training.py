"""Fitting by minibatches: the whole run is one compiled program of nested scans, for any number of seeds."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.training_checks import check_data, check_losses
from jaxcast.training_run import Plan, train, trained_epochs
from jaxcast.windows import Chunks, Samples

Loss = Callable[..., Any]


class Fit(NamedTuple):
    """Trained models with a leading seed axis on every parameter, and the mean loss of every epoch, (seed, epoch).

    validation_losses: alike, where there were validation data; unless asked for the last ones, the models are then those of
    each seed's best epoch. Both are NaN for epochs after a seed has stopped.
    """

    model: Any
    losses: Float[Array, "seed epoch"]
    validation_losses: Any = None


@checked
@cache
def make_optimizer(
    learning_rate: float = 1e-3,
    *,
    schedule: Literal["constant", "cosine", "linear"] = "constant",
    num_steps: int | None = None,
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
) -> optax.GradientTransformation:
    """Adam with a learning-rate schedule, decoupled weight decay and clipping, each off by default.

    Any other optax optimizer does as well. The same arguments give the same object, so that `fit` compiles once.

    Args:
        schedule: constant, or decay to zero over num_steps along a half cosine or a line.
        warmup_steps: the first steps, over which the rate rises linearly from zero.
        weight_decay: times the learning rate, taken off every parameter at every step (AdamW).
        clip_norm: gradients with a larger global norm are scaled down to it.

    Raises:
        InputError: for a rate, decay or norm out of range, an unknown schedule, or a decaying one without num_steps.

    Source: Kingma and Ba (2015); Loshchilov and Hutter (2019) for the decay and the cosine.

    Example:
        >>> import jaxcast
        >>> optimizer = jaxcast.make_optimizer(3e-3, schedule="cosine", num_steps=1000, clip_norm=1.0)
    """
    numbers = (learning_rate, weight_decay, 1.0 if clip_norm is None else clip_norm)
    if not all(map(math.isfinite, numbers)) or learning_rate <= 0 or min(*numbers, warmup_steps) < 0 or clip_norm == 0:
        raise InputError(
            "expected a positive, finite learning_rate and clip_norm, and weight_decay and warmup_steps of at least 0, "
            f"got {learning_rate}, {clip_norm}, {weight_decay}, {warmup_steps}"
        )
    if schedule not in ("constant", "cosine", "linear"):
        raise InputError(f"schedule must be constant, cosine or linear, got {shown(repr(schedule))}")
    if schedule != "constant" and (num_steps is None or num_steps <= warmup_steps):
        raise InputError(f"a {schedule} schedule needs num_steps above the {warmup_steps} of warm-up, got {num_steps}")
    rate: Any = learning_rate
    if schedule == "cosine":
        rate = optax.cosine_decay_schedule(learning_rate, (num_steps or 0) - warmup_steps)
    elif schedule == "linear":
        rate = optax.linear_schedule(learning_rate, 0.0, (num_steps or 0) - warmup_steps)
    if warmup_steps:
        after = rate if callable(rate) else optax.constant_schedule(rate)
        rate = optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup_steps), after], [warmup_steps])
    adam = optax.adamw(rate, weight_decay=weight_decay) if weight_decay else optax.adam(rate)
    return adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)


@checked
def mean_squared_error(model: Any, samples: Samples) -> Float[Array, ""]:
    """The mean over samples and components of the squared one-step error: the published training loss.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=1)
        >>> bool(jaxcast.mean_squared_error(jaxcast.Persistence(), samples) > 0)
        True
    """
    outputs = model(samples.memory, samples.forecasts)
    return jnp.mean((outputs.forecast - samples.targets) ** 2)


@checked
def error_over_time(model: Any, chunks: Chunks) -> Float[Array, ""]:
    """The mean squared one-step error along chunks, but for the steps during which the model's memory fills.

    The loss of pools with a recurrent memory, for `fit` on `sequence_chunks`; a chunk must be longer than the burn-in of
    `model.memory.warmup` steps.

    Raises:
        InputError: for chunks no longer than the burn-in.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> chunks = jaxcast.sequence_chunks(truth, candidates, length=8)
        >>> pool = jaxcast.RecurrentAttention(dim=3, hidden_size=4, key=jax.random.key(0))
        >>> bool(jaxcast.error_over_time(pool, chunks) > 0)
        True
    """
    # The first value of a chunk is the second of a rolled cell.
    burn_in = max(model.memory.warmup(with_errors=True) - 1, 0)
    if chunks.values.shape[-2] <= burn_in:
        raise InputError(f"chunks must be longer than the burn-in of {burn_in} steps, got {chunks.values.shape[-2]}")
    outputs = model.along(chunks.values, chunks.errors, chunks.forecasts)
    return jnp.mean((outputs.forecast - chunks.targets)[..., burn_in:, :] ** 2)


@checked
def fit(
    init: Callable[[Key[Array, ""]], Any] | Fit,
    data: PyTree[Shaped[Any, "sample ..."]],
    *,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int,
    loss: Loss = mean_squared_error,
    with_key: bool = False,
    validation: PyTree[Shaped[Array, "validation_sample ..."]] | None = None,
    patience: int | None = None,
    keep: Literal["best", "last"] = "best",
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
    mesh: Mesh | None = None,
) -> Fit:
    """Trains one model for each key: shuffled minibatches, what is left of an epoch after the last full one dropped.

    Everything runs inside one compiled program; a second call with the same shapes, init, optimizer and loss objects
    compiles nothing. The same key gives the same model whatever other keys are trained beside it.

    Args:
        init: key -> flax.nnx module; its `nnx.Param` leaves are trained. Or the models of an earlier fit, one for each
            key, which then go on from where they are with a fresh optimizer.
        data: a pytree with a leading sample axis; `loss` gets minibatches of it.
        loss: (model, minibatch) -> scalar, a function defined once (it is compared by identity). with_key: it also takes
            `key`, another one at every step, as for dropout, or none where nothing is to be dropped.
        validation: data whose loss is computed, without a key, after every epoch; the models returned are then those of
            each seed's best epoch, or of its last one where keep="last". patience: a seed stops after so many epochs
            without a better one.
        on_progress: called about num_reports times with the number of epochs done and the newest losses.
        checkpoint: a file that is replaced about num_reports times. Where it exists the run goes on from it, to the same
            numbers, to the bit, as if it had never stopped; it stays there at the end. Data, keys, sizes and loss are
            compared with its own; of the optimizer only the shapes of its state are.
        mesh: the devices to spread the seeds over; by default all, those of other processes too.

    Raises:
        InputError: for NaN or infinity in the data where the loss sees it, a loss that becomes NaN or infinite (the training
            diverges: seed and epoch are named), arrays of different lengths, a batch larger than the data, no keys, no epochs, models that are
            not one for each key, patience without validation data, or a checkpoint that is cut off, foreign, or of a run on
            other data or with other keys or settings.

    Example:
        >>> import jax, jaxcast, optax
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=200)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=2)
        >>> def init(key): return jaxcast.FeedForward(dim=3, num_delays=2, hidden_size=16, key=key)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> fit = jaxcast.fit(init, samples, keys=keys, optimizer=optax.adam(1e-2), num_epochs=5, batch_size=32)
        >>> fit.losses.shape, bool((fit.losses[:, -1] < fit.losses[:, 0]).all())
        ((2, 5), True)
    """
    _check(data, keys, num_epochs, num_reports)
    num_samples = len(jax.tree.leaves(data)[0])
    if not 1 <= batch_size <= num_samples:
        raise InputError(f"batch_size must be from 1 to the {num_samples} samples there are, got {batch_size}")
    _check_validation(validation, patience, keep)
    plan = Plan(loss, batch_size, num_epochs, with_key=with_key, patience=patience)
    return _fit(
        init, data, validation, plan, keep, keys=keys, optimizer=optimizer, on_progress=on_progress,
        num_reports=num_reports, checkpoint=checkpoint, mesh=mesh,
    )  # fmt: skip


@checked
def fit_over_time(
    init: Callable[[Key[Array, ""]], Any] | Fit,
    data: PyTree[Shaped[Array, "stream time ..."]],
    *,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    chunk_size: int,
    loss: Callable[..., Any],
    with_key: bool = False,
    validation: PyTree[Shaped[Array, "held_out_stream held_out_time ..."]] | None = None,
    patience: int | None = None,
    keep: Literal["best", "last"] = "best",
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
    mesh: Mesh | None = None,
) -> Fit:
    """Trains by truncated back-propagation through time: chunk after chunk of long streams, an update after each.

    The carry after a chunk is that before the next one, with its gradient stopped; every epoch begins with
    `model.init_carry(streams)`, through which gradients go where it is learned. One chunk of all steps is full
    back-propagation. What is left of the streams, be it of data or of validation, after the last full chunk is dropped.
    Otherwise it is `fit`.

    Source: Williams and Peng (1990).

    Args:
        data: a pytree with leading stream and time axes; all streams are one batch. chunk_size: in steps.
        loss: (model, carry, chunk) -> (scalar, carry), a function defined once.
        with_key, validation, patience, keep, and what is not listed: as in `fit`.

    Raises:
        InputError: for a chunk longer than the streams of data or validation, and as `fit`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast, optax
        >>> wave = jnp.sin(0.3 * jnp.arange(401.0))[None, :, None]
        >>> def init(key): return jaxcast.RNN(in_size=1, hidden_size=1, key=key)
        >>> def loss(rnn, carry, chunk):
        ...     carry, outputs = rnn(chunk[0], carry)
        ...     return jnp.mean((outputs - chunk[1]) ** 2), carry
        >>> fit = jaxcast.fit_over_time(
        ...     init, (wave[:, :-1], wave[:, 1:]), keys=jax.random.key(0)[None], optimizer=optax.adam(1e-2),
        ...     num_epochs=5, chunk_size=20, loss=loss,
        ... )
        >>> bool(fit.losses[0, -1] < fit.losses[0, 0])
        True
    """
    _check(data, keys, num_epochs, num_reports)
    _check_streams("data", data, chunk_size)
    _check_validation(validation, patience, keep)
    if validation is not None:
        _check_streams("validation", validation, chunk_size)
    plan = Plan(loss, chunk_size, num_epochs, over_time=True, with_key=with_key, patience=patience)
    return _fit(
        init, data, validation, plan, keep, keys=keys, optimizer=optimizer, on_progress=on_progress,
        num_reports=num_reports, checkpoint=checkpoint, mesh=mesh,
    )  # fmt: skip


def _fit(init: Any, data: PyTree, validation: PyTree | None, plan: Plan, keep: str, **options: Any) -> Fit:
    new, models = (None, init.model) if isinstance(init, Fit) else (init, None)
    for name, arrays in (("data", data), ("validation", validation)):
        check_data(name, new, models, arrays, options["keys"], plan)
    graph, run = train(new, models, data, validation, plan, **options)
    check_losses(run.losses, trained_epochs(run, plan))
    params = run.params if run.best is None or keep == "last" else run.best.params
    return Fit(nnx.merge(graph, params, run.constants), run.losses, None if run.best is None else run.best.losses)


def _check(data: PyTree, keys: Array, num_epochs: int, num_reports: int) -> None:
    kinds = {type(leaf).__name__ for leaf in jax.tree.leaves(data) if not isinstance(leaf, jax.Array | np.ndarray)}
    if kinds:
        raise InputError(
            f"data must be a tree of arrays with a leading sample axis, got {shown(', '.join(sorted(kinds)))} in it"
        )
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or () in lengths:
        raise InputError(f"every array of the data must have one leading sample axis, got lengths {sorted(lengths)}")
    if keys.ndim != 1 or not len(keys):
        raise InputError(f"keys must hold one key for each seed, (seed,), got shape {keys.shape}; try key[None]")
    if num_epochs < 1 or num_reports < 1:
        raise InputError(f"num_epochs and num_reports must be at least 1, got {num_epochs} and {num_reports}")


def _check_streams(name: str, streams: PyTree, chunk_size: int) -> None:
    lengths = {leaf.shape[1:2] for leaf in jax.tree.leaves(streams)}
    if len(lengths) != 1 or lengths == {()} or not 1 <= chunk_size <= min(lengths)[0]:
        raise InputError(
            f"expected {name} with streams of one length and chunks of 1 to so many steps, got lengths {sorted(lengths)} "
            f"and chunks of {chunk_size}"
        )


def _check_validation(validation: PyTree | None, patience: int | None, keep: str) -> None:
    if keep not in ("best", "last"):
        raise InputError(f"keep must be best or last, got {shown(repr(keep))}")
    if patience is not None and (validation is None or patience < 1):
        raise InputError(f"patience must be at least 1 and needs validation data, got {patience}")
