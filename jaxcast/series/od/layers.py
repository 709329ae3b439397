"""Layers of networks of origin-destination matrices."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.nn.layers import uniform_linear


def linear(input_size: int, size: int, *, key: Key[Array, ""], dtype: DTypeLike) -> nnx.Linear:
    """Makes a linear layer with weights uniform within 1/sqrt(input_size).

    Args:
        input_size: components of an input.
        size: components of an output.
        key: for the weights.
        dtype: of the weights.
    """
    return uniform_linear(input_size, size, fan_in=input_size, rngs=nnx.Rngs(key), dtype=dtype)


class TwoLayers(nnx.Module):
    """Two linear layers, y = W_2 relu(W_1 x + b_1) + b_2.

    Args:
        input_size: components of x.
        hidden_size: rows of W_1.
        size: components of y.
        key: for the weights.
        dtype: of the weights.
    """

    def __init__(self, input_size: int, hidden_size: int, size: int, *, key: Key[Array, ""], dtype: DTypeLike):
        of_first, of_second = jax.random.split(key)
        self.first = linear(input_size, hidden_size, key=of_first, dtype=dtype)
        self.second = linear(hidden_size, size, key=of_second, dtype=dtype)

    def __call__(self, xs: Float[Array, "*batch input"]) -> Float[Array, "*batch output"]:
        """Applies both.

        Args:
            xs: inputs.
        """
        return self.second(jax.nn.relu(self.first(xs)))


class ODEmbedding(nnx.Module):
    """An embedding of origins that does not depend on the order of their destinations.

        o_i = rho( mean_j psi([x_ij, e_j]) )

    with e_j a learned vector of zone j, and psi, rho two layers each. Of the transposed flows, it
    is one of destinations.

    Args:
        input_size: components of x_ij.
        num_zones: number of zones.
        embedding_size: components of e_j.
        size: components of o_i, and of the layers.
        key: for the weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        input_size: int,
        *,
        num_zones: int,
        embedding_size: int,
        size: int,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        of_zones, of_psi, of_rho = jax.random.split(key, 3)
        self.zones = nnx.Param(jax.random.normal(of_zones, (num_zones, embedding_size), dtype) / 4)
        self.psi = TwoLayers(input_size + embedding_size, size, size, key=of_psi, dtype=dtype)
        self.rho = TwoLayers(size, size, size, key=of_rho, dtype=dtype)

    def __call__(self, flows: Float[Array, "*batch zone zone input"]) -> Float[Array, "*batch zone output"]:
        """Embeds every origin.

        Args:
            flows: what is known of each pair.
        """
        zones = jnp.broadcast_to(self.zones[...], (*flows.shape[:-1], self.zones.shape[-1]))
        return self.rho(self.psi(jnp.concatenate([flows, zones], -1)).mean(-2))
