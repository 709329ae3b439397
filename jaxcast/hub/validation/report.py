"""Validates a submission as hubs do before they accept it."""

import dataclasses
import datetime
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.hub.config.description import HubDescription, Round
from jaxcast.hub.config.files import describe_hub
from jaxcast.hub.tables.file_groups import ROW, SUFFIXES
from jaxcast.hub.validation import file as of_file
from jaxcast.hub.validation import samples as of_samples
from jaxcast.hub.validation import table as of_table
from jaxcast.hub.validation import values as of_values
from jaxcast.hub.validation.submitted import SubmittedTable, read_submitted
from jaxcast.io.files import check_name


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Args:
        name: Name of the check, as hubValidations has it.
        title: What is checked.
        failures: A line for each failure, with the file, the rows, what was expected and what is
            there.
        skipped: Why the check was not made; None where it was.
        is_warning: Whether a hub may accept the submission in spite of a failure.
    """

    name: str
    title: str
    failures: tuple[str, ...] = ()
    skipped: str | None = None
    is_warning: bool = False


@dataclasses.dataclass(frozen=True)
class Validation:
    """The outcome of all checks of a submission.

    Args:
        path: The file.
        checks: The checks in their order. After one without which the next make no sense, these are
            not made.

    Example:
        >>> import pathlib
        >>> from jaxcast.hub.validation.report import Check, Validation
        >>> path = pathlib.Path("2026-01-10-team-a.csv")
        >>> done = Check("rows_unique", "no row is there twice"), Check("spl_n", "", ("row 3: ...",))
        >>> Validation(path, done).failures
        ('row 3: ...',)
    """

    path: Path
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """The failures, warnings apart, each in one line."""
        return tuple(line for check in self.checks if not check.is_warning for line in check.failures)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The failures in spite of which a hub may accept the file."""
        return tuple(line for check in self.checks if check.is_warning for line in check.failures)


class _Stop(Exception):
    """A failure after which no further check makes sense."""


class _Checks:
    """Collects the outcomes."""

    def __init__(self) -> None:
        self.done: list[Check] = []

    def add(
        self,
        name: str,
        title: str,
        failures: list[str],
        *,
        stops: bool = False,
        is_warning: bool = False,
        skipped: str | None = None,
    ) -> None:
        self.done.append(Check(name, title, tuple(failures), skipped, is_warning))
        if failures and stops:
            raise _Stop


@checked
def validate_submission(
    file: str | Path, hub: str | Path | HubDescription, *, now: datetime.datetime | None = None
) -> Validation:
    """Makes the checks that hubs make before they accept a file of model output.

    They are those of hubValidations: the file's name, place, format and metadata; its columns and
    their types; one round; valid and complete tasks, output types and ids, none of them twice;
    values of the right type, within bounds, quantiles and cdfs that do not fall, pmfs that sum to
    1; samples that are joint over the right task ids, in the right number; and target dates that go
    with the horizon.

    Args:
        file: The file, or its path within the hub's model-output folder.
        hub: Folder of the hub, or its description.
        now: The time for which the submission window is checked; by default the present.

    Returns:
        The checks with their failures. Whether the window is open is only a warning.

    Raises:
        InputError: for a hub that cannot be read.

    Example:
        >>> import json, pathlib, tempfile, jaxcast
        >>> hub = pathlib.Path(tempfile.mkdtemp())
        >>> (hub / "hub-config").mkdir()
        >>> ids = {"origin_date": ["2026-01-07"], "location": ["X"]}
        >>> levels = {"output_type_id": {"required": [0.5]}, "is_required": True, "value": {"type": "double"}}
        >>> task = {
        ...     "task_ids": {name: {"required": None, "optional": each} for name, each in ids.items()},
        ...     "output_type": {"quantile": levels},
        ... }
        >>> rounds = [{"round_id": "origin_date", "round_id_from_variable": True, "model_tasks": [task]}]
        >>> _ = (hub / "hub-config/tasks.json").write_text(json.dumps({"rounds": rounds}))
        >>> file = hub / "model-output/team-a/2026-01-07-team-a.csv"
        >>> file.parent.mkdir(parents=True)
        >>> header = "origin_date,location,output_type,output_type_id,value"
        >>> _ = file.write_text(f"{header}\\n2026-01-07,Y,quantile,0.5,1")
        >>> jaxcast.hub.validate_submission(file, hub).failures
        ("2026-01-07-team-a.csv, row 1: expected location to be X, got 'Y'",)
    """
    description = hub if isinstance(hub, HubDescription) else describe_hub(hub)
    path, checks = Path(file), _Checks()
    checks.add("valid_config", "the hub's description can be read", [])
    if not path.is_file() and (description.model_output / path).is_file():
        path = description.model_output / path
    try:
        name, group = _check_file(checks, path, description, now or datetime.datetime.now(datetime.UTC))
        table = _check_structure(checks, path, name, group)
        _check_rows(checks, table, usual_days(description, group, name.model))
    except _Stop:
        pass
    return Validation(path, tuple(checks.done))


def validate_rows(path: Path, rows: Any, group: Round, round_id: str) -> tuple[Check, ...]:
    """Makes the checks of rows that are to be written into a file.

    Args:
        path: The file, for messages.
        rows: Frame of polars in the hub's columns, all cells text.
        group: Description of the round.
        round_id: The round.

    Returns:
        The checks with their failures.
    """
    frame, checks = rows.with_row_index(ROW, offset=1), _Checks()
    table = SubmittedTable(path, group, round_id, frame, dict(rows.schema))
    with suppress(_Stop):
        _check_rows(checks, table.with_numbers(), None)
    return tuple(checks.done)


def _check_file(
    checks: _Checks, path: Path, hub: HubDescription, now: datetime.datetime
) -> tuple[of_file.FileName, Round]:
    check_name(path)
    missing = [f"expected a file {shown(path)}, there is none"] * (not path.is_file())
    checks.add("file_exists", "the file exists", missing, stops=True)
    checks.add("file_name", "its name is ROUND-TEAM-MODEL", of_file.check_name(path), stops=True)
    name = of_file.parse_name(path)
    assert name is not None
    checks.add("file_location", "it is in the folder of its model", of_file.check_location(path, name, hub))
    checks.add("round_id_valid", "its round is one of the hub's", of_file.check_round(name, hub), stops=True)
    group = hub.find_round(name.round_id)
    checks.add("file_format", "the hub accepts its format", of_file.check_format(name, hub, group), stops=True)
    checks.add("file_n", "it is the only file of its round", of_file.check_single(path))
    _check_metadata(checks, path, name, hub)
    late = of_file.check_window(name, hub, group, now)
    checks.add("submission_time", "the round accepts submissions now", late, is_warning=True)
    return name, group


def _check_metadata(checks: _Checks, path: Path, name: of_file.FileName, hub: HubDescription) -> None:
    titles = {
        "metadata_exists": "the model has a metadata file",
        "metadata_matches_schema": "the metadata have the fields that the hub requires",
    }
    has_any = (Path(hub.path) / of_file.METADATA).is_dir() or of_file.find_metadata(name.model, hub, path)
    if not has_any:
        for check, title in titles.items():
            checks.add(check, title, [], skipped=f"this copy of the hub has no {of_file.METADATA}/")
        return
    missing, fields = of_file.check_metadata_exists(path, name, hub), of_file.check_metadata_fields(path, name, hub)
    for (check, title), failures in zip(titles.items(), (missing, fields), strict=True):
        is_unknown = check == "metadata_matches_schema" and not failures and not of_file.has_schema(hub)
        why = f"this copy of the hub has no {of_file.SCHEMA}" if is_unknown else None
        checks.add(check, title, failures, skipped=why)


def _check_structure(checks: _Checks, path: Path, name: of_file.FileName, group: Round) -> SubmittedTable:
    try:
        table, failures = read_submitted(path, group, name.round_id), []
    except InputError as error:
        table, failures = None, [str(error)]
    checks.add("file_read", "it can be read", failures, stops=True)
    assert table is not None
    checks.add("valid_round_id_col", "it has a column of the round", of_table.check_round_column(table), stops=True)
    checks.add("unique_round_id", "all its rows are of one round", of_table.check_one_round(table), stops=True)
    checks.add(
        "match_round_id", "its rows are of the round in its name", of_table.check_matching_round(table), stops=True
    )
    checks.add("colnames", "its columns are those of the hub", of_table.check_columns(table), stops=True)
    checks.add("col_types", "its columns have the right types", of_table.check_types(table))
    return table.with_numbers()


def _check_rows(checks: _Checks, table: SubmittedTable, usual_days: int | None) -> None:
    unknown = of_table.check_tasks(table)
    checks.add("valid_vals", "every row is of a task, output type and id of the hub", unknown)
    checks.add("derived_task_id_vals", "derived task ids have values of the hub", of_table.check_derived(table))
    checks.add("rows_unique", "no row is there twice", of_table.check_unique(table))
    if unknown:
        raise _Stop
    table = table.without_repeats()  # these are reported already
    tests: list[tuple[str, str, Callable[[SubmittedTable], list[str]], bool]] = [
        ("req_vals", "all required tasks, output types and ids are there", of_values.check_required, False),
        ("value_col_valid", "values are of the right type and within bounds", of_values.check_values, False),
        ("value_col_non_desc", "quantiles and cdfs do not fall", of_values.check_ascending, False),
        ("value_col_sum1", "pmfs sum to 1", of_values.check_sums, False),
        ("spl_mt_unique", "each sample is of one model task", of_samples.check_sample_tasks, True),
        (
            "spl_compound_tid",
            "samples have one value of each compound task id",
            of_samples.check_compound_values,
            False,
        ),
        ("spl_compound_taskid_set", "samples are joint over the right tasks", of_samples.check_compound_sets, True),
        ("spl_non_compound_tid", "samples have the same joint tasks", of_samples.check_joint_tasks, True),
        ("spl_n", "tasks have the right number of samples", of_samples.check_sample_counts, False),
    ]
    dates = of_values.check_dates(table, usual_days)
    checks.add("horizon_timediff", "target dates go with the round and the horizon", dates)
    for name, title, test, stops in tests:
        checks.add(name, title, test(table), stops=stops)


def usual_days(hub: HubDescription, group: Round, model: str) -> int | None:
    """Returns the days from the round's date to horizon 0's target date, as other models have it.

    Args:
        hub: Description of the hub.
        group: Description of the round.
        model: Model whose files do not count.
    """
    found: list[int] = []
    folders = sorted(folder for folder in hub.model_output.glob("*") if folder.is_dir() and folder.name != model)
    for folder in folders[:5]:
        files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
        try:
            rows = of_values.days_beyond(read_submitted(files[-1], group, "").frame, group) if files else None
        except InputError:
            continue
        if rows is not None and len(rows):
            found.append(int(rows["days"].mode().sort()[0]))
    return max(sorted(set(found)), key=found.count) if found else None
