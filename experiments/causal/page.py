"""The tables of experiments/causal/README.md, from the committed results.

`python -m experiments.causal.page` brings them up to date.
"""

from pathlib import Path
from typing import Any

from experiments.pages import load_rows, markdown, write_tables

HERE = Path(__file__).parent


def load(part: str) -> list[dict[str, Any]]:
    """Returns the rows of a part; none before its run.

    Args:
        part: of the experiment.
    """
    return load_rows(HERE / f"results-{part}.json")


def coverage() -> str:
    """Returns the table of simulated data with a known effect."""
    head = ("data", "method", "true effect", "mean estimate", "its deviation", "standard error", "covered by 95 %")
    rows = [row for row in load("oracles") if "truth" in row]
    lines = [
        (
            row["data"],
            row["method"],
            f"{row['truth']:g}",
            f"{row['mean']:.3f}",
            f"{row.get('deviation', row.get('rmse')):.3f}",
            f"{row['standard_error']:.3f}",
            f"{100 * row['coverage']:.1f} %",
        )
        for row in rows
    ]
    return markdown(head, lines, 2)


def estimates() -> str:
    """Returns the table of 401(k) and the bonus."""
    head = ("data", "method", "effect (standard error)", "95 % interval", "single seeds of folds", "R2 of Y, D")
    rows = [row for row in load("oracles") if "truth" not in row]
    return markdown(head, [_estimate(row) for row in rows], 2)


def _estimate(row: dict[str, Any]) -> tuple[str, ...]:
    form = ",.0f" if row["unit"] == "USD" else ".4f"
    error = f"{row['standard_error']:{form}}"
    if row["effect"] is None:
        low, high = (f"{value:{form}}" for value in row["published"])
        return (row["data"], f"**{row['method']}**", f"**{low} to {high} ({error})**", "", "", "")
    interval = f"{row['low']:{form}} to {row['high']:{form}}"
    seeds = row["effect_per_seed"]
    spread = f"{min(seeds):{form}} to {max(seeds):{form}}" if len(seeds) > 1 else ""
    known = row["outcome_r2"] is not None
    shares = f"{row['outcome_r2']:.3f}, {row['treatment_r2']:.3f}" if known else ""
    return (row["data"], row["method"], f"{row['effect']:{form}} ({error})", interval, spread, shares)


def city() -> str:
    """Returns the table of trips in New York."""
    head = ("method", "seeds", "RMSE", "MAE", "Risk_50", "Risk_90", "in 80 %", "RMSE, blizzard", "Risk_90, blizzard")
    lines = [
        (
            row["method"],
            str(row["num_seeds"]),
            f"{row['rmse']:.2f}",
            f"{row['mae']:.3f}",
            f"{row['risk_50']:.4f}",
            f"{row['risk_90']:.4f}",
            f"{100 * row['coverage80']:.1f} %",
            f"{row['special_rmse']:.2f}",
            f"{row['special_risk_90']:.4f}",
        )
        for row in load("city")
    ]
    return markdown(head, lines, 1)


TABLES = {"coverage": coverage, "estimates": estimates, "city": city}


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("causal", {name: table() for name, table in TABLES.items()})


if __name__ == "__main__":
    main()
