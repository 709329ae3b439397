"""`jaxcast text predict`: the class of each text of a table, and the words that count."""

import csv
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from jaxcast.checks import check_whole
from jaxcast.cli.figures import figure_of
from jaxcast.cli.text.data import load, note_unknown, read_data
from jaxcast.errors import InputError, shown
from jaxcast.io.files import save_figure, whole_file
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.ownership import TEXT_HEADER, refuse_replacing
from jaxcast.plotting.classes import plot_word_saliency, saliency_height
from jaxcast.progress import announce
from jaxcast.text.classifier import TextClassifier

MOST_DRAWN = 6


@dataclasses.dataclass(frozen=True)
class PredictText:
    """Predict the classes of texts.

    Example: jaxcast text predict --model model --data new.csv --out classes.csv --plot words.png"""

    model: Path
    """Folder that `jaxcast text train` wrote."""
    data: Path
    """Table (.csv) with a column of texts."""
    out: Path
    """File (.csv) for the predictions: row, text, predicted, probability, known, and the
    probability of each class."""
    text_column: str = "text"
    """Column of the texts."""
    encoding: str = "utf-8"
    """Encoding of the table, such as latin-1."""
    plot: Path | None = None
    """Picture (.png) of some texts: words that speak for the predicted class are blue, those against
    it red; of a network with attention, grey by how much they count."""
    plot_rows: tuple[int, ...] = ()
    """Rows of these texts, from 1 on; by default the first six that have a known word."""
    overwrite: bool = False
    """Replace the files of --out and --plot, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        for row in self.plot_rows:
            check_whole("plot_rows", row)
        with Outputs(
            vars(self),
            {"--out": (self.out, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs={"--model": self.model, "--data": self.data},
            overwrite=self.overwrite,
        ):
            self.predict()

    def predict(self) -> None:
        """Classifies the texts and writes what was found."""
        classifier = load(self.model)
        texts = read_data(self.data, self.text_column, None, self.encoding).texts
        if late := [row for row in self.plot_rows if row > len(texts)]:
            raise InputError(f"plot_rows must be rows of the {len(texts)} texts, got {late[0]}")
        known = classifier.is_known(texts)
        if unknown := [row for row in self.plot_rows if not known[row - 1]]:
            raise InputError(f"the text of row {unknown[0]} in plot_rows has no known word; leave it out")
        note_unknown(classifier, texts, self.data)
        probabilities = classifier.predict_probabilities(texts)
        self.write(classifier, texts, probabilities, known)
        counts = np.bincount(probabilities.argmax(-1), minlength=len(classifier.classes))
        found = ", ".join(f"{shown(name)} {n}" for name, n in zip(classifier.classes, counts, strict=True))
        announce(f"{self.out}: {len(texts)} texts; {found}")
        if self.plot is not None:
            self.draw(self.plot, classifier, texts, known)

    def write(
        self, classifier: TextClassifier, texts: tuple[str, ...], probabilities: np.ndarray, known: np.ndarray
    ) -> None:
        """Writes the table.

        Args:
            classifier: that was trained.
            texts: to write.
            probabilities: of each text and class.
            known: whether a text has a known word.
        """
        check = partial(refuse_replacing, self.out, overwrite=self.overwrite)
        with whole_file(self.out, check) as growing, growing.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow((*TEXT_HEADER, *(f"probability of {name}" for name in classifier.classes)))
            for number, (text, shares) in enumerate(zip(texts, probabilities, strict=True)):
                best = int(shares.argmax())
                first = (number + 1, text, classifier.classes[best], f"{shares[best]:.6g}", int(known[number]))
                rows.writerow((*first, *(f"{share:.6g}" for share in shares)))

    def draw(self, path: Path, classifier: TextClassifier, texts: tuple[str, ...], known: np.ndarray) -> None:
        """Draws the words of some texts.

        Args:
            path: of the picture.
            classifier: that was trained.
            texts: of the table.
            known: whether a text has a known word.

        Raises:
            InputError: where no text has one.
        """
        rows = self.plot_rows or tuple(np.flatnonzero(known)[:MOST_DRAWN] + 1)
        if not rows:
            raise InputError("no text has a known word to draw; leave --plot out")
        saliencies = [classifier.saliency(texts[row - 1]) for row in rows]
        heights = [saliency_height(found.words) for found in saliencies]
        figure = figure_of(height=sum(heights))
        axes = np.atleast_1d(figure.subplots(len(rows), 1, height_ratios=heights))
        for ax, row, found in zip(axes, rows, saliencies, strict=True):
            title = f"row {row}: {found.predicted} ({found.probability:.2f}), {found.measure}"
            plot_word_saliency(ax, found.words, found.values, title=title, has_sign=found.has_sign)
        save_figure(path, figure)
