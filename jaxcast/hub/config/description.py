"""The description of a hub: what its hub-config/ says of rounds, tasks and output types."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxcast.errors import InputError, shown

# A value of a task id or an output type id, as JSON has it.
Value = str | int | float | bool
MODEL_OUTPUT = "model-output"


@dataclasses.dataclass(frozen=True)
class TaskId:
    """A task-id column of a hub and the values that it may have.

    Args:
        name: Name of the column.
        required: Values that every submission must hold.
        optional: Values that a submission may hold. Without any value the column is to be empty.
    """

    name: str
    required: tuple[Value, ...] = ()
    optional: tuple[Value, ...] = ()

    @property
    def values(self) -> tuple[Value, ...]:
        """All values, the required ones first."""
        return self.required + self.optional


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """What a hub asks of samples.

    Args:
        id_type: "integer" or "character".
        max_length: Most characters of an id; None for any number.
        min_samples: Least number of samples of a task.
        max_samples: Most samples of a task.
        compound_taskid_set: Task ids that are the same within a sample; over the others it is
            joint. None where the hub does not say.
    """

    id_type: str = "integer"
    max_length: int | None = None
    min_samples: int = 1
    max_samples: int | None = None
    compound_taskid_set: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class OutputType:
    """An output type of a model task.

    Args:
        name: quantile, sample, pmf, cdf, mean or median.
        ids: Output type ids that a submission must hold: levels of quantiles, points of a cdf,
            categories of a pmf in their order; empty for the others.
        optional_ids: Further ids that it may hold.
        is_required: Whether every submission must hold this type.
        value_type: "double", "integer" or what else the hub names.
        minimum: Least value; None for any.
        maximum: Largest value; None for any.
        samples: Settings of samples; None for other types.
    """

    name: str
    ids: tuple[Value, ...] = ()
    optional_ids: tuple[Value, ...] = ()
    is_required: bool = False
    value_type: str = "double"
    minimum: float | None = None
    maximum: float | None = None
    samples: SampleSettings | None = None


@dataclasses.dataclass(frozen=True)
class Target:
    """The metadata of a target.

    Args:
        name: Its identifier, target_id.
        keys: The task ids that name it, with their values; empty where no column names it.
        kind: target_type: continuous, discrete, ordinal, nominal, binary, date or compositional.
        is_step_ahead: Whether it is forecast some steps ahead.
        time_unit: The unit of a step: day, week, month, ...; None where there is no step.
    """

    name: str
    keys: tuple[tuple[str, Value], ...] = ()
    kind: str = "continuous"
    is_step_ahead: bool = True
    time_unit: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelTask:
    """A set of tasks with the same task ids and output types.

    Args:
        task_ids: Columns of task ids.
        output_types: Output types.
        targets: Metadata of the targets.
    """

    task_ids: tuple[TaskId, ...]
    output_types: tuple[OutputType, ...]
    targets: tuple[Target, ...] = ()

    def task_id(self, name: str) -> TaskId | None:
        """Returns a column of task ids; None where there is none of that name.

        Args:
            name: Name of the column.
        """
        return next((each for each in self.task_ids if each.name == name), None)

    def output_type(self, name: str) -> OutputType | None:
        """Returns an output type; None where the task has none of that name.

        Args:
            name: Name of the output type.
        """
        return next((each for each in self.output_types if each.name == name), None)


@dataclasses.dataclass(frozen=True)
class SubmissionWindow:
    """The days on which a round accepts submissions.

    Args:
        start: First day: a date, or days after the date that `relative_to` names.
        end: Last day, in the same form.
        relative_to: Task id with the date; None where start and end are dates.
    """

    start: str | int
    end: str | int
    relative_to: str | None = None


@dataclasses.dataclass(frozen=True)
class Round:
    """A round, or all rounds that are alike but for their date.

    Args:
        round_id: Its identifier, or the task id whose values are the identifiers.
        is_from_variable: Whether `round_id` names such a task id.
        model_tasks: What is to be forecast.
        derived_task_ids: Columns that follow from other task ids.
        window: When submissions are accepted; None where the hub does not say.
        file_formats: Formats of its files; empty for those of the hub.
    """

    round_id: str
    is_from_variable: bool
    model_tasks: tuple[ModelTask, ...]
    derived_task_ids: tuple[str, ...] = ()
    window: SubmissionWindow | None = None
    file_formats: tuple[str, ...] = ()

    @property
    def round_ids(self) -> tuple[str, ...]:
        """The identifiers of the rounds, in the order of the description."""
        if not self.is_from_variable:
            return (self.round_id,)
        return tuple(dict.fromkeys(map(str, self.values_of(self.round_id))))

    @property
    def task_id_names(self) -> tuple[str, ...]:
        """All columns of task ids."""
        return tuple(dict.fromkeys(each.name for task in self.model_tasks for each in task.task_ids))

    def values_of(self, name: str) -> list[Value]:
        """Returns the values that a column of task ids may have, of each model task in turn.

        Args:
            name: Name of the column.
        """
        columns = [task.task_id(name) for task in self.model_tasks]
        return [value for column in columns if column for value in column.values]


@dataclasses.dataclass(frozen=True)
class TargetDataSettings:
    """What target-data.json says (from schema version 6).

    Args:
        date_column: Column of the date.
        is_versioned: Whether there is a column as_of of releases.
    """

    date_column: str | None = None
    is_versioned: bool | None = None


@dataclasses.dataclass(frozen=True)
class HubDescription:
    """What a hub's hub-config/ says.

    Args:
        path: Folder of the hub.
        name: Name of the hub.
        schema_version: Version of the schema of tasks.json, such as (6, 0, 0).
        rounds: The rounds.
        output_folder: Folder of model output, within the hub.
        file_formats: Formats of model output, such as csv and parquet.
        timezone: Time zone of the submission windows.
        target_data: What target-data.json says; None where there is no such file.

    Raises:
        InputError: by `find_round`, for a round that the hub does not have.

    Example:
        >>> from jaxcast.hub.config.description import HubDescription, ModelTask, Round, TaskId
        >>> dates = TaskId("origin_date", optional=("2026-01-07", "2026-01-14"))
        >>> weekly = Round("origin_date", True, (ModelTask((dates,), ()),))
        >>> hub = HubDescription(".", "a hub", (5, 0, 0), (weekly,))
        >>> hub.find_round("2026-01-14").round_id
        'origin_date'
    """

    path: Path | str
    name: str
    schema_version: tuple[int, ...]
    rounds: tuple[Round, ...]
    output_folder: str = MODEL_OUTPUT
    file_formats: tuple[str, ...] = ("csv",)
    timezone: str = "UTC"
    target_data: TargetDataSettings | None = None

    @property
    def model_output(self) -> Path:
        """Folder of model output."""
        return Path(self.path) / self.output_folder

    @property
    def round_ids(self) -> tuple[str, ...]:
        """The identifiers of all rounds."""
        return tuple(dict.fromkeys(each for group in self.rounds for each in group.round_ids))

    def find_round(self, round_id: str) -> Round:
        """Finds the description of a round.

        Args:
            round_id: Identifier of the round, such as 2026-01-14.

        Raises:
            InputError: for a round that the hub does not have.
        """
        for group in self.rounds:
            if round_id in group.round_ids:
                return group
        known = self.round_ids
        ends = f"{known[0]} to {known[-1]}" if len(known) > 4 else ", ".join(known)
        raise InputError(f"{shown(round_id)} is not a round of {shown(self.path)}; its rounds are {shown(ends)}")


def of_target(tasks: Sequence[ModelTask], name: str) -> list[tuple[ModelTask, Target]]:
    """Finds the model tasks of a target.

    Args:
        tasks: Model tasks of a round.
        name: The target's identifier, or the value of its key.

    Returns:
        The model tasks with the metadata of the target in each.
    """
    return [
        (task, target)
        for task in tasks
        for target in task.targets
        if name == target.name or name in [value for _, value in target.keys]
    ]
