"""Scores of a hub's samples, pmf, cdf, means and medians, for `jaxcast hub score`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxcast.checks import check_names
from jaxcast.cli.hub.pool_types import pool_types
from jaxcast.cli.hub.score_tables import common_note, show_columns, show_groups
from jaxcast.errors import InputError, shown
from jaxcast.hub.config.files import describe_hub, is_hub
from jaxcast.hub.outputs.reading import OUTPUT_TYPES, read_outputs, scan_outputs
from jaxcast.hub.outputs.samples import COMPOUND
from jaxcast.hub.outputs.scores import OutputScores, score_outputs
from jaxcast.hub.outputs.settings import categories_of, compound_of
from jaxcast.hub.outputs.truth import cut_into_categories, read_output_truth
from jaxcast.hub.tables.choosing import day_of
from jaxcast.hub.tables.file_groups import SUFFIXES
from jaxcast.hub.tables.scan import collected
from jaxcast.io.tables import polars
from jaxcast.progress import doing

NOUNS = {"sample": "samples", "pmf": "pmf", "cdf": "cdf", "mean": "means", "median": "medians"}
HEADS = {
    "crps": "CRPS",
    "energy": "energy",
    "rps": "RPS",
    "log": "log score",
    "squared_error": "squared error",
    "absolute_error": "absolute error",
}


@dataclasses.dataclass(frozen=True)
class TypeChoice:
    """What to score of output types other than quantiles.

    Args:
        forecasts: The tables of forecasts.
        truth: The target data.
        truth_source: Text in the column of sources of the target data.
        target: The only target to score; by default all.
        horizons: Horizons to score; None for all.
        models: Models to score; by default all.
        exclude: Models to leave out.
        locations: Locations to score; by default all.
        first: First target date.
        last: Last target date.
        categories: Categories of a pmf in their order, where no hub-config/ lists them.
        cut_points: Cut points between them, where no oracle output names the observed category.
        cut_target: Target whose values are cut.
        step_days: Days of one step.
        bad: Whether to raise on, or to drop, bad rows; None to raise.
    """

    forecasts: Path
    truth: Path
    truth_source: str | None
    target: str | None
    horizons: Sequence[int] | None
    models: Sequence[str]
    exclude: Sequence[str]
    locations: Sequence[str]
    first: str | None
    last: str | None
    categories: Sequence[str]
    cut_points: Sequence[float]
    cut_target: str | None
    step_days: int
    bad: Literal["raise", "drop"] | None

    @classmethod
    def of(cls, command: Any, **changes: Any) -> "TypeChoice":
        """Returns what a command asks for.

        Args:
            command: The command, with options of the same names.
            changes: Fields with other values than the command's.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: value for name, value in vars(command).items() if name in names} | changes)


def types_in(
    forecasts: Path, target: str | None, wanted: Sequence[str], *, exclude: Sequence[str] = (), bad: str | None = None
) -> list[str]:
    """Finds the output types of a hub that are to be scored.

    Args:
        forecasts: The tables of forecasts.
        target: The only target to score; by default all.
        wanted: Types that were asked for; by default all.
        exclude: Models to leave out.
        bad: "drop" to leave out files that cannot be read.

    Returns:
        Those that the tables hold.

    Raises:
        InputError: for an unknown type.
    """
    check_names("output type", wanted, OUTPUT_TYPES)
    pl = polars()
    frame = scan_outputs(forecasts, exclude=exclude, unreadable=[] if bad == "drop" else None)
    if target is not None:
        frame = frame.filter(pl.col("target") == target)
    there = collected(frame.select(pl.col("output_type").unique()), forecasts)["output_type"].to_list()
    return [kind for kind in OUTPUT_TYPES if kind in there and (not wanted or kind in wanted)]


def score_types(
    kinds: Sequence[str], choice: TypeChoice, *, baseline: str | None, common: bool, with_pool: bool = False
) -> OutputScores:
    """Scores output types other than quantiles.

    Args:
        kinds: The types.
        choice: What to score.
        baseline: Model whose relative score is 1, where it has the type.
        common: Whether to score only the tasks that all models of a type and target forecast.
        with_pool: Whether to score their pools with equal weights, too.
    """
    doing("scoring other output types than quantiles")
    pl = polars()
    targets = None if choice.target is None else [choice.target]
    hub = next((path for path in (choice.forecasts, choice.forecasts.parent) if is_hub(path)), None)
    description = None if hub is None else describe_hub(hub)
    rounds = () if description is None else description.rounds
    read = read_outputs(
        choice.forecasts,
        output_types=kinds,
        targets=targets,
        exclude=choice.exclude,
        task_ids=[name for group in rounds for name in group.task_id_names] or None,
        step_days=choice.step_days,
        bad=choice.bad or "raise",
    )
    rows = read.rows
    for name, names in (("model", choice.models), ("location", choice.locations)):
        rows = rows.filter(pl.col(name).is_in(list(names))) if names else rows
    date = pl.col("target_end_date")
    for text, is_inside in ((choice.first, date.__ge__), (choice.last, date.__le__)):
        rows = rows if text is None else rows.filter(is_inside(day_of(text)).fill_null(True))
    if not len(rows):
        nothing = f"{', '.join(kinds)}: no forecast is left of what was asked for"
        return OutputScores([], pl.DataFrame(), (*read.dropped, nothing))
    categories: dict[Any, Sequence[str]] = dict(categories_of(description)) if description else {}
    truth, of_pmf = _truth(choice), rows.filter(pl.col("output_type") == "pmf")["target"].unique().sort().to_list()
    if choice.categories:
        categories |= dict.fromkeys(of_pmf, choice.categories)
    if choice.cut_points:
        truth = _cut(truth, of_pmf, categories, choice)
    compound = (description and compound_of(description)) or COMPOUND
    pools, unused = pool_types(rows, categories, compound) if with_pool else ([], [])
    rows = pl.concat([rows, *pools], how="diagonal")
    scores = score_outputs(
        rows,
        truth,
        categories=categories,
        compound=compound,
        horizons=choice.horizons,
        baseline=baseline if baseline in rows["model"].unique() else None,
        common=common,
    )
    return scores._replace(dropped=(*read.dropped, *unused, *scores.dropped))


def _truth(choice: TypeChoice) -> Any:
    """Returns the target data, with the categories of an oracle output beside a time series."""
    pl = polars()
    truth = read_output_truth(choice.truth, source=choice.truth_source)
    beside = [choice.truth.with_name(f"oracle-output{end}") for end in ("", *SUFFIXES)]
    oracle = next((path for path in beside if path.exists() and choice.truth.name.startswith("time-series")), None)
    if oracle is None:
        return truth
    observed = read_output_truth(oracle).filter(pl.col("category").is_not_null())
    common = [name for name in observed.columns if name in truth.columns]
    return pl.concat([truth, observed.select(common)], how="diagonal")


def _cut(truth: Any, targets: Sequence[str], categories: dict[Any, Sequence[str]], choice: TypeChoice) -> Any:
    if choice.cut_target is None:
        raise InputError("--cut-points needs --cut-target, the target whose values are cut into categories")
    for target in targets:
        if target not in categories:
            raise InputError(f"the order of the categories of {shown(target)} is not known; give --categories")
        truth = cut_into_categories(truth, target, categories[target], choice.cut_points, of=choice.cut_target)
    return truth


def show_types(scores: OutputScores, horizons: Sequence[int]) -> None:
    """Prints a table for each output type and target.

    Args:
        scores: The scores.
        horizons: The horizons that were scored.
    """
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in scores.tables:
        groups.setdefault((row["output_type"], row["target"]), []).append(row)
    for (kind, target), rows in groups.items():
        names = [name for name in HEADS if name in rows[0]]
        of_target = "" if target is None else f" of {shown(target)}"
        energy = (
            f" Energy: of whole trajectories, over the {max(row['num_compound'] for row in rows)} compound tasks whose "
            "truth is complete; rel. en.: over trajectories of the same tasks."
            if "energy" in names
            else ""
        )
        relative = {"rel.": "relative"} | ({"rel. en.": "relative_energy"} if "energy" in names else {})
        columns = {HEADS[name]: ["" if row[name] is None else f"{row[name]:.4g}" for row in rows] for name in names}
        columns |= {
            head: ["" if row[name] is None else f"{row[name]:.3f}" for row in rows] for head, name in relative.items()
        }
        counts = {"tasks": "num_tasks", "miss.": "num_missing"}
        columns |= {head: [str(row[name]) for row in rows] for head, name in counts.items()}
        show_columns(
            rows,
            columns,
            f"Mean scores of {NOUNS[kind]}{of_target} at horizon{'s' if len(horizons) > 1 else ''} "
            f"{', '.join(map(str, horizons))}",
            f"Over a model's own tasks; rel.: {HEADS[names[0]]} {common_note(rows[0]['num_common'])}; miss.: tasks "
            f"with a known target that only others forecast. Against final truth, or its newest release.{energy}",
            _sort_key,
        )


def _sort_key(row: dict[str, Any]) -> tuple[bool, float]:
    return row["relative"] is None, row["relative"] or 0.0


def show_types_by(name: str, table: list[dict[str, Any]], order: list[dict[str, Any]]) -> None:
    """Prints the first score of each output type and target in each group of tasks.

    Args:
        name: What the tasks of a group have in common, columns joined by "+".
        table: Rows of `OutputScores.by` by these columns.
        order: Rows of the scores of all tasks, by which models are ordered.
    """
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in table:
        groups.setdefault((row["output_type"], row["target"]), []).append(row)
    for (kind, target), rows in groups.items():
        first = next(score for score in HEADS if score in rows[0])
        models = [row for row in order if (row["output_type"], row["target"]) == (kind, target)]
        models.sort(key=_sort_key)
        score = f"{HEADS[first]} of {NOUNS[kind]}" + ("" if target is None else f" of {shown(target)}")
        as_wis = [row | {"wis": row.get(first), "relative_wis": row["relative"]} for row in rows]
        show_groups(name, as_wis, [row["method"] for row in models], score=score)
