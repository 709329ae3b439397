"""Training of networks that classify subjects, with early stopping, and their predictions."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int, Key

from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.neuro.classifiers.abstract import Inputs, rows_of
from jaxcast.training.fitting import FitResult, fit
from jaxcast.training.folds import stratified_folds
from jaxcast.training.optimizers import make_optimizer

PREDICTION_BATCH = 64
"""Subjects that are scored at once."""
MOST_MEASURED = 512
"""Training subjects on which the statistics of batch norms are measured."""


@runtime_checkable
class TrainingSettings(Protocol):
    """Settings that every method with a network has.

    Args:
        num_epochs: most passes over the training subjects.
        batch_size: subjects of a minibatch.
        learning_rate: Adam's learning rate, which falls to zero along a half cosine.
        weight_decay: decoupled weight decay.
        validation_share: share of the training subjects that stops the training; with 0 all of them
            are learned from, in all epochs.
        patience: epochs without a better validation loss after which it stops.
        num_seeds: networks whose probabilities are averaged.
    """

    @property
    def num_epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def validation_share(self) -> float: ...
    @property
    def patience(self) -> int: ...
    @property
    def num_seeds(self) -> int: ...


def check_training(settings: TrainingSettings) -> None:
    """Checks the settings of a training.

    Args:
        settings: as a method has them.

    Raises:
        InputError: with the setting that is out of range.
    """
    check_whole("num_epochs", settings.num_epochs)
    check_whole("batch_size", settings.batch_size)
    check_whole("patience", settings.patience)
    check_whole("num_seeds", settings.num_seeds)
    check_number("learning_rate", settings.learning_rate, above=0)
    check_number("weight_decay", settings.weight_decay, least=0)
    check_number("validation_share", settings.validation_share, least=0, most=0.5)


def new_networks(make: Callable[[Key[Array, ""]], Any], num_seeds: int, key: Key[Array, ""]) -> Any:
    """Makes the networks of all seeds, one after another: nothing is compiled for it.

    Args:
        make: key -> network.
        num_seeds: number of networks.
        key: random key.

    Returns:
        The networks as one, with a leading seed axis.
    """
    networks = [make(own) for own in jax.random.split(key, num_seeds)]
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *networks)


def train_networks(
    init: Any,
    loss: Callable[..., Any],
    inputs: Inputs,
    labels: Int[np.ndarray, " subject"],
    settings: TrainingSettings,
    *,
    key: Key[Array, ""],
    groups: np.ndarray | None = None,
) -> Any:
    """Trains networks from several seeds, each stopped by a validation part of the subjects, if any.

    Args:
        init: key -> network; the same object for the same sizes, so that `fit` compiles once. Or
            new networks, with a leading seed axis.
        loss: (network, minibatch, key=None) -> scalar. A minibatch has the inputs and "label". With
            a key it is the training loss, without one the validation loss.
        inputs: of the training subjects.
        labels: their classes.
        settings: of the training.
        key: random key.
        groups: of the training subjects; the validation part takes whole ones.

    Returns:
        The networks of all seeds as one, with a leading seed axis.

    Raises:
        InputError: for too few subjects of a class.
    """
    check_training(settings)
    train, validation = np.arange(len(labels)), None
    if settings.validation_share:
        train, validation = validation_split(labels, settings.validation_share, settings.batch_size, groups)
    data = {name: jnp.asarray(array) for name, array in inputs.items()} | {"label": jnp.asarray(labels, jnp.int32)}
    batch_size = min(settings.batch_size, len(train))
    start = init if callable(init) and not isinstance(init, nnx.Module) else FitResult(init, jnp.zeros((1, 1)))
    trained = fit(
        rows_of(data, train),
        init=start,
        loss=loss,
        keys=jax.random.split(key, settings.num_seeds),
        optimizer=make_optimizer(
            settings.learning_rate,
            schedule="cosine",
            num_optimizer_steps=settings.num_epochs * (len(train) // batch_size),
            weight_decay=settings.weight_decay,
        ),
        num_epochs=settings.num_epochs,
        batch_size=batch_size,
        with_key=True,
        validation=None if validation is None else rows_of(data, validation),
        patience=None if validation is None else settings.patience,
    )
    return trained.models


def validation_split(
    labels: Int[np.ndarray, " subject"], validation_share: float, batch_size: int, groups: np.ndarray | None = None
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " validation"]]:
    """Splits training subjects into those to learn from and those that stop the training.

    A share that is not one over a whole number is taken as the nearest that is, such as 1/3 for
    0.35. It is larger where a class has so few subjects that the validation part would lack it.
    Where there are enough, the former are a multiple of the batch size and the latter one of 8:
    then nothing is dropped in an epoch, and folds of nearly the same size run the same program.
    Subjects to learn from that do not fill a minibatch validate, unless that would more than double
    the validation part.

    Args:
        labels: of all training subjects.
        validation_share: share that stops the training, about.
        batch_size: subjects of a minibatch.
        groups: of the subjects; each is in one part only, where there are several. The sizes are
            then what they are.

    Raises:
        InputError: for too few subjects of a class.
    """
    fewest = int(np.bincount(labels).min())
    if fewest < 2:
        raise InputError(
            f"expected at least 2 training subjects of each class, to take a validation part from, got {fewest}; give "
            "more subjects"
        )
    num_folds = min(max(2, round(1 / validation_share)), fewest)
    num_groups = 1 if groups is None else len(np.unique(groups))
    if num_groups > 1:
        return stratified_folds(labels, min(num_folds, num_groups), seed=0, groups=groups)[0]
    train, validation = stratified_folds(labels, num_folds, seed=0)[0]
    if len(train) >= batch_size and len(train) % batch_size <= len(validation):
        left_over = np.random.default_rng(0).permutation(train)[: len(train) % batch_size]
        train, validation = np.setdiff1d(train, left_over), np.union1d(validation, left_over)
    if len(validation) >= 8:
        # Evenly over the classes, in whatever order the subjects come.
        by_class = validation[np.argsort(labels[validation], kind="stable")]
        kept = np.linspace(0, len(validation) - 1, len(validation) // 8 * 8).astype(int)
        validation = np.sort(by_class[kept])
    return train, validation


def measure_statistics(models: Any, forward: Callable[[Any, Inputs], Any], inputs: Inputs) -> Any:
    """Measures the statistics of batch norms on training subjects, after training.

    Args:
        models: with a leading seed axis.
        forward: (network, inputs) -> the statistics. Define it once: it is compared by identity.
        inputs: of the training subjects.

    Returns:
        The statistics, with a leading seed axis.
    """
    size = len(next(iter(inputs.values())))
    some = rows_of(inputs, np.random.default_rng(0).permutation(size)[:MOST_MEASURED])
    return _over_seeds(models, jax.tree.map(jnp.asarray, some), forward)


@partial(jax.jit, static_argnames="forward")
def _over_seeds(models: Any, inputs: Inputs, forward: Callable[[Any, Inputs], Any]) -> Any:
    # One seed after the other: together they would take several times the memory.
    return jax.lax.map(lambda model: forward(model, inputs), models)


def outputs_of(models: Any, forward: Callable[[Any, Inputs], Any], inputs: Inputs) -> Any:
    """Runs networks on subjects, some at a time, and averages their outputs over seeds.

    Args:
        models: with a leading seed axis.
        forward: (network, inputs) -> a tree of arrays with a leading subject axis. Define it once:
            it is compared by identity.
        inputs: of the subjects.

    Returns:
        The mean outputs, as NumPy arrays.
    """
    size = len(next(iter(inputs.values())))
    batch = min(PREDICTION_BATCH, size)
    found = []
    for start in range(0, size, batch):
        # The last batch is filled up, so that one program serves all.
        rows = np.minimum(np.arange(start, start + batch), size - 1)
        outputs = _over_seeds(models, jax.tree.map(jnp.asarray, rows_of(inputs, rows)), forward)
        found.append(jax.tree.map(lambda array, left=size - start: np.asarray(array).mean(0)[:left], outputs))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *found)
