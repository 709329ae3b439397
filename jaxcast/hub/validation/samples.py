"""Checks of a submission's samples: what each id spans, and how many samples a task has."""

from typing import Any

from jaxcast.errors import shown
from jaxcast.hub.config.description import ModelTask
from jaxcast.hub.tables.file_groups import ROW
from jaxcast.hub.validation.submitted import TASK, TYPE, TYPE_ID, SubmittedTable, first_lines
from jaxcast.io.tables import polars

SPANNED = "(spanned)"


def check_sample_tasks(table: SubmittedTable) -> list[str]:
    """Returns the ids of samples that occur in several model tasks.

    Args:
        table: The submission, with numbers.
    """
    pl = polars()
    spans = (
        table.frame.filter(pl.col(TYPE) == "sample")
        .group_by(TYPE_ID, maintain_order=True)
        .agg(pl.col(TASK).n_unique(), pl.col(ROW))
        .filter(pl.col(TASK) > 1)
    )
    lines = (
        f"{table.where(row[ROW])}: expected sample {shown(row[TYPE_ID])} in one model task, got {row[TASK]}"
        for row in spans.iter_rows(named=True)
    )
    return first_lines(lines, len(spans))


def check_compound_values(table: SubmittedTable) -> list[str]:
    """Returns the samples that have several values of a compound task id.

    The compound task ids are those of the hub of which most samples of the model task have one
    value, as samples may be joint over more task ids than the hub asks for.

    Args:
        table: The submission, with numbers.
    """
    pl, lines = polars(), []
    for task, rows in _samples(table):
        allowed = compound_names(table, task)
        shared = _most_common(_spanned(table, rows, allowed))
        for name in (name for name in allowed if name in shared):
            values = rows.group_by(TYPE_ID, maintain_order=True).agg(pl.col(name).unique(maintain_order=True), ROW)
            several = values.filter(pl.col(name).list.len() > 1)
            found = (
                f"{table.where(row[ROW])}: expected sample {shown(row[TYPE_ID])} to have one {name}, got "
                f"{shown(', '.join(map(str, row[name][:4])))}"
                for row in several.iter_rows(named=True)
            )
            lines += first_lines(found, len(several))
    return lines


def check_compound_sets(table: SubmittedTable) -> list[str]:
    """Returns the samples that are joint over other task ids than the hub asks for.

    A task id on which a sample has one value, while the file has several, belongs to the compound
    task of the sample. All samples of a model task must have the same such task ids, and none but
    those of the hub's compound_taskid_set: samples may be joint over more task ids, not over fewer.

    Args:
        table: The submission, with numbers.
    """
    lines: list[str] = []
    for task, rows in _samples(table):
        allowed = compound_names(table, task)
        counts = _spanned(table, rows, allowed)
        shared = _most_common(counts)
        other = counts.filter(polars().col(SPANNED) != ",".join(shared))
        found = (
            f"{table.where(row[ROW])}: expected sample {shown(row[TYPE_ID])} to have one value of each of "
            f"{_words(shared)} and several of the others, as most have, got one of {_words(row[SPANNED].split(','))}"
            for row in other.iter_rows(named=True)
        )
        lines += first_lines(found, len(other))
        finer = [name for name in shared if name and name not in allowed]
        if finer:
            row = counts.filter(polars().col(SPANNED) == ",".join(shared)).row(0, named=True)
            lines.append(
                f"{table.where(row[ROW])}: expected samples that are joint over {', '.join(finer)} (one id for all its "
                f"values; the compound task ids are {_words(allowed)}), got sample {shown(row[TYPE_ID])} "
                "with one value"
            )
    return lines


def check_joint_tasks(table: SubmittedTable) -> list[str]:
    """Returns the samples that lack rows which most samples of their model task have.

    Args:
        table: The submission, with numbers.
    """
    pl, lines = polars(), []
    for task, rows in _samples(table):
        allowed = compound_names(table, task)
        shared = _most_common(_spanned(table, rows, allowed))
        joint = [name for name in table.compared if name not in shared and name != table.group.round_id]
        if not joint:
            continue
        cells = pl.concat_str([pl.col(name).fill_null("") for name in joint], separator=" ").sort()
        found = rows.group_by(TYPE_ID, maintain_order=True).agg(cells.unique().sort().alias(SPANNED), pl.col(ROW))
        sets = found.group_by(SPANNED).len().sort("len", SPANNED, descending=[True, False])
        most = sets[SPANNED][0]
        other = found.filter(pl.col(SPANNED).list.join("|") != "|".join(most))
        messages = (
            f"{table.where(row[ROW])}: expected sample {shown(row[TYPE_ID])} to have the {len(most)} rows by "
            f"{', '.join(joint)} that most samples have, got {len(row[SPANNED])}"
            for row in other.iter_rows(named=True)
        )
        lines += first_lines(messages, len(other))
    return lines


def check_sample_counts(table: SubmittedTable) -> list[str]:
    """Returns the compound tasks with too few or too many samples.

    Args:
        table: The submission, with numbers.
    """
    pl, lines = polars(), []
    for task, rows in _samples(table):
        settings = next(kind.samples for kind in task.output_types if kind.name == "sample")
        if settings is None:
            continue
        shared = _most_common(_spanned(table, rows, compound_names(table, task)))
        names = [name for name in table.compared if name in shared] or [TASK]
        counts = rows.group_by(names, maintain_order=True).agg(pl.col(TYPE_ID).n_unique(), pl.col(ROW))
        most = settings.max_samples
        wrong = counts.filter((pl.col(TYPE_ID) < settings.min_samples) | (pl.col(TYPE_ID) > (most or 2**31)))
        wanted = (
            f"{settings.min_samples}"
            if most == settings.min_samples
            else (f"at least {settings.min_samples}" + f" and at most {most}" * (most is not None))
        )
        found = (
            f"{table.where(row[ROW])}: expected {wanted} samples of {table.described(row, names)}, got {row[TYPE_ID]}"
            for row in wrong.iter_rows(named=True)
        )
        lines += first_lines(found, len(wrong))
    return lines


def compound_names(table: SubmittedTable, task: ModelTask) -> list[str]:
    """Returns the task ids that the hub lets differ between samples; all where it does not say.

    Args:
        table: The submission.
        task: A model task with samples.
    """
    kind = task.output_type("sample")
    names = None if kind is None or kind.samples is None else kind.samples.compound_taskid_set
    return [name for name in table.compared if names is None or name in names]


def _samples(table: SubmittedTable) -> list[tuple[ModelTask, Any]]:
    """Returns the rows of samples of each model task that has any."""
    pl = polars()
    found = [
        (task, table.frame.filter((pl.col(TASK) == i) & (pl.col(TYPE) == "sample")))
        for i, task in enumerate(table.tasks)
    ]
    return [(task, rows) for task, rows in found if len(rows)]


def _spanned(table: SubmittedTable, rows: Any, allowed: list[str]) -> Any:
    """Returns the task ids of which each sample has one value, as text; one that no row of the file
    varies counts only where the hub has it in the compound task."""
    pl = polars()
    varies = {name for name in table.compared if rows[name].n_unique() > 1 or name in allowed}
    names = [name for name in table.compared if name in varies]
    counts = rows.group_by(TYPE_ID, maintain_order=True).agg(*[pl.col(name).n_unique() for name in names], pl.col(ROW))
    single = [pl.when(pl.col(name) == 1).then(pl.lit(name)).otherwise(None) for name in names]
    joined = pl.concat_str(single, separator=",", ignore_nulls=True) if single else pl.lit("")
    return counts.select(TYPE_ID, ROW, joined.alias(SPANNED))


def _most_common(spanned: Any) -> list[str]:
    """Returns the task ids of which most samples have one value, from rows of `_spanned`."""
    names: str = spanned[SPANNED].mode().sort()[0]
    return names.split(",")


def _words(names: list[str]) -> str:
    return shown(", ".join(names)) or "none"
