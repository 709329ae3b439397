"""Help texts of the command line."""

import re


def with_help_texts(markdown: str) -> str:
    """Returns a page with each `<!-- help: COMMAND -->` replaced by that command's help."""
    return re.sub(r"<!-- help: ([\w ]*) -->", lambda found: help_text(found[1]), markdown)


def help_text(command: str) -> str:
    return ""
