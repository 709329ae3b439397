"""`jaxcast series train --warm-start`: refits a saved forecaster to a table that has grown."""

import dataclasses
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from jaxcast.cli.command import make_console
from jaxcast.cli.series.output import describe, load
from jaxcast.errors import InputError, shown
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce
from jaxcast.pytrees import fingerprint
from jaxcast.saving.models import load_model, save_model
from jaxcast.series.model import SeriesModel
from jaxcast.series.refit import NUM_EPOCHS, SeriesRefit, refit_series

FREE = ("data", "out", "warm_start", "num_epochs", "seed", "overwrite")
"""Options that a warm start takes; the others are those of the forecaster."""


def check_options(command: Any) -> None:
    """Refuses options that the saved forecaster has decided.

    Args:
        command: dataclass of options.

    Raises:
        InputError: with the first of them.
    """
    for field in dataclasses.fields(command):
        if field.name not in FREE and getattr(command, field.name) != field.default:
            raise InputError(
                f"--{field.name.replace('_', '-')} is that of the forecaster of --warm-start; leave it out, or train a "
                "new one"
            )


def refit_folder(command: Any, folder: Path) -> None:
    """Refits the forecaster of a folder, and saves the new one beside its scores.

    Args:
        command: dataclass of options, with data, out, num_epochs and seed among them.
        folder: of the old forecaster.

    Raises:
        InputError: as `refit_series` does.
    """
    model, table, *_ = load(folder, command.data)
    arrays = (table.values, table.past_covariates, table.future_covariates, table.static_covariates)
    run = RunFolder.of(
        command,
        reads=("data", "warm_start"),
        facts={"table": fingerprint(arrays), "start": fingerprint(model.forecaster)},
        only=("num_epochs", "seed"),
        outputs=("results.json", "pool.json", "arrays.npz"),
    )
    for line in describe(table, command.data):
        announce(line)
    with run.leaving_nothing():
        refit = refit_series(
            model, table, num_epochs=command.num_epochs or NUM_EPOCHS, seed=command.seed, what=str(shown(command.data))
        )
    attributes = load_model(folder).attributes | {"trained_on": str(command.data)}
    save_model(run.path, refit.model, attributes=attributes)
    rows = rows_of(refit)
    run.write_json(
        "results.json",
        {"method": model.method, "rows": rows, "learned_until": refit.model.learned_until, "start": str(folder)},
    )
    make_console().print(table_of(rows, model))
    announce(
        f"{model.method} in {command.out}, trained on all dates; "
        + ("quantiles calibrated on the new dates" if refit.is_recalibrated else f"quantiles as in {folder}")
    )


def rows_of(refit: SeriesRefit) -> list[dict[str, Any]]:
    """Returns the scores as JSON values.

    Args:
        refit: the result.
    """
    found = [
        ("old", refit.new_from, refit.before),
        ("old", refit.compared_from, refit.old),
        ("new", refit.compared_from, refit.new),
    ]
    return [{"model": model, "since": since} | scores.row() for model, since, scores in found]


def table_of(rows: list[dict[str, Any]], model: SeriesModel) -> Table:
    """Returns a table with a row for each model and part of the new dates.

    Args:
        rows: as in results.json.
        model: the old one.
    """
    covered = [*rows[0].get("coverage", {})][:3]
    table = Table(
        title=f"Errors of {model.method} on dates after {model.learned_until}, before they were learned from",
        caption="in standard deviations of each series; the new model here has learned from dates before those scored",
        box=box.SIMPLE,
    )
    for head in ("model", "dates since", "MAE", "RMSE", "WIS", *(f"{float(name):.0%}" for name in covered), "values"):
        table.add_column(head, justify="left" if head == "model" else "right", no_wrap=True)
    for row in rows:
        numbers = (row["mae"], row["rmse"], row.get("wis", float("nan")))
        shares = (f"{row['coverage'][name]:.1%}" for name in covered)
        table.add_row(
            row["model"], row["since"], *(f"{number:.3f}" for number in numbers), *shares, str(row["num_values"])
        )
    return table
