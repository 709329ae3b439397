"""Sentences and their classes: bags of words, convolutional and recurrent networks, their average."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.datasets import check_class_sizes
from experiments.frame import Settings, check_settings, open_folder, start
from experiments.sentiment import pictures, scoring
from experiments.sentiment.data import SETS, Part, SentenceSet, made_set, own_set, read_vectors
from experiments.sentiment.methods import (
    AVERAGE,
    MAJORITY,
    METHODS,
    NETWORKS,
    PLAIN,
    average,
    fitted,
    majority,
    probabilities,
)
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.progress import note
from jaxcast.pytrees import fingerprint
from jaxcast.scores import confusion_table
from jaxcast.text import WordEmbeddings
from jaxcast.text.words import also_learned

SHOWN = ("CNN, GloVe fixed", "BiGRU, attention")
"""Networks whose words are drawn, of which the first that ran."""
NUM_DRAWN = 8


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Classify sentences by bags of words, convolutional and recurrent networks, and their average.
    Presets: smoke, made sentences; quick, bags of words alone; paper, networks and their average too.
    All but smoke run ten folds, or five seeds where a test part is given."""

    data: Path | None = None
    """Your own sentences for folds: a .txt or .txt.gz, in each line a label and a sentence."""
    train: Path | None = None
    """Your own sentences to learn from, beside --test."""
    test: Path | None = None
    """Your own sentences that are held out for testing, beside --train."""
    encoding: str = "utf-8"
    """Encoding of your own sentences, such as latin-1."""
    split: Literal["words", "spaces"] = "words"
    """How your own sentences are split: words, and signs of punctuation, of text as people write it;
    or spaces, for text that is tokenized already, as the sets are."""
    sets: tuple[str, ...] = ("mr",)
    """Sets in the folder that JAXCAST_DATA names, or in shared/data beside the checkout: mr, trec,
    sst2, sst5, subj; without effect beside --data or --train."""
    embeddings: Path | None = None
    """Vectors of words, as jaxcast text train takes them; by default the GloVe subset of the sets."""
    methods: tuple[str, ...] = PLAIN
    """Methods to run."""
    num_folds: int = 10
    """Folds of a set without a test part; all are run."""
    num_seeds: int = 5
    """Seeds of a set with a test part: of networks, and of the validation part where none is given."""
    hidden_size: int = 128
    """Hidden units of each direction of a recurrent network."""
    num_maps: int = 100
    """Maps of each width of a convolution."""
    vector_dropout: float = 0.3
    """Dropout of the vectors of words before a convolution; that of recurrent networks is 0.5."""
    recurrent_rate: float = 2e-3
    """Learning rate of recurrent networks; that of convolutions is 1e-3."""
    num_epochs: int = 25
    """Most epochs of a network, which keeps its best one on the validation sentences."""
    patience: int = 3
    """Epochs without a better validation loss after which it stops."""
    batch_size: int = 50
    """Sentences of a minibatch."""
    tuning_factor: float = 0.3
    """Factor of the learning rate for GloVe's vectors, where they are tuned."""
    vectors: str = ""
    """Fingerprint of the vectors of words, for the record; the run finds it."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        methods=("bigrams, tf-idf", "mean of GloVe", "CNN, GloVe tuned", "BiGRU, attention"),
        num_folds=2,
        hidden_size=4,
        num_maps=4,
        num_epochs=2,
    ),
    "quick": Config(),
    "paper": Config(preset="paper", methods=tuple(METHODS)),
}


class Run:
    """The parts of one set, and what the methods say of them.

    Args:
        folder: of the output.
        sentences: the set.
        vectors: of words.
        config: the settings.
        console: to print on.
    """

    def __init__(self, folder: Any, sentences: SentenceSet, vectors: WordEmbeddings, config: Config, console: Any):
        self.folder, self.sentences, self.vectors, self.config = folder, sentences, vectors, config
        self.console = console
        self.parts = list(sentences.parts(config.num_folds, config.num_seeds, config.seed))
        self.stage = f"{sentences.name}-{sentences.fingerprint}"

    def num_repeated(self) -> int:
        """Counts the test sentences that a part also learns from, and notes them."""
        judged = self.parts if self.sentences.test is None else self.parts[:1]
        repeated = [also_learned(part.test.texts, [*part.train.texts, *part.validation.texts]) for part in judged]
        count, total = sum(int(one.sum()) for one in repeated), sum(map(len, repeated))
        if count:
            note(
                f"{self.sentences.name}: {count} of {total} test sentences are also learned from, in other lines, which "
                "makes scores too good; keep one of each"
            )
        return count

    def found(self, name: str) -> list[dict[str, np.ndarray]]:
        """Returns the probabilities of a method for each fold or seed.

        Args:
            name: of the method.

        Returns:
            Those of the validation and test sentences of each part; of the first alone for a method
            without a seed.
        """
        parts = self.parts[:1] if self.sentences.has_fixed_parts and name in PLAIN else self.parts
        return [self._stage(name, number, part) for number, part in enumerate(parts)]

    def _all_found(self) -> dict[str, list[dict[str, np.ndarray]]]:
        """Returns what each method finds; one that cannot learn from the sentences is left out, and noted."""
        found: dict[str, list[dict[str, np.ndarray]]] = {}
        errors = []
        for name in (one for one in METHODS if one in self.config.methods):
            try:
                found[name] = self.found(name)
            except InputError as error:
                errors.append(str(error))
                note(f"{self.sentences.name}, {name}: left out: {error}")
        if not found:
            raise InputError(errors[0])
        return found

    def _stage(self, name: str, number: int, part: Part) -> dict[str, np.ndarray]:
        def compute(checkpoint: Path) -> dict[str, np.ndarray]:
            began = time.perf_counter()
            arrays = probabilities(name, part, self.vectors, self.config, checkpoint)
            accuracy = (arrays["validation"].argmax(-1) == part.validation.labels).mean()
            self.console.print(
                f"{self.sentences.name}, {name}, {number + 1} of {len(self.parts)}: validation {100 * accuracy:.1f} "
                f"({time.perf_counter() - began:.0f} s)",
                highlight=False,
                markup=False,
            )
            return arrays

        words = "_".join("".join(letter if letter.isalnum() else " " for letter in name).split())
        arrays: dict[str, np.ndarray] = self.folder.stage(f"{self.stage}_{words}_{number}", compute)
        return arrays

    def rows(self) -> tuple[list[dict[str, Any]], dict[str, list[np.ndarray]]]:
        """Returns the rows of the set, and the test probabilities of each method and fold or seed."""
        num_classes = len(self.sentences.classes)
        judged = self.parts if self.sentences.test is None else self.parts[:1]
        tests: dict[str, list[np.ndarray]] = {MAJORITY: [majority(part, num_classes) for part in judged]}
        found = self._all_found()
        tests |= {name: [one["test"].astype(float) for one in each] for name, each in found.items()}
        more: dict[str, dict[str, Any]] = {}
        for name in [one for one in found if one in NETWORKS and len(judged) < len(tests[one])]:
            averaged = f"{name}, seeds averaged"
            tests[averaged], more[averaged] = [np.mean(tests[name], 0)], {"num_seeds": len(tests[name])}
        if len(found) > 1:
            num_parts = max(map(len, found.values()))
            members = {name: each * (num_parts // len(each)) for name, each in found.items()}
            averages = [
                average({name: each[k] for name, each in members.items()}, part)
                for k, part in enumerate(self.parts[:num_parts])
            ]
            tests[AVERAGE] = [shares.astype(float) for shares, _ in averages]
            more[AVERAGE] = {"members": [names for _, names in averages]}
        rows = [
            scoring.make_row(name, self.sentences, self.parts, each, **more.get(name, {}))
            for name, each in tests.items()
        ]
        is_own = self.config.data is not None or self.config.train is not None  # whatever its file is called
        return rows + ([] if is_own else scoring.published_rows(self.sentences.name)), tests

    def confusion(self, method: str, tests: dict[str, list[np.ndarray]]) -> np.ndarray:
        """Returns the confusion table of a method over all folds, or of its first seed.

        Args:
            method: its name.
            tests: what `rows` returned beside them.

        Returns:
            The counts; rows are true classes, columns predicted ones.
        """
        kept = slice(None) if self.sentences.test is None else slice(1)
        labels = np.concatenate([part.test.labels for part in self.parts[kept]])
        predicted = np.concatenate([shares.argmax(-1) for shares in tests[method][kept]])
        return confusion_table(labels, predicted, len(self.sentences.classes))

    def words(self, names: Sequence[str]) -> list[tuple[str, Any]]:
        """Returns the true class and the saliency of words of the first test sentences of each class.

        Args:
            names: of the methods that ran.
        """
        name = next(one for one in (*SHOWN, *METHODS) if one in names)
        part = self.parts[0]
        classifier = fitted(name, part, self.vectors, self.config, None)
        known = classifier.is_known(part.test.texts)
        per_class = max(1, NUM_DRAWN // len(self.sentences.classes))
        rows = [
            row
            for number in range(len(self.sentences.classes))
            for row in np.flatnonzero((part.test.labels == number) & known)[:per_class]
        ]
        label, found = self.sentences.classes, []
        for row in rows[:NUM_DRAWN]:
            one = classifier.saliency(part.test.texts[row])
            named = one._replace(predicted=label[int(one.predicted)])  # it learned the numbers of the classes
            found.append((label[part.test.labels[row]], named))
        return found


def main(config: Config) -> None:
    """Runs the experiment.

    Args:
        config: the settings.
    """
    began = time.perf_counter()
    console = make_console()
    check_settings(config)
    check_names("method", config.methods, METHODS)
    check_names("set", config.sets, SETS)
    own = own_set(config.data, config.train, config.test, encoding=config.encoding, split=config.split)
    if own is None and config.preset == "smoke":
        own, vectors = made_set(config.seed)
    else:
        kinds = {METHODS[name].get("vectors", "learned") for name in config.methods}
        vectors = read_vectors(config.embeddings, needed=kinds != {"learned"})
    sets = [SETS[name]() for name in config.sets] if own is None else [own]
    for one in sets:
        if one.test is None:
            check_class_sizes(one.labels, one.classes, config.num_folds)
    config = dataclasses.replace(config, vectors=fingerprint(vectors.vectors))
    folder = open_folder(
        config,
        f"runs/sentiment-{'-'.join(one.name for one in sets)}-{config.preset}",
        ("accuracy.png", "confusion.png", "words.png"),
        leave_out=("out", "overwrite", "data", "train", "test", "encoding", "embeddings", "methods", "sets"),
    )
    with folder.leaving_nothing():
        rows = run_sets(folder, sets, vectors, config, console)
    console.print(scoring.table(rows))
    console.print(
        f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False, markup=False
    )


def run_sets(
    folder: Any, sets: Sequence[SentenceSet], vectors: WordEmbeddings, config: Config, console: Any
) -> list[dict[str, Any]]:
    """Runs all sets, and writes the results and the pictures.

    Args:
        folder: of the output.
        sets: the sets.
        vectors: of words.
        config: the settings.
        console: to print on.

    Returns:
        The rows.
    """
    rows: list[dict[str, Any]] = []
    confusions: list[tuple[SentenceSet, str, np.ndarray]] = []
    words: list[tuple[str, Any]] = []
    repeated: dict[str, int] = {}
    for sentences in sets:
        run = Run(folder, sentences, vectors, config, console)
        repeated[sentences.name] = run.num_repeated()
        own_rows, tests = run.rows()
        rows += own_rows
        best = AVERAGE if AVERAGE in tests else list(tests)[-1]
        confusions.append((sentences, best, run.confusion(best, tests)))
        words = words or run.words(list(tests))
    folder.save_figure("accuracy.png", pictures.accuracies(rows, PLAIN))
    folder.save_figure("confusion.png", pictures.confusions(confusions))
    folder.save_figure("words.png", pictures.words(words))
    classes = {one.name: list(one.classes) for one in sets}
    folder.write_json("results.json", {"rows": rows, "classes": classes, "repeated": repeated})
    return rows


if __name__ == "__main__":
    start(main, Config, PRESETS)
