"""Printed tables of the scores of a hub's models."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from jaxcast.cli.command import make_console
from jaxcast.cli.hub.output import truth_note
from jaxcast.errors import counted, shown
from jaxcast.hub.arrays import Hub

MOST_GROUPS = 100
NARROW = (("log",), ("disp.", "over", "under"))
"""Columns that are left out where the terminal is too narrow for whole names, in this order."""


class Scale(NamedTuple):
    """How scores are shown: with a common factor where they are small.

    Args:
        exponent: Of the factor, a power of ten.
        decimals: Digits after the point.
    """

    exponent: int
    decimals: int

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> "Scale":
        """Returns the scale that shows three digits of the median WIS.

        Args:
            rows: Rows of `score_forecasters`.
        """
        scores = [row["wis"] for row in rows if row["wis"]]
        size = int(np.floor(np.log10(np.median(scores)))) if scores else 0
        if size < -1:
            return cls(size, 2)
        return cls(0, min(3 if size < 0 else 2, max(0, 4 - size)))

    @property
    def head(self) -> str:
        """The factor, to be put after the name of a score; nothing where there is none."""
        return f" (x 1e{self.exponent})" if self.exponent else ""

    def text(self, value: float | None, more: int = 0) -> str:
        """Formats a score; nothing where there is none.

        Args:
            value: The score.
            more: Further digits, for small parts of it.
        """
        return "" if value is None else f"{value / 10.0**self.exponent:.{self.decimals + more}f}"


def scored_dates(hubs: Sequence[Hub], *, common: bool = False) -> str:
    """Returns the first and the last target date of the tasks that are scored, in words.

    Args:
        hubs: The hub at each horizon.
        common: Whether only the tasks of every model that has any are scored.
    """
    there = [hub.present & np.isfinite(hub.truth)[..., None] for hub in hubs]
    names = [list(itertools.compress(hub.models, each.any((0, 1)))) for hub, each in zip(hubs, there, strict=True)]
    dates, everyone = [], {name for own in names for name in own}
    for hub, each, own in zip(hubs, there, names, strict=True):
        is_scored = each[..., each.any((0, 1))].all(2) & bool(own) if common else each.any(2)
        if not common or set(own) == everyone:
            dates += list(hub.dates[is_scored.any(0)])
    return f"{min(dates)} to {max(dates)}" if dates else "no date"


def common_note(num_common: int) -> str:
    """Says on which tasks relative scores are made.

    Args:
        num_common: Number of tasks that all models have.
    """
    verb = "is" if num_common == 1 else "are"
    return f"relative over each pair's common tasks; {counted(num_common, 'task')} {verb} common to all"


def show_scores(
    rows: list[dict[str, Any]],
    hubs: Sequence[Hub],
    dates: str,
    *,
    is_pooled: bool = False,
) -> None:
    """Prints a table of scores.

    Args:
        rows: Rows of `score_forecasters`.
        hubs: The hub at each horizon.
        dates: The dates in words.
        is_pooled: Whether these are scores of pools.
    """
    hub, scale = hubs[0], Scale.of(rows)
    horizons = ", ".join(str(hub.horizon) for hub in hubs)
    note = truth_note(hub, is_pooled=is_pooled)
    covered = [name for name in rows[0] if name.startswith("coverage")]
    parts = {"WIS": "wis", "disp.": "dispersion", "over": "overprediction", "under": "underprediction"}
    columns = {head: [scale.text(row[name]) for row in rows] for head, name in parts.items()}
    has_log = any(row["log_wis"] is not None for row in rows)
    if has_log:
        columns["log"] = [scale.text(row["log_wis"], more=1 if scale.exponent == 0 else 0) for row in rows]
    columns |= {f"{name[8:]} %": ["" if row[name] is None else f"{row[name]:.0%}" for row in rows] for name in covered}
    columns["rel."] = ["" if row["relative_wis"] is None else f"{row['relative_wis']:.3f}" for row in rows]
    columns |= {"tasks": [str(row["num_tasks"]) for row in rows], "miss.": [str(row["num_missing"]) for row in rows]}
    show_columns(
        rows,
        columns,
        f"Mean WIS{scale.head} at horizon{'s' if len(hubs) > 1 else ''} {horizons}, target dates {dates}, "
        f"{counted(len(hub.locations), 'location')}, {counted(len(hub.levels), 'level')}, "
        f"{truth_note(hub).split(':')[0]}",
        f"WIS, its dispersion, over- and underprediction{', on counts and on their logarithm' if has_log else ''}; "
        f"coverage. Over a model's own tasks; rel.: {common_note(rows[0]['num_common'])}; miss.: tasks with a known "
        f"target that only others forecast. {note[0].upper()}{note[1:]}",
        sort_key,
    )


def show_columns(
    rows: Sequence[dict[str, Any]], columns: dict[str, list[str]], title: str, caption: str, key: Any
) -> None:
    """Prints a table with whole names of models.

    Args:
        rows: A row for each model, with its name as method.
        columns: The cells of each column by its head.
        title: Of the table.
        caption: Of the table.
        key: Function of a row by which rows are ordered.
    """
    console = make_console()
    names, left_out = [shown(row["method"]) for row in rows], list[str]()
    for heads in NARROW:
        if _width_of(names, columns) > console.width:
            left_out += [head for head in heads if head in columns]
            columns = {head: cells for head, cells in columns.items() if head not in heads}
    if left_out:
        caption += f". Without {', '.join(left_out)}, for which the terminal is too narrow"
    table = Table(title=title, caption=caption, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for i in sorted(range(len(rows)), key=lambda i: key(rows[i])):
        table.add_row(Text(names[i]), *(cells[i] for cells in columns.values()))
    console.print(table)


def _width_of(names: Sequence[str], columns: dict[str, list[str]]) -> int:
    """Returns how many characters wide a table is."""
    return sum(2 + max(map(len, [head, *cells])) for head, cells in {"model": names, **columns}.items()) + 2


def sort_key(row: dict[str, Any]) -> float:
    """Orders rows of scores: the best relative WIS first, those without one last.

    Args:
        row: Row of `score_forecasters`.
    """
    relative = row["relative_wis"]
    return np.inf if relative is None else float(relative)


def show_groups(name: str, rows: list[dict[str, Any]], order: Sequence[str], *, score: str = "WIS") -> None:
    """Prints the mean WIS of each group, and the WIS relative to the other models there.

    Args:
        name: What the tasks of a group have in common, columns joined by "+".
        rows: Rows of `score_hubs` by these columns.
        order: Names of the models, the best first; those without a task are left out.
        score: The score that the rows hold as `wis`, in words.
    """
    keys, console = name.split("+"), make_console()
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), {})[row["method"]] = row
    order = [model for model in order if any(model in of_models for of_models in groups.values())]
    # As many models as have room for their whole names.
    widths = np.cumsum([max(15, len(shown(model))) + 2 for model in order])
    names = list(order)[: max(1, int((widths <= console.width - 12 * len(keys) - 8).sum()))]
    scale = Scale.of(rows)
    left = f"; {counted(len(order) - len(names), 'other model')}" if len(order) > len(names) else ""
    left += f"; {counted(len(groups) - MOST_GROUPS, 'further group')}" if len(groups) > MOST_GROUPS else ""
    left += " in results.json with --out" if left else ""
    table = Table(
        title=f"Mean {score}{scale.head} by {' and '.join(keys)}",
        caption=f"in brackets: relative to the other models over each pair's common tasks{left}",
        box=box.SIMPLE,
    )
    for key in keys:
        table.add_column(key, no_wrap=True)
    for column in ("tasks", *names):
        table.add_column(Text(shown(column)), justify="right", no_wrap=True)
    for values, of_models in itertools.islice(groups.items(), MOST_GROUPS):
        cells = [_wis_cell(of_models.get(model), scale) for model in names]
        table.add_row(*(shown(value) for value in values), str(max(r["num_tasks"] for r in of_models.values())), *cells)
    console.print(table)


def _wis_cell(row: dict[str, Any] | None, scale: Scale) -> str:
    if row is None or row["wis"] is None:
        return ""
    return scale.text(row["wis"]) + ("" if row["relative_wis"] is None else f" ({row['relative_wis']:.2f})")
