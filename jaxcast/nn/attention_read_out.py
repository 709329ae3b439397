"""Attention as the read-out of a sequence or a set: a weighted mean of its states."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.nn.gated_residual import StackedLinear
from jaxcast.nn.layers import shares_of
from jaxcast.nn.recurrent_layer import check_mask


class AttentionReadOut(nnx.Module):
    """A mean of states, with weights by a softmax of what each of them says.

        a_s = softmax_s( v . tanh(x_s W + b) ),    y = sum_s a_s x_s

    It turns a sequence of any length, or a set, into one state of the same size.

    Args:
        size: components of a state.
        key: random key for the initial weights, uniform within 1/sqrt(size).
        dtype: of the weights.

    Raises:
        InputError: for a size below one, or states or a mask of another shape.

    Source:
        Bahdanau, Cho and Bengio (2015), section 3.1; Yang et al. (2016), Hierarchical Attention
        Networks for Document Classification, eqs. 5 to 7.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> read_out = jaxcast.nn.AttentionReadOut(size=8, key=jax.random.key(0))
        >>> mask = jnp.arange(20) < 4
        >>> state, weights = read_out(jnp.ones((32, 20, 8)), jnp.broadcast_to(mask, (32, 20)))
        >>> state.shape, weights[0, :6].tolist()
        ((32, 8), [0.25, 0.25, 0.25, 0.25, 0.0, 0.0])
    """

    @checked
    def __init__(self, *, size: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32):
        check_sizes(size=size)
        of_hidden, of_score = jax.random.split(key)
        self.hidden = StackedLinear(size, size, key=of_hidden, dtype=dtype)
        self.score = StackedLinear(size, 1, use_bias=False, key=of_score, dtype=dtype)

    @checked
    def __call__(
        self, states: Float[Array, "*batch state size"], mask: Bool[Array, "*batch state"] | None = None
    ) -> tuple[Float[Array, "*batch size"], Float[Array, "*batch state"]]:
        """Averages states.

        Args:
            states: the states.
            mask: which of them exist; by default all.

        Returns:
            The mean, and the weight of each state; all zero where none exists.

        Raises:
            InputError: for states or a mask of another shape.
        """
        kernel: Any = self.hidden.kernel
        states = jnp.asarray(states, kernel.dtype)
        if states.ndim < 2 or states.shape[-1] != len(kernel):
            raise InputError(f"expected states (*batch, state, {len(kernel)}), got shape {states.shape}")
        check_mask(mask, states)
        mask = jnp.ones(states.shape[:-1], bool) if mask is None else mask
        states = jnp.where(mask[..., None], states, 0)
        weights = shares_of(self.score(jnp.tanh(self.hidden(states)))[..., 0], mask)
        return jnp.einsum("...s,...sh->...h", weights, states), weights
