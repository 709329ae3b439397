"""`jaxcast hub score`: scores a hub's models."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcast.checks import check_names
from jaxcast.cli.hub.calibration import FILES as CALIBRATION
from jaxcast.cli.hub.calibration import write_calibration
from jaxcast.cli.hub.commands import HubTables, facts_of, open_folder
from jaxcast.cli.hub.folder import run_for_hub
from jaxcast.cli.hub.output import draw_submissions, say_about_truth
from jaxcast.cli.hub.output_types import TypeChoice, score_types, show_types, show_types_by, types_in
from jaxcast.cli.hub.score_tables import scored_dates, show_groups, show_scores, sort_key
from jaxcast.errors import InputError, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.outputs.reading import OUTPUT_TYPES
from jaxcast.hub.outputs.scores import OutputScores
from jaxcast.hub.report import KEYS, score_tables
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce, doing


@dataclasses.dataclass(frozen=True)
class ScoreHub(HubTables):
    """Score the models of a hub.

    Prints the weighted interval score (WIS) and its components, coverage, relative WIS, and the
    number of tasks of each model; and a table of proper scores for each other output type that the
    tables hold: samples, pmf, cdf, means and medians.

    Example: jaxcast hub score hub/ --baseline COVIDhub-baseline
    """

    horizons: tuple[int, ...] = ()
    """Horizons in steps, as the tables count them; the table is over the tasks of all of them. By
    default 1 of tables, and all of a hub's folder."""
    baseline: str | None = None
    """Model whose relative WIS is 1."""
    common: bool = False
    """Score only the tasks that all models forecast."""
    by: tuple[str, ...] = ()
    """Also a table for each of these: location, horizon, reference_date, target_end_date, or
    several joined by a plus, such as location+horizon."""
    output_types: tuple[str, ...] = ()
    """Output types to score; by default all that the tables hold."""
    categories: tuple[str, ...] = ()
    """Categories of a pmf in their order; by default those of hub-config/."""
    cut_points: tuple[float, ...] = ()
    """Cut points between the categories, where no oracle output names the observed one."""
    cut_target: str | None = None
    """Target whose values are cut into categories."""
    out: Path | None = None
    """Folder for results.json, tables and pictures of calibration, and a picture of who submitted
    when; of a hub's folder, one for each target within it."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        keys = {name: _columns_of(name) for name in self.by}
        if self.hub is not None:
            run_for_hub(self, types=self.output_types or OUTPUT_TYPES, each_horizon=False)
            return
        if not self.horizons:
            dataclasses.replace(self, horizons=(1,)).run()
            return
        kinds = types_in(self.paths()[0], self.target, self.output_types, exclude=self.exclude, bad=self.bad)
        has_quantiles = not self.output_types or "quantile" in self.output_types
        has_quantiles = has_quantiles and (not kinds or bool({"quantile", "sample"} & set(kinds)))
        hubs = list(self.load_all(self.horizons).values()) if has_quantiles else []
        others = self.score_types([kind for kind in kinds if kind != "quantile"])
        if others is not None and not others.tables and not hubs:
            raise InputError(f"nothing could be scored: {shown('; '.join(others.dropped))}")
        files = ("results.json", "submissions.png", *CALIBRATION)
        folder = None if self.out is None else open_folder(self, hubs, files)
        with contextlib.nullcontext() if folder is None else folder.leaving_nothing():
            self.score(hubs, others, keys, folder)

    def score(
        self,
        hubs: list[Hub],
        others: OutputScores | None,
        keys: dict[str, list[str]],
        folder: RunFolder | None,
    ) -> None:
        """Scores quantiles, and prints, writes and draws all scores.

        Args:
            hubs: The hub at each horizon; empty without quantiles.
            others: Scores of other output types.
            keys: Columns of each further table, by its name.
            folder: Folder of the command; None to write nothing.
        """
        results: dict[str, Any] = {}
        if hubs:
            doing("scoring quantiles")
            found = score_tables(hubs, [(), *keys.values()], baseline=self.baseline, common=self.common)
            rows, tables = found[0], dict(zip(keys, found[1:], strict=True))
            show_scores(rows, hubs, scored_dates(hubs, common=self.common))
            for name, table in tables.items():
                show_groups(name, table, by_score(rows))
            say_about_truth(hubs)
            results = {"rows": rows, "by": tables} | facts_of(hubs)
        if others is not None:
            show_types(others, self.horizons)
            by = {name: others.by(columns, baseline=self.baseline) for name, columns in keys.items()}
            for name, table in by.items():
                show_types_by(name, table, others.tables)
            results |= {"output_types": others.tables, "output_types_by": by, "not_scored": others.dropped}
        if folder is not None:
            doing("writing tables and pictures")
            folder.write_json("results.json", results)
            if hubs:
                draw_submissions(folder.path / "submissions.png", hubs)
                write_calibration(folder, hubs, by_score(rows))

    def score_types(self, kinds: Sequence[str]) -> OutputScores | None:
        """Scores output types other than quantiles, and says what is left out.

        Args:
            kinds: The types.

        Returns:
            The scores; None where there is no such type.
        """
        if not kinds:
            return None
        scores = score_types(kinds, TypeChoice.of(self), baseline=self.baseline, common=self.common)
        for line in scores.dropped:
            announce(f"not scored: {line}")
        return scores


def _columns_of(name: str) -> list[str]:
    """Returns the columns that a name of --by joins."""
    columns = name.split("+")
    if unknown := [each for each in columns if each not in KEYS]:
        raise InputError(
            f"expected --by {', '.join(KEYS[:-1])} or {KEYS[-1]}, or several joined by a plus, got "
            f"{shown(unknown[0])!r}"
        )
    return check_names("column", columns, KEYS)


def by_score(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the names of the models, the best first.

    Args:
        rows: Rows of scores.
    """
    return [row["method"] for row in sorted(rows, key=sort_key)]
