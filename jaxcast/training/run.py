"""The compiled program of a training run: epochs over minibatches, or over chunks in time order."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from jaxcast.backends.dispatch import quick_jit
from jaxcast.backends.tpu import no_float64_on_tpu
from jaxcast.errors import InputError
from jaxcast.limits import check_memory
from jaxcast.pytrees import fingerprint
from jaxcast.sharding import everywhere, gather_seeds, map_seeds, spread_seeds
from jaxcast.training.checkpoint import load_checkpoint, save_checkpoint
from jaxcast.training.optimizers import AverageState
from jaxcast.types import Scalar


class Curriculum(NamedTuple):
    """A schedule of `fit` that begins with the nearest lead and adds the others one by one.

    Args:
        every: epochs after which one more lead counts.
        warmup: epochs at the beginning at which all leads count; then it starts with one.

    Source:
        Shao et al. (2022), Decoupled Dynamic Spatial-Temporal Graph Neural Network, section 5.

    Example:
        >>> import jaxcast
        >>> curriculum = jaxcast.training.Curriculum(every=3)
        >>> [int(curriculum.num_leads(epoch)) for epoch in (0, 2, 3, 6)]
        [1, 1, 2, 3]
    """

    every: int
    warmup: int = 0

    def num_leads(self, epoch: Any) -> Any:
        """Returns how many leads count.

        Args:
            epoch: its number, from 0 on.

        Returns:
            The number of leads; more than there are where all count.
        """
        return jnp.where(epoch < self.warmup, jnp.iinfo(jnp.int32).max, 1 + (epoch - self.warmup) // self.every)


class FitSettings(NamedTuple):
    """The static settings of a fit.

    Args:
        loss: (model, batch) -> scalar; over time (model, carry, chunk) -> (scalar, carry).
        size: samples of a minibatch, or steps of a chunk.
        num_epochs: passes over the data.
        over_time: whether chunks follow each other in time.
        with_key: whether the loss takes a `key` too.
        patience: epochs without a better validation loss before a seed stops; None for no stop.
        curriculum: how many leads count at each epoch; None for all.
    """

    loss: Callable[..., Any]
    size: int
    num_epochs: int
    over_time: bool = False
    with_key: bool = False
    patience: int | None = None
    curriculum: Curriculum | None = None


class Best(NamedTuple):
    """The best epoch so far.

    Args:
        params: the parameters with the lowest validation loss.
        loss: that loss.
        epoch: its epoch.
        losses: the validation losses of all epochs.
    """

    params: Any
    loss: Array
    epoch: Array
    losses: Array


class Run(NamedTuple):
    """The state of one seed's run.

    Args:
        params: the trained arrays.
        constants: the other arrays of the model.
        opt_state: of the optimizer.
        losses: of all epochs, NaN for those to come.
        key: for shuffling and dropout.
        best: the best epoch so far; None without validation data.
    """

    params: Any
    constants: Any
    opt_state: Any
    losses: Array
    key: Array
    best: Any = None


def result_of(run: Run) -> Any:
    """Returns the parameters that are judged and returned: an average, if the optimizer keeps one.

    Args:
        run: of one seed or of all.
    """
    return run.opt_state.average if isinstance(run.opt_state, AverageState) else run.params


def train(
    init: Callable[[Any], Any] | None,
    models: Any,
    data: PyTree,
    validation: PyTree | None,
    settings: FitSettings,
    *,
    keys: Array,
    optimizer: optax.GradientTransformation,
    on_progress: Callable[[int, Any], None] | None,
    num_reports: int,
    checkpoint: str | Path | None,
    mesh: Mesh | None,
) -> tuple[Any, Run]:
    """Trains all seeds.

    Args:
        init: key -> model; None where there are models.
        models: with a leading seed axis, or None.
        data: to train on.
        validation: held-out data, or None.
        settings: of the fit.
        keys: of the seeds.
        optimizer: of all seeds.
        on_progress: called with the number of finished epochs and the newest losses.
        num_reports: how often, about, it is called and the checkpoint replaced.
        checkpoint: file to continue from and to replace, or None.
        mesh: devices to spread the seeds over; None for all.

    Returns:
        The graph of a model, and every seed's run after its last epoch.
    """
    num_epochs = settings.num_epochs
    graph, run = started_run(init, models, keys, optimizer, num_epochs, validation is not None)
    identity = {} if checkpoint is None else identity_of(data, validation, keys, settings)
    run, done = resumed_run(run, checkpoint, identity)
    run = spread_seeds(run, mesh)
    every = num_epochs if on_progress is None and checkpoint is None else -(-num_epochs // num_reports)
    for start in range(done, num_epochs, every):
        stop = min(start + every, num_epochs)
        run = run_epochs(
            run, data, validation, start, stop, graph=graph, optimizer=optimizer, settings=settings, mesh=mesh
        )
        if checkpoint is not None:
            save_checkpoint(Path(checkpoint), identity, stop, gather_seeds(progress_of(run), len(keys)))
        if on_progress is not None:
            on_progress(stop, everywhere(run.losses)[: len(keys), stop - 1])
    # Nobody needs the keys and the state of the optimizer any more: they stay on their devices.
    return graph, gather_seeds(run._replace(params=result_of(run), opt_state=None, key=None), len(keys))


def started_run(
    init: Any, models: Any, keys: Array, optimizer: optax.GradientTransformation, num_epochs: int, validated: bool
) -> tuple[Any, Run]:
    """Starts the runs of all seeds.

    Args:
        init: key -> model; None where there are models.
        models: with a leading seed axis, or None.
        keys: of the seeds.
        optimizer: of all seeds.
        num_epochs: passes over the data.
        validated: whether there are validation data.

    Returns:
        The graph of a model, and the runs before their first epoch.

    Raises:
        InputError: for models that are not one for each key.
    """
    options: dict[str, Any] = {"optimizer": optimizer, "num_epochs": num_epochs, "validated": validated}
    if models is None:
        shapes = jax.eval_shape(init, keys[0])
        check_training_memory(shapes, len(keys), num_epochs)
        graph = nnx.graphdef(shapes)
        return graph, _begin(keys, init=init, **options)
    if {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(models)} != {(len(keys),)}:
        raise InputError(f"expected models with a leading axis of the {len(keys)} keys on every array")
    graph, *state = nnx.split(models, nnx.Param, ...)
    return graph, _resume(*state, keys, **options)


def check_training_memory(shapes: Any, num_seeds: int, num_epochs: int) -> None:
    """Checks that a training fits into memory.

    Args:
        shapes: of one model, by `jax.eval_shape`.
        num_seeds: models that are trained together, each with two moments of its optimizer.
        num_epochs: losses that each keeps.

    Raises:
        InputError: with the estimate and the memory of the machine.
    """
    per_model = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    check_memory(num_seeds * (3 * per_model + 4 * num_epochs), f"training {num_seeds} seeds over {num_epochs} epochs")


def trained_epochs(run: Run, settings: FitSettings) -> Any:
    """Returns which epochs of each seed took place, (seed, epoch); None for all.

    Args:
        run: of all seeds, after the last epoch.
        settings: of the fit.
    """
    if settings.patience is None or run.best is None:
        return None
    return jnp.arange(settings.num_epochs) <= run.best.epoch[:, None] + settings.patience


def resumed_run(run: Run, checkpoint: str | Path | None, identity: dict[str, Any]) -> tuple[Run, int]:
    """Continues runs from a checkpoint.

    Args:
        run: before its first epoch.
        checkpoint: the file; None, or one that is not there, for none.
        identity: of the run; see `identity_of`.

    Returns:
        The run as its checkpoint left it, and the number of finished epochs.

    Raises:
        InputError: for a checkpoint that is damaged or belongs to another run.
    """
    if checkpoint is None or not Path(checkpoint).exists():
        return run, 0
    done, progress = load_checkpoint(Path(checkpoint), identity, progress_of(run))
    return run._replace(**progress), done


def progress_of(run: Run) -> dict[str, Any]:
    """Returns what changes from epoch to epoch; the rest of a run follows from its key.

    Args:
        run: of all seeds.
    """
    progress = {"params": run.params, "opt_state": run.opt_state, "losses": run.losses}
    return progress if run.best is None else progress | {"best": run.best}


def identity_of(data: PyTree, validation: PyTree | None, keys: Array, settings: FitSettings) -> dict[str, Any]:
    """Returns what tells a run from others, as JSON values.

    Args:
        data: to train on.
        validation: held-out data, or None.
        keys: of the seeds.
        settings: of the fit.
    """
    own = {
        "data": fingerprint(data),
        "keys": fingerprint(jax.random.key_data(keys)),
        "num_epochs": settings.num_epochs,
        "chunk_size" if settings.over_time else "batch_size": settings.size,
        "loss": repr(loss)
        if dataclasses.is_dataclass(loss := settings.loss)
        else getattr(loss, "__qualname__", type(loss).__name__),
    }
    if settings.curriculum is not None:
        own["curriculum"] = list(settings.curriculum)
    return own if validation is None else own | {"validation": fingerprint(validation), "patience": settings.patience}


@partial(quick_jit, static_argnames=("init", "optimizer", "num_epochs", "validated"))
def _begin(
    keys: Array,
    *,
    init: Callable[[Any], Any],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    validated: bool,
) -> Run:
    """Starts every seed's run with a new model."""

    def begin(key: Array) -> Any:
        return nnx.state(init(jax.random.fold_in(key, 0)), nnx.Param, ...)

    # One after the other: on a CPU a batch of the QR decompositions that make orthogonal weights
    # may deadlock (jax 0.10.2).
    return _resume(*jax.lax.map(begin, keys), keys, optimizer=optimizer, num_epochs=num_epochs, validated=validated)


@partial(jax.jit, static_argnames=("optimizer", "num_epochs", "validated"))
def _resume(
    params: Any,
    constants: Any,
    keys: Array,
    *,
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    validated: bool,
) -> Run:
    """Starts every seed's run with given models."""

    def begin(params: Any, constants: Any, key: Array) -> Run:
        losses = jnp.full(num_epochs, jnp.nan)
        # Weak types would become strong ones after some epochs, and the program compile again.
        none = jnp.asarray(jnp.inf, jnp.result_type(float)), jnp.asarray(-1, jnp.result_type(int))
        nothing = Best(params, *none, jnp.full(num_epochs, jnp.nan))
        key = jax.random.fold_in(key, 1)
        return Run(params, constants, optimizer.init(params), losses, key, nothing if validated else None)

    return jax.vmap(begin)(params, constants, keys)


@partial(jax.jit, static_argnames=("graph", "optimizer", "settings", "mesh"))
def run_epochs(
    run: Run,
    data: PyTree,
    validation: PyTree | None,
    start: Scalar,
    stop: Scalar,
    *,
    graph: Any,
    optimizer: optax.GradientTransformation,
    settings: FitSettings,
    mesh: Mesh | None,
) -> Run:
    """Runs epochs `start` to `stop` - 1 of every seed.

    Args:
        run: of all seeds, spread over the devices.
        data: to train on.
        validation: held-out data, or None.
        start: the first epoch.
        stop: the epoch after the last.
        graph: of a model.
        optimizer: of all seeds.
        settings: of the fit.
        mesh: devices that the seeds are spread over; None for all.

    Returns:
        The runs after these epochs.
    """

    def run_one(run: Run, shared: tuple[PyTree, PyTree, Array, Array]) -> Run:
        data, validation, start, stop = shared
        run = run._replace(params=no_float64_on_tpu(run.params))
        restored = partial(nnx.merge, graph)

        def step(params: Any, opt_state: Any, loss: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
            value, grads = jax.value_and_grad(loss, has_aux=settings.over_time)(params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, value

        def epoch(n: Array, run: Run) -> Run:
            pass_over = _in_time_order if settings.over_time else _shuffled
            params, opt_state, values = pass_over(run, n, data, settings, step, restored)
            losses = run.losses.at[n].set(values.mean().astype(run.losses.dtype))
            run = run._replace(params=params, opt_state=opt_state, losses=losses)
            if run.best is None:
                return run
            return run._replace(best=_judged(run, n, _validation_loss(run, validation, settings, restored)))

        def unless_stopped(n: Array, run: Run) -> Run:
            return jax.lax.cond(n - run.best.epoch > settings.patience, lambda run: run, partial(epoch, n), run)

        return jax.lax.fori_loop(start, stop, epoch if settings.patience is None else unless_stopped, run)

    return map_seeds(run_one, run, (data, validation, jnp.asarray(start), jnp.asarray(stop)), mesh)


def _shuffled(
    run: Run, n: Array, data: PyTree, settings: FitSettings, step: Callable[..., Any], restored: Any
) -> tuple[Any, Any, Array]:
    """Passes once over shuffled minibatches; what remains after the last full one is dropped."""
    num_samples = len(jax.tree.leaves(data)[0])
    num_batches = num_samples // settings.size
    key = jax.random.fold_in(run.key, n)

    def update(carry: tuple[Any, Any], at: tuple[Array, Any]) -> tuple[tuple[Any, Any], Array]:
        index, number = at
        batch = jax.tree.map(lambda a: a[index], data)
        options: dict[str, Any] = {"key": jax.random.fold_in(key, number)} if settings.with_key else {}
        if settings.curriculum is not None:
            options["num_leads"] = settings.curriculum.num_leads(n)
        params, opt_state, value = step(
            *carry, lambda params: settings.loss(restored(params, run.constants), batch, **options)
        )
        return (params, opt_state), value

    order = jax.random.permutation(key, num_samples)
    batches = order[: num_batches * settings.size].reshape(num_batches, settings.size)
    numbers = jnp.arange(num_batches) if settings.with_key else None
    (params, opt_state), values = jax.lax.scan(update, (run.params, run.opt_state), (batches, numbers))
    return params, opt_state, values


def _in_time_order(
    run: Run, n: Array, data: PyTree, settings: FitSettings, step: Callable[..., Any], restored: Any
) -> tuple[Any, Any, Array]:
    """Passes once over chunks of all streams, and hands the carry on with its gradient stopped."""
    chunks = in_chunks(data, settings.size)
    key = jax.random.fold_in(run.key, n)

    def update(state: tuple[Any, Any, Any], at: tuple[PyTree, Any]) -> tuple[tuple[Any, Any, Any], Array]:
        (params, opt_state, handed), (chunk, number) = state, at
        options = {"key": jax.random.fold_in(key, number)} if settings.with_key else {}

        def loss(params: Any) -> Any:
            model = restored(params, run.constants)
            first = _first_carry(model, data)
            carry = jax.tree.map(lambda first, handed: jnp.where(number == 0, first, handed), first, handed)
            return settings.loss(model, carry, chunk, **options)

        params, opt_state, (value, carry) = step(params, opt_state, loss)
        return (params, opt_state, jax.lax.stop_gradient(carry)), value

    carry = _first_carry(restored(run.params, run.constants), data)
    numbers = jnp.arange(len(jax.tree.leaves(chunks)[0]))
    (params, opt_state, _), values = jax.lax.scan(update, (run.params, run.opt_state, carry), (chunks, numbers))
    return params, opt_state, values


def in_chunks(data: PyTree, size: int) -> PyTree:
    """Cuts (stream, time, ...) into (chunk, stream, step, ...), and drops what remains.

    Args:
        data: a tree of streams.
        size: steps of a chunk.
    """

    def cut(a: Array) -> Array:
        streams, length, *rest = a.shape
        chunks = a[:, : length // size * size].reshape(streams, length // size, size, *rest)
        return jnp.moveaxis(chunks, 1, 0)

    return jax.tree.map(cut, data)


def _validation_loss(run: Run, validation: PyTree, settings: FitSettings, restored: Any) -> Array:
    """Computes the validation loss, without keys and so without dropout."""
    model = restored(result_of(run), run.constants)
    if not settings.over_time:
        return settings.loss(model, validation)

    def chunk_loss(carry: Any, chunk: PyTree) -> tuple[Any, Array]:
        value, carry = settings.loss(model, carry, chunk)
        return carry, value

    return jax.lax.scan(chunk_loss, _first_carry(model, validation), in_chunks(validation, settings.size))[1].mean()


def _first_carry(model: Any, data: PyTree) -> Any:
    return model.init_carry(len(jax.tree.leaves(data)[0]))


def _judged(run: Run, n: Array, loss: Array) -> Best:
    """Updates the best epoch by the newest validation loss; NaN is never the best."""
    best = run.best
    loss = loss.astype(best.loss.dtype)
    is_better = loss < best.loss
    newest = (result_of(run), loss, jnp.asarray(n, best.epoch.dtype))
    params, lowest, epoch = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), newest, tuple(best[:3]))
    return Best(params, lowest, epoch, best.losses.at[n].set(loss))
