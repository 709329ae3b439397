"""Text as tokens: alphabets, and streams to train on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

Tokens = Int[Any, " token"] | Sequence[int]
"""A text as whole numbers, each a character or word of the alphabet."""


@dataclasses.dataclass(frozen=True)
class CharacterTokenizer:
    """The characters of a text as the tokens of a language model, in order.

    Raises:
        InputError: when made of no characters or repeated ones, and for text or tokens that are not of it.

    Example:
        >>> import jaxcast
        >>> alphabet = jaxcast.text.CharacterTokenizer.of("to be or not to be")
        >>> alphabet.characters, alphabet.encode("bet").tolist(), alphabet.decode([4, 1, 5])
        (' benort', [1, 2, 6], 'obr')
    """

    characters: str

    def __post_init__(self) -> None:
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise InputError(f"expected an alphabet of different characters, got {shown(repr(self.characters))}")

    @classmethod
    def of(cls, text: str) -> "CharacterTokenizer":
        """All characters of a text, sorted."""
        return cls("".join(sorted(set(text))))

    def encode(self, text: str) -> Int[np.ndarray, " token"]:
        """The tokens of a text."""
        numbers = {character: n for n, character in enumerate(self.characters)}
        unknown = sorted(set(text) - set(numbers))
        if unknown:
            raise InputError(f"the text holds characters that are not of the alphabet: {shown(repr(''.join(unknown)))}")
        return np.asarray([numbers[character] for character in text], np.int32)

    def decode(self, tokens: Tokens) -> str:
        """The text of some tokens."""
        numbers = np.asarray(tokens)
        if numbers.ndim != 1 or (len(numbers) and not np.issubdtype(numbers.dtype, np.integer)):
            raise InputError(f"expected tokens (token,), whole numbers, got {numbers.dtype} of shape {numbers.shape}")
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.characters):
            raise InputError(
                f"expected tokens from 0 to {len(self.characters) - 1}, got {numbers.min()} to {numbers.max()}"
            )
        return "".join(self.characters[int(n)] for n in numbers)


@checked
def text_streams(tokens: Tokens, num_streams: int) -> tuple[Int[Array, "stream time"], Int[Array, "stream time"]]:
    """A text cut into consecutive parts of one length, and the same one token on: data for `fit_over_time`.

    What is left after the last full part is dropped.

    Raises:
        InputError: for tokens that are not whole numbers from 0 on, or too few for one and its next in every part.

    Example:
        >>> import jaxcast, numpy as np
        >>> seen, followed = jaxcast.text.text_streams(np.arange(9), 2)
        >>> seen.tolist(), followed.tolist()
        ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    tokens = checked_tokens(tokens, at_least=2)
    length = (len(tokens) - 1) // max(num_streams, 1)
    if num_streams < 1 or length < 1:
        raise InputError(f"a text of {len(tokens)} tokens cannot be cut into {num_streams} streams")
    seen, followed = (tokens[k : k + num_streams * length].reshape(num_streams, length) for k in (0, 1))
    return seen, followed


def checked_tokens(tokens: Any, *, at_least: int, num_tokens: int | None = None) -> Int[Array, " token"]:
    """Tokens as an array, if they are so many whole numbers of the model's."""
    if is_traced(tokens):
        return tokens
    got = np.asarray(tokens)
    if got.ndim != 1 or len(got) < at_least or not np.issubdtype(got.dtype, np.integer):
        raise InputError(
            f"expected at least {at_least} tokens (token,), whole numbers, got {got.dtype} of shape {got.shape}"
        )
    highest = (2**31 if num_tokens is None else num_tokens) - 1
    if got.min() < 0 or got.max() > highest:
        raise InputError(f"expected tokens from 0 to {highest}, got {got.min()} to {got.max()}")
    return jnp.asarray(got, jnp.int32)
