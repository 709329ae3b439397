"""Training of the networks of `jaxcast pool train`, with a checkpoint and a picture of the losses."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.methods import arguments_of, network_of
from jaxcast.errors import InputError
from jaxcast.io.files import save_figure
from jaxcast.io.run_folder import RunFolder
from jaxcast.pooling.losses import mean_squared_error
from jaxcast.pooling.samples import OneStepSamples
from jaxcast.progress import phase
from jaxcast.training.checks import DivergenceError
from jaxcast.training.fitting import fit
from jaxcast.training.options import TrainingOptions


def num_batches(options: TrainingOptions, samples: OneStepSamples) -> int:
    """Returns the minibatches of an epoch.

    Args:
        options: Of the training.
        samples: The samples.
    """
    return max(1, len(samples.targets) // options.batch_size)


def train_network(settings: Any, samples: OneStepSamples, folder: RunFolder) -> tuple[Any, np.ndarray]:
    """Trains a network, or reads it where it is trained.

    Args:
        settings: The command.
        samples: The samples.
        folder: Folder of the run, with its checkpoint.

    Returns:
        The network, and its losses (seed, epoch).

    Raises:
        InputError: for a training that diverges.
    """
    options = settings.training
    init = initializer(settings, samples)
    dtype = jnp.dtype(settings.network_dtype)
    keys = jax.random.split(jax.random.key(settings.seed), options.num_seeds)

    def train(checkpoint: Path) -> dict[str, Any]:
        with phase("training, epochs", options.num_epochs) as update:

            def show(done: int, losses: Any) -> None:
                update(done, f"loss {float(losses.mean()):.4f}")

            trained = fit(
                jax.tree.map(lambda a: a.astype(dtype), samples),
                init=init,
                loss=mean_squared_error,
                keys=keys,
                optimizer=options.optimizer(num_batches(options, samples)),
                num_epochs=options.num_epochs,
                batch_size=options.batch_size,
                on_progress=show,
                checkpoint=checkpoint,
            )
        leaves = jax.tree.leaves(trained.models)
        return {f"param_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)} | {"losses": trained.losses}

    try:
        arrays = folder.stage("fit", train)
    except DivergenceError:  # nothing of it is worth going on from
        shutil.rmtree(folder.path / "stages", ignore_errors=True)
        (folder.path / "config.json").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.path.rmdir()
        raise
    if not np.isfinite(arrays["losses"]).all():
        raise InputError(
            "the training diverges, its loss is not finite after epoch "
            f"{int(np.isfinite(arrays['losses']).all(0).argmin())}; --overwrite it with a smaller --learning-rate"
        )
    like = jax.eval_shape(jax.vmap(init), keys)
    leaves = [jnp.asarray(arrays[f"param_{i}"]) for i in range(len(jax.tree.leaves(like)))]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), arrays["losses"]


def draw_losses(losses: np.ndarray, folder: RunFolder) -> None:
    """Draws the losses, where matplotlib is installed.

    Args:
        losses: Losses (seed, epoch).
        folder: Folder of the picture.
    """
    from jaxcast.plotting.trajectories import plot_losses

    try:
        figure = figure_of(width=8.0)
    except InputError:
        return
    runs = {f"seed {i}": row[None] for i, row in enumerate(losses)}
    plot_losses(figure.subplots(), runs, loss_label="mean squared error (squared unit of the state)")
    figure.suptitle("Training loss of one-step forecasts")
    save_figure(folder.path / "loss.png", figure)


def initializer(settings: Any, samples: OneStepSamples) -> Callable[[Any], Any]:
    """Returns the function that makes a network from a random key.

    Args:
        settings: The command.
        samples: The samples, which decide the network's sizes.
    """
    network: Any = network_of(settings.pool)
    num_models = None if samples.forecasts is None else samples.forecasts.shape[1]
    facts = {"dim": samples.targets.shape[1], "num_models": num_models, "dtype": jnp.dtype(settings.network_dtype)}
    arguments = {name: (vars(settings) | facts)[name] for name in arguments_of(network)}
    return lambda key: network(**arguments, key=key)
