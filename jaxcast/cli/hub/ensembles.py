"""Warns of models that are pooled though they are ensembles of the others, or baselines."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from jaxcast.errors import InputError, shown
from jaxcast.hub.config.description import HubDescription
from jaxcast.hub.tables.file_groups import hub_files
from jaxcast.hub.validation.file import find_metadata, read_fields
from jaxcast.progress import announce

ENDS = ("-ensemble", "-baseline")


def warn_of_ensembles(models: Sequence[str], hub: HubDescription | None = None) -> None:
    """Says which of the models to pool are ensembles of the hub's models, or baselines.

    Args:
        models: Names of the models.
        hub: Description of the hub, with the models' metadata; None to go by names alone.
    """
    found = [name for name in models if name.lower().endswith(ENDS) or (hub is not None and _is_ensemble(name, hub))]
    if found:
        names = [shown(name) for name in found]
        announce(
            f"warning: pooled with the models is what is itself an ensemble of them or a baseline, {', '.join(names)}; "
            f"leave it out with --exclude {' '.join(names)}"
        )


def models_of(forecasts: Path, models: Sequence[str], exclude: Collection[str]) -> list[str]:
    """Returns the models of a folder that are pooled.

    Args:
        forecasts: Folder of model output.
        models: Models that were asked for; by default all.
        exclude: Models to leave out.
    """
    there = dict.fromkeys(model for _, model in hub_files(forecasts, exclude) if model is not None)
    return [name for name in there if not models or name in models]


def _is_ensemble(model: str, hub: HubDescription) -> bool:
    """Returns whether a model's metadata say that it is an ensemble of the hub's models."""
    path = find_metadata(model, hub)
    if path is None:
        return False
    with suppress(InputError):  # metadata that cannot be read say nothing
        return read_fields(path).get("ensemble_of_hub_models", "").lower() in ("true", "yes")
    return False
