"""What the commands of texts read: tables, and classifiers that were saved."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from jaxcast.errors import InputError, shown
from jaxcast.progress import note
from jaxcast.saving.models import load_model
from jaxcast.scores.classification import accuracy, classification_scores
from jaxcast.text.classifier import TextClassifier
from jaxcast.text.fit import LabelledTexts
from jaxcast.text.tables import TextTable, read_text_table

MAJORITY = "commonest class"
COLUMNS = {
    "validation_accuracy": "validation accuracy",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "cross_entropy": "cross-entropy",
}
UNJUDGED = "they get the shares of the classes in training"


def read_data(path: Path, text_column: str, label_column: str | None, encoding: str) -> TextTable:
    """Reads the table of a command.

    Args:
        path: a .csv.
        text_column: name of the column of texts.
        label_column: name of the column of classes; None for none.
        encoding: of the file.
    """
    return read_text_table(path, text_column=text_column, label_column=label_column, encoding=encoding)


def load(folder: Path) -> TextClassifier:
    """Reads a classifier of texts.

    Args:
        folder: that `jaxcast text train` wrote.

    Raises:
        InputError: for a folder without such a model.
    """
    model = load_model(folder).pool
    if not isinstance(model, TextClassifier):
        raise InputError(
            f"{shown(folder)} holds no classifier of texts but a {type(model).__name__}; give the folder of jaxcast "
            "text train"
        )
    return model


def note_unknown(classifier: TextClassifier, texts: Sequence[str], path: Path) -> None:
    """Reports texts that the classifier cannot judge.

    Args:
        classifier: that was trained.
        texts: to classify.
        path: of their table.
    """
    known = classifier.is_known(texts)
    if not known.all():
        first = int(np.argmin(known)) + 1
        note(
            f"empty or without a known word: {int((~known).sum())} of {len(known)} texts of {shown(path)}, first text "
            f"{first}; {UNJUDGED}"
        )


def class_counts(labels: Sequence[str]) -> str:
    """Returns the number of texts of each class, for a message.

    Args:
        labels: of the texts.
    """
    return ", ".join(f"{shown(name)} {count}" for name, count in sorted(Counter(labels).items()))


def label_numbers(classifier: TextClassifier, labels: Sequence[str], path: Path) -> np.ndarray:
    """Returns the class number of each label.

    Args:
        classifier: that was trained.
        labels: of the texts.
        path: of their table.

    Raises:
        InputError: for a class that the classifier does not know.
    """
    number = {name: k for k, name in enumerate(classifier.classes)}
    if unknown := sorted({*labels} - number.keys()):
        raise InputError(
            f"{shown(path)} has the class {shown(repr(unknown[0]))}, the model knows "
            f"{shown(', '.join(classifier.classes))}"
        )
    return np.asarray([number[label] for label in labels])


def scores_of(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Returns scores as JSON values.

    Args:
        labels: number of the class of each text.
        probabilities: of each text and class.
    """
    found = classification_scores(labels, probabilities)._asdict()
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def compared(
    fitted: Mapping[str, TextClassifier], validation: LabelledTexts, test: LabelledTexts, path: Path
) -> list[dict[str, Any]]:
    """Returns the scores of the commonest class and of each method.

    Args:
        fitted: the classifier of each method.
        validation: texts by which one is chosen.
        test: texts that are held out for testing.
        path: of their table.
    """
    first = next(iter(fitted.values()))
    held_out, labels = (
        label_numbers(first, [str(label) for label in part.labels], path) for part in (validation, test)
    )
    shares = np.asarray(first.shares, float) / np.asarray(first.shares, float).sum()
    found = {MAJORITY: [np.tile(shares, (len(numbers), 1)) for numbers in (held_out, labels)]}
    for name, classifier in fitted.items():
        note_unknown(classifier, test.texts, path)
        found[name] = [classifier.predict_probabilities(part.texts) for part in (validation, test)]
    return [
        {"method": name, "validation_accuracy": accuracy(held_out, of_validation.argmax(-1))}
        | scores_of(labels, of_test)
        for name, (of_validation, of_test) in found.items()
    ]


def table_of(rows: Sequence[dict[str, Any]], kept: str, num_texts: int) -> Table:
    """Returns the scores of all methods for a terminal.

    Args:
        rows: with a method and its scores.
        kept: the method that is saved, by its accuracy in validation.
        num_texts: number of texts that give the scores, but the accuracy in validation.
    """
    columns = {key: name for key, name in COLUMNS.items() if key in rows[0]}
    legend = "; * is kept" if kept else ""
    result = Table(title=f"scores on {num_texts} texts{legend}", box=box.SIMPLE)
    result.add_column("method", no_wrap=True)
    for name in columns.values():
        result.add_column(name, justify="right")
    for row in rows:
        cells = [row[key] for key in columns]
        mark = " *" if row["method"] == kept else ""
        result.add_row(row["method"] + mark, *("" if cell is None else f"{cell:.4f}" for cell in cells))
    return result


def confusion(counts: np.ndarray, classes: Sequence[str]) -> Table:
    """Returns a confusion table for a terminal.

    Args:
        counts: rows are true classes, columns predicted ones.
        classes: their names.
    """
    result = Table(title="confusion table", box=box.SIMPLE)  # a longer title would wrap, as tables are narrow
    result.add_column("true \\ predicted", no_wrap=True)
    for name in classes:
        result.add_column(Text(shown(name)), justify="right")  # names are neither markup nor emoji
    for name, row in zip(classes, counts, strict=True):
        result.add_row(Text(shown(name)), *map(str, row.tolist()))
    return result
