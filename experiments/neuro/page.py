"""The tables of experiments/neuro/README.md, from the committed results.

`python -m experiments.neuro.page` brings them up to date.
"""

from pathlib import Path
from typing import Any

from experiments.neuro.classification_rows import cells
from experiments.pages import load_rows, markdown, write_tables

HERE = Path(__file__).parent


def load(part: str) -> list[dict[str, Any]]:
    """Returns the rows of a part; none before its run.

    Args:
        part: of the experiment.
    """
    return load_rows(HERE / f"results-{part}.json")


def classification() -> str:
    """Returns the table of subjects classified."""
    return _of_classifiers("classification")


def dynamics() -> str:
    """Returns the table of connections that change."""
    return _of_classifiers("dynamics")


def _of_classifiers(part: str) -> str:
    head = ("data", "method", "folds", "seeds", "accuracy, %", "balanced, %", "AUC")
    lines = [(row["data"], row["method"], *cells(row)) for row in load(part)]
    return markdown(head, [tuple(cell.replace("\\[", "[") for cell in line) for line in lines], 2)


def activity() -> str:
    """Returns the table of recovered activity: error and correlation at each ratio of signal to noise."""
    rows = [row for row in load("activity") if "snr" in row]
    snrs = sorted({row["snr"] for row in rows})
    by_method: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row["snr"]):
        spread = "" if row["error_std"] is None else f" ± {row['error_std']:.3f}"
        by_method.setdefault(row["method"], []).append(f"{row['error']:.3f}{spread} ({row['correlation']:.3f})")
    return markdown(("method", *(f"{snr} dB" for snr in snrs)), [(name, *cells) for name, cells in by_method.items()])


def phantom() -> str:
    """Returns the table of signals beside those of the original program."""
    head = ("steps", "RMS, median", "RMS, largest", "within 1e-3", "differ", "of these with a smaller objective")
    lines = [
        (
            row["method"],
            f"{row['rms_median']:.1e}",
            f"{row['rms_largest']:.1e}",
            f"{100 * row['share_within_1e-3']:.1f} %",
            str(row["num_differing"]),
            str(row["num_differing_with_smaller_objective"]),
        )
        for row in load("activity")
        if "rms_median" in row
    ]
    return markdown(head, lines)


def events() -> str:
    """Returns the table of responses to events."""
    rows = [row for row in load("activity") if "peak_s" in row]
    lines = [(row["method"], f"{row['peak_s']:g} s", f"{100 * row['share_at_event']:.0f} %") for row in rows]
    return markdown(("series", "peak after an event", "share of the response within 2 s"), lines)


TABLES = {
    "classification": classification,
    "dynamics": dynamics,
    "activity": activity,
    "phantom": phantom,
    "events": events,
}


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("neuro", {name: table() for name, table in TABLES.items()})


if __name__ == "__main__":
    main()
