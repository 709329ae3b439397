"""Fitting by minibatches: the whole run is one compiled program of nested scans, for any number of seeds."""

import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxcast.errors import InputError
from jaxcast.schedules import Scalar
from jaxcast.sharding import everywhere, gather_seeds, map_seeds, spread_seeds
from jaxcast.storage.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from jaxcast.windows import Chunks, Samples

Loss = Callable[[Any, Any], Any]


class Fit(NamedTuple):
    """Trained models with a leading seed axis on every parameter, and the mean loss of every epoch, (seed, epoch)."""

    model: Any
    losses: Float[Array, "seed epoch"]


class _Run(NamedTuple):
    """One seed's run so far."""

    params: Any
    constants: Any
    opt_state: Any
    losses: Array
    key: Array


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
        raise InputError(f"schedule must be constant, cosine or linear, got {schedule!r}")
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


def fit(
    init: Callable[[Key[Array, ""]], Any] | Fit,
    data: PyTree[Shaped[Array, "sample ..."]],
    *,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int,
    loss: Loss = mean_squared_error,
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
        loss: (model, minibatch) -> scalar, a function defined once (it is compared by identity).
        on_progress: called about num_reports times with the number of epochs done and the newest losses.
        checkpoint: a file that is replaced about num_reports times. Where it exists the run goes on from it, to the same
            numbers, to the bit, as if it had never stopped; it stays there at the end. Data, keys, sizes and loss are
            compared with its own; of the optimizer only the shapes of its state are.
        mesh: the devices to spread the seeds over; by default all, those of other processes too.

    Raises:
        InputError: for arrays of different lengths, a batch larger than the data, no keys, no epochs, models that are
            not one for each key, or a checkpoint that is cut off, foreign, or of a run on other data or with other keys or settings.

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
    _check(data, keys, num_epochs, batch_size, num_reports)
    graph, run = _started(init, keys, optimizer, num_epochs)
    identity = {} if checkpoint is None else _identity(data, keys, num_epochs, batch_size, loss)
    run, done = _resumed(run, checkpoint, identity)
    run = spread_seeds(run, mesh)
    every = num_epochs if on_progress is None and checkpoint is None else -(-num_epochs // num_reports)
    epochs = partial(_epochs, graph=graph, optimizer=optimizer, loss=loss, batch_size=batch_size, mesh=mesh)
    for start in range(done, num_epochs, every):
        stop = min(start + every, num_epochs)
        run = epochs(run, data, start, stop)
        if checkpoint is not None:
            save_checkpoint(Path(checkpoint), identity, stop, gather_seeds(_progress(run), len(keys)))
        if on_progress is not None:
            on_progress(stop, everywhere(run.losses)[: len(keys), stop - 1])
    params, constants, losses = gather_seeds((run.params, run.constants, run.losses), len(keys))
    return Fit(nnx.merge(graph, params, constants), losses)


def _check(data: PyTree, keys: Array, num_epochs: int, batch_size: int, num_reports: int) -> None:
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or () in lengths:
        raise InputError(f"every array of the data must have one leading sample axis, got lengths {sorted(lengths)}")
    if keys.ndim != 1 or not len(keys):
        raise InputError(f"keys must hold one key for each seed, (seed,), got shape {keys.shape}; try key[None]")
    ((num_samples,),) = lengths
    if not 1 <= batch_size <= num_samples:
        raise InputError(f"batch_size must be from 1 to the {num_samples} samples there are, got {batch_size}")
    if num_epochs < 1 or num_reports < 1:
        raise InputError(f"num_epochs and num_reports must be at least 1, got {num_epochs} and {num_reports}")


def _started(init: Any, keys: Array, optimizer: optax.GradientTransformation, num_epochs: int) -> tuple[Any, _Run]:
    """What the models are made of, and the run before its first epoch."""
    if not isinstance(init, Fit):
        graph = nnx.graphdef(jax.eval_shape(init, keys[0]))
        return graph, _begin(keys, init=init, optimizer=optimizer, num_epochs=num_epochs)
    if {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(init.model)} != {(len(keys),)}:
        raise InputError(f"expected models with a leading axis of the {len(keys)} keys on every array")
    graph, *state = nnx.split(init.model, nnx.Param, ...)
    return graph, _resume(*state, keys, optimizer=optimizer, num_epochs=num_epochs)


def _resumed(run: _Run, checkpoint: str | Path | None, identity: dict[str, Any]) -> tuple[_Run, int]:
    """The run as its checkpoint left it, and how many epochs are done."""
    if checkpoint is None or not Path(checkpoint).exists():
        return run, 0
    done, progress = load_checkpoint(Path(checkpoint), identity, _progress(run))
    return run._replace(**progress), done


def _progress(run: _Run) -> dict[str, Any]:
    """What changes from epoch to epoch; the rest of a run follows from its key."""
    return {"params": run.params, "opt_state": run.opt_state, "losses": run.losses}


def _identity(data: PyTree, keys: Array, num_epochs: int, batch_size: int, loss: Loss) -> dict[str, Any]:
    return {
        "data": fingerprint(data),
        "keys": fingerprint(jax.random.key_data(keys)),
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "loss": getattr(loss, "__qualname__", type(loss).__name__),
    }


@partial(jax.jit, static_argnames=("init", "optimizer", "num_epochs"))
def _begin(
    keys: Array, *, init: Callable[[Any], Any], optimizer: optax.GradientTransformation, num_epochs: int
) -> _Run:
    """Every seed's run before its first epoch."""

    def begin(key: Array) -> Any:
        return nnx.state(init(jax.random.fold_in(key, 0)), nnx.Param, ...)

    return _resume(*jax.vmap(begin)(keys), keys, optimizer=optimizer, num_epochs=num_epochs)


@partial(jax.jit, static_argnames=("optimizer", "num_epochs"))
def _resume(
    params: Any, constants: Any, keys: Array, *, optimizer: optax.GradientTransformation, num_epochs: int
) -> _Run:
    """Every seed's run of models that are there already."""

    def begin(params: Any, constants: Any, key: Array) -> _Run:
        return _Run(params, constants, optimizer.init(params), jnp.zeros(num_epochs), jax.random.fold_in(key, 1))

    return jax.vmap(begin)(params, constants, keys)


@partial(jax.jit, static_argnames=("graph", "optimizer", "loss", "batch_size", "mesh"))
def _epochs(
    run: _Run,
    data: PyTree,
    start: Scalar,
    stop: Scalar,
    *,
    graph: Any,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    batch_size: int,
    mesh: Mesh | None,
) -> _Run:
    """Epochs number start to stop - 1 of every seed's run."""
    num_samples = len(jax.tree.leaves(data)[0])
    num_batches = num_samples // batch_size

    def run_one(run: _Run, shared: tuple[PyTree, Array, Array]) -> _Run:
        data, start, stop = shared

        def minibatch_loss(params: Any, batch: PyTree) -> Array:
            return loss(nnx.merge(graph, params, run.constants), batch)

        def update(carry: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], Array]:
            params, opt_state = carry
            value, grads = jax.value_and_grad(minibatch_loss)(params, jax.tree.map(lambda a: a[index], data))
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        def epoch(n: Array, run: _Run) -> _Run:
            order = jax.random.permutation(jax.random.fold_in(run.key, n), num_samples)
            batches = order[: num_batches * batch_size].reshape(num_batches, batch_size)
            (params, opt_state), values = jax.lax.scan(update, (run.params, run.opt_state), batches)
            losses = run.losses.at[n].set(values.mean().astype(run.losses.dtype))
            return run._replace(params=params, opt_state=opt_state, losses=losses)

        return jax.lax.fori_loop(start, stop, epoch, run)

    return map_seeds(run_one, run, (data, jnp.asarray(start), jnp.asarray(stop)), mesh)
