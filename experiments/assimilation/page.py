"""The tables of experiments/assimilation/README.md, from the committed results.

`python -m experiments.assimilation.page` brings them up to date.
"""

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from experiments.assimilation.settings import SETTINGS
from experiments.pages import load_rows, markdown, write_tables

HERE = Path(__file__).parent
HEADS = {
    "filters": ("RMSE", "± standard error", "worst truth", "spread / error", "published"),
    "pools": ("valid time", "95 % interval", "RMSE at lead 1", "p"),
}


def rows() -> list[dict[str, Any]]:
    """Returns the rows of the committed results of both parts."""
    return load_rows(HERE / "results.json") + load_rows(HERE / "results-pools.json")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def cells_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Returns the numbers of a row, for the columns of its part."""
    if row["part"] == "filters":
        errors = (f"{row['rmse']:.3f}", _number(row["rmse_error"], ".3f"), f"{row['rmse_worst']:.3f}")
        return (*errors, f"{row['spread_to_error']:.2f}", _number(row["published"], ".2f"))
    low, high = row["valid_time_ci95"]
    return (
        f"{row['valid_time']:.2f}",
        f"{low:.2f} to {high:.2f}",
        _number(row["rmse_first"], ".3g"),
        _number(row["p_value"], ".1g"),
    )


def lines_of(all_rows: list[dict[str, Any]], part: str) -> list[tuple[str, ...]]:
    """Returns the lines of a table, first the setting or case and the method."""
    own = [row for row in all_rows if row["part"] == part]
    of = {"filters": lambda row: SETTINGS[row["setting"]].title, "pools": lambda row: row["case"].replace("_", " ")}[
        part
    ]
    return [(of(row), row["method"], *cells_of(row)) for row in own]


def table(all_rows: list[dict[str, Any]], part: str) -> Table:
    """Returns the table of a part for the console."""
    result = Table(box=box.SIMPLE)
    for number, name in enumerate(("setting" if part == "filters" else "case", "method", *HEADS[part])):
        result.add_column(name, justify="left" if number < 2 else "right", no_wrap=number == 1)
    for line in lines_of(all_rows, part):
        result.add_row(*line)
    return result


def filters(setting: str) -> str:
    """Returns the table of the analyses in one setting.

    Args:
        setting: its name.
    """
    own = [row for row in rows() if row["part"] == "filters" and row["setting"] == setting]
    return markdown(("method", *HEADS["filters"]), [(row["method"], *cells_of(row)) for row in own])


def pools() -> str:
    """Returns the table of attention after assimilation."""
    own = [row for row in rows() if row["part"] == "pools"]
    lines = [(row["case"].replace("_", " "), row["method"], *cells_of(row)) for row in own]
    return markdown(("case", "method", *HEADS["pools"]), lines)


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("assimilation", {name: filters(name) for name in SETTINGS} | {"pools": pools()})


if __name__ == "__main__":
    main()
