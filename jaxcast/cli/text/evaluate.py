"""`jaxcast text evaluate`: scores of a classifier on texts whose classes are known."""

import dataclasses
from pathlib import Path

from jaxcast.cli.command import make_console
from jaxcast.cli.figures import figure_of
from jaxcast.cli.text.data import confusion, label_numbers, load, note_unknown, read_data, scores_of, table_of
from jaxcast.io.files import save_figure
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.plotting.classes import confusion_size, plot_confusion
from jaxcast.progress import announce
from jaxcast.saving.models import load_model
from jaxcast.scores.classification import confusion_table


@dataclasses.dataclass(frozen=True)
class EvaluateText:
    """Score a classifier on texts whose classes are known.

    Example: jaxcast text evaluate --model model --data test.csv --plot confusion.png"""

    model: Path
    """Folder that `jaxcast text train` wrote."""
    data: Path
    """Table (.csv) with a column of texts and one of classes."""
    text_column: str = "text"
    """Column of the texts."""
    label_column: str = "label"
    """Column of the classes."""
    encoding: str = "utf-8"
    """Encoding of the table, such as latin-1."""
    plot: Path | None = None
    """Picture (.png) of the confusion table."""
    overwrite: bool = False
    """Replace the file of --plot, if jaxcast wrote it."""

    def run(self) -> None:
        """Runs the command."""
        with Outputs(
            vars(self),
            {"--plot": (self.plot, PICTURE)},
            inputs={"--model": self.model, "--data": self.data},
            overwrite=self.overwrite,
        ):
            self.evaluate()

    def evaluate(self) -> None:
        """Scores the classifier."""
        classifier = load(self.model)
        table = read_data(self.data, self.text_column, self.label_column, self.encoding)
        labels = label_numbers(classifier, table.labels or (), self.data)
        note_unknown(classifier, table.texts, self.data)
        probabilities = classifier.predict_probabilities(table.texts)
        method = str(load_model(self.model).attributes.get("method", "the model"))
        counts = confusion_table(labels, probabilities.argmax(-1), len(classifier.classes))
        console = make_console()
        console.print(table_of([{"method": method} | scores_of(labels, probabilities)], "", len(labels)))
        console.print(confusion(counts, classifier.classes))
        if self.plot is not None:
            size = confusion_size(classifier.classes)
            figure = figure_of(width=size, height=size)
            plot_confusion(figure.subplots(), counts, classifier.classes)
            save_figure(self.plot, figure)
            announce(f"{self.plot}: confusion table")
