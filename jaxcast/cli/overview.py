"""Help that lists commands: all of `jaxcast`, or those of one of its groups."""

import inspect
import re
from collections.abc import Mapping

ABOUT = (
    "Simulate dynamical systems; train pools of their imperfect models, forecast with them, and measure how\n"
    "long the forecasts stay accurate; forecast the series of a table, or of a panel of thousands, with\n"
    "quantiles; score and pool the quantile forecasts of a hub; classify texts."
)
FOR_ALL = (
    "Every command also takes --quiet (print only results and errors), --verbose (also print each step and its time),\n"
    "--version, and --import MODULE (import your own Python module; may be repeated). Its systems can then be named\n"
    "in --system and --candidates, its pools in pool train --pool, its forecasters in series train --method, its\n"
    "networks in panel train --method and text train --method, its pools of quantiles in hub forecast --method and\n"
    "hub importance --method; what is saved of its classes, cells too, can be loaded."
)


def overview(commands: Mapping[str, type], groups: Mapping[str, str], group: str = "") -> str:
    """Writes the help of `jaxcast` or of one group: a line for each command.

    Args:
        commands: Classes of commands by name, with the group's name first where there is one.
        groups: Description of each group.
        group: Group to show; by default all commands.

    Returns:
        The text.
    """
    prog = f"jaxcast {group}".strip()
    shown = {name: kind for name, kind in commands.items() if name.startswith(group)}
    width = max(map(len, shown))
    lines, last = [], group
    for name, kind in shown.items():
        first = name.split()[0]
        if first in groups and first != last:
            lines += ["", f"  {first:<{width}}  {groups[first]}"]
            last = first
        lines.append(f"  {name:<{width}}  {_summary(kind)}")
    about = groups.get(group, ABOUT)
    return "\n".join(
        [
            f"usage: {prog} COMMAND [OPTIONS]",
            "",
            about,
            "",
            *lines,
            "",
            f"{prog} COMMAND --help shows the options of a command.",
            FOR_ALL,
        ]
    )


def _summary(kind: type) -> str:
    """Returns the first sentence of a command's docstring."""
    return re.split(r"(?<=\.)\s", " ".join((inspect.getdoc(kind) or "").split()), maxsplit=1)[0]
