"""How the states of a recording's segments follow each other: a recurrent layer or a transformer."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.nn.gated_residual import StackedLinear, StackedNorm
from jaxcast.nn.gru import GRU
from jaxcast.nn.positions import sinusoidal_positions
from jaxcast.nn.self_attention import SelfAttention


class TransformerLayer(nnx.Module):
    """A transformer's encoder layer over segments, with sinusoidal positions.

        h = norm(x + p + attention(x + p)),    y = norm(h + W_2 relu(W_1 h))

    Args:
        size: components of a segment's state.
        num_heads: of the attention.
        key: random key for the initial weights.
        dtype: of the weights.

    Source:
        Vaswani et al. (2017), sections 3.1 to 3.5.
    """

    def __init__(self, *, size: int, num_heads: int, key: Key[Array, ""], dtype: DTypeLike):
        of_attention, of_first, of_second = jax.random.split(key, 3)
        self.attention = SelfAttention(size=size, num_heads=num_heads, key=of_attention, dtype=dtype)
        self.first = StackedLinear(size, 2 * size, key=of_first, dtype=dtype)
        self.second = StackedLinear(2 * size, size, key=of_second, dtype=dtype)
        self.norms = nnx.List([StackedNorm(size, dtype=dtype) for _ in range(2)])

    def __call__(
        self, states: Float[Array, "*batch segment size"], present: Bool[Array, "*batch segment"]
    ) -> Float[Array, "*batch segment size"]:
        """Lets each segment see all that exist.

        Args:
            states: of the segments.
            present: which segments exist.
        """
        num_segments, size = states.shape[-2:]
        positions = sinusoidal_positions(num_segments, size, states.dtype)
        attended, _ = self.attention(states + positions, present)
        hidden = self.norms[0](attended)
        outputs: Array = self.norms[1](hidden + self.second(jax.nn.relu(self.first(hidden))))
        return outputs


class RecurrentSegments(nnx.Module):
    """A GRU from the first segment to the last.

    Args:
        size: components of a segment's state, before and after.
        key: random key for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, key: Key[Array, ""], dtype: DTypeLike):
        self.gru = GRU(input_size=size, hidden_size=size, key=key, dtype=dtype)

    def __call__(
        self, states: Float[Array, "*batch segment size"], present: Bool[Array, "*batch segment"]
    ) -> Float[Array, "*batch segment size"]:
        """Lets each segment see those before it.

        Args:
            states: of the segments.
            present: which segments exist.
        """
        return self.gru(states, mask=present)[1]
