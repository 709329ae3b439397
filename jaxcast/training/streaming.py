"""Training on data that are drawn anew for every epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key, PyTree, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.sharding import everywhere, gather_seeds, spread_seeds
from jaxcast.training.checkpoint import save_checkpoint
from jaxcast.training.checks import check_data, check_losses
from jaxcast.training.fitting import FitResult, Loss, check_arguments, check_batch_size, check_validation
from jaxcast.training.run import (
    FitSettings,
    Run,
    identity_of,
    progress_of,
    result_of,
    resumed_run,
    run_epochs,
    started_run,
)

Draw = Callable[[int], PyTree]


@checked
def fit_stream(
    draw: Draw,
    *,
    init: Callable[[Key[Array, ""]], Any] | FitResult,
    loss: Loss,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int,
    with_key: bool = False,
    validation: PyTree[Shaped[Any, "validation_sample ..."]] | None = None,
    patience: int | None = None,
    keep: Literal["best", "last"] = "best",
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
    mesh: Mesh | None = None,
) -> FitResult:
    """Trains one model for each key on data that are drawn anew for every epoch.

    It is `fit` for data that do not fit into memory, or of which there are too many to pass over
    all, such as the windows of thousands of series. While an epoch runs, the data of the next are
    drawn on the host. All epochs are one compiled program.

    Args:
        draw: number of an epoch, from 0 on, -> a pytree of arrays with a leading sample axis, of
            the same shapes for each. It must depend on nothing but the number.
        init: see `fit`.
        loss: (model, minibatch) -> scalar; see `fit`.
        keys: one for each model; all see the same data.
        optimizer: any optax optimizer; its state is carried from epoch to epoch.
        num_epochs: how often data are drawn.
        batch_size: samples of a minibatch; what remains after the last full one is dropped.
        with_key: whether the loss also takes `key`, a new one at every step.
        validation: held-out data of the same structure; their loss is computed after every epoch.
        patience: epochs without a better validation loss after which a seed stops.
        keep: which parameters to return where there are validation data, "best" or "last".
        on_progress: called with the number of finished epochs and the newest loss of each seed.
        num_reports: how often, about, `on_progress` is called and the checkpoint replaced.
        checkpoint: a file that is replaced during the run, from which it continues; see `fit`. Of
            the data, those of epoch 0 are compared.
        mesh: devices to spread the seeds over.

    Returns:
        The models and their losses.

    Raises:
        InputError: as `fit`, and for data of other shapes than those of epoch 0.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast, numpy as np
        >>> def draw(epoch):
        ...     inputs = np.random.default_rng(epoch).normal(size=(64, 1))
        ...     return inputs, np.sin(inputs)
        >>> def init(key): return jaxcast.nn.RNN(input_size=1, hidden_size=1, key=key)
        >>> def loss(rnn, batch):
        ...     outputs = rnn(batch[0][:, None])[1]
        ...     return jnp.mean((outputs[:, 0] - batch[1]) ** 2)
        >>> fit = jaxcast.training.fit_stream(
        ...     draw, init=init, loss=loss, keys=jax.random.key(0)[None],
        ...     optimizer=jaxcast.training.make_optimizer(1e-2), num_epochs=5, batch_size=32,
        ... )
        >>> fit.losses.shape, bool(fit.losses[0, -1] < fit.losses[0, 0])
        ((1, 5), True)
    """
    first = draw(0)
    check_arguments(first, keys, num_epochs, num_reports)
    check_validation(validation, patience, keep)
    check_batch_size(batch_size, first)
    settings = FitSettings(loss, batch_size, num_epochs, with_key=with_key, patience=patience)
    new, models = (None, init.models) if isinstance(init, FitResult) else (init, None)
    check_data("validation", new, models, validation, keys, settings)
    graph, run = started_run(new, models, keys, optimizer, num_epochs, validation is not None)
    identity = {} if checkpoint is None else identity_of(first, validation, keys, settings)
    run, done = resumed_run(run, checkpoint, identity)
    held_out, every = jax.tree.map(jnp.asarray, validation), -(-num_epochs // num_reports)
    run, data = spread_seeds(run, mesh), first if done == 0 else None
    for epoch in range(done, num_epochs):
        data = _same_shapes(draw(epoch), first, epoch) if data is None else data
        run = run_epochs(
            run, data, held_out, epoch, epoch + 1, graph=graph, optimizer=optimizer, settings=settings, mesh=mesh
        )
        # The program runs by itself meanwhile.
        following = _same_shapes(draw(epoch + 1), first, epoch + 1) if epoch + 1 < num_epochs else None
        losses, is_trained = everywhere(run.losses)[: len(keys)], _trained(run, epoch, settings, len(keys))
        if (~np.isfinite(losses) & is_trained).any():
            check_data("data", new, models, data, keys, settings)
            check_losses(jnp.asarray(losses), is_trained)
        data, is_last = following, not is_trained[:, epoch].any() or epoch + 1 == num_epochs
        if is_last or (epoch + 1) % every == 0:
            if checkpoint is not None:
                save_checkpoint(Path(checkpoint), identity, epoch + 1, gather_seeds(progress_of(run), len(keys)))
            if on_progress is not None:
                on_progress(epoch + 1, losses[:, epoch])
        if is_last:
            break
    run = gather_seeds(run._replace(params=result_of(run), opt_state=None, key=None), len(keys))
    params = run.params if run.best is None or keep == "last" else run.best.params
    return FitResult(nnx.merge(graph, params, run.constants), run.losses, None if run.best is None else run.best.losses)


def _same_shapes(data: PyTree, first: PyTree, epoch: int) -> PyTree:
    """Returns the data of an epoch, which must have the shapes of the first."""
    kinds = [jax.tree.map(lambda a: (np.shape(a), np.dtype(a.dtype)), tree) for tree in (data, first)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"expected data of the same shapes in every epoch, got others in epoch {epoch}: {shown(kinds)}"
        )
    return data


def _trained(run: Run, epoch: int, settings: FitSettings, num_seeds: int) -> Bool[np.ndarray, "seed epoch"]:
    """Returns which epochs up to this one took place."""
    so_far = np.broadcast_to(np.arange(settings.num_epochs) <= epoch, (num_seeds, settings.num_epochs))
    if settings.patience is None:
        return so_far
    best = everywhere(run.best.epoch)[:num_seeds, None]
    return so_far & (np.arange(settings.num_epochs) <= best + settings.patience)
