"""`jaxcast series evaluate`: scores a saved forecaster on a table's last dates."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.table import Table

from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.series.output import load
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.io.run_folder import RunFolder
from jaxcast.numerics.levels import middle_of
from jaxcast.pytrees import fingerprint
from jaxcast.scores.flows import flow_scores
from jaxcast.series.baselines import LastValue
from jaxcast.series.evaluation import intervals, scores_by_lead
from jaxcast.series.problem import within
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.tables import newest_row

FLOW_SCORES = ("rmse_positive", "mae_positive", "wmape", "cpc")


@dataclasses.dataclass(frozen=True)
class EvaluateSeries:
    """Score a saved forecaster on a table at each lead, beside the last value.

    Of values that are never negative, such as counts, results.json also has the errors where they
    are above 0, wMAPE and the common part of commuters.

    Forecasts start from each date of the table. By default only dates after the last that the
    forecaster has learned from are scored.

    Example: jaxcast series evaluate --model model --data cases.csv --out scores
    """

    model: Path
    """Folder that `jaxcast series train` wrote."""
    data: Path
    """Table with the observed values, and with the columns of the table that was trained on."""
    out: Path
    """Folder for results.json."""
    since: str | None = None
    """First target date to score; by default the first that the forecaster has not learned from."""
    overwrite: bool = False
    """Start afresh if the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        check_numbers(self)
        model, table, *_ = load(self.model, self.data)
        learned = int(table.calendar.rows(parse_date(model.learned_until, "the model's last date")))
        start = learned + 1 if self.since is None else int(table.calendar.rows(parse_date(self.since, "--since")))
        last = newest_row(table.values)
        windows = within(model.windows(table), start, last + 1)
        if not np.asarray(windows.weights).any():
            raise InputError(
                f"{shown(self.data)} has nothing to score from {table.date(start)} on, its last value is of "
                f"{table.date(last)}; the forecaster learned until {model.learned_until}, give newer data, or an "
                "earlier --since"
            )
        folder = RunFolder.of(
            self,
            reads=("model", "data"),
            facts={"table": fingerprint(table.values), "model": fingerprint(model.forecaster)},
        )
        run = jax.jit(lambda f, *args: f(*args).info["quantiles"])
        quantiles = run(model.forecaster, windows.history, windows.covariates)
        forecasts = {
            "last_value": LastValue(model.leads)(windows.history).forecast[..., None],
            model.method: quantiles,
        }
        rows = [
            {"method": method, "lead": lead, **scores.row(), **flows}
            for method, forecast in forecasts.items()
            for lead, scores, flows in zip(
                model.leads,
                scores_by_lead(forecast, windows, levels=model.levels),
                flows_by_lead(forecast, windows, levels=model.levels),
                strict=True,
            )
        ]
        folder.write_json(
            "results.json", {"rows": rows, "since": table.date(start), "learned_until": model.learned_until}
        )
        console = make_console()
        console.print(score_table(rows, model.levels, table.date(start), table.date(last)))
        if start <= learned:
            console.print(
                f"the forecaster has learned from the dates until {model.learned_until}: scores there are better than "
                "on new data",
                highlight=False,
                soft_wrap=True,
            )


def flows_by_lead(
    quantiles: Any, windows: SeriesWindows, *, levels: tuple[float, ...]
) -> list[dict[str, float | None]]:
    """Returns the scores of flows of each lead as JSON values, where no value is negative.

    Args:
        quantiles: at all levels, or a single one of a point forecast.
        windows: with the targets, and weights that say which count.
        levels: of the quantiles.

    Returns:
        Those of `FLOW_SCORES` for each lead; nothing where the series are no flows. A score over
        values above 0 is None where there are none.
    """
    truth = np.where(np.asarray(windows.weights) > 0, np.asarray(windows.targets), np.nan)
    if np.nanmin(truth) < 0:
        return [{} for _ in range(truth.shape[1])]
    quantiles = np.asarray(quantiles)
    middle = quantiles[..., middle_of(levels) if quantiles.shape[-1] > 1 else 0]
    found = flow_scores(middle, truth, by_lead=True)._asdict()
    scores = {name: np.asarray(found[name]).tolist() for name in FLOW_SCORES}
    return [
        {name: each[k] if np.isfinite(each[k]) else None for name, each in scores.items()}
        for k in range(truth.shape[1])
    ]


def score_table(rows: list[dict[str, Any]], levels: tuple[float, ...], first: str, last: str) -> Table:
    """Returns a table with a row for each method and lead.

    Args:
        rows: as in results.json.
        levels: of the quantiles.
        first: the first target date.
        last: the last target date.
    """
    covered = [f"{nominal:g}" for _, _, nominal in intervals(levels)][:3]
    flows = {"wMAPE": "wmape", "CPC": "cpc"} if "wmape" in rows[0] else {}
    table = Table(title=f"Errors from {first} to {last}, in the unit of the series", box=box.SIMPLE)
    for head in ("method", "lead", "RMSE", "MAE", "WIS", *(f"{float(name):.0%}" for name in covered), *flows, "values"):
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    for row in rows:
        shares = [f"{row['coverage'][name]:.1%}" if "coverage" in row else "" for name in covered]
        score = f"{row['wis']:.4g}" if "wis" in row else ""
        table.add_row(
            row["method"],
            str(row["lead"]),
            f"{row['rmse']:.4g}",
            f"{row['mae']:.4g}",
            score,
            *shares,
            *("" if row[name] is None else f"{row[name]:.3f}" for name in flows.values()),
            str(row["num_values"]),
        )
    return table
