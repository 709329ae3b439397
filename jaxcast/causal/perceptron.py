"""A multilayer perceptron, and its training on weighted samples."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.checks import check_sizes
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.network import Network
from jaxcast.training.fitting import fit
from jaxcast.training.optimizers import make_optimizer


class Perceptron(Network):
    """Linear layers with SiLU between them.

    Args:
        input_size: components of an input.
        output_size: components of an output.
        hidden_sizes: units of each hidden layer.
        key: random key for the initial weights.
        dtype: of the parameters.

    Raises:
        InputError: for sizes below one.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        hidden_sizes: tuple[int, ...],
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        sizes = (input_size, *hidden_sizes, output_size)
        check_sizes(**{f"size {number} of the network": size for number, size in enumerate(sizes)})
        rngs = nnx.Rngs(key)
        self.layers = nnx.List(
            uniform_linear(size, after, fan_in=size, rngs=rngs, dtype=dtype) for size, after in pairwise(sizes)
        )

    @property
    def config(self) -> dict[str, Any]:
        """The settings."""
        sizes = [self.layers[0].in_features, *(layer.out_features for layer in self.layers)]
        dtype = str(self.layers[0].param_dtype)
        return {"input_size": sizes[0], "output_size": sizes[-1], "hidden_sizes": sizes[1:-1], "dtype": dtype}

    def __call__(self, xs: Float[Array, "*batch input"]) -> Float[Array, "*batch output"]:
        """Returns the outputs of all inputs.

        Args:
            xs: the inputs.
        """
        for layer in list(self.layers)[:-1]:
            xs = jax.nn.silu(layer(xs))
        return self.layers[-1](xs)


@cache
def make_init(input_size: int, output_size: int, hidden_sizes: tuple[int, ...], dtype: str) -> Callable[[Array], Any]:
    """Returns key -> `Perceptron`; the same function for the same sizes, so that `fit` compiles once.

    Args:
        input_size: components of an input.
        output_size: components of an output.
        hidden_sizes: units of each hidden layer.
        dtype: name of the type of the parameters.
    """

    def init(key: Array) -> Perceptron:
        return Perceptron(
            input_size=input_size, output_size=output_size, hidden_sizes=hidden_sizes, key=key, dtype=dtype
        )

    return init


def train_perceptron(
    data: dict[str, Array],
    loss: Callable[[Any, Any], Array],
    settings: Any,
    *,
    output_size: int,
    key: Key[Array, ""],
) -> Any:
    """Trains networks with early stopping on a part of the samples.

    Args:
        data: "x" (sample, input), "weight" (sample,), and what else the loss needs.
        loss: (network, minibatch) -> scalar, of samples times weights.
        settings: hidden_sizes, num_epochs, batch_size, learning_rate, weight_decay,
            validation_share, patience and num_seeds.
        output_size: components of an output.
        key: random key.

    Returns:
        The networks of all seeds as one, with a leading seed axis.
    """
    draw, seeds = jax.random.split(key)
    size = len(data["x"])
    is_held = jax.random.uniform(draw, (size,)) < settings.validation_share
    init = make_init(data["x"].shape[1], output_size, tuple(settings.hidden_sizes), str(data["x"].dtype))
    trained = fit(
        data | {"weight": data["weight"] * ~is_held},
        init=init,
        loss=loss,
        keys=jax.random.split(seeds, settings.num_seeds),
        optimizer=make_optimizer(settings.learning_rate, weight_decay=settings.weight_decay),
        num_epochs=settings.num_epochs,
        batch_size=min(settings.batch_size, size),
        validation=data | {"weight": data["weight"] * is_held},
        patience=settings.patience,
    )
    return trained.models


@jax.jit
def mean_output(models: Any, xs: Float[Array, "sample input"]) -> Float[Array, "sample output"]:
    """Returns the mean output of the networks of all seeds.

    Args:
        models: with a leading seed axis.
        xs: the inputs.
    """
    return jax.vmap(lambda model: model(xs))(models).mean(0)
