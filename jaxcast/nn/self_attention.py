"""Self-attention over the outputs of a sequence."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.nn.recurrent_layer import check_mask


class SelfAttention(nnx.Module):
    """Multi-head scaled dot-product attention of a sequence to itself.

        [Q_p, K_p, V_p] = x W_p + b_p,    head_p = softmax(Q_p K_p^T / sqrt(d)) V_p
        y = x + [head_1, ..., head_P] W_o + b_o

    The attention weights are (*batch, head, step, source step).

    Args:
        size: components of inputs and outputs.
        key: random key for the initial weights, Glorot uniform; biases start at zero.
        num_heads: P, of d = size / P components each.
        causal: whether a step attends only to itself and earlier ones, as a forecast must.
        residual: whether x is added to the output.
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, a number of heads that does not divide the size, or inputs
            or a mask of another shape.

    Source:
        Vaswani et al. (2017), eq. 1 and section 3.2.2;
        https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> attention = jaxcast.nn.SelfAttention(size=8, num_heads=2, causal=True, key=jax.random.key(0))
        >>> outputs, weights = attention(jnp.ones((32, 20, 8)))
        >>> outputs.shape, weights.shape, float(weights[0, 0, 0, 1])
        ((32, 20, 8), (32, 2, 20, 20), 0.0)
    """

    @checked
    def __init__(
        self,
        *,
        size: int,
        key: Key[Array, ""],
        num_heads: int = 1,
        causal: bool = False,
        residual: bool = True,
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(size=size, num_heads=num_heads)
        if size % num_heads:
            raise InputError(f"num_heads must divide the size {size}, got {num_heads}")
        check_arrays(f"self-attention of size {size}", (size, 4 * size), dtype=dtype)
        glorot = jax.nn.initializers.glorot_uniform()
        of_inputs, of_heads = jax.random.split(key)
        self.input_kernel = nnx.Param(glorot(of_inputs, (size, 3 * size), dtype))
        self.input_bias = nnx.Param(jnp.zeros(3 * size, dtype))
        self.output_kernel = nnx.Param(glorot(of_heads, (size, size), dtype))
        self.output_bias = nnx.Param(jnp.zeros(size, dtype))
        self.num_heads, self.causal, self.residual = num_heads, causal, residual

    @checked
    def __call__(
        self, xs: Float[Array, "*batch time size"], mask: Bool[Array, "*batch time"] | None = None
    ) -> tuple[Float[Array, "*batch time size"], Float[Array, "*batch head time time"]]:
        """Attends over a whole sequence.

        Args:
            xs: the inputs.
            mask: which steps exist. The others are not attended to; their outputs are zero.

        Returns:
            The outputs, and the attention weights.

        Raises:
            InputError: for inputs or a mask of another shape, or no time steps.
        """
        xs = jnp.asarray(xs, self.input_bias.dtype)
        size, num_steps = len(self.output_bias), xs.shape[-2] if xs.ndim > 1 else 0
        if not num_steps or xs.shape[-1] != size:
            raise InputError(f"expected inputs (*batch, time, size) with size = {size} and steps, got shape {xs.shape}")
        check_mask(mask, xs)
        mask = jnp.ones(xs.shape[:-1], bool) if mask is None else mask
        xs = jnp.where(mask[..., None], xs, 0)
        heads = (xs @ self.input_kernel + self.input_bias).reshape(*xs.shape[:-1], 3, self.num_heads, -1)
        queries, keys, values = (heads[..., k, :, :] for k in range(3))
        scores = jnp.einsum("...qpd,...kpd->...pqk", queries, keys) / math.sqrt(heads.shape[-1])
        weights = _softmax(scores, self._visible(mask)[..., None, :, :])
        seen = jnp.einsum("...pqk,...kpd->...qpd", weights, values).reshape(xs.shape)
        outputs = seen @ self.output_kernel + self.output_bias + (xs if self.residual else 0)
        return jnp.where(mask[..., None], outputs, 0), weights

    def _visible(self, mask: Bool[Array, "*batch time"]) -> Bool[Array, "*batch time time"]:
        """Returns which source steps each step attends to."""
        visible = mask[..., None, :] & mask[..., :, None]
        return visible & jnp.tri(mask.shape[-1], dtype=bool) if self.causal else visible

    def to_torch(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Returns the weights under the names and in the layout of PyTorch's MultiheadAttention."""
        arrays = (self.input_kernel[...].T, self.input_bias[...], self.output_kernel[...].T, self.output_bias[...])
        return {name: np.array(array) for name, array in zip(TORCH_NAMES, arrays, strict=True)}

    def load_torch(self, state: Mapping[str, Any]) -> "SelfAttention":
        """Returns a copy with the weights of PyTorch's MultiheadAttention, in this layer's dtype.

        Args:
            state: NumPy arrays under PyTorch's names, such as those of a `state_dict()`.

        Raises:
            InputError: for missing names or arrays of other shapes.
        """
        own = self.to_torch()
        got = {name: np.shape(state[name]) for name in own if name in state}
        if got != {name: array.shape for name, array in own.items()}:
            expected = ", ".join(f"{name} {array.shape}" for name, array in own.items())
            raise InputError(f"expected the arrays {expected}, got {got or 'none of them'}")
        input_kernel, input_bias, output_kernel, output_bias = (
            jnp.asarray(np.asarray(state[name]).T, self.input_bias.dtype) for name in TORCH_NAMES
        )
        attention = nnx.clone(self)
        attention.input_kernel, attention.input_bias = nnx.Param(input_kernel), nnx.Param(input_bias)
        attention.output_kernel, attention.output_bias = nnx.Param(output_kernel), nnx.Param(output_bias)
        return attention


TORCH_NAMES = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")


def _softmax(scores: Array, visible: Bool[Array, "..."]) -> Array:
    """Computes a softmax over the visible scores; zero where none is visible."""
    # A masked score may be so large that its gradient is NaN: make it small first.
    scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
    return jnp.where(visible, jax.nn.softmax(scores, -1), 0)
