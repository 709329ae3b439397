"""Networks as nuisances."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxcast.causal.bases import LinearBasis
from jaxcast.causal.nuisance import Nuisance
from jaxcast.causal.perceptron import mean_output, train_perceptron
from jaxcast.causal.splits import Splits
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.tracing import is_traced


class NetworkNuisance(Nuisance, FrozenPytree):
    """Networks, trained for every repeat and fold with early stopping on a part of its samples.

    Inputs and targets are standardised; several targets share a network.

    Args:
        hidden_sizes: units of each hidden layer.
        num_epochs: most passes over the data.
        batch_size: samples of a minibatch.
        learning_rate: Adam's learning rate.
        weight_decay: decoupled weight decay.
        validation_share: share of a fold's training samples that stops the training.
        patience: epochs without a better validation loss after which it stops.
        num_seeds: networks that are averaged.
        is_probability: whether targets are 0 and 1, and outputs their probabilities, trained by
            cross-entropy.

    Raises:
        InputError: for numbers out of range, when it is fitted.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.causal.simulate_confounded(300, key=jax.random.key(0))
        >>> network = jaxcast.causal.NetworkNuisance(hidden_sizes=(8,), num_epochs=5)
        >>> found = jaxcast.causal.fit_partially_linear(
        ...     data.outcome, data.treatment, data.covariates, nuisance=network, num_folds=2, key=jax.random.key(1)
        ... )
        >>> found.outcome_residuals.shape
        (1, 300)
    """

    hidden_sizes: tuple[int, ...] = static(default=(32, 32))
    num_epochs: int = static(default=60)
    batch_size: int = static(default=128)
    learning_rate: float = static(default=3e-3)
    weight_decay: float = static(default=1e-2)
    validation_share: float = static(default=0.15)
    patience: int = static(default=8)
    num_seeds: int = static(default=1)
    is_probability: bool = static(default=False)

    def predict_held_out(
        self,
        covariates: Float[Array, "sample covariate"],
        targets: Float[Array, "sample target"],
        splits: Splits,
        *,
        among: Bool[Array, " sample"],
        key: Key[Array, ""],
    ) -> Float[Array, "repeat sample target"]:
        check_network(self)
        if is_traced(covariates, targets, splits, among):
            raise InputError("networks are trained outside of jax.jit and jax.vmap; use RidgeNuisance inside")
        basis = LinearBasis()
        x = basis.expand(covariates, basis.places(covariates))
        found = np.empty((len(splits.train), *targets.shape), x.dtype)
        for repeat, number in np.ndindex(splits.train.shape[:2]):
            weight = (splits.train[repeat, number] & among).astype(x.dtype)
            middle, size = (0.0, 1.0) if self.is_probability else _scales(targets, weight)
            models = train_perceptron(
                {"x": x, "y": (targets - middle) / size, "weight": weight},
                cross_entropy if self.is_probability else squared_error,
                self,
                output_size=targets.shape[1],
                key=jax.random.fold_in(jax.random.fold_in(key, repeat), number),
            )
            outputs = mean_output(models, x)
            outputs = jax.nn.sigmoid(outputs) if self.is_probability else middle + size * outputs
            own = np.asarray(splits.fold[repeat] == number)
            found[repeat, own] = np.asarray(outputs)[own]
        return jnp.asarray(found)


@highest
def _scales(targets: Array, weight: Array) -> tuple[Float[Array, " target"], Float[Array, " target"]]:
    """Returns mean and standard deviation of the samples to learn from."""
    middle = weight @ targets / weight.sum()
    size = jnp.sqrt(weight @ (targets - middle) ** 2 / weight.sum())
    return middle, jnp.where(size > 0, size, 1)


def check_network(settings: Any) -> None:
    """Refuses settings of networks that are out of range.

    Args:
        settings: as `NetworkNuisance` has them.

    Raises:
        InputError: with the setting.
    """
    check_whole("num_epochs", settings.num_epochs)
    check_whole("batch_size", settings.batch_size)
    check_whole("patience", settings.patience)
    check_whole("num_seeds", settings.num_seeds)
    check_number("learning_rate", settings.learning_rate, above=0)
    check_number("weight_decay", settings.weight_decay, least=0)
    check_number("validation_share", settings.validation_share, above=0, most=0.9)


def squared_error(model: Any, batch: Any) -> Float[Array, ""]:
    """Computes the weighted squared error.

    Args:
        model: the network.
        batch: samples with "x", "y" and "weight".
    """
    return jnp.mean(batch["weight"][:, None] * (model(batch["x"]) - batch["y"]) ** 2)


def cross_entropy(model: Any, batch: Any) -> Float[Array, ""]:
    """Computes the weighted cross-entropy of targets 0 and 1.

    Args:
        model: the network.
        batch: samples with "x", "y" and "weight".
    """
    logits = model(batch["x"])
    return jnp.mean(batch["weight"][:, None] * (jax.nn.softplus(logits) - batch["y"] * logits))
