"""What the commands of panels read: tables and archives, and the columns that a model was trained on."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxcast.checks import check_flag, check_texts
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.saving.models import load_model
from jaxcast.series.calendars import Calendar
from jaxcast.series.panel_models.model import KINDS, PanelModel
from jaxcast.series.panel_models.preparation import SERIES
from jaxcast.series.panel_models.regression import PanelRegression
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.reader import read_panel

COLUMNS = ("time", "series", "value")


class StoredPanelModel(NamedTuple):
    """A model of panels that was saved.

    Args:
        model: a network or a regression.
        method: its name.
        columns: time, series, value and business_days of the table that it was trained on.
        step: between two dates of that table; "" without dates.
        season: steps of the shortest season; 1 for none.
        learned_until: the newest date that it has learned from; "" without dates.
    """

    model: PanelModel | PanelRegression
    method: str
    columns: dict[str, Any]
    step: str
    season: int
    learned_until: str = ""

    @property
    def num_leads(self) -> int:
        """The leads that it forecasts."""
        return self.model.sizes.num_leads if isinstance(self.model, PanelModel) else self.model.num_leads

    def covariates(self) -> dict[str, tuple[str, ...]]:
        """Returns the columns besides the values that it has learned from, as `read_panel` takes them."""
        if isinstance(self.model, PanelRegression):
            return {}
        own = {kind: getattr(self.model, kind) for kind in KINDS}
        return own | {"categories": tuple(name for name in self.model.category_names if name != SERIES)}


def read_data(path: Path, columns: dict[str, Any], covariates: dict[str, Any], *, stream: bool) -> SeriesPanel:
    """Reads the panel of a command.

    Args:
        path: .csv, .parquet, .npz or a folder of .parquet.
        columns: time, series, value and business_days.
        covariates: names of columns, by their kind.
        stream: whether values are kept on disk.

    Returns:
        The panel.

    Raises:
        InputError: for files that cannot be read so.
    """
    is_archive = path.suffix == ".npz"
    named = [name for name, given in (columns | covariates).items() if given] if is_archive else []
    if named:
        raise InputError(f"{shown(path)} has no columns, and {named[0]} names one; give a table, .csv or .parquet")
    if stream and not (path.suffix == ".parquet" or path.is_dir()):
        raise InputError(f"--stream is for .parquet, got {shown(path)}; leave it out, or write the table as .parquet")
    return read_panel(path, **columns, **covariates, in_memory=not stream)


def columns_for(path: Path, stored: StoredPanelModel) -> dict[str, Any]:
    """Returns the columns to read a file by: an archive has none.

    Args:
        path: of the file.
        stored: the model that it is for.
    """
    return dict.fromkeys(stored.columns) if path.suffix == ".npz" else stored.columns


def describe(panel: SeriesPanel, path: Path) -> list[str]:
    """Returns lines about what a panel holds.

    Args:
        panel: that was read.
        path: of its file.
    """
    shortest, longest = int(panel.lengths.min()), int(panel.lengths.max())
    lengths = f"{shortest} values each" if shortest == longest else f"{shortest} to {longest} values each"
    first = f"{path}: {len(panel.names)} series, {int(panel.lengths.sum())} values, {lengths}, "
    if panel.calendar is None:
        return [first + "no dates"]
    newest = int((panel.starts + panel.newest).max())
    text = [panel.calendar.text(panel.calendar.dates(row)) for row in (int(panel.starts.min()), newest)]
    lines = [f"{first}one every {panel.calendar.step}, {text[0]} to {text[1]}"]
    early = int(((panel.starts + panel.newest) < newest).sum())
    if early:
        lines.append(f"note: series that end before {text[1]}: {early}; each is forecast from its own last value")
    return lines


def load(folder: Path) -> StoredPanelModel:
    """Reads a model of panels.

    Args:
        folder: that `jaxcast panel train` wrote.

    Returns:
        The model.

    Raises:
        InputError: for a folder without such a model.
    """
    stored = load_model(folder)
    model, noted = stored.pool, stored.attributes
    if not isinstance(model, PanelModel | PanelRegression):
        raise InputError(
            f"{shown(folder)} holds no model of panels; a forecaster of a table is for jaxcast series, a pool for "
            "jaxcast pool"
        )
    try:
        columns = dict(noted["columns"])
        if columns.keys() != {*COLUMNS, "business_days"}:
            raise InputError("columns must name time, series, value and business_days")
        if columns["business_days"] is not None:
            check_flag("business_days", columns["business_days"])
        check_texts("columns", [columns[name] for name in COLUMNS if columns[name] is not None], least=0)
        texts = [str(noted[name]) for name in ("method", "step", "learned_until")]
        return StoredPanelModel(model, texts[0], columns, texts[1], int(noted["season"]), texts[2])
    except InputError as error:
        raise InputError(f"{shown(folder / 'pool.json')}, attributes: {error}; train and save it again") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{shown(folder)} was not saved by `jaxcast panel train`; load it in Python with jaxcast.load_model"
        ) from None


def has_learned_from(stored: StoredPanelModel, calendar: Calendar | None, newest: Int[np.ndarray, " window"]) -> bool:
    """Returns whether a model may have learned from the targets of some windows.

    Args:
        stored: the model.
        calendar: of the data; None without dates.
        newest: the row of the calendar in which the history of each window ends.
    """
    if calendar is None or not stored.learned_until:
        return True
    row = int(calendar.rows(parse_date(stored.learned_until, "the model's last date")))
    return bool((newest < row).any())
