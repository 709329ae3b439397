"""Fitting by minibatches: the whole run is one compiled program of nested scans, for any number of seeds."""

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
from jaxcast.errors import InputError, shown
from jaxcast.training.checks import check_data, check_losses
from jaxcast.training.run import Plan, train, trained_epochs

Loss = Callable[..., Any]


class FitResult(NamedTuple):
    """Trained models with a leading seed axis on every parameter, and the mean loss of every epoch, (seed, epoch).

    validation_losses: alike, where there were validation data; unless asked for the last ones, the models are then those of
    each seed's best epoch. Both are NaN for epochs after a seed has stopped.
    """

    models: Any
    losses: Float[Array, "seed epoch"]
    validation_losses: Any = None


@checked
def fit(
    data: PyTree[Shaped[Any, "sample ..."]],
    *,
    init: Callable[[Key[Array, ""]], Any] | FitResult,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int,
    loss: Loss,
    with_key: bool = False,
    validation: PyTree[Shaped[Array, "validation_sample ..."]] | None = None,
    patience: int | None = None,
    keep: Literal["best", "last"] = "best",
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
    mesh: Mesh | None = None,
) -> FitResult:
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
        >>> def init(key): return jaxcast.pooling.FeedForward(dim=3, num_delays=2, hidden_size=16, key=key)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> fit = jaxcast.fit(
        ...     samples, init=init, loss=jaxcast.pooling.mean_squared_error, keys=keys, optimizer=optax.adam(1e-2),
        ...     num_epochs=5, batch_size=32,
        ... )
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
    data: PyTree[Shaped[Array, "stream time ..."]],
    *,
    init: Callable[[Key[Array, ""]], Any] | FitResult,
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
) -> FitResult:
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
        >>> def init(key): return jaxcast.nn.RNN(input_size=1, hidden_size=1, key=key)
        >>> def loss(rnn, carry, chunk):
        ...     carry, outputs = rnn(chunk[0], carry)
        ...     return jnp.mean((outputs - chunk[1]) ** 2), carry
        >>> fit = jaxcast.fit_over_time(
        ...     (wave[:, :-1], wave[:, 1:]), init=init, keys=jax.random.key(0)[None], optimizer=optax.adam(1e-2),
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


def _fit(init: Any, data: PyTree, validation: PyTree | None, plan: Plan, keep: str, **options: Any) -> FitResult:
    new, models = (None, init.models) if isinstance(init, FitResult) else (init, None)
    for name, arrays in (("data", data), ("validation", validation)):
        check_data(name, new, models, arrays, options["keys"], plan)
    graph, run = train(new, models, data, validation, plan, **options)
    check_losses(run.losses, trained_epochs(run, plan))
    params = run.params if run.best is None or keep == "last" else run.best.params
    return FitResult(nnx.merge(graph, params, run.constants), run.losses, None if run.best is None else run.best.losses)


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
