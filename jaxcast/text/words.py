"""Words of texts: a tokenizer for whole words, punctuation and contractions."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool

from jaxcast.checks import Checked, check_choice, check_flag
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static

_FUNCTION_WORDS = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once
    only or other our ours ourselves out over own same she should so some such than that the their theirs them
    themselves then there these they this those through to too under until up very was we were what when where which
    while who whom why will with would you your yours yourself yourselves n't 's 're 've 'll 'd 'm
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Function words of English, "not" and "no" among them."""
BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}
"""Brackets as treebanks write them."""
_CLEANED = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "\u200b": " ", "\u00ad": "", "\ufeff": ""})
"""Typographic apostrophes, and characters that are not seen: spaces without width, soft hyphens."""
_NEGATION = re.compile(r"(?<=[^\W\d_])n't\b", re.IGNORECASE)
_CHARACTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Characters of Chinese and Japanese, whose words no spaces separate."""
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0963\u0966-\u0df3\u0e31-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ecd\u102b-\u103e\u17b4-\u17d3\u200c\u200d"
)
"""Vowels and accents that follow a letter, and are not letters to Python: Hebrew, Arabic, Indic, Thai."""
_LETTERS = rf"[^\W_{_CHARACTERS}]+(?:[{_MARKS}]+[^\W_{_CHARACTERS}]*)*"
_TOKEN = re.compile(
    r"-[lr][rsc]b-"
    r"|n't\b"
    r"|'(?:s|re|ve|ll|d|m)\b"
    r"|\d+(?:[.,]\d+)+"
    rf"|{_LETTERS}(?:-{_LETTERS}|'(?!(?:s|re|ve|ll|d|m)\b){_LETTERS})*"
    r"|\.\.+|--+"
    rf"|[{_CHARACTERS}]|[^\w\s]|_",
    re.IGNORECASE,
)


class WordTokenizer(Checked, FrozenPytree, name="word_tokenizer"):
    """Tokenizer with one token for each word, each sign of punctuation and each contraction.

    "Don't" becomes "do", "n't", and "film's" becomes "film", "'s". Words with hyphens stay whole.
    Each character of Chinese and Japanese is a token, since no spaces part their words.
    Abbreviations lose their full stop: "Mr." becomes "mr", ".". Texts that are tokenized already
    may hold such tokens, or "''" and "j.", which this would cut: split these by spaces.

    Args:
        lower: whether to turn letters into lower case.
        stop_words: "none" to keep all words, or "english" to drop function words. These hold "not",
            "no" and "n't", which decide sentiment.
        split: "words" for text as people write it, or "spaces" for text that is tokenized already,
            whose tokens are then only turned into lower case.

    Raises:
        InputError: for anything but a text, or when saved, for other settings.

    Example:
        >>> import jaxcast
        >>> tokenizer = jaxcast.text.WordTokenizer()
        >>> tokenizer("It isn't the director's best, is it?")
        ['it', 'is', "n't", 'the', 'director', "'s", 'best', ',', 'is', 'it', '?']
        >>> jaxcast.text.WordTokenizer(split="spaces")("mr. bean is n't here .")
        ['mr.', 'bean', 'is', "n't", 'here', '.']
    """

    lower: bool = static(default=True)
    stop_words: Literal["none", "english"] = static(default="none")
    split: Literal["words", "spaces"] = static(default="words")

    def check(self) -> None:
        """Raises InputError unless the settings are those of a tokenizer."""
        check_flag("lower", self.lower)
        check_choice("stop_words", self.stop_words, ("none", "english"))
        check_choice("split", self.split, ("words", "spaces"))

    def __call__(self, text: str) -> list[str]:
        """Splits a text.

        Args:
            text: of any length.

        Returns:
            Its tokens; none of a text that is empty or, without stop words, has no others.

        Raises:
            InputError: for anything but a text.
        """
        if not isinstance(text, str):
            raise InputError(f"expected a text, got {shown(repr(text))}")
        text = unicodedata.normalize("NFC", text.lower() if self.lower else text)
        tokens = text.split() if self.split == "spaces" else _words(text.translate(_CLEANED))
        if self.stop_words == "none":
            return tokens
        return [token for token in tokens if token.lower() not in STOP_WORDS]

    def documents(self, texts: Sequence[str]) -> list[list[str]]:
        """Splits several texts.

        Args:
            texts: to split.

        Raises:
            InputError: for a single text, which would be read letter by letter.
        """
        if isinstance(texts, str):
            raise InputError("expected a list of texts, got a single one; put it into a list")
        return [self(text) for text in texts]


def _words(text: str) -> list[str]:
    return [BRACKETS.get(token.lower(), token) for token in _TOKEN.findall(_NEGATION.sub(" n't", text))]


def also_learned(tested: Sequence[str], learned: Sequence[str]) -> Bool[np.ndarray, " text"]:
    """Says which texts for testing are also learned from, so that their scores are too good.

    Args:
        tested: texts for testing.
        learned: texts to learn from; upper case and spaces make no difference.
    """
    known = {_same(text) for text in learned}
    return np.asarray([_same(text) in known for text in tested], bool)


def _same(text: str) -> str:
    return " ".join(text.casefold().split())
