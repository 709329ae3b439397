"""Classification of texts by recurrent layers in both directions."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxcast.checks import check_choice, check_flag
from jaxcast.nn.attention_read_out import AttentionReadOut
from jaxcast.nn.dropout import drop
from jaxcast.nn.stack import Kind, Stack
from jaxcast.text.networks import TextNetwork, TextOutput, TextSizes

READOUTS = ("last", "max", "attention")


class RecurrentTextNetwork(TextNetwork, name="recurrent_text_network"):
    """A stack of recurrent layers over the words, and a linear read-out of all its steps.

        h = Stack(dropout(E[w])),  logits = W dropout(r(h)) + b
        r = [last forward; first backward]                       readout="last"
        r = max over the words                                   readout="max"
        r = sum_t a_t h_t, a = softmax(v' tanh(U h + c))         readout="attention"

    Padding changes nothing: the layers keep their carry there, and the read-outs leave it out.

    Args:
        num_classes: classes.
        num_trained: numbers of the vocabulary whose vectors are trained.
        num_fixed: numbers after them whose vectors are not.
        embedding_size: components of a vector.
        key: random key for the initial weights.
        kind: of the layers, "lstm", "gru" or "rnn".
        hidden_size: components of the output of each layer and direction.
        num_layers: layers.
        bidirectional: whether each layer runs in both directions.
        readout: "last" by the true length of each text, "max" or "attention".
        dropout: of the vectors, between layers and of the read-out, in training.
        word_dropout: probability with which a word is unknown in training.

    Raises:
        InputError: for an unknown kind or read-out, sizes below one or probabilities outside of
            [0, 1).

    Source:
        Schuster and Paliwal (1997); Conneau et al. (2017) for the maximum; Yang et al. (2016),
        Hierarchical attention networks, section 2.2, for the attention.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.text.RecurrentTextNetwork(
        ...     num_classes=2, num_trained=0, num_fixed=5, embedding_size=8, hidden_size=4, readout="attention",
        ...     key=jax.random.key(0),
        ... )
        >>> output = network(jnp.asarray([[2, 3, 0], [4, 0, 0]]))
        >>> output.logits.shape, output.attention[1].tolist()
        ((2, 2), [1.0, 0.0, 0.0])
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_trained: int,
        num_fixed: int,
        embedding_size: int,
        key: Key[Array, ""],
        kind: Kind = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        readout: Literal["last", "max", "attention"] = "max",
        dropout: float | int = 0.5,
        word_dropout: float | int = 0.0,
    ):
        check_choice("readout", readout, READOUTS)
        check_flag("bidirectional", bidirectional)
        of_base, of_stack, of_attention = jax.random.split(key, 3)
        num_features = hidden_size * (1 + bidirectional)
        sizes = TextSizes(num_classes, num_trained, num_fixed, embedding_size)
        super().__init__(sizes, num_features=num_features, key=of_base, dropout=dropout, word_dropout=word_dropout)
        self.stack = Stack(
            kind,
            input_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=float(dropout),
            key=of_stack,
            init="orthogonal",
        )
        self.readout_kind = readout
        self.attention = None if readout != "attention" else AttentionReadOut(size=num_features, key=of_attention)

    @property
    def own_config(self) -> dict[str, Any]:
        """The settings beside the sizes."""
        stack = self.stack.config
        names = ("kind", "hidden_size", "num_layers", "bidirectional")
        own = {"readout": self.readout_kind, "dropout": self.dropout, "word_dropout": self.word_dropout}
        return {name: stack[name] for name in names} | own

    def classify(
        self, vectors: Float[Array, "text token size"], mask: Bool[Array, "text token"], key: Key[Array, ""] | None
    ) -> TextOutput:
        of_inputs, of_stack, of_readout = (None,) * 3 if key is None else jax.random.split(key, 3)
        xs = drop(vectors, self.dropout, of_inputs)
        _, hs = self.stack(xs, mask=mask, key=of_stack)
        if self.attention is not None:
            state, shares = self.attention(hs, mask)
            return self.read_out(state, of_readout, shares)
        if self.readout_kind == "last":
            return self.read_out(self._last(hs, mask), of_readout)
        lowest = jnp.finfo(hs.dtype).min / 2
        return self.read_out(jnp.where(mask[..., None], hs, lowest).max(-2), of_readout)

    def _last(self, hs: Array, mask: Array) -> Float[Array, "text feature"]:
        """Returns the last true output of the forward layer and the first of the backward one."""
        at = jnp.maximum(mask.sum(-1) - 1, 0)[:, None, None]
        last = jnp.take_along_axis(hs, at, 1)[:, 0]
        if not self.stack.config["bidirectional"]:
            return last
        size = hs.shape[-1] // 2
        return jnp.concatenate([last[:, :size], hs[:, 0, size:]], -1)
