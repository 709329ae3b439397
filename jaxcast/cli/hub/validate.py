"""`jaxcast hub validate`: makes the checks that hubs make before they accept a file."""

import dataclasses
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from jaxcast.cli.command import make_console
from jaxcast.cli.hub.folder import local_hub
from jaxcast.cli.hub.output import say
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.validation.file import parse_name
from jaxcast.hub.validation.report import Check, validate_submission
from jaxcast.progress import doing


@dataclasses.dataclass(frozen=True)
class ValidateSubmission:
    """Make the checks that a hub makes before it accepts a file of model output.

    Prints a line for each failure, with the rows, what was expected and what is there, and a table
    of all checks. The exit code is 2 where a check fails; a closed submission window is a warning.

    Example: jaxcast hub validate hub/model-output/team-ensemble/2026-01-10-team-ensemble.csv hub/
    """

    file: Path
    """The file; or its path within the hub's model-output folder."""
    hub: str
    """Folder of the hub, or its address, such as s3://bucket."""

    def run(self) -> None:
        """Runs the command."""
        name = parse_name(self.file)
        with local_hub(self.hub, (name.model,) if name else ()) as folder:
            doing("checking the file")
            found = validate_submission(self.file, folder)
        say(*found.failures, *(f"warning: {line}" for line in found.warnings))
        table = Table(title=f"Checks of {shown(found.path.name)}", box=box.SIMPLE)
        for head in ("check", "", "outcome"):
            table.add_column(head, no_wrap=head == "check", overflow="fold")
        for check in found.checks:
            table.add_row(check.name, Text(check.title), Text(_outcome(check)))
        make_console().print(table)
        failed = sum(bool(check.failures) and not check.is_warning for check in found.checks)
        if failed:
            raise InputError(
                f"{shown(found.path)} fails {counted(failed, 'check')} of {len(found.checks)}; fix what the lines "
                "above name"
            )


def _outcome(check: Check) -> str:
    if check.skipped is not None:
        return f"not checked: {check.skipped}"
    if not check.failures:
        return "passed"
    return "warning" if check.is_warning else "failed"
