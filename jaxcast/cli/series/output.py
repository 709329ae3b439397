"""Loading a saved model with a table for it, and descriptions of tables, for all commands."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.checks import check_flag, check_texts
from jaxcast.cli.series.data import COVARIATES, SensorOptions, read_data
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.structure import Hierarchy
from jaxcast.saving.models import load_model
from jaxcast.series.files.sensors import SensorData
from jaxcast.series.model import SeriesModel
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.regression import PanelRegression
from jaxcast.series.reconciled import table_with_sums
from jaxcast.series.tables import SeriesTable, newest_row


class Loaded(NamedTuple):
    """A saved model, and a table with its series in its order.

    Args:
        model: that was saved.
        table: that was read.
        hierarchy: whose sums the model was trained with; None for none.
        places: latitudes and longitudes of its series, where a file of sensors has them.
    """

    model: SeriesModel
    table: SeriesTable
    hierarchy: Hierarchy | None = None
    places: tuple[np.ndarray, np.ndarray] | None = None


def load(folder: Path, data: Path) -> Loaded:
    """Reads a saved model, and a table with its series.

    Args:
        folder: of the model.
        data: the table.

    Returns:
        Both, the table's series in the order of the model.

    Raises:
        InputError: for a folder without such a model, or a table of other series, steps or columns.
    """
    stored = load_model(folder)
    model = stored.pool
    if isinstance(model, PanelModel | PanelRegression):
        raise InputError(f"{shown(folder)} holds a model of panels; use jaxcast panel with it")
    if not isinstance(model, SeriesModel):
        raise InputError(
            f"{shown(folder)} holds no forecaster of series; a pool of candidate models is for jaxcast pool"
        )
    columns, options = _columns_of(stored.attributes, folder), _options_of(stored.attributes, folder)
    table, sensors = read_data(data, columns, {kind: getattr(model, kind) for kind in COVARIATES}, options)
    if sensors is not None and {*model.names} < {*table.names}:  # those that training left out
        table = table.of_series([table.names.index(name) for name in model.names])
    hierarchy = _hierarchy_of(stored.attributes, folder)
    if hierarchy is not None:
        table = table_with_sums(table, hierarchy)
    table = model.arranged(table, str(shown(data)))
    return Loaded(model, table, hierarchy, None if sensors is None else _places_of(sensors, table.names))


def _places_of(sensors: SensorData, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    if sensors.latitude is None or sensors.longitude is None or not {*names} <= {*sensors.names}:
        return None
    index = [sensors.names.index(name) for name in names]
    return sensors.latitude[index], sensors.longitude[index]


def as_attribute(hierarchy: Hierarchy) -> dict[str, Any]:
    """Returns a hierarchy as JSON values, to be saved with a model.

    Args:
        hierarchy: that the model was trained with.
    """
    return {"names": list(hierarchy.names), "summing": hierarchy.summing.astype(int).tolist()}


def _hierarchy_of(attributes: dict[str, Any], folder: Path) -> Hierarchy | None:
    """The hierarchy whose sums were added to the table that was trained on."""
    if "hierarchy" not in attributes:
        return None
    try:
        kept = dict(attributes["hierarchy"])
        check_texts("names", kept["names"])
        return Hierarchy(np.asarray(kept["summing"], float), tuple(kept["names"]))
    except (InputError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown(folder / 'pool.json')}, attributes: hierarchy: {shown(error)}; train and save it again"
        ) from None


def _columns_of(attributes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The columns of the table that was trained on, as `read_series` takes them."""
    columns = attributes.get("columns", {"time": None, "series": None, "value": None, "business_days": None})
    try:
        columns = dict(columns)
        if columns.keys() != {"time", "series", "value", "business_days"}:
            raise InputError("columns must name time, series, value and business_days")
        if columns["business_days"] is not None:
            check_flag("business_days", columns["business_days"])
        names = [columns[name] for name in ("time", "series", "value")]
        check_texts("columns", [name for name in names if name is not None], least=0)
    except InputError as error:
        raise InputError(f"{shown(folder / 'pool.json')}, attributes: {error}; train and save it again") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{shown(folder)} was not saved by `jaxcast series train`; load it in Python with jaxcast.load_model"
        ) from None
    return columns


def _options_of(attributes: dict[str, Any], folder: Path) -> SensorOptions:
    """How the file of sensors that was trained on was read."""
    try:
        options = SensorOptions(**attributes.get("sensors", {}))
        check_texts("first_date", [options.first_date] if options.first_date is not None else [], least=0)
        if options.names is not None:
            check_texts("names", options.names)
            options = options._replace(names=tuple(options.names))
        options.check()
    except (InputError, TypeError) as error:
        raise InputError(
            f"{shown(folder / 'pool.json')}, attributes: sensors: {shown(error)}; train and save it again"
        ) from None
    return options


def describe(table: SeriesTable, path: Path) -> list[str]:
    """Returns lines about what a table holds, and what it lacks.

    Args:
        table: that was read.
        path: of its file.
    """
    length = newest_row(table.values) + 1
    first = f"{path}: {len(table.names)} series, {length} dates, one every {table.calendar.step}, "
    lines = [f"{first}{table.date(0)} to {table.date(length - 1)}", *(f"note: {note}" for note in table.notes)]
    lines += [f"missing: {note}" for note in table.missing]
    if table.missing:
        lines.append(
            "missing values are excluded from training and scoring; forecasts see the last known value in their place"
        )
    return lines
