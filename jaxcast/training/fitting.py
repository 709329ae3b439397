"""Training by gradients: one compiled program of nested scans, for any number of seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.training.checks import check_data, check_losses
from jaxcast.training.run import Curriculum, FitSettings, train, trained_epochs

Loss = Callable[..., Any]


class FitResult(NamedTuple):
    """Trained models and their losses.

    Args:
        models: the models of all seeds as one, with a leading seed axis on every parameter.
        losses: the mean loss of every epoch; NaN for epochs after a seed has stopped.
        validation_losses: the validation loss after every epoch, (seed, epoch), NaN alike; None
            without validation data.
    """

    models: Any
    losses: Float[Array, "seed epoch"]
    validation_losses: Any = None


@checked
def fit(
    data: PyTree[Shaped[Any, "sample ..."]],
    *,
    init: Callable[[Key[Array, ""]], Any] | FitResult,
    loss: Loss,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    with_key: bool = False,
    validation: PyTree[Shaped[Array, "validation_sample ..."]] | None = None,
    patience: int | None = None,
    keep: Literal["best", "last"] = "best",
    curriculum: Curriculum | None = None,
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
    mesh: Mesh | None = None,
) -> FitResult:
    """Trains one model for each key, by minibatches or through time.

    With `batch_size`, each epoch shuffles the samples into minibatches. With `chunk_size`, it is
    truncated back-propagation through time: the data are long streams, all of them one batch, and
    an update follows each chunk of steps. The carry after a chunk is the one before the next, its
    gradient stopped. Every epoch starts from `model.init_carry(num_streams)`, which gradients reach
    where the first carry is learned. A single chunk of all steps is full back-propagation. What
    remains after the last full minibatch or chunk is dropped.

    The whole run is one compiled program. A second call with the same shapes and the same `init`,
    `optimizer` and `loss` objects does not compile again. A key gives the same model whatever other
    keys are trained beside it.

    Args:
        data: a pytree of arrays with a leading sample axis; with `chunk_size`, with leading stream
            and time axes.
        init: key -> `flax.nnx` module, whose `nnx.Param` leaves are trained. Or the result of an
            earlier fit, one model for each key, from which training continues with a fresh
            optimizer.
        loss: (model, minibatch) -> scalar; with `chunk_size`, (model, carry, chunk) -> (scalar,
            carry). Define it once: it is compared by identity.
        keys: one for each model; it draws the initial parameters and shuffles.
        optimizer: any optax optimizer, such as `make_optimizer` returns.
        num_epochs: passes over the data.
        batch_size: samples of a minibatch; give it or `chunk_size`.
        chunk_size: steps of a chunk, through which gradients go back.
        with_key: whether the loss also takes `key`, a new one at every step, as for dropout. The
            validation loss gets none.
        validation: held-out data of the same structure. Their loss is computed after every epoch.
        patience: epochs without a better validation loss after which a seed stops; by default none
            stops early.
        keep: which parameters to return where there are validation data, those of each seed's best
            epoch or of its last one.
        curriculum: how many leads count at each epoch. The loss then also takes `num_leads`, and is
            to leave out later leads, as `series.WindowLoss` does; the validation loss has all.
        on_progress: called with the number of finished epochs and the newest loss of each seed.
        num_reports: how often, about, `on_progress` is called and the checkpoint replaced.
        checkpoint: a file that is replaced during the run and kept afterwards. Where it exists, the
            run continues from it and ends with the same numbers, to the bit, as without
            interruption. It must be of the same data, keys, sizes and loss; of the optimizer only
            the shapes of its state are compared.
        mesh: devices to spread the seeds over; by default all devices, those of other processes
            included.

    Returns:
        The models and their losses.

    Raises:
        InputError: for data that are not finite where the loss sees them, a loss that becomes NaN
            or infinite (seed and epoch are named), arrays of different lengths, minibatches or
            chunks longer than the data, neither or both of `batch_size` and `chunk_size`, no keys
            or epochs, models that are not one for each key, `patience` without validation data, a
            curriculum through time or of no epochs, or a checkpoint that is damaged or belongs to
            another run.

    Source:
        Williams and Peng (1990) for truncated back-propagation.

    Example:
        >>> import jax, jaxcast, optax
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=200)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=2)
        >>> def init(key): return jaxcast.pooling.FeedForward(dim=3, num_delays=2, hidden_size=16, key=key)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> fit = jaxcast.fit(
        ...     samples, init=init, loss=jaxcast.pooling.mean_squared_error, keys=keys, optimizer=optax.adam(1e-2),
        ...     num_epochs=5, batch_size=32,
        ... )
        >>> fit.losses.shape, bool((fit.losses[:, -1] < fit.losses[:, 0]).all())
        ((2, 5), True)

        Through time, on one wave and the same wave one step later:

        >>> import jax.numpy as jnp
        >>> wave = jnp.sin(0.3 * jnp.arange(401.0))[None, :, None]
        >>> def init(key): return jaxcast.nn.RNN(input_size=1, hidden_size=1, key=key)
        >>> def loss(rnn, carry, chunk):
        ...     carry, outputs = rnn(chunk[0], carry)
        ...     return jnp.mean((outputs - chunk[1]) ** 2), carry
        >>> fit = jaxcast.fit(
        ...     (wave[:, :-1], wave[:, 1:]), init=init, loss=loss, keys=jax.random.key(0)[None],
        ...     optimizer=optax.adam(1e-2), num_epochs=5, chunk_size=20,
        ... )
        >>> bool(fit.losses[0, -1] < fit.losses[0, 0])
        True
    """
    check_arguments(data, keys, num_epochs, num_reports)
    check_validation(validation, patience, keep)
    _check_curriculum(curriculum, chunk_size)
    size = _checked_size(data, validation, batch_size, chunk_size)
    settings = FitSettings(
        loss,
        size,
        num_epochs,
        over_time=chunk_size is not None,
        with_key=with_key,
        patience=patience,
        curriculum=curriculum,
    )
    new, models = (None, init.models) if isinstance(init, FitResult) else (init, None)
    for name, arrays in (("data", data), ("validation", validation)):
        check_data(name, new, models, arrays, keys, settings)
    graph, run = train(
        new,
        models,
        data,
        validation,
        settings,
        keys=keys,
        optimizer=optimizer,
        on_progress=on_progress,
        num_reports=num_reports,
        checkpoint=checkpoint,
        mesh=mesh,
    )
    check_losses(run.losses, trained_epochs(run, settings))
    params = run.params if run.best is None or keep == "last" else run.best.params
    return FitResult(nnx.merge(graph, params, run.constants), run.losses, None if run.best is None else run.best.losses)


def check_arguments(data: PyTree, keys: Array, num_epochs: int, num_reports: int) -> None:
    """Checks what every training is given.

    Args:
        data: arrays with a leading sample axis.
        keys: of the seeds.
        num_epochs: passes over the data.
        num_reports: how often to report.

    Raises:
        InputError: for data that are not arrays of one length, no keys, and numbers below 1.
    """
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


def check_batch_size(batch_size: int, data: PyTree) -> None:
    """Checks that a minibatch is no larger than the data.

    Args:
        batch_size: samples of a minibatch.
        data: arrays with a leading sample axis.

    Raises:
        InputError: with the number of samples.
    """
    num_samples = len(jax.tree.leaves(data)[0])
    if not 1 <= batch_size <= num_samples:
        raise InputError(f"batch_size must be from 1 to the {num_samples} samples there are, got {batch_size}")


def _checked_size(data: PyTree, validation: PyTree | None, batch_size: int | None, chunk_size: int | None) -> int:
    """Returns the size of a minibatch or of a chunk, whichever is given."""
    if batch_size is not None and chunk_size is None:
        check_batch_size(batch_size, data)
        return batch_size
    if chunk_size is not None and batch_size is None:
        _check_streams("data", data, chunk_size)
        if validation is not None:
            _check_streams("validation", validation, chunk_size)
        return chunk_size
    raise InputError(f"give batch_size, or chunk_size to train through time, got {batch_size} and {chunk_size}")


def _check_streams(name: str, streams: PyTree, chunk_size: int) -> None:
    lengths = {leaf.shape[1:2] for leaf in jax.tree.leaves(streams)}
    if len(lengths) != 1 or lengths == {()} or not 1 <= chunk_size <= min(lengths)[0]:
        raise InputError(
            f"expected {name} with streams of one length and chunks no longer than that, got lengths {sorted(lengths)} "
            f"and chunks of {chunk_size}"
        )


def check_validation(validation: PyTree | None, patience: int | None, keep: str) -> None:
    """Checks what validation data are used for.

    Args:
        validation: held-out data, or None.
        patience: epochs without a better loss, or None.
        keep: "best" or "last".

    Raises:
        InputError: for a patience without data, or another word.
    """
    if keep not in ("best", "last"):
        raise InputError(f"keep must be best or last, got {shown(repr(keep))}")
    if patience is not None and (validation is None or patience < 1):
        raise InputError(f"patience must be at least 1 and needs validation data, got {patience}")


def _check_curriculum(curriculum: Curriculum | None, chunk_size: int | None) -> None:
    if curriculum is None:
        return
    check_whole("every of a curriculum", curriculum.every)
    check_whole("warmup of a curriculum", curriculum.warmup, least=0)
    if chunk_size is not None:
        raise InputError("a curriculum over leads goes with minibatches; give batch_size instead of chunk_size")
