"""Reads the arguments of commands; errors are one line that names options as they are typed."""

import contextlib
import dataclasses
import difflib
import io
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import tyro

from jaxcast.cli.overview import FOR_ALL
from jaxcast.errors import InputError, shown
from jaxcast.registry import module_of, names_of

C = TypeVar("C")
MOST_DIGITS = 30
HELP = ("--help", "-h")


class Option(NamedTuple):
    """An option of a command.

    Args:
        text: The option as it is typed.
        kind: Annotation of its value.
        is_required: Whether it must be given.
        names: Names that it takes, where it names a method.
    """

    text: str
    kind: Any
    is_required: bool
    names: "Names | None" = None


class Names(NamedTuple):
    """The value of an option that names a method: one of jaxcast's, or a class of the user's.

    A user's class has a name (see `Saveable`), in a module that --import names.

    Args:
        own: jaxcast's names.
        bases: what a user's class must derive from, all of them.
        others: base classes that cannot be named here, each with what to do instead, for a message.
    """

    own: tuple[str, ...]
    bases: tuple[type, ...]
    others: tuple[tuple[type, str], ...] = ()

    def foreign(self) -> dict[str, type]:
        """Returns the user's classes by their names."""
        first, *others = self.bases
        found: dict[str, type] = names_of(first)
        return {
            name: cls
            for name, cls in found.items()
            if module_of(cls) is not None and all(issubclass(cls, base) for base in others)
        }

    def check(self, option: str, text: str) -> None:
        """Refuses a name that there is not, or that two have.

        Args:
            option: as it is typed, for the message.
            text: the name.

        Raises:
            InputError: with all names.
        """
        foreign = self.foreign()
        if text in self.own and text in foreign:
            cls = foreign[text]
            raise InputError(
                f"{option} {text} is a name of jaxcast's; give {cls.__module__}.{cls.__qualname__} another name"
            )
        if text not in (names := [*self.own, *foreign]):
            for base, instead in self.others:
                if text in names_of(base):
                    raise InputError(f"{option} cannot be {text}, {instead}")
            raise InputError(
                f"{option} must be one of {', '.join(names)}, got {quoted(text)}{nearest(text, names)}; a class of "
                "your own needs --import and its module"
            )


def parse_arguments(
    kind: Any, args: Sequence[str], *, prog: str, default: Any = None, description: str | None = None
) -> Any:
    """Reads arguments into a dataclass.

    Args:
        kind: The dataclass, as `tyro.cli` takes it.
        args: The arguments.
        prog: Name of the command.
        default: Instance with the values of options that are not given.
        description: Description of the command, for --help.

    Returns:
        The dataclass.

    Raises:
        InputError: in one line, for arguments that do not fit.
        SystemExit: with code 0, after --help.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given: dict[str, Any] = {} if default is None else {"default": default}
            config = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
            return tyro.cli(kind, args=list(args), prog=prog, description=description, config=config, **given)
    except SystemExit as end:
        if end.code in (0, None):
            print(FOR_ALL)
            raise
        raise InputError(f"{_flat(said.getvalue())}; see {prog} --help") from None


def check_subcommand(names: Sequence[str], args: Sequence[str], prog: str, *, elsewhere: Sequence[str] = ()) -> None:
    """Checks that arguments begin with the name of a command, or ask for help.

    Args:
        names: Names of the commands.
        args: What was typed after `prog`.
        prog: Name of the command so far.
        elsewhere: Full names of commands in groups; suggested where only their last word was typed.

    Raises:
        InputError: with the nearest names.
    """
    there_are = f"there are {', '.join(names)}; see {prog} --help"
    if not args:
        raise InputError(f"{prog} needs a command: {there_are}")
    if args[0] in (*names, *HELP):
        return
    by_last_word: dict[str, list[str]] = {name: [name] for name in names}
    for name in elsewhere:
        if (last := name.split()[-1]) not in names:
            by_last_word.setdefault(last, []).append(name)
    close = difflib.get_close_matches(args[0][:100], by_last_word, 1)
    meant = f" (did you mean {_either(by_last_word[close[0]])}?)" if close else ""
    raise InputError(f"{prog} has no command {quoted(args[0])}{meant}; {there_are}")


def _either(names: Sequence[str]) -> str:
    """Returns "a", "a or b", "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def check_options(kind: type, args: Sequence[str], prog: str, *, has_defaults: bool = False) -> None:
    """Checks arguments against a dataclass of options.

    Args:
        kind: The dataclass.
        args: Arguments after the name of the command.
        prog: Name of the command.
        has_defaults: Whether every field has a value already.

    Raises:
        InputError: for options that are unknown, missing or mistyped.
    """
    if {*HELP} & {*args}:
        return
    options = options_of(kind, has_defaults=has_defaults)
    given, rest = set(), list(args)
    while rest:
        token = rest.pop(0)
        name, equals, value = token.partition("=") if token.startswith("-") else (token, "", "")
        option = _lookup(name, options, prog)
        given.add(option.text)
        is_list, takes_value = get_origin(option.kind) is tuple, option.kind is not bool
        if equals and not takes_value:
            raise InputError(f"{option.text} takes no value, got {quoted(value)}")
        values = [value] if equals else []
        while takes_value and not equals and rest and not rest[0].startswith("--") and (is_list or not values):
            values.append(rest.pop(0))
        if takes_value and not is_list and not values:
            raise InputError(f"{option.text} of {prog} needs a value{_wanted(option.kind)}; see {prog} --help")
        for text in values:
            _check_value(option, text)
    if missing := sorted({o.text for o in options.values() if o.is_required} - given):
        raise InputError(f"{prog} needs {' and '.join(missing)}; see {prog} --help")


def options_of(kind: type, *, has_defaults: bool = False) -> dict[str, Option]:
    """Returns the options of a dataclass by every spelling that is understood.

    Args:
        kind: The dataclass.
        has_defaults: Whether every field has a value already.
    """
    hints = get_type_hints(kind, include_extras=True)
    options: dict[str, Option] = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        about: tuple[Any, ...] = ()
        if hasattr(hint, "__metadata__"):
            hint, about = hint.__origin__, hint.__metadata__
        if dataclasses.is_dataclass(hint):
            options |= options_of(cast(type, hint), has_defaults=True)
            continue
        is_required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING and not has_defaults
        )
        names = next((one for one in about if isinstance(one, Names)), None)
        option = Option(f"--{field.name.replace('_', '-')}", hint, is_required, names)
        aliases = [alias for one in about for alias in getattr(one, "aliases", None) or ()]
        negated = [f"--no-{option.text[2:]}"] if hint is bool else []
        options |= dict.fromkeys([option.text, *aliases, *negated], option)
    return options


def nearest(name: str, names: Sequence[str]) -> str:
    """Returns the nearest of some names as a question in brackets, or "".

    Args:
        name: The mistyped name.
        names: The names there are.
    """
    close = difflib.get_close_matches(name[:100], names, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def quoted(text: str) -> str:
    """Returns a user's text in quotation marks, escaped and cut.

    Args:
        text: The text.
    """
    return f"'{shown(text)}'"


def _lookup(name: str, options: dict[str, Option], prog: str) -> Option:
    option = options.get(name) or options.get(name.replace("_", "-"))
    if option is not None and name.startswith("--"):
        return option
    names = list(options)
    if name.startswith("-"):
        raise InputError(f"{prog} has no option {shown(name)}{nearest(name, names)}; see {prog} --help")
    raise InputError(
        f"{prog} expects options such as {names[0]}, got {quoted(name)} alone; text with spaces needs quotation marks"
    )


def _parts(kind: Any) -> tuple[Any, ...]:
    """Returns the possible types of a value, those of its members for a list."""
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(part for one in get_args(kind) for part in _parts(one))
    if get_origin(kind) is tuple:
        return _parts(get_args(kind)[0])
    return (kind,)


def _wanted(kind: Any) -> str:
    (part, *_) = _parts(kind)
    if get_origin(part) is Literal:
        return f", one of {', '.join(map(str, get_args(part)))}"
    return {bool: ", True or False", int: ", a whole number", float: ", a number", Path: ", a path"}.get(part, "")


def _check_value(option: Option, text: str) -> None:
    parts = _parts(option.kind)
    if text == "None" and type(None) in parts:
        return
    (part, *_) = parts
    if get_origin(part) is Literal and text not in get_args(part):
        names = [str(name) for name in get_args(part)]
        raise InputError(f"{option.text} must be one of {', '.join(names)}, got {quoted(text)}{nearest(text, names)}")
    if option.names is not None:
        option.names.check(option.text, text)
    check = CHECKS.get(part)
    if check is not None and not check(text):
        raise InputError(f"{option.text} must be{_wanted(part)[1:]}, got {quoted(text)}")
    if part is int and len(text) > MOST_DIGITS:
        raise InputError(f"{option.text} must have at most {MOST_DIGITS} digits, got {len(text)}")
    if "\0" in text:
        raise InputError(f"{option.text} must not contain the character NUL, got {quoted(text)}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


CHECKS: dict[Any, Callable[[str], bool]] = {
    bool: lambda text: text in ("True", "False"),
    int: lambda text: re.fullmatch(r"[+-]?[0-9]+", text) is not None,
    float: _is_number,
}


def _flat(box: str) -> str:
    """Returns a message of tyro's, which comes in a box, as one line."""
    lines = [line.strip("╭╮╰╯│─+| \t") for line in box.splitlines()]
    kept = [line for line in lines[1:] if line.strip("-") and "--help" not in line and "full helptext" not in line]
    text = shown(" ".join(kept).partition(" Argument helptext:")[0])
    return text[:1].lower() + text[1:] if text else "the arguments cannot be read"
