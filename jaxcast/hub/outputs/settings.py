"""What a hub's description says that scores and pools of its output types need."""

from jaxcast.hub.config.description import HubDescription, ModelTask
from jaxcast.hub.tables.scan import NAMES

# What the columns of `read_outputs` are called in hubs.
OURS = {theirs: ours for ours in ("location", "reference_date", "horizon", "target_end_date") for theirs in NAMES[ours]}


def categories_of(hub: HubDescription) -> dict[str | None, tuple[str, ...]]:
    """Returns the categories, in their order, of each target whose categories have one.

    Args:
        hub: Description of the hub.
    """
    found: dict[str | None, tuple[str, ...]] = {}
    for task in _tasks(hub):
        pmf = task.output_type("pmf")
        if pmf is not None:
            names = tuple(str(each) for each in pmf.ids + pmf.optional_ids)
            found |= {_name(target.keys): names for target in task.targets if target.kind == "ordinal"}
    return found


def compound_of(hub: HubDescription) -> dict[str | None, tuple[str, ...]]:
    """Returns the task ids that are the same in a sample, of each target with samples.

    Args:
        hub: Description of the hub.
    """
    found: dict[str | None, tuple[str, ...]] = {}
    for task in _tasks(hub):
        sample = task.output_type("sample")
        names = None if sample is None or sample.samples is None else sample.samples.compound_taskid_set
        if names:
            ours = tuple(OURS.get(name, name) for name in names)
            found |= {_name(target.keys): ours for target in task.targets}
    return found


def _tasks(hub: HubDescription) -> list[ModelTask]:
    """Returns the model tasks of all rounds; of equal ones the last round's hold."""
    return [task for group in hub.rounds for task in group.model_tasks]


def _name(keys: tuple[tuple[str, object], ...]) -> str | None:
    """Returns the target in the column of targets; None where no column names it."""
    return next((str(value) for name, value in keys if name == "target"), None)
