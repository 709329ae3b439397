"""Classification of texts by convolutions over the words."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from jaxcast.checks import check_number, check_sizes
from jaxcast.errors import InputError
from jaxcast.nn.dropout import drop
from jaxcast.nn.temporal_convolution import TemporalConvolution
from jaxcast.text.networks import TextNetwork, TextOutput, TextSizes


class ConvolutionalTextNetwork(TextNetwork, name="convolutional_text_network"):
    """Convolutions of several widths, the maximum of each over the text, and a linear read-out.

        x = dropout(E[w]),  c_w = max_t relu(W_w [x_t; ...; x_(t+w-1)] + b_w)
        logits = W dropout([c_3; c_4; c_5]) + b

    The text has w - 1 zeros on both sides; windows without any word do not count, so that padding
    changes nothing.

    Args:
        num_classes: classes.
        num_trained: numbers of the vocabulary whose vectors are trained.
        num_fixed: numbers after them whose vectors are not.
        embedding_size: components of a vector.
        key: random key for the initial weights.
        widths: words that a window covers.
        num_maps: outputs of each width.
        dropout: of the maxima, in training.
        vector_dropout: of the components of the words' vectors, in training.
        word_dropout: probability with which a word is unknown in training.

    Raises:
        InputError: for sizes below one or probabilities outside of [0, 1).

    Source:
        Kim (2014), Convolutional neural networks for sentence classification.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.text.ConvolutionalTextNetwork(
        ...     num_classes=2, num_trained=0, num_fixed=5, embedding_size=8, num_maps=4, key=jax.random.key(0)
        ... )
        >>> network(jnp.asarray([[2, 3, 0], [4, 0, 0]])).logits.shape
        (2, 2)
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_trained: int,
        num_fixed: int,
        embedding_size: int,
        key: Key[Array, ""],
        widths: Sequence[int] = (3, 4, 5),
        num_maps: int = 100,
        dropout: float | int = 0.5,
        vector_dropout: float | int = 0.0,
        word_dropout: float | int = 0.0,
    ):
        if not widths or not isinstance(widths, list | tuple):
            raise InputError(f"widths must be at least one number of words, got {widths}")
        for width in widths:
            check_sizes(widths=width)
        check_sizes(num_maps=num_maps)
        check_number("vector_dropout", vector_dropout, least=0, below=1)
        of_base, *keys = jax.random.split(key, 1 + len(widths))
        sizes = TextSizes(num_classes, num_trained, num_fixed, embedding_size)
        num_features = num_maps * len(widths)
        super().__init__(sizes, num_features=num_features, key=of_base, dropout=dropout, word_dropout=word_dropout)
        self.convolutions = nnx.List(
            TemporalConvolution(input_size=embedding_size, output_size=num_maps, kernel_size=width, key=one)
            for width, one in zip(widths, keys, strict=True)
        )
        self.vector_dropout = float(vector_dropout)

    @property
    def own_config(self) -> dict[str, Any]:
        """The settings beside the sizes."""
        return {
            "widths": [one.kernel.shape[-3] for one in self.convolutions],
            "num_maps": self.convolutions[0].kernel.shape[-1],
            "dropout": self.dropout,
            "vector_dropout": self.vector_dropout,
            "word_dropout": self.word_dropout,
        }

    def classify(
        self, vectors: Float[Array, "text token size"], mask: Bool[Array, "text token"], key: Key[Array, ""] | None
    ) -> TextOutput:
        of_vectors, of_readout = (None, None) if key is None else jax.random.split(key)
        vectors = drop(vectors, self.vector_dropout, of_vectors)
        maxima = [self._maximum(one, vectors, mask) for one in self.convolutions]
        return self.read_out(jnp.concatenate(maxima, -1), of_readout)

    def _maximum(self, convolution: TemporalConvolution, vectors: Array, mask: Array) -> Float[Array, "text map"]:
        more = convolution.kernel.shape[-3] - 1
        maps = jax.nn.relu(convolution(jnp.pad(vectors, ((0, 0), (more, more), (0, 0)))))
        # The first window ends at the first word, the last one begins at the last.
        counts = jnp.arange(maps.shape[-2]) < mask.sum(-1, keepdims=True) + more
        return jnp.where(counts[..., None], maps, 0).max(-2)
