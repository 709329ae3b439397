"""Vocabularies: the words that a model tells apart, by their numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int

from jaxcast.checks import check_whole
from jaxcast.errors import InputError

PADDING, UNKNOWN = 0, 1
NUM_SPECIAL = 2
"""Numbers of no word: padding and unknown."""


class Vocabulary:
    """The words that a model tells apart: 0 is padding, 1 an unknown word, 2 the first known one.

    Args:
        words: different words, in the order of their numbers.

    Raises:
        InputError: for a word that comes twice.

    Example:
        >>> import jaxcast
        >>> vocabulary = jaxcast.text.Vocabulary.of([["a", "good", "film"], ["a", "bad", "film"], ["a"]])
        >>> vocabulary.words
        ('a', 'film', 'bad', 'good')
        >>> vocabulary.encode(["a", "great", "film"]).tolist()
        [2, 1, 3]
    """

    def __init__(self, words: Sequence[str]):
        self.words = tuple(words)
        if len(self.numbers) < len(self.words):
            raise InputError("expected different words, got one twice")

    @classmethod
    def of(cls, documents: Iterable[Sequence[str]], *, min_count: int = 1, also: Iterable[str] = ()) -> "Vocabulary":
        """Makes the vocabulary of texts; take those that are trained on, and no others.

        Args:
            documents: the tokens of each text.
            min_count: how often a word must occur.
            also: words to add after those of the texts, such as all that have a vector.

        Returns:
            The words, the commonest first and equally common ones in alphabetical order.

        Raises:
            InputError: where no word occurs as often.
        """
        check_whole("min_count", min_count)
        counts = Counter(token for document in documents for token in document)
        words = sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))
        if not words:
            raise InputError(f"no word of the texts occurs {min_count} times; give more texts or a lower min_count")
        return cls((*words, *dict.fromkeys(word for word in also if counts[word] < min_count)))

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words, NUM_SPECIAL)}

    def __len__(self) -> int:
        """Returns how many numbers there are, padding and unknown included."""
        return len(self.words) + NUM_SPECIAL

    def encode(self, tokens: Sequence[str]) -> Int[np.ndarray, " token"]:
        """Returns the numbers of tokens.

        Args:
            tokens: of a text.
        """
        return np.asarray([self.numbers.get(token, UNKNOWN) for token in tokens], np.int32)
