"""`jaxcast text train`: trains classifiers of texts, compares them, and keeps the best."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from jaxcast.checks import check_number, check_seed, check_whole
from jaxcast.cli.arguments import Names
from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.text.data import class_counts, compared, read_data, table_of
from jaxcast.errors import InputError, shown
from jaxcast.io.reading import read_json
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce, note, phase
from jaxcast.pytrees import fingerprint
from jaxcast.saving.models import save_model
from jaxcast.text.classifier import TextClassifier
from jaxcast.text.embeddings import WordEmbeddings, read_embeddings
from jaxcast.text.fit import LINEAR, LabelledTexts, fit_text_classifier
from jaxcast.text.network_fit import NETWORKS
from jaxcast.text.networks import TextNetwork
from jaxcast.text.tables import TextTable
from jaxcast.text.words import WordTokenizer, also_learned
from jaxcast.training.folds import stratified_split

NAMES = Names((*LINEAR, *NETWORKS), (TextNetwork,))
OUTPUTS = ("results.json", "pool.json", "arrays.npz")
RECURRENT = ("lstm", "gru", "rnn")
Readout = Literal["last", "max", "attention"]


@dataclasses.dataclass(frozen=True)
class TrainText:
    """Train a classifier of texts on a table of texts and classes.

    A tenth of the texts is held out for testing: each method is scored on it beside the commonest
    class, and nothing is chosen by it. Another tenth, for validation, stops the training of
    networks, chooses the penalty of bags of words, and decides which method is kept: the one with
    the highest accuracy there. Empty texts are reported and left out.

    An interrupted training resumes when the same command runs again.

    Example: jaxcast text train --data reviews.csv --method tfidf lstm --embeddings vectors.npz --out
    model
    """

    data: Path
    """Table (.csv) with a column of texts and one of classes."""
    out: Path
    """Folder for the model, its settings and scores."""
    text_column: str = "text"
    """Column of the texts."""
    label_column: str = "label"
    """Column of the classes."""
    encoding: str = "utf-8"
    """Encoding of the table, such as latin-1."""
    method: Annotated[tuple[str, ...], NAMES] = ("lstm",)
    """Methods to compare: tfidf and naive_bayes, bags of words and pairs of words, which take
    seconds and need scikit-learn; lstm, gru, rnn, cnn and mean, networks, which take minutes; or a
    TextNetwork of your own (see --import)."""
    embeddings: Path | None = None
    """Vectors of words for networks, an .npz with words and vectors or a text file of GloVe; by
    default they are learned."""
    tune: bool = False
    """Train the vectors of --embeddings too; without it they stay as they are."""
    readout: Readout | None = None
    """How lstm, gru and rnn sum up a text; by default max."""
    hidden_size: int | None = None
    """Hidden units of each direction of lstm, gru and rnn; by default 128."""
    dropout: float | None = None
    """Dropout of networks; by default 0.5, of mean 0."""
    stop_words: Literal["none", "english"] = "none"
    """Function words to drop. English ones hold "not", which decides sentiment."""
    min_count: int = 1
    """Least occurrences of a word in the vocabulary of a network; words of --embeddings are always in it."""
    split: Literal["words", "spaces"] = "words"
    """How texts are split: words, and signs of punctuation, of text as people write it; or spaces,
    for text that is tokenized already."""
    num_epochs: int = 30
    """Most passes over the texts."""
    patience: int = 5
    """Epochs without a better validation loss after which training stops."""
    batch_size: int = 50
    """Texts of a minibatch."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    validation_share: float = 0.1
    """Share of the other texts that is held out for validation."""
    test_share: float = 0.1
    """Share of the texts that is held out for testing."""
    seed: int = 0
    """Random seed of networks, and of the parts."""
    num_seeds: int = 1
    """Networks to train, whose probabilities are averaged."""
    overwrite: bool = False
    """Start afresh if the folder holds a run with other settings."""

    def run(self) -> None:
        """Runs the command."""
        self.check()
        table = read_data(self.data, self.text_column, self.label_column, self.encoding)
        table = self.with_words(table)
        parts = self.parts(table)
        self.note_repeated(*parts)
        embeddings = None if self.embeddings is None else read_embeddings(self.embeddings)
        folder = self.folder(table, embeddings)
        announce(f"{self.data}: {len(table.texts)} texts with words; {class_counts(table.labels or ())}")
        if not all((folder.path / name).is_file() for name in OUTPUTS):
            with folder.leaving_nothing():
                self.train(folder, parts, embeddings)
        folder.remove_checkpoints()  # also those of a run that was killed after its last file
        results = read_json(folder.path / "results.json")
        make_console().print(table_of(results["rows"], results["method"], results["num_test"]))
        announce(f"{results['method']} in {self.out}; see jaxcast text predict --help")

    def check(self) -> None:
        """Refuses options that are wrong whatever the data hold.

        Raises:
            InputError: for the first of them.
        """
        check_numbers(self)
        values = vars(self)
        for name in ("min_count", "num_epochs", "patience", "batch_size", "num_seeds"):
            check_whole(name, values[name])
        if self.hidden_size is not None:
            check_whole("hidden_size", self.hidden_size)
        check_number("learning_rate", self.learning_rate, above=0)
        for name in ("validation_share", "test_share"):
            check_number(name, values[name], above=0, most=0.5)
        check_seed(self.seed)
        if not self.method or len(set(self.method)) < len(self.method):
            raise InputError(f"name each --method once, and at least one, got {shown(' '.join(self.method))}")
        names = ("embeddings", "readout", "hidden_size", "dropout")
        given = [name for name in names if values[name] is not None] + ["min_count"] * (self.min_count != 1)
        if given and {*self.method} <= {*LINEAR}:
            option = f"--{given[0].replace('_', '-')}"
            raise InputError(f"{option} is for networks; name one by --method, such as lstm, or leave it out")
        of_layers = [name for name in ("readout", "hidden_size") if values[name] is not None]
        if of_layers and not {*self.method} & {*RECURRENT}:
            option = f"--{of_layers[0].replace('_', '-')}"
            raise InputError(f"{option} is for {', '.join(RECURRENT)}; name one by --method, or leave it out")
        if self.tune and self.embeddings is None:
            raise InputError("--tune is for the vectors of --embeddings; leave it out, learned ones are always trained")

    def tokenizer(self) -> WordTokenizer:
        """Returns what splits the texts."""
        return WordTokenizer(stop_words=self.stop_words, split=self.split)

    def with_words(self, table: TextTable) -> TextTable:
        """Leaves texts without a word out.

        Args:
            table: of texts and their classes.

        Returns:
            The rows with a word.

        Raises:
            InputError: where no text has one.
        """
        found = self.tokenizer().documents(table.texts)
        kept = [k for k, words in enumerate(found) if words]
        if len(kept) < len(found):
            note(f"left out, without a word: {len(found) - len(kept)} of {len(found)} texts of {shown(self.data)}")
        if not kept:
            raise InputError(f"{shown(self.data)} has only texts without a word; --text-column names the texts")
        labels = table.labels or ()
        return TextTable(tuple(table.texts[k] for k in kept), tuple(labels[k] for k in kept))

    def parts(self, table: TextTable) -> tuple[LabelledTexts, LabelledTexts, LabelledTexts]:
        """Splits the texts.

        Args:
            table: of texts and their classes.

        Returns:
            The texts to learn from, those for validation, and those for testing.

        Raises:
            InputError: for texts of one class, or one text of each.
        """
        labels = np.asarray(table.labels)
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"{shown(self.data)} has texts of only one class, {shown(repr(labels[0].item()))}; give two or more"
            )
        rest, test = stratified_split(labels, self.test_share, seed=self.seed)
        train, stop = stratified_split(labels[rest], self.validation_share, seed=self.seed)

        def of(rows: np.ndarray) -> LabelledTexts:
            return LabelledTexts([table.texts[k] for k in rows], labels[rows])

        return of(rest[train]), of(rest[stop]), of(test)

    def note_repeated(self, train: LabelledTexts, stop: LabelledTexts, test: LabelledTexts) -> None:
        """Reports texts for testing that are also learned from.

        Args:
            train: texts to learn from.
            stop: texts for validation.
            test: texts that are held out for testing.
        """
        repeated = also_learned(test.texts, [*train.texts, *stop.texts])
        if repeated.any():
            note(
                f"also learned from: {repeated.sum()} of the {len(repeated)} texts that are held out for testing, which "
                f"makes scores too good; keep one of each text in {shown(self.data)}"
            )

    def folder(self, table: TextTable, embeddings: WordEmbeddings | None) -> RunFolder:
        """Opens the folder of the run.

        Args:
            table: of texts and their classes.
            embeddings: vectors of words, or None.

        Returns:
            The folder.

        Raises:
            InputError: for one that holds something else.
        """
        cells = "\n".join((*table.texts, *(table.labels or ())))
        facts = {"texts": fingerprint(np.frombuffer(cells.encode("utf-8", "surrogatepass"), np.uint8))}
        if embeddings is not None:
            facts["vectors"] = fingerprint(embeddings.vectors)
        return RunFolder.of(self, reads=("data", "embeddings"), facts=facts, outputs=OUTPUTS)

    def train(
        self,
        folder: RunFolder,
        parts: tuple[LabelledTexts, LabelledTexts, LabelledTexts],
        embeddings: WordEmbeddings | None,
    ) -> None:
        """Trains all methods, compares them, and saves the best one on the validation texts.

        Args:
            folder: of the run.
            parts: the texts to learn from, those for validation, and those for testing.
            embeddings: vectors of words, or None.
        """
        train, stop, test = parts
        fitted = {name: self.fit(name, train, stop, embeddings, folder) for name in self.method}
        rows = compared(fitted, stop, test, self.data)
        best = max(rows[1:], key=lambda row: row["validation_accuracy"])["method"]
        if rows[0]["accuracy"] >= max(row["accuracy"] for row in rows[1:]):
            note("no method is better than the commonest class on the texts that are held out for testing")
        save_model(folder.path, fitted[best], attributes={"method": best, "trained_on": str(self.data)})
        record = {"method": best, "rows": rows, "num_test": len(test.texts), "classes": list(fitted[best].classes)}
        folder.write_json("results.json", record)

    def fit(
        self,
        name: str,
        train: LabelledTexts,
        stop: LabelledTexts,
        embeddings: WordEmbeddings | None,
        folder: RunFolder,
    ) -> TextClassifier:
        """Trains one method.

        Args:
            name: of the method.
            train: texts to learn from.
            stop: texts for validation.
            embeddings: vectors of words, or None.
            folder: of the run, for the checkpoint of networks.

        Returns:
            The classifier.
        """
        tokenizer = self.tokenizer()
        method: Any = name if name in (*LINEAR, *NETWORKS) else NAMES.foreign()[name]
        if name in LINEAR:
            with phase(f"fitting {name}"):
                return fit_text_classifier(*train, method=method, validation=stop, tokenizer=tokenizer)
        with phase(f"training {name}, epochs", self.num_epochs) as update:

            def show(done: int, losses: Any) -> None:
                update(done, f"loss {float(np.mean(losses)):.4f}")

            return fit_text_classifier(
                *train,
                method=method,
                embeddings=embeddings,
                tune=self.tune,
                settings=self.settings(name),
                tokenizer=tokenizer,
                min_count=self.min_count,
                validation=stop,
                num_epochs=self.num_epochs,
                patience=self.patience,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                seeds=tuple(range(self.seed, self.seed + self.num_seeds)),
                on_progress=show,
                checkpoint=folder.path / "stages" / f"{name}.checkpoint",
            )

    def settings(self, name: str) -> dict[str, Any]:
        """Returns the settings of a network.

        Args:
            name: of its method.
        """
        own: dict[str, Any] = {"dropout": self.dropout} if name in NETWORKS else {}
        if name in RECURRENT:
            own |= {"readout": self.readout, "hidden_size": self.hidden_size}
        return {option: value for option, value in own.items() if value is not None}
