"""Weighs the variables of each step, and joins them to one vector."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.backends.blocks import map_chunks
from jaxcast.checks import check_sizes, check_whole
from jaxcast.nn.dropout import NO_DROPOUT, Dropout
from jaxcast.nn.gated_residual import GatedResidual

CHUNK_SIZE = 2**18
"""Numbers of the vectors of all variables that are computed at once on a CPU."""


class Selection(NamedTuple):
    """What was selected of variables.

    Args:
        selected: (*batch, size), the weighted sum of the variables.
        weights: (*batch, variable), which sum to one.
    """

    selected: Any
    weights: Any


class NumberVectors(NamedTuple):
    """The learned vectors of numbers, x_j w_j + b_j.

    Args:
        kernel: the directions w_j, (variable, size).
        bias: the offsets b_j, alike.
    """

    kernel: Any
    bias: Any


class NumberEmbedding(nnx.Module):
    """Learned vectors for numbers: each variable has a direction and an offset.

        e_j = x_j w_j + b_j

    Args:
        num_variables: the number of variables j.
        size: components of a vector.
        key: for both, uniform within 1.
        dtype: of both.

    Raises:
        InputError: for sizes below one.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> embedding = jaxcast.nn.NumberEmbedding(num_variables=3, size=8, key=jax.random.key(0))
        >>> embedding(jnp.ones((32, 20, 3))).shape
        (32, 20, 3, 8)
    """

    @checked
    def __init__(self, *, num_variables: int, size: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32):
        check_sizes(num_variables=num_variables, size=size)
        of_kernel, of_bias = jax.random.split(key)
        shape = (num_variables, size)
        self.kernel = nnx.Param(jax.random.uniform(of_kernel, shape, dtype, -1, 1))
        self.bias = nnx.Param(jax.random.uniform(of_bias, shape, dtype, -1, 1))

    @property
    def vectors(self) -> NumberVectors:
        """The directions and the offsets."""
        return NumberVectors(self.kernel[...], self.bias[...])

    def __call__(self, xs: Float[Array, "*batch variable"]) -> Float[Array, "*batch variable size"]:
        """Returns the vectors of numbers.

        Args:
            xs: the numbers.

        Returns:
            The vectors.
        """
        return xs[..., None] * self.kernel[...] + self.bias[...]


class VariableSelection(nnx.Module):
    """Weighs variables, each a vector, and sums them.

        w = softmax( GRN([e_1, ..., e_V], c) ),    y = sum_j w_j GRN_j(e_j)

    The networks of all variables are one batched product.

    Args:
        num_variables: V.
        size: components of the vectors e_j and of the outputs.
        key: for the weights.
        context_size: components of the context c; None for none.
        dtype: of the weights.

    Raises:
        InputError: for fewer than one variable or two components.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021), eqs. 6 to 8.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> selection = jaxcast.nn.VariableSelection(num_variables=3, size=8, key=jax.random.key(0))
        >>> selected, weights = selection(jnp.ones((32, 20, 3, 8)))
        >>> selected.shape, weights.shape
        ((32, 20, 8), (32, 20, 3))
    """

    @checked
    def __init__(
        self,
        *,
        num_variables: int,
        size: int,
        key: Key[Array, ""],
        context_size: int | None = None,
        dtype: DTypeLike = jnp.float32,
    ):
        check_whole("num_variables", num_variables)
        check_whole("size", size, least=2)
        of_weights, of_variables = jax.random.split(key)
        self.weighting = GatedResidual(
            input_size=num_variables * size,
            hidden_size=size,
            output_size=num_variables,
            context_size=context_size,
            key=of_weights,
            dtype=dtype,
        )
        self.variables = GatedResidual(
            input_size=size, output_size=size, stack=(num_variables,), key=of_variables, dtype=dtype
        )
        self.num_variables, self.size = num_variables, size

    def __call__(
        self,
        embedded: Float[Array, "*batch variable size"],
        context: Float[Array, "*#batch context"] | None = None,
        drop: Dropout = NO_DROPOUT,
    ) -> Selection:
        """Selects among vectors.

        Args:
            embedded: of each variable.
            context: what else the weights depend on.
            drop: the dropout of the pass.

        Returns:
            The sum, and the weights.
        """
        batch = embedded.shape[:-2]
        weights = jax.nn.softmax(self.weighting(embedded.reshape(*batch, -1), context, drop), -1)
        rows = jnp.moveaxis(embedded.reshape(-1, *embedded.shape[-2:]), 1, 0)
        return self._joined(self.variables(rows, drop=drop), weights)

    def num_dropped(self, num_samples: int, num_steps: int) -> int:
        """Returns how many components dropout may set to zero, or a few more.

        Args:
            num_samples: of a batch.
            num_steps: of each.
        """
        num_chunks, chunk = self._chunks(num_samples, num_steps)
        return num_chunks * chunk * num_steps * self.size * (self.num_variables + 1)

    def of_numbers(
        self,
        xs: Float[Array, "batch time variable"],
        vectors: NumberVectors,
        context: Float[Array, "batch context"],
        drop: Dropout = NO_DROPOUT,
    ) -> Selection:
        """Selects among the vectors of numbers; faster than to make the vectors first.

        A vector is linear in its number, so the first layers need the numbers alone:
        x_j w_j W_2 is the number times a vector that is computed once.

        Args:
            xs: the numbers.
            vectors: of all variables.
            context: of each sample, for all its steps.
            drop: the dropout of the pass.

        Returns:
            The sum, and the weights.
        """
        first, skip = self._of_weighting(vectors)
        offsets = jnp.zeros((len(xs), 1, self.size), xs.dtype)
        if self.weighting.of_context is not None:
            offsets = self.weighting.of_context(context)[:, None]

        def select(xs: Array, offsets: Array, of_weights: Any, of_variables: Any) -> Selection:
            sums = xs @ first[0] + first[1] + offsets
            skipped = xs @ skip[0] + skip[1]
            weights = jax.nn.softmax(self.weighting.after_first(sums, skipped, drop, of_weights), -1)
            rows = xs.reshape(-1, self.num_variables).T[..., None]
            kernel, bias = vectors.kernel[:, None], vectors.bias[:, None]
            own = self.variables.first
            sums = rows * (kernel @ own.kernel[...]) + (bias @ own.kernel[...] + own.offset)
            outputs = self.variables.after_first(sums, rows * kernel + bias, drop, of_variables)
            return self._joined(outputs, weights)

        num_samples, num_steps, _ = xs.shape
        num_chunks, chunk = self._chunks(num_samples, num_steps)
        num_rows = chunk * num_steps
        of_weights = drop.kept((num_chunks, chunk, num_steps, self.size))
        of_variables = drop.kept((num_chunks, self.num_variables, num_rows, self.size))

        def split(rows: Array) -> Array:
            padding = [(0, num_chunks * chunk - num_samples), *[(0, 0)] * (rows.ndim - 1)]
            return jnp.pad(rows, padding).reshape(num_chunks, chunk, *rows.shape[1:])

        chunks = (split(xs), split(offsets), of_weights, of_variables)
        # On a CPU, chunks stay in the cache of a core, and their backward pass computes them again there: a
        # third of the time of storing all vectors.
        selection = map_chunks(jax.checkpoint(lambda chunk: select(*chunk), prevent_cse=False), chunks)
        return Selection(*(a.reshape(-1, *a.shape[2:])[:num_samples] for a in selection))

    def _chunks(self, num_samples: int, num_steps: int) -> tuple[int, int]:
        """Returns how many chunks there are, and the samples of each."""
        most = max(1, CHUNK_SIZE // (num_steps * self.num_variables * self.size))
        num_chunks = -(-num_samples // most)
        return num_chunks, -(-num_samples // num_chunks)

    def _of_weighting(self, vectors: NumberVectors) -> list[tuple[Array, Array]]:
        """Returns kernel and bias of the first layer and the skip of the weights, for numbers."""
        layers = []
        skip: Any = self.weighting.skip  # there is one: the vectors have two components or more
        for layer in (self.weighting.first, skip):
            kernel = layer.kernel[...].reshape(self.num_variables, self.size, -1)
            of_numbers = jnp.einsum("vd,vdh->vh", vectors.kernel, kernel)
            layers.append((of_numbers, jnp.einsum("vd,vdh->h", vectors.bias, kernel) + layer.offset))
        return layers

    def _joined(self, vectors: Float[Array, "variable row size"], weights: Array) -> Selection:
        """Returns the weighted sum of the variables."""
        shares = weights.reshape(-1, self.num_variables).T[..., None]
        selected = (shares * vectors).sum(0)
        return Selection(selected.reshape(*weights.shape[:-1], self.size), weights)
