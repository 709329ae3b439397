"""The part "dynamics": connections that change half way, which correlations of all scans do not show."""

from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from experiments.neuro.classification_rows import row_of, table
from experiments.part import Part
from jaxcast import plotting
from jaxcast.neuro import (
    ClassifierMethod,
    DynamicGraphMethod,
    MajorityMethod,
    RidgeMethod,
    SimulatedDynamics,
    correlation_graphs,
    cross_validate,
    fit_subject_classifier,
    module_strengths,
    simulate_dynamic_subjects,
    uniform_segments,
)
from jaxcast.training import stratified_folds

DATA = "planted change of connections"
SIZE = 20
"""Scans of a segment; segments do not overlap."""
NUM_FOLDS = 5
OVER_SEGMENTS: dict[str, Literal["gru", "transformer"]] = {"GRU": "gru", "transformer": "transformer"}
NAMES = ("module 0", "module 1", "other regions")


def methods(config: Any) -> dict[str, ClassifierMethod]:
    """Returns the methods of the part.

    Args:
        config: the settings.
    """
    networks = {
        f"dynamic graphs, {name}": DynamicGraphMethod(
            segment_size=SIZE,
            segment_step=SIZE,
            edge_share=0.2,
            num_modules=3,
            hidden_size=min(16, config.hidden_size),
            num_heads=1,
            over_segments=over_segments,
            dropout=0.2,
            num_epochs=min(40, config.num_epochs),
            batch_size=min(16, config.batch_size),
            learning_rate=3e-3,
            validation_share=0.2,
            patience=20,
        )
        for name, over_segments in OVER_SEGMENTS.items()
    }
    return {"majority": MajorityMethod(), "ridge, Fisher z": RidgeMethod()} | networks


def run(config: Any, data: Path | None, folder: Any, console: Any) -> dict[str, Any]:
    """Runs the part.

    Args:
        config: the settings.
        data: None; the subjects are simulated.
        folder: of the output.
        console: to print on.

    Returns:
        What goes into results.json.
    """
    is_smoke = config.preset == "smoke"
    simulated = simulate_dynamic_subjects(
        40 if is_smoke else 200, num_regions=12, num_scans=80, key=jax.random.key(config.seed)
    )
    subjects = simulated.subjects
    folds = stratified_folds(subjects.labels, 2 if is_smoke else NUM_FOLDS, seed=config.seed)
    rows = []
    for name, method in methods(config).items():
        found = cross_validate(subjects, method, folds=folds, key=jax.random.key(config.seed))
        rows.append(row_of([found], DATA, name, "folds"))
        console.print(f"{DATA}, {name}: accuracy {100 * rows[-1]['accuracy']:.1f} %", highlight=False)
    folder.save_figure("segments.png", picture(simulated, methods(config)["dynamic graphs, GRU"], folds[0]))
    return {"rows": rows}


def picture(simulated: SimulatedDynamics, method: ClassifierMethod, fold: tuple[np.ndarray, np.ndarray]) -> Figure:
    """Draws the segments of a subject of each class that the network has not seen.

    Args:
        simulated: the subjects.
        method: settings of the network.
        fold: subjects to train on, and to test.
    """
    train, test = (simulated.subjects.subset(index) for index in fold)
    weights = segment_weights(fit_subject_classifier(train, method=method, key=jax.random.key(0)), test)
    segments = uniform_segments(test, size=SIZE, step=SIZE)
    strengths = module_strengths(correlation_graphs(test, segments), simulated.modules)
    largest = float(np.abs(strengths).max())
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for ax, label in zip(figure.subplots(1, 2), (0, 1), strict=True):
        number = int(np.argmax(test.labels == label))
        plotting.plot_segments(
            ax,
            segments.starts[number],
            segments.lengths[number],
            strengths[number].T,
            weights=weights[number],
            names=NAMES,
            limits=(-largest, largest),
            label="mean correlation within",
            weight_label="attention",
        )
        ax.set_title(f"a subject of class {label}", fontsize=10)
    return figure


def segment_weights(classifier: Any, subjects: Any) -> np.ndarray:
    """Returns the weight of each segment of each subject, the mean over modules by their gates.

    Args:
        classifier: of dynamic graphs.
        subjects: the subjects.
    """
    found = classifier.explain(classifier.inputs(subjects))["weights"]
    weights: np.ndarray = np.einsum("nms,nm->ns", found["segments"], found["modules"])
    return weights


def shown(rows: list[dict[str, Any]]) -> Table:
    """Returns the rows for a terminal.

    Args:
        rows: of results.json.
    """
    result: Table = table(rows)
    return result


PART = Part(run, "", ("segments.png",), shown)
