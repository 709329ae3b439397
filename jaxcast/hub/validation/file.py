"""Checks of a submission's file: its name, place and format, and its model's metadata."""

import dataclasses
import datetime
import json
import re
import zoneinfo
from pathlib import Path

from jaxcast.errors import InputError, shown
from jaxcast.hub.config.description import HubDescription, Round

NAME = re.compile(
    r"(?P<round>\d{4}-\d{2}-\d{2}|[A-Za-z0-9_]+)-(?P<model>[A-Za-z0-9_]+-[A-Za-z0-9_]+)"
    r"(\.(snappy|gz|gzip|zstd|brotli|lz4))?"
)
METADATA = "model-metadata"
SCHEMA = "hub-config/model-metadata-schema.json"
SUFFIXES = (".yml", ".yaml")
SUFFIXES_OF_TABLES = (".csv", ".parquet", ".arrow")


@dataclasses.dataclass(frozen=True)
class FileName:
    """The parts of a submission's name, ROUND-TEAM-MODEL.csv.

    Args:
        round_id: Identifier of the round.
        model: TEAM-MODEL.
        suffix: The format, with its point.
    """

    round_id: str
    model: str
    suffix: str


def parse_name(path: Path) -> FileName | None:
    """Splits a file's name into its parts; None where it has another form.

    Args:
        path: The file.
    """
    found = NAME.fullmatch(path.stem)
    return FileName(found["round"], found["model"], path.suffix) if found else None


def check_name(path: Path) -> list[str]:
    """Returns what is wrong with the form of a file's name.

    Args:
        path: The file.
    """
    if parse_name(path):
        return []
    return [f"expected a name like 2026-01-10-TEAM-MODEL{path.suffix or '.csv'}, got {shown(path.name)}"]


def check_location(path: Path, name: FileName, hub: HubDescription) -> list[str]:
    """Returns whether a file is in another folder than that of its model.

    Args:
        path: The file.
        name: Parts of its name.
        hub: Description of the hub.
    """
    folder = path.resolve().parent
    if folder.name != name.model:
        return [f"expected the file in {shown(hub.output_folder)}/{name.model}/, got {shown(folder.name)}/"]
    inside = path.resolve().is_relative_to(Path(hub.path).resolve())
    if inside and folder.parent != hub.model_output.resolve():
        return [f"expected the file in {shown(hub.output_folder)}/{name.model}/, got {shown(folder)}/"]
    return []


def check_round(name: FileName, hub: HubDescription) -> list[str]:
    """Returns whether the hub has no such round.

    Args:
        name: Parts of the file's name.
        hub: Description of the hub.
    """
    known = hub.round_ids
    if name.round_id in known:
        return []
    ends = f"one from {known[0]} to {known[-1]}" if len(known) > 4 else " or ".join(known)
    return [f"expected a round of the hub in the name, {shown(ends)}, got {shown(name.round_id)}"]


def check_format(name: FileName, hub: HubDescription, group: Round) -> list[str]:
    """Returns whether the hub does not accept a format.

    Args:
        name: Parts of the file's name.
        hub: Description of the hub.
        group: Description of the round.
    """
    wanted = group.file_formats or hub.file_formats
    if name.suffix.removeprefix(".") in wanted:
        return []
    return [f"expected a file in {shown(' or '.join(wanted))}, got {shown(name.suffix)}"]


def check_single(path: Path) -> list[str]:
    """Returns whether a round's file lies there in another format, too.

    Args:
        path: The file.
    """
    others = sorted(
        each.name for each in path.parent.glob(f"{path.stem}.*") if each != path and each.suffix in SUFFIXES_OF_TABLES
    )
    return [f"expected one file of the round, got {shown(' and '.join([path.name, *others]))}"] if others else []


def find_metadata(model: str, hub: HubDescription, beside: Path | None = None) -> Path | None:
    """Finds the metadata file of a model; None where there is none.

    Args:
        model: TEAM-MODEL.
        hub: Description of the hub.
        beside: A submission that may lie outside the hub, and its metadata with it.
    """
    roots = [Path(hub.path), *([] if beside is None else list(beside.resolve().parents[2:3]))]
    files = (root / METADATA / f"{model}{suffix}" for root in roots for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def check_metadata_exists(path: Path, name: FileName, hub: HubDescription) -> list[str]:
    """Returns whether a model has no metadata file.

    Args:
        path: The submission.
        name: Parts of its name.
        hub: Description of the hub.
    """
    if find_metadata(name.model, hub, path):
        return []
    return [f"expected the model's metadata in {METADATA}/{name.model}.yml, got no such file"]


def required_fields(hub: HubDescription) -> tuple[str, ...]:
    """Returns the fields that a hub's model-metadata-schema.json requires; none without a file.

    Args:
        hub: Description of the hub.

    Raises:
        InputError: for a file that is not JSON.
    """
    path = Path(hub.path) / SCHEMA
    if not path.is_file():
        return ()
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)} is not JSON ({shown(error)}); fix it") from None
    found = schema.get("required", []) if isinstance(schema, dict) else []
    return tuple(str(each) for each in found)


def check_metadata_fields(path: Path, name: FileName, hub: HubDescription) -> list[str]:
    """Returns which fields a model's metadata lack, and whether they name another model.

    Of the fields, only the names and the two abbreviations are looked at.

    Args:
        path: The submission.
        name: Parts of its name.
        hub: Description of the hub.
    """
    found = find_metadata(name.model, hub, path)
    if found is None:
        return []
    try:
        fields = read_fields(found)
    except InputError as error:
        return [f"expected fields in YAML in {METADATA}/{found.name}, but {error}"]
    missing = [field for field in required_fields(hub) if field not in fields]
    problems = [f"expected the fields {shown(', '.join(missing))} in {METADATA}/{found.name}, got none"] * bool(missing)
    team, model = fields.get("team_abbr"), fields.get("model_abbr")
    said = f"{team}-{model}" if team and model else fields.get("model_id")
    if said and said != name.model:
        problems.append(f"expected {METADATA}/{found.name} to be of {name.model}, got {shown(said)}")
    return problems


def has_schema(hub: HubDescription) -> bool:
    """Returns whether a hub says which fields metadata need.

    Args:
        hub: Description of the hub.
    """
    return (Path(hub.path) / SCHEMA).is_file()


def read_fields(path: Path) -> dict[str, str]:
    """Reads the outermost fields of a YAML file; values that are not texts are empty.

    Args:
        path: The file.

    Raises:
        InputError: for a file that cannot be read as fields, or where PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise InputError("metadata of models need PyYAML: pip install 'jaxcast[hub]'") from None
    try:
        found = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)  # leaves scalars texts
    except (OSError, UnicodeDecodeError):
        raise InputError("it is not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{shown(error.problem)}{line}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(shown(error)) from None
    if not isinstance(found, dict):
        raise InputError("it has no fields like name: value")
    return {shown(name): value if isinstance(value, str) else "" for name, value in found.items()}


def check_window(name: FileName, hub: HubDescription, group: Round, now: datetime.datetime) -> list[str]:
    """Returns whether a round accepts no submission at a time.

    Args:
        name: Parts of the file's name.
        hub: Description of the hub.
        group: Description of the round.
        now: The time, with a time zone.
    """
    window = group.window
    if window is None:
        return []
    try:
        today = now.astimezone(zoneinfo.ZoneInfo(hub.timezone)).date()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        today = now.date()
    try:
        ends = [
            datetime.date.fromisoformat(str(end))
            if window.relative_to is None
            else datetime.date.fromisoformat(name.round_id) + datetime.timedelta(int(end))
            for end in (window.start, window.end)
        ]
    except ValueError:
        return []
    if ends[0] <= today <= ends[1]:
        return []
    return [f"the round accepts submissions from {ends[0]} to {ends[1]} ({shown(hub.timezone)}), today is {today}"]
