"""Tokenizers of text, and streams of tokens to train on."""

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
"""A text as integers, each a character of the vocabulary."""


@dataclasses.dataclass(frozen=True)
class CharacterTokenizer:
    """Tokenizer with one token for each character.

    Args:
        characters: the vocabulary; the token of a character is its position.

    Raises:
        InputError: for no characters or repeated ones.

    Example:
        >>> import jaxcast
        >>> tokenizer = jaxcast.text.CharacterTokenizer.of("to be or not to be")
        >>> tokenizer.characters, tokenizer.encode("bet").tolist(), tokenizer.decode([4, 1, 5])
        (' benort', [1, 2, 6], 'obr')
    """

    characters: str

    def __post_init__(self) -> None:
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise InputError(f"expected different characters, got {shown(repr(self.characters))}")

    @classmethod
    def of(cls, text: str) -> "CharacterTokenizer":
        """Makes the tokenizer of all characters of a text, sorted.

        Args:
            text: that it can encode.
        """
        return cls("".join(sorted(set(text))))

    def encode(self, text: str) -> Int[np.ndarray, " token"]:
        """Converts text to tokens.

        Args:
            text: with characters of the vocabulary only.

        Raises:
            InputError: for other characters.
        """
        numbers = {character: n for n, character in enumerate(self.characters)}
        unknown = sorted(set(text) - set(numbers))
        if unknown:
            raise InputError(
                f"the text contains characters that the tokenizer does not know: {shown(repr(''.join(unknown)))}"
            )
        return np.asarray([numbers[character] for character in text], np.int32)

    def decode(self, tokens: Tokens) -> str:
        """Converts tokens to text.

        Args:
            tokens: integers from 0 to the number of characters less one.

        Raises:
            InputError: for anything else.
        """
        numbers = np.asarray(tokens)
        if numbers.ndim != 1 or (len(numbers) and not np.issubdtype(numbers.dtype, np.integer)):
            raise InputError(f"expected integer tokens (token,), got {numbers.dtype} of shape {numbers.shape}")
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.characters):
            raise InputError(
                f"expected tokens from 0 to {len(self.characters) - 1}, got {numbers.min()} to {numbers.max()}"
            )
        return "".join(self.characters[int(n)] for n in numbers)


@checked
def text_streams(tokens: Tokens, num_streams: int) -> tuple[Int[Array, "stream time"], Int[Array, "stream time"]]:
    """Cuts a text into consecutive streams of one length, to train on.

    What remains after the last full stream is dropped.

    Args:
        tokens: of the whole text.
        num_streams: parts that are read side by side.

    Returns:
        The streams, and the same one token later: data for `fit` with `chunk_size` and
        `cross_entropy`.

    Raises:
        InputError: for tokens that are not integers from 0 on, or too few for two in each stream.

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
    """Returns tokens as an array of int32.

    Args:
        tokens: what was given; traced arrays are not checked.
        at_least: the number of tokens that are needed.
        num_tokens: size of the model's vocabulary; None for any.

    Raises:
        InputError: for fewer tokens, or other than integers of the vocabulary.
    """
    if is_traced(tokens):
        return tokens
    got = np.asarray(tokens)
    if got.ndim != 1 or len(got) < at_least or not np.issubdtype(got.dtype, np.integer):
        raise InputError(f"expected at least {at_least} integer tokens (token,), got {got.dtype} of shape {got.shape}")
    highest = (2**31 if num_tokens is None else num_tokens) - 1
    if got.min() < 0 or got.max() > highest:
        raise InputError(f"expected tokens from 0 to {highest}, got {got.min()} to {got.max()}")
    return jnp.asarray(got, jnp.int32)
