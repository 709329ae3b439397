"""Tables of scores of all output types of a hub."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxcast.checks import check_choice
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.outputs.reading import OUTPUT_TYPES, task_columns
from jaxcast.hub.outputs.samples import COMPOUND
from jaxcast.hub.outputs.tables import grouped_tables, mean_scores
from jaxcast.hub.outputs.task_scores import (
    cdf_scores,
    energy_scores,
    pmf_scores,
    point_scores,
    quantile_scores,
    sample_scores,
)
from jaxcast.hub.outputs.truth import with_truth
from jaxcast.io.tables import polars
from jaxcast.scores.probabilities import FLOOR


class OutputScores(NamedTuple):
    """Scores of the forecasts of a hub, of every output type and target.

    Args:
        tables: A row for each output type, target and model: output_type, target, method; the mean
            of each score; relative, of the first score, to the other models over common tasks (1 is
            the baseline's); relative_energy, over trajectories of the same tasks, and num_compound,
            compound tasks; num_tasks; num_missing, tasks of others only; num_common, tasks of all.
        tasks: Frame of polars with the score of each model and task: model, output_type, the
            columns of the task, score and value.
        dropped: What was not scored, in words.
    """

    tables: list[dict[str, Any]]
    tasks: Any
    dropped: tuple[str, ...]

    def by(self, columns: Sequence[str], *, baseline: str | None = None) -> list[dict[str, Any]]:
        """Returns the tables of the tasks that have the same values in some columns.

        Args:
            columns: Task ids, such as location or horizon.
            baseline: Model whose relative score is 1, where it has the type; by default the
                geometric mean of all.

        Returns:
            Rows as in `tables`, with the values of the columns; without the energy score, where
            trajectories go over one of these.

        Raises:
            InputError: for columns that are none of the task's.

        Example:
            >>> import jaxcast, polars as pl
            >>> rows = pl.DataFrame(
            ...     [{"model": "a", "location": place, "reference_date": "2024-01-06", "horizon": 1, "target": "cases",
            ...       "output_type": "median", "output_type_id": None, "value": 3.0} for place in "XY"]
            ... )
            >>> truth = pl.DataFrame({"location": ["X", "Y"], "value": [3.0, 4.0], "category": [None, None]})
            >>> table = jaxcast.hub.score_outputs(rows, truth).by(["location"])
            >>> [(row["location"], row["absolute_error"]) for row in table]
            [('X', 0.0), ('Y', 1.0)]
        """
        return grouped_tables(self.tasks, columns, baseline)


class _Choice(NamedTuple):
    """Arguments of `score_outputs` of the same names."""

    categories: Mapping[Any, Sequence[str]]
    compound: Sequence[str] | Mapping[Any, Sequence[str]]
    horizons: Sequence[int] | None
    floor: float | int

    @property
    def is_asked_for(self) -> Any:
        """Expression of the rows of these horizons."""
        pl = polars()
        return pl.lit(True) if self.horizons is None else pl.col("horizon").is_in(list(self.horizons))

    def compound_of(self, target: str | None) -> Sequence[str]:
        """Returns the task ids that are the same in a trajectory of a target."""
        return self.compound.get(target, COMPOUND) if isinstance(self.compound, Mapping) else self.compound


def score_outputs(
    rows: Any,
    truth: Any,
    *,
    categories: Mapping[Any, Sequence[str]] | None = None,
    compound: Sequence[str] | Mapping[Any, Sequence[str]] = COMPOUND,
    horizons: Sequence[int] | None = None,
    baseline: str | None = None,
    common: bool = False,
    floor: float | int = FLOOR,
) -> OutputScores:
    """Scores forecasts of all output types, each type by scores that are proper for it.

    | output type | scores |
    |---|---|
    | quantile | WIS, coverage of the 50, 90 and 95 % intervals |
    | sample | CRPS, energy score of the trajectories of a compound task |
    | pmf | ranked probability score where the categories have an order, logarithmic score |
    | cdf | CRPS of the function at its points, see `jaxcast.scores.crps_cdf` |
    | mean | squared error |
    | median | absolute error |

    Tasks without truth are pending, and are counted. A compound task is scored once the truth of
    all its tasks is known.

    Args:
        rows: Rows of `read_outputs`, or of pools.
        truth: Target data of `read_output_truth`.
        categories: The categories in their order of each target that has an order.
        compound: Task ids that are the same in a trajectory of samples; see `pool_samples`. One set
            for all targets, or one for each by its name.
        horizons: Horizons whose tasks are scored; trajectories go over all horizons. By default
            all.
        baseline: Model whose relative score is 1; by default the geometric mean of all.
        common: Whether to score only the tasks that all models of a type and target forecast.
        floor: Least probability that the logarithmic score takes into account.

    Returns:
        Tables of mean scores, the score of each task, and what was not scored. The tables are empty
        where no truth is known.

    Raises:
        InputError: where there are no rows, or for an unknown baseline.

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "cases"}
        >>> rows = pl.DataFrame(
        ...     [{"model": m, **task, "output_type": "sample", "output_type_id": str(i), "value": v + i}
        ...      for m, v in (("a", 1.0), ("b", 5.0)) for i in range(3)]
        ... )
        >>> truth = pl.DataFrame({"location": ["X"], "target": ["cases"], "value": [3.0], "category": [None]})
        >>> scores = jaxcast.hub.score_outputs(rows, truth, baseline="b")
        >>> [(row["method"], round(row["crps"], 3), round(row["relative"], 3)) for row in scores.tables]
        [('a', 0.556, 0.217), ('b', 2.556, 1.0)]
    """
    pl = polars()
    rows = rows.lazy().with_columns(pl.col("value").cast(pl.Float64)).filter(pl.col("value").is_finite()).collect()
    if not len(rows):
        raise InputError("there is no forecast to score; ask for other models, locations or dates")
    if baseline is not None:
        check_choice("baseline", baseline, rows["model"].unique().sort().to_list())
    tasks, dropped, tables, frames = task_columns(rows), list[str](), list[dict[str, Any]](), []
    rows = with_truth(rows, truth)
    choice = _Choice(categories or {}, compound, horizons, floor)
    for kind in OUTPUT_TYPES:
        of_kind = rows.filter(pl.col("output_type") == kind)
        for target in of_kind["target"].unique().sort().to_list():
            chosen = of_kind.filter(pl.col("target").eq_missing(pl.lit(target)))
            what = f"{kind} of {shown(target) if target else 'the target'}"
            known = _known(chosen.filter(choice.is_asked_for), kind, tasks, what, dropped)
            if not len(known):
                continue
            lines: list[str] = []
            scores, energy = _scores(chosen, known, kind, target, tasks, choice, lines)
            if common:
                scores, energy = (_of_all(each) for each in (scores, energy))
            if not len(scores) and not lines:
                lines.append("no task that all models forecast")
            dropped += [f"{what}: {line}" for line in lines]
            if not len(scores):
                continue
            table = mean_scores(scores, energy, tasks, baseline)
            tables += [{"output_type": kind, "target": target} | row for row in table]
            facts = pl.lit(kind).alias("output_type"), pl.lit(target, pl.String).alias("target")
            frames += [frame.with_columns(facts) for frame in (scores, energy) if frame is not None]
    return OutputScores(tables, pl.concat(frames, how="diagonal") if frames else pl.DataFrame(), tuple(dropped))


def _known(rows: Any, kind: str, tasks: list[str], what: str, dropped: list[str]) -> Any:
    """Returns the rows whose truth is known; counts the tasks that are pending."""
    pl = polars()
    known = rows.filter(pl.col("category" if kind == "pmf" else "truth").is_not_null())
    waiting = rows.select(tasks).n_unique() - (known.select(tasks).n_unique() if len(known) else 0)
    if waiting and len(known):
        dropped.append(f"{what}: {counted(waiting, 'task')} without target data yet")
    elif waiting:
        fix = "; give an oracle output, or cut points" if kind == "pmf" else ""
        dropped.append(f"{what}: no target data for any of {counted(waiting, 'task')}{fix}")
    return known


def _scores(
    rows: Any, known: Any, kind: str, target: str | None, tasks: list[str], choice: _Choice, dropped: list[str]
) -> tuple[Any, Any]:
    """Returns the scores of the tasks of an output type and target, and samples' energy scores."""
    if kind == "quantile":
        return quantile_scores(known, tasks, dropped), None
    if kind == "sample":
        return sample_scores(known, tasks), energy_scores(rows, tasks, choice.compound_of(target), dropped)
    if kind == "pmf":
        categories = choice.categories.get(target)
        if categories is None:
            dropped.append("no ranked probability score, as no order of the categories is given")
        return pmf_scores(known, tasks, dropped, categories, choice.floor), None
    if kind == "cdf":
        return cdf_scores(known, tasks, dropped), None
    return point_scores(known, tasks, "squared_error" if kind == "mean" else "absolute_error"), None


def _of_all(scores: Any) -> Any:
    """Returns the scores of the tasks that all models forecast."""
    if scores is None:
        return None
    pl = polars()
    task = [name for name in scores.columns if name not in ("model", "value")]
    return scores.filter(pl.col("model").n_unique().over(task) == scores["model"].n_unique())
