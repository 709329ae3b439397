"""Finds what makes a YAML file unreadable, as far as the outermost fields go."""

import re

KEY = re.compile(r"([\"']?)[A-Za-z_][\w .-]*\1\s*:(?:\s+(?P<value>.*))?")
QUOTED = {
    '"': re.compile(r'"(?:\\.|[^"\\])*"\s*(?:#.*)?', re.S),
    "'": re.compile(r"'(?:[^']|'')*'\s*(?:#.*)?", re.S),
}
PAIRS = {"[": "]", "{": "}"}


def find_fault(text: str) -> str | None:
    """Finds the first line of a mapping in YAML that no parser can read.

    Looks at the outermost fields, their quotes and brackets, and at tabs; faults deeper within are
    not found.

    Args:
        text: The file's text.

    Returns:
        What is wrong, with the line counted from 1; None where nothing was found.
    """
    if text.lstrip().startswith("{"):
        return None
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        line, number = lines[i].rstrip(), i + 1
        i += 1
        if not line or line.startswith(("#", "---", "...", "%")):
            continue
        if re.match(r" *\t", line):
            return f"line {number} begins with a tab"
        if line[0] == " " or line == "-" or line.startswith("- "):
            continue  # belongs to the field above
        found = KEY.fullmatch(line)
        if found is None:
            return f"line {number} is no field like name: value"
        value = (found["value"] or "").strip()
        first = i
        while i < len(lines) and (not lines[i].strip() or lines[i][0] in " \t]}"):
            i += 1
        if value[:1] in ("|", ">"):
            continue
        if any(re.match(r" *\t", each) and each.strip() for each in lines[first:i]):
            return f"line {number} is followed by a line that begins with a tab"
        fault = _fault_of_value(value, lines[first:i])
        if fault is not None:
            return f"line {number} {fault}"
    return None


def _fault_of_value(value: str, more: list[str]) -> str | None:
    """Describes what is wrong with the value of a field and its further lines."""
    whole = "\n".join([value, *more])
    if value[:1] in QUOTED:
        return None if QUOTED[value[0]].fullmatch(whole.strip()) else "has a quote that does not end as it should"
    if value[:1] in PAIRS:
        return None if _is_balanced(whole) else "has a bracket that is not closed"
    plain = re.sub(r"(^|\s)#.*$", "", value)
    if re.search(r":(\s|$)", plain):
        return "has a second colon in a value without quotes"
    return "has a value that begins with a reserved sign" if plain[:1] in ("@", "`", "%") else None


def _is_balanced(text: str) -> bool:
    bare = re.sub(r"\"(?:\\.|[^\"\\])*\"|'[^']*'|\s#[^\n]*", "", text)
    open_ones: list[str] = []
    for sign in bare:
        if sign in PAIRS:
            open_ones.append(PAIRS[sign])
        elif sign in PAIRS.values() and (not open_ones or open_ones.pop() != sign):
            return False
    return not open_ones
