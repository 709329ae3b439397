"""The tables of experiments/enso/README.md, from the committed results.

`python -m experiments.enso.page` brings them up to date.
"""

from pathlib import Path
from typing import Any

from experiments.enso.rows import HEAD, cells_of
from experiments.pages import load_rows, markdown, write_tables

HERE = Path(__file__).parent
MAIN = (
    "climatology",
    "persistence",
    "equal_mean",
    "equal_median",
    "dynamical_mean",
    "statistical_mean",
    "skill_weights",
    "ridge_to_mean",
    "attention",
    "adaptive",
    "adaptive_with_attention",
    "official_iri",
    "official_cpc",
)
"""Methods of the table on the site."""


def rows() -> list[dict[str, Any]]:
    """Returns the rows of the committed results; none before the run."""
    return load_rows(HERE / "results.json")


def label(method: str) -> str:
    """Returns the name of a method in a table, the best in bold.

    Args:
        method: The method.
    """
    name = method.replace("_", " ").replace("iri", "IRI").replace("cpc", "CPC")
    return f"**{name}**" if method == "adaptive" else name


def methods(names: tuple[str, ...] = ()) -> str:
    """Returns the table of scores.

    Args:
        names: Methods to show; by default all.
    """
    lines = [(label(row["method"]), *cells_of(row)) for row in rows() if not names or row["method"] in names]
    return markdown(("forecast", *HEAD), lines)


def by_lead() -> str:
    """Returns the table of RMSE by lead."""
    scored = [row for row in rows() if row["rmse_by_lead"] is not None and "," not in row["method"]]
    num_leads = len(scored[0]["rmse_by_lead"]) if scored else 0
    lines = [(label(row["method"]), *(f"{error:.3f}" for error in row["rmse_by_lead"])) for row in scored]
    return markdown(("forecast", *(f"lead {number + 1}" for number in range(num_leads))), lines)


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("enso", {"scores": methods(), "errors by lead": by_lead()})


if __name__ == "__main__":
    main()
