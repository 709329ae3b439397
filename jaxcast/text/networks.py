"""Networks that classify texts: the base class and what they share."""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.nn.dropout import drop
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.nn.network import Network
from jaxcast.text.vocabulary import NUM_SPECIAL, PADDING, UNKNOWN


class TextOutput(NamedTuple):
    """Output of a network for texts.

    Args:
        logits: of the classes.
        attention: share of each token in the read-out, zero for padding; None for a network without
            attention.
    """

    logits: Float[Array, "text class"]
    attention: Float[Array, "text token"] | None = None


class TextSizes(NamedTuple):
    """Sizes that the data give a network of texts.

    Args:
        num_classes: classes.
        num_trained: numbers of the vocabulary, from 0 on, whose vectors are trained.
        num_fixed: numbers after them whose vectors are not.
        embedding_size: components of a vector.
    """

    num_classes: int
    num_trained: int
    num_fixed: int
    embedding_size: int


class WordVectors(nnx.Module):
    """The vectors of a vocabulary, of which the first may be trained and the others are fixed.

    Args:
        sizes: of the vocabulary.
        key: random key for the vectors, which `fit_text_classifier` replaces.
    """

    def __init__(self, sizes: TextSizes, *, key: Key[Array, ""]):
        check_whole("num_trained", sizes.num_trained, least=0)
        check_whole("num_fixed", sizes.num_fixed, least=0)
        check_whole("embedding_size", sizes.embedding_size)
        check_whole("words of a vocabulary", sizes.num_trained + sizes.num_fixed, least=NUM_SPECIAL)
        shape = (sizes.num_trained + sizes.num_fixed, sizes.embedding_size)
        check_arrays(f"vectors of {shape[0]} words", shape, dtype=jnp.float32)
        table = jax.random.uniform(key, shape, jnp.float32, -0.25, 0.25)
        trained, fixed = table[: sizes.num_trained], table[sizes.num_trained :]
        self.trained = nnx.Param(trained) if sizes.num_trained else None
        self.fixed = Buffer(fixed) if sizes.num_fixed else None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers with trained and with fixed vectors, and the components of one."""
        num_trained, num_fixed = (0 if part is None else part.shape[-2] for part in (self.trained, self.fixed))
        some: Any = self.fixed if self.trained is None else self.trained
        return num_trained, num_fixed, some.shape[-1]

    def __call__(self, tokens: Int[Array, "*batch"]) -> Float[Array, "*batch size"]:
        """Returns the vectors of tokens; those of padding are zero and stay so.

        Args:
            tokens: numbers of words.
        """
        if self.trained is None or self.fixed is None:
            some: Any = self.fixed if self.trained is None else self.trained
            vectors = some[...][tokens]
        else:
            num_trained = self.trained.shape[-2]
            is_trained = (tokens < num_trained)[..., None]
            own = self.trained[...][jnp.minimum(tokens, num_trained - 1)]
            vectors = jnp.where(is_trained, own, self.fixed[...][jnp.maximum(tokens - num_trained, 0)])
        return jnp.where((tokens != PADDING)[..., None], vectors, 0)

    def filled(self, table: Float[Array, "number size"]) -> None:
        """Sets the vectors.

        Args:
            table: of all numbers.
        """
        num_trained = self.sizes[0]
        if self.trained is not None:
            self.trained = nnx.Param(jnp.asarray(table[:num_trained]))
        if self.fixed is not None:
            self.fixed = Buffer(jnp.asarray(table[num_trained:]))


class TextNetwork(Network):
    """Base of networks that classify texts, from the vectors of their words.

    A subclass calls `super().__init__`, makes its layers, and gives `own_config` and `classify`. It
    ends in `readout`, whose columns of weights `fit_text_classifier` keeps within a norm. With a
    name, `class Mine(jaxcast.text.TextNetwork, name="mine")`, it can be trained by its name, also
    from the command line, and be saved.

    Args:
        sizes: what the data decide.
        num_features: inputs of the read-out.
        dropout: probability with which an input of the read-out is set to zero in training.
        word_dropout: probability with which a word is unknown in training.
        key: random key for the initial weights.

    Raises:
        InputError: for sizes below one or probabilities outside of [0, 1).

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> class FirstWord(jaxcast.text.TextNetwork):
        ...     own_config = {}
        ...     def __init__(self, *, num_classes, num_trained, num_fixed, embedding_size, key):
        ...         sizes = jaxcast.text.TextSizes(num_classes, num_trained, num_fixed, embedding_size)
        ...         super().__init__(sizes, num_features=embedding_size, key=key)
        ...     def classify(self, vectors, mask, key):
        ...         return self.read_out(vectors[:, 0], key)
        >>> sizes = {"num_classes": 2, "num_trained": 5, "num_fixed": 0, "embedding_size": 3}
        >>> network = FirstWord(**sizes, key=jax.random.key(0))
        >>> network(jnp.asarray([[2, 3, 0], [4, 0, 0]])).logits.shape
        (2, 2)
    """

    def __init__(
        self,
        sizes: TextSizes,
        *,
        num_features: int,
        key: Key[Array, ""],
        dropout: float | int = 0.5,
        word_dropout: float | int = 0.0,
    ):
        check_whole("num_classes", sizes.num_classes, least=2)
        for name, share in (("dropout", dropout), ("word_dropout", word_dropout)):
            check_number(name, share, least=0)
            if share >= 1:
                raise InputError(f"{name} must be a probability from 0 to below 1, got {share}")
        of_vectors, of_readout = jax.random.split(jax.random.fold_in(key, 0))
        self.vectors = WordVectors(sizes, key=of_vectors)
        rngs = nnx.Rngs(of_readout)
        self.readout = uniform_linear(
            num_features, sizes.num_classes, fan_in=num_features, rngs=rngs, dtype=jnp.float32
        )
        self.dropout, self.word_dropout = float(dropout), float(word_dropout)

    @property
    @abstractmethod
    def own_config(self) -> dict[str, Any]:
        """The settings of a subclass, beside the sizes."""

    @property
    def config(self) -> dict[str, Any]:
        """The settings that make a network of the same sizes, beside a key."""
        num_trained, num_fixed, embedding_size = self.vectors.sizes
        sizes = TextSizes(self.readout.kernel.shape[-1], num_trained, num_fixed, embedding_size)
        return sizes._asdict() | dict(self.own_config)

    @abstractmethod
    def classify(
        self,
        vectors: Float[Array, "text token size"],
        mask: Bool[Array, "text token"],
        key: Key[Array, ""] | None,
    ) -> TextOutput:
        """Classifies texts by the vectors of their words.

        Args:
            vectors: of the words; zero for padding.
            mask: which tokens there are; the others are padding and must not matter.
            key: random key for dropout; without one nothing is dropped.
        """

    def __call__(self, tokens: Int[Array, "text token"], *, key: Key[Array, ""] | None = None) -> TextOutput:
        """Classifies texts.

        Args:
            tokens: numbers of words, padded at the end by zeros; at least one of each text.
            key: random key for dropout; without one nothing is dropped.

        Returns:
            The logits, and the attention to each token of a network that has some.
        """
        mask = tokens != PADDING
        if key is not None and self.word_dropout:
            of_words, key = jax.random.split(key)
            is_kept = drop(jnp.ones(tokens.shape), self.word_dropout, of_words) > 0
            tokens = jnp.where(mask & ~is_kept, UNKNOWN, tokens)
        return self.classify(self.vectors(tokens), mask, key)

    def read_out(
        self,
        features: Float[Array, "text feature"],
        key: Key[Array, ""] | None,
        attention: Float[Array, "text token"] | None = None,
    ) -> TextOutput:
        """Turns the features of texts into logits.

        Args:
            features: of each text.
            key: random key for dropout; without one nothing is dropped.
            attention: to pass on.
        """
        return TextOutput(self.readout(drop(features, self.dropout, key)), attention)


class MeanTextNetwork(TextNetwork, name="mean_text_network"):
    """The mean of the vectors of all words, and a linear read-out.

    Args:
        num_classes: classes.
        num_trained: numbers of the vocabulary whose vectors are trained.
        num_fixed: numbers after them whose vectors are not.
        embedding_size: components of a vector.
        key: random key for the initial weights.
        dropout: of the mean, in training.
        word_dropout: probability with which a word is unknown in training.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.text.MeanTextNetwork(
        ...     num_classes=3, num_trained=0, num_fixed=5, embedding_size=8, key=jax.random.key(0)
        ... )
        >>> network(jnp.asarray([[2, 3, 0], [4, 0, 0]])).logits.shape
        (2, 3)
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_trained: int,
        num_fixed: int,
        embedding_size: int,
        key: Key[Array, ""],
        dropout: float | int = 0.0,
        word_dropout: float | int = 0.0,
    ):
        sizes = TextSizes(num_classes, num_trained, num_fixed, embedding_size)
        super().__init__(sizes, num_features=embedding_size, key=key, dropout=dropout, word_dropout=word_dropout)

    @property
    def own_config(self) -> dict[str, Any]:
        """The settings beside the sizes."""
        return {"dropout": self.dropout, "word_dropout": self.word_dropout}

    def classify(
        self, vectors: Float[Array, "text token size"], mask: Bool[Array, "text token"], key: Key[Array, ""] | None
    ) -> TextOutput:
        count = jnp.maximum(mask.sum(-1, keepdims=True), 1)
        return self.read_out(vectors.sum(-2) / count, key)
