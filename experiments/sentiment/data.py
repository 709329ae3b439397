"""Sets of labelled sentences, and the parts by which methods learn, are chosen and tested."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from experiments.datasets import find_folder
from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.io.archives import check_is_file
from jaxcast.pytrees import fingerprint
from jaxcast.text import LabelledTexts, WordEmbeddings, read_embeddings
from jaxcast.training import stratified_folds, stratified_split

VALIDATION_SHARE = 0.1
PAGE = "experiments/sentiment/README.md"
VECTORS = "glove_6b_100d_subset.npz"


class Part(NamedTuple):
    """What one fold or seed learns from, is chosen by, and is tested on.

    Args:
        train: sentences to learn from.
        validation: those that stop training, and choose settings and members of averages.
        test: those that are held out for testing.
        seed: of networks, and of the validation part where none is given.
        split: how sentences are split into words, see `WordTokenizer`.
    """

    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts
    seed: int
    split: Literal["words", "spaces"] = "spaces"


class SentenceSet(NamedTuple):
    """A set of labelled sentences.

    Args:
        name: of the set.
        classes: names of the classes, in the order of their numbers.
        texts: all sentences.
        labels: class of each.
        validation: whether a sentence is of a given validation part; None without one.
        test: whether a sentence is of a given test part; None for folds.
        split: how its sentences are split into words, see `WordTokenizer`.
    """

    name: str
    classes: tuple[str, ...]
    texts: list[str]
    labels: Int[np.ndarray, " sentence"]
    validation: np.ndarray | None = None
    test: np.ndarray | None = None
    split: Literal["words", "spaces"] = "spaces"

    @property
    def has_fixed_parts(self) -> bool:
        """Whether training, validation and test part are all given, so that only networks have a seed."""
        return self.test is not None and self.validation is not None

    @property
    def fingerprint(self) -> str:
        """Eight digits that tell the sentences from others."""
        text = "\n".join((self.name, *self.texts)).encode()
        return fingerprint((np.frombuffer(text, np.uint8), self.labels))[:8]

    def parts(self, num_folds: int, num_seeds: int, seed: int) -> Iterator[Part]:
        """Yields the parts of each fold, or of each seed where a test part is given.

        Args:
            num_folds: of the cross-validation.
            num_seeds: of networks, and of the validation part, where a test part is given.
            seed: of the folds and the first network.
        """
        if self.test is None:
            for rest, judged in stratified_folds(self.labels, num_folds, seed=seed):
                yield self._part(rest, judged, seed)
            return
        for number in range(num_seeds):
            yield self._part(np.flatnonzero(~self.test), np.flatnonzero(self.test), seed + number)

    def _part(self, rest: np.ndarray, judged: np.ndarray, seed: int) -> Part:
        if self.validation is not None:
            is_held_out = self.validation[rest]
            train, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        else:
            train, held_out = stratified_split(self.labels[rest], VALIDATION_SHARE, seed=seed)
        return Part(self._of(rest[train]), self._of(rest[held_out]), self._of(judged), seed, self.split)

    def _of(self, rows: np.ndarray) -> LabelledTexts:
        return LabelledTexts([self.texts[k] for k in rows], self.labels[rows])


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file in UTF-8, perhaps compressed by gzip; empty ones too.

    Args:
        path: of the file.

    Raises:
        InputError: for a file that is missing, cut off or in another encoding.
    """
    check_is_file(path, "a .txt or .txt.gz with a label and a sentence in each line")
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{shown(path)} must be text in UTF-8; convert it, such as by iconv -t UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{shown(path)} cannot be read ({shown(error)}); give a .txt or .txt.gz") from None
    return [line.strip() for line in text.split("\n")]


def read_labelled(path: Path) -> tuple[list[str], list[str]]:
    """Reads a file with a label and a sentence in each line, between them a space.

    Args:
        path: .txt or .txt.gz.

    Returns:
        The sentences, and the label of each.

    Raises:
        InputError: for a line without a sentence.
    """
    numbered = [(number, line.split(None, 1)) for number, line in enumerate(read_lines(path), 1) if line]
    if bad := [number for number, pair in numbered if len(pair) < 2]:
        raise InputError(f"{shown(path)}, line {bad[0]}: expected a label and a sentence, got one word alone")
    if not numbered:
        raise InputError(f"{shown(path)} has no lines; expected a label and a sentence in each")
    return [pair[1] for _, pair in numbered], [pair[0] for _, pair in numbered]


def joined(
    name: str,
    files: list[tuple[list[str], list[str]]],
    kinds: str,
    split: Literal["words", "spaces"] = "spaces",
) -> SentenceSet:
    """Joins the parts of a set.

    Args:
        name: of the set.
        files: sentences and labels of each part.
        kinds: what each part is: "a" for all, "r" for training, "v" for validation, "t" for test.
        split: how its sentences are split into words.

    Raises:
        InputError: for sentences of one class, or a label of which none is learned from.
    """
    texts = [text for part, _ in files for text in part]
    classes, labels = np.unique([label for _, part in files for label in part], return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{shown(name)} has only the label {shown(repr(classes[0].item()))}; give two or more")
    learned = {label for kind, (_, part) in zip(kinds, files, strict=True) if kind in "ar" for label in part}
    if others := sorted({*map(str, classes)} - learned):
        raise InputError(
            f"{shown(name)}: no sentence to learn from has the label {shown(repr(others[0]))}, which others have; add "
            "some, or leave it out"
        )
    kind = np.repeat(list(kinds), [len(part) for part, _ in files])
    return SentenceSet(
        name,
        tuple(map(str, classes)),
        texts,
        labels.reshape(-1),
        kind == "v" if "v" in kinds else None,
        kind == "t" if "t" in kinds else None,
        split,
    )


def own_set(data: Path | None, train: Path | None, test: Path | None) -> SentenceSet | None:
    """Reads a set that the user names; None where there is none.

    Args:
        data: a file for folds.
        train: a file to learn from, beside `test`.
        test: a file that is held out for testing.

    Raises:
        InputError: for a training part without a test part, or both beside `data`; or for what
            `joined` refuses.
    """
    if (train is None) != (test is None) or (data is not None and train is not None):
        raise InputError("give --data FILE for folds, or --train FILE and --test FILE")
    if data is not None:
        return joined(data.name.partition(".")[0], [read_labelled(data)], "a", "words")
    if train is None or test is None:
        return None
    return joined(train.name.partition(".")[0], [read_labelled(train), read_labelled(test)], "rt", "words")


def _mr() -> SentenceSet:
    folder = find_folder(None, "mr_polarity", PAGE)
    parts = []
    for name in ("neg", "pos"):
        lines = [line for line in read_lines(folder / f"rt-polarity.{name}.gz") if line]
        parts.append((lines, [name] * len(lines)))
    return joined("mr", parts, "aa")


def _split(name: str, *parts: str) -> SentenceSet:
    folder = find_folder(None, "sentence_sets", PAGE)
    kinds = {"": "a", "_train": "r", "_dev": "v", "_test": "t"}
    files = [read_labelled(folder / f"{name}{part}.txt.gz") for part in parts]
    return joined(name, files, "".join(kinds[part] for part in parts))


SETS: dict[str, Callable[[], SentenceSet]] = {
    "mr": _mr,
    "trec": lambda: _split("trec", "_train", "_test"),
    "sst2": lambda: _split("sst2", "_train", "_dev", "_test"),
    "sst5": lambda: _split("sst5", "_train", "_dev", "_test"),
    "subj": lambda: _split("subj", ""),
}
TITLES = {
    "mr": "MR: film reviews",
    "trec": "TREC: kinds of questions",
    "sst2": "SST-2: film reviews, whole sentences",
    "sst5": "SST-5: film reviews, five classes",
    "subj": "Subj: subjective or objective",
}
"""What the sets are, for pictures."""


def read_vectors(path: Path | None) -> WordEmbeddings:
    """Reads the vectors of words.

    Args:
        path: a file; None for the GloVe subset beside the sets.
    """
    return read_embeddings(find_folder(None, "sentence_sets", PAGE) / VECTORS if path is None else path)


def made_set(seed: int) -> tuple[SentenceSet, WordEmbeddings]:
    """Makes sentences whose class is decided by their adjectives, and vectors of the words.

    Args:
        seed: of the sentences and the vectors.
    """
    rng = np.random.default_rng(seed)
    good, bad = ("good", "fine", "moving", "funny"), ("bad", "dull", "empty", "flat")
    nouns = ("film", "plot", "cast", "story", "ending", "score")
    texts, labels = [], []
    for number in range(120):
        adjectives, label = ((good, "pos"), (bad, "neg"))[number % 2]
        words = rng.choice(nouns, rng.integers(2, 9)).tolist()
        words.insert(int(rng.integers(len(words))), str(rng.choice(adjectives)))
        texts.append(" ".join(words))
        labels.append(label)
    words = (*good, *bad, *nouns)
    return joined("made", [(texts, labels)], "a"), WordEmbeddings(words, rng.normal(size=(len(words), 8)))
