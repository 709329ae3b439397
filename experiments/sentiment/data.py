"""Sets of labelled sentences, and the parts by which methods learn, are chosen and tested."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from experiments.datasets import VARIABLE, data_root, find_folder
from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.io.archives import check_is_file
from jaxcast.io.table_text import encoding_of
from jaxcast.progress import note
from jaxcast.pytrees import fingerprint
from jaxcast.text import LabelledTexts, WordEmbeddings, read_embeddings
from jaxcast.training import stratified_folds, stratified_split

CLASSES = {
    "trec": ("description", "thing", "abbreviation", "person", "place", "number"),
    "sst2": ("negative", "positive"),
    "sst5": ("very negative", "negative", "neutral", "positive", "very positive"),
    "subj": ("subjective", "objective"),
}
"""The meaning of the numbers in the files."""
SPLITS: dict[str, Literal["words", "spaces"]] = {"mr": "words", "subj": "words"}
"""Sets whose contractions are still whole, such as "isn't"; those of the others are split."""
VALIDATION_SHARE = 0.1
PAGE = "experiments/sentiment/README.md"
VECTORS = "glove_6b_100d_subset.npz"
GZIP = b"\x1f\x8b"
TABLES = (".csv", ".tsv", ".xlsx", ".json", ".parquet")


class Part(NamedTuple):
    """Sentences of one fold or seed: to learn from, to choose by, and to test on.

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
        """Eight digits that tell the sentences and their parts from others."""
        text = "\n".join((self.name, *self.texts)).encode()
        return fingerprint((np.frombuffer(text, np.uint8), self.labels, self.validation, self.test))[:8]

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


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Returns the lines of a text file, perhaps compressed by gzip; empty ones too.

    Args:
        path: of the file.
        encoding: of its text; a byte-order mark of UTF-8 is dropped.

    Raises:
        InputError: for a file that is missing, cut off, a table or in another encoding.
    """
    check_is_file(path, "a .txt or .txt.gz with a label and a sentence in each line")
    if path.suffix.lower() in TABLES:
        raise InputError(
            f"expected lines of a label and a sentence, .txt, got {shown(path)}; jaxcast text takes a .csv"
        )
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(GZIP) or path.suffix == ".gz" else raw
        text = raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
        if "\0" in text:
            raise UnicodeError
    except LookupError:
        raise InputError(f"encoding must be one that Python knows, such as latin-1, got {shown(encoding)}") from None
    except UnicodeError:
        kind = encoding_of(raw) or "text in another encoding, such as latin-1 or cp1252"
        raise InputError(f"{shown(path)}: expected text in {encoding}, got {kind}; name it by --encoding") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{shown(path)} cannot be read ({shown(error)}); give a .txt or .txt.gz") from None
    return [line.strip() for line in text.split("\n")]


def read_labelled(path: Path, encoding: str = "utf-8") -> tuple[list[str], list[str]]:
    """Reads a file with a label and a sentence in each line, between them a space.

    Args:
        path: .txt or .txt.gz.
        encoding: of its text.

    Returns:
        The sentences, and the label of each. The sentence of a line with a label alone is empty.

    Raises:
        InputError: for a file without any sentence.
    """
    pairs = [line.split(None, 1) for line in read_lines(path, encoding) if line]
    num_empty = sum(len(pair) < 2 for pair in pairs)
    if num_empty == len(pairs):
        raise InputError(f"{shown(path)} has no sentence; expected a label and a sentence in each line")
    if num_empty:
        first = next(pair[0] for pair in pairs if len(pair) < 2)
        note(f"a label alone in {num_empty} of {len(pairs)} lines of {shown(path)}, first {shown(repr(first))}")
    return [pair[1] if len(pair) > 1 else "" for pair in pairs], [pair[0] for pair in pairs]


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


def own_set(
    data: Path | None,
    train: Path | None,
    test: Path | None,
    *,
    encoding: str = "utf-8",
    split: Literal["words", "spaces"] = "words",
) -> SentenceSet | None:
    """Reads a set that the user names; None where there is none.

    Args:
        data: a file for folds.
        train: a file to learn from, beside `test`.
        test: a file that is held out for testing.
        encoding: of the files.
        split: how sentences are split into words, see `WordTokenizer`.

    Raises:
        InputError: for a training part without a test part, or both beside `data`; or for what
            `joined` refuses.
    """
    if (train is None) != (test is None) or (data is not None and train is not None):
        raise InputError("give --data FILE for folds, or --train FILE and --test FILE")
    given = [path for path in (data, train, test) if path is not None]
    if not given:
        return None
    files = [read_labelled(path, encoding) for path in given]
    return joined(given[0].name.partition(".")[0], files, "a" if data is not None else "rt", split)


def _mr() -> SentenceSet:
    folder = find_folder(None, "mr_polarity", PAGE)
    parts = []
    for name in ("neg", "pos"):
        lines = [line for line in read_lines(folder / f"rt-polarity.{name}.gz") if line]
        parts.append((lines, [name] * len(lines)))
    return joined("mr", parts, "aa", SPLITS["mr"])


def _split(name: str, *parts: str) -> SentenceSet:
    folder = find_folder(None, "sentence_sets", PAGE)
    kinds = {"": "a", "_train": "r", "_dev": "v", "_test": "t"}
    files = [read_labelled(folder / f"{name}{part}.txt.gz") for part in parts]
    found = joined(name, files, "".join(kinds[part] for part in parts), SPLITS.get(name, "spaces"))
    return found._replace(classes=CLASSES[name])


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
"""Titles of the sets in pictures."""


def read_vectors(path: Path | None, *, needed: bool) -> WordEmbeddings:
    """Reads the vectors of words.

    Args:
        path: a file; None for the GloVe subset beside the sets.
        needed: whether a method takes them; if not, there are none where the subset is missing.

    Raises:
        InputError: for vectors that are needed and missing, or a file of other things.
    """
    if path is not None:
        return read_embeddings(path)
    file = data_root() / "sentence_sets" / VECTORS
    if file.is_file():
        return read_embeddings(file)
    if needed:
        raise InputError(
            f"some methods take vectors of words, and there is no {shown(file)}; give --embeddings, set {VARIABLE} to "
            f"the folder that has sentence_sets in it ({PAGE}), or name other --methods"
        )
    return WordEmbeddings((), np.zeros((0, 1)))


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
