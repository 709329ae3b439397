"""The tables of experiments/valid_time/README.md, from the committed results.

`python -m experiments.valid_time.page` brings them up to date.
"""

from pathlib import Path

from experiments.pages import markdown, write_tables
from experiments.valid_time.methods import CHOICE, PERFECT
from experiments.valid_time.rows import LEADS, best_alternative, committed, default_of, is_below, picked, spreads

HERE = Path(__file__).parent
COLUMNS = {
    PERFECT: "perfect model",
    "best_single": "best single",
    "equal_weights": "equal weights",
    "ridge": "ridge",
    "attention": "attention",
    "nvar": "NVAR",
    "reservoir": "reservoir",
    "ensemble_kalman_filter": "EnKF",
    "corrected_interpolation": "corrected interpolation",
    "hybrid": "hybrid",
    "regime": "regime",
    CHOICE: "fit_pool",
}
"""Methods of the leader board."""


def board() -> str:
    """Returns the leader board: the median valid time of every method in every case."""
    found = committed()
    ours = {(row["case"], row["method"]): row for row in found}
    lines = []
    for case in dict.fromkeys(row["case"] for row in found):
        values = {name: ours[case, name]["valid_time_median"] for name in COLUMNS if (case, name) in ours}
        best = max((value for name, value in values.items() if name != PERFECT), default=0.0)
        cells = [_cell(values.get(name), best if name != PERFECT else None) for name in COLUMNS]
        lines.append((case.replace("_", " "), *cells))
    return markdown(("case", *COLUMNS.values()), lines)


def _cell(value: float | None, best: float | None) -> str:
    if value is None:
        return ""
    return f"**{value:.2f}**" if value == best else f"{value:.2f}"


def choices() -> str:
    """Returns the table of what the default took, beside the best that it could have taken."""
    found = committed()
    lines = []
    for case in dict.fromkeys(row["case"] for row in found):
        own, best = default_of(found, case), best_alternative(found, case)
        interval = "{:.2f} to {:.2f}".format(*own["ci95"])
        lines.append(
            (
                case.replace("_", " "),
                picked(own).replace("_", " "),
                best["method"].replace("_", " "),
                f"{own['valid_time_median']:.2f}",
                interval,
                f"{best['valid_time_median']:.2f}",
                "yes" if is_below(found, case) else "no",
                f"{own['num_truths']} x {own['num_windows']}",
                f"{own['longest']:g}",
            )
        )
    head = ("case", "took", "best on the windows", "default", "95 %", "best", "default below", "windows", "longest")
    return markdown(head, lines, num_texts=3)


def spread() -> str:
    """Returns the table of spread over error, by lead, in cases with noise."""
    lines = [
        (case.replace("_", " "), method.replace("_", " "), *ratios) for case, method, *ratios in spreads(committed())
    ]
    return markdown(("case", "method", *(f"lead {lead}" for lead in LEADS)), lines, num_texts=2)


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("valid_time", {"leader board": board(), "choices": choices(), "spread": spread()})


if __name__ == "__main__":
    main()
