"""Models from the words of texts to probabilities of classes: the base class, and networks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_texts
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, named_leaves, static
from jaxcast.registry import Saveable
from jaxcast.text.batches import BUCKETS, bucket_of, padded
from jaxcast.text.networks import TextNetwork
from jaxcast.text.vocabulary import Vocabulary

MOST_TEXTS = 256
"""Texts that are classified at once."""


class TextModel(Saveable):
    """Base of what a `TextClassifier` asks for probabilities."""

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    @abstractmethod
    def numbers(self) -> Mapping[str, int]:
        """The number of each word, or other term, that the model tells from others."""

    @abstractmethod
    def probabilities(self, documents: Sequence[Sequence[str]]) -> Float[np.ndarray, "text class"]:
        """Returns the probability of each class.

        Args:
            documents: the tokens of each text, at least one of each.
        """

    @abstractmethod
    def relevance(self, document: Sequence[str], number: int) -> tuple[str, Float[np.ndarray, " token"]]:
        """Returns how much each token speaks for a class, or counts at all.

        Args:
            document: the tokens of a text.
            number: of the class.

        Returns:
            What is measured, and its value for each token.
        """


class NetworkTextModel(Checked, FrozenPytree, TextModel, name="network_text_model"):
    """Networks of one kind, with the vocabulary that they share; their probabilities are averaged.

    Args:
        networks: the networks of all seeds as one, with a leading seed axis on every array.
        words: of the vocabulary, from number 2 on.
        buckets: lengths to which texts are padded; what is longer is cut.
    """

    networks: TextNetwork
    words: tuple[str, ...] = static(default=())
    buckets: tuple[int, ...] = static(default=BUCKETS)

    def check(self) -> None:
        """Raises InputError unless the words are those of the networks."""
        check_texts("words", self.words)
        num_trained, num_fixed, _ = self.networks.vectors.sizes
        if num_trained + num_fixed < len(self._vocabulary):
            raise InputError(f"expected vectors of {len(self._vocabulary)} numbers, got {num_trained + num_fixed}")
        axes = {np.ndim(leaf) for name, leaf in named_leaves(self.networks).items() if name.endswith("bias")}
        if not axes <= {2}:
            raise InputError("expected networks with one leading axis of seeds")

    @property
    def _vocabulary(self) -> Vocabulary:
        return _vocabulary_of(self.words)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.networks.readout.kernel.shape[-1])

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each word of the vocabulary."""
        return self._vocabulary.numbers

    def probabilities(self, documents: Sequence[Sequence[str]]) -> Float[np.ndarray, "text class"]:
        vocabulary = self._vocabulary
        encoded = [vocabulary.encode(document) for document in documents]
        which = bucket_of(np.asarray([len(numbers) for numbers in encoded], int), self.buckets)
        graph, state = nnx.split(self.networks)
        found = np.empty((len(documents), self.num_classes))
        for number in np.unique(which):
            own = np.flatnonzero(which == number)
            size = min(MOST_TEXTS, 1 << (len(own) - 1).bit_length())  # few shapes
            for start in range(0, len(own), size):
                part = own[start : start + size]
                tokens = padded([encoded[k] for k in part], self.buckets[number])
                tokens = np.concatenate([tokens, np.repeat(tokens[-1:], size - len(part), 0)])
                found[part] = _shares(graph, state, tokens)[: len(part)]
        return found / found.sum(-1, keepdims=True)

    def relevance(self, document: Sequence[str], number: int) -> tuple[str, Float[np.ndarray, " token"]]:
        numbers = self._vocabulary.encode(document)
        bucket = self.buckets[int(bucket_of(np.asarray(len(numbers)), self.buckets))]
        graph, state = nnx.split(self.networks)
        tokens = padded([numbers], bucket)
        attention, slopes = _relevance(graph, state, tokens, jnp.asarray(number))
        found = np.zeros(len(document))  # words beyond the last bucket do not count
        found[:bucket] = np.asarray(slopes if attention is None else attention)[: len(document)]
        return "gradient x vector" if attention is None else "attention", found


@lru_cache(1)
def _vocabulary_of(words: tuple[str, ...]) -> Vocabulary:
    """Returns the vocabulary of some words; the newest is kept."""
    return Vocabulary(words)


@partial(jax.jit, static_argnums=0)
def _shares(graph: Any, state: Any, tokens: Array) -> Float[Array, "text class"]:
    def one(state: Any) -> Array:
        return jax.nn.softmax(nnx.merge(graph, state)(tokens).logits, -1)

    return jax.lax.map(one, state).mean(0)


@partial(jax.jit, static_argnums=0)
def _relevance(graph: Any, state: Any, tokens: Array, number: Array) -> tuple[Any, Float[Array, " token"]]:
    """Returns the attention, if there is some, and the gradient of a log-probability times the vectors."""

    def one(state: Any) -> tuple[Any, Array]:
        network: TextNetwork = nnx.merge(graph, state)
        mask = tokens != 0

        def log_share(vectors: Array) -> tuple[Array, Any]:
            output = network.classify(vectors, mask, None)
            return jax.nn.log_softmax(output.logits, -1)[0, number], output.attention

        vectors = network.vectors(tokens)
        slopes, attention = jax.grad(log_share, has_aux=True)(vectors)
        return attention, (slopes * vectors).sum(-1)[0]

    attention, products = jax.lax.map(one, state)
    return None if attention is None else attention.mean(0)[0], products.mean(0)
