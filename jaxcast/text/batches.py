"""Groups of texts of like length, so that few shapes are compiled and little is padded."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.text.vocabulary import PADDING, UNKNOWN

BUCKETS = (12, 20, 28, 40, 64, 128)
"""Lengths to which texts are padded; what is longer is cut."""


class TextGroups(NamedTuple):
    """Texts in groups of one size, each padded to its own bucket.

    Args:
        tokens: numbers of words, padded at the end to the longest bucket.
        labels: the class of each text.
        weights: 1, or 0 for a row that fills a group up.
        bucket: of each group, in which no text is longer.
    """

    tokens: Int[Any, "group text token"]
    labels: Int[Any, "group text"]
    weights: Float[Any, "group text"]
    bucket: Int[Any, " group"]


def bucket_of(lengths: Int[Any, "*text"], buckets: Sequence[int] = BUCKETS) -> Int[np.ndarray, "*text"]:
    """Returns the number of the shortest bucket that holds a text; the last for what is cut.

    Args:
        lengths: numbers of tokens.
        buckets: rising lengths.
    """
    return np.asarray(np.minimum(np.searchsorted(buckets, lengths), len(buckets) - 1))


def buckets_for(lengths: Int[Any, " text"], buckets: Sequence[int] = BUCKETS) -> tuple[int, ...]:
    """Returns the buckets that some texts need.

    Args:
        lengths: numbers of tokens.
        buckets: rising lengths.
    """
    return tuple(buckets[: int(bucket_of(np.asarray(np.max(lengths)), buckets)) + 1])


def padded(documents: Sequence[Int[np.ndarray, " _"]], size: int) -> Int[np.ndarray, "text token"]:
    """Puts texts into one array, cut and padded to a length.

    Args:
        documents: the numbers of words of each text; one without any gets an unknown word.
        size: the length.
    """
    table = np.full((len(documents), size), PADDING, np.int32)
    for row, numbers in zip(table, documents, strict=True):
        kept = numbers[:size] if len(numbers) else np.asarray([UNKNOWN])
        row[: len(kept)] = kept
    return table


@dataclasses.dataclass(frozen=True)
class GroupDraw:
    """Draws the groups of an epoch: texts in random order, sorted by their bucket.

    Args:
        tokens: of all texts, padded to the longest bucket.
        labels: of all texts.
        buckets: that the texts need.
        size: texts of a group.
        seed: of the order.
    """

    tokens: Int[np.ndarray, "text token"]
    labels: Int[np.ndarray, " text"]
    buckets: tuple[int, ...]
    size: int
    seed: int = 0

    def __call__(self, epoch: int) -> TextGroups:
        """Returns the groups of an epoch, which are equally many in each.

        Args:
            epoch: its number.
        """
        num = len(self.labels)
        which = bucket_of((self.tokens != PADDING).sum(1), self.buckets)
        order = np.random.default_rng((self.seed, epoch)).permutation(num)
        order = order[np.argsort(which[order], kind="stable")]
        filled = np.concatenate([order, np.repeat(order[-1:], -num % self.size)]).reshape(-1, self.size)
        weights = (np.arange(filled.size) < num).astype(np.float32).reshape(filled.shape)
        bucket = which[filled].max(1).astype(np.int32)
        return TextGroups(self.tokens[filled], self.labels[filled].astype(np.int32), weights, bucket)
