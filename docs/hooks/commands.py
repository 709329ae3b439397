"""The page of the command line, made from what `--help` shows."""

import re
import warnings
from typing import Any

import tyro

from jaxcast.cli.main import COMMANDS, GROUPS


def with_help_texts(markdown: str) -> str:
    """Returns a page with `<!-- commands -->` replaced by the options of every command."""
    return re.sub("<!-- commands -->", lambda _: sections(), markdown) if "<!-- commands -->" in markdown else markdown


def sections() -> str:
    """Returns a section for each command, grouped as on the command line."""
    parts, group = [], ""
    for name, kind in COMMANDS.items():
        first = name.split()[0]
        if first != group and first in GROUPS:
            parts.append(f"## jaxcast {first}\n\n{GROUPS[first]}")
        parts.append(section(name, kind, level=3 if first in GROUPS else 2))
        group = first
    return "\n\n".join(parts)


def section(name: str, kind: type, level: int) -> str:
    """Returns what one command does, and its options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind, config=(tyro.conf.OmitSubcommandPrefixes,))
    paragraphs = re.split(r"\n\s*\n", parser.description.strip())
    text = "\n\n".join(example(part) if part.startswith("Example") else plain(part) for part in paragraphs)
    options = [option(action) for action in parser._actions if "--help" not in action.option_strings]
    return f"{'#' * level} jaxcast {name}\n\n{text}\n\n" + "\n\n".join(options)


def example(paragraph: str) -> str:
    """Returns an example as code."""
    _, command = paragraph.split(":", 1)
    return f"```sh\n{command.strip()}\n```"


def option(action: Any) -> str:
    """Returns one option as an entry of a definition list."""
    names = ", ".join(name for name in action.option_strings if name.startswith("--"))
    kind = " ".join((action.metavar or "").split())
    help_text = " ".join((action.help or "").split())
    found = re.match(r"(.*?)\s*\((required|default: (.*))\)$", help_text)
    about, ending = (found[1], found[2]) if found else (help_text, "")
    note = "**Required.**" if ending == "required" else f"Default: `{found[3]}`." if found and found[3] else ""
    return f"`{f'{names} {kind}'.strip()}`\n:   {plain(f'{about} {note}'.strip())}"


def plain(text: str) -> str:
    """Returns a text of a terminal as Markdown that shows the same."""
    text = " ".join(text.split()) if "\n    " not in text else text
    return re.sub(r"(?<!`)([*_<\[\]])(?!`)", r"\\\1", text) if "**" not in text and "`" not in text else text
