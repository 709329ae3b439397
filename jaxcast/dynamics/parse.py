"""Systems, schedules and candidates as text, written like Python calls, for files and commands."""

import ast
import dataclasses
import difflib
import math
import warnings
from typing import Any

import numpy as np

from jaxcast.arguments import checked
from jaxcast.dynamics.catalogue.classes import class_of, numbers, parameters_of
from jaxcast.dynamics.noise import Noise
from jaxcast.dynamics.schedules import LinearRamp, PiecewiseConstant, Schedule, SumOfCosines
from jaxcast.dynamics.systems import System
from jaxcast.errors import InputError, shown
from jaxcast.registry import class_named, name_of, names_of, undefined_of

MAX_COUNT = 1_000_000
SYSTEM, NOISE = "lorenz63(rho=28)", "additive(scale=0.5)"
"""Examples for messages."""


@checked
def parse_system(text: str) -> System:
    """Makes the system that a text describes; `describe_system` is its inverse.

    Args:
        text: name(parameter=number or schedule, ...).

    Returns:
        The system.

    Raises:
        InputError: for text of another form, and for unknown systems, schedules or parameters, with
            the names most like them.

    Example:
        >>> import jaxcast
        >>> system = jaxcast.dynamics.parse_system("lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))")
        >>> float(system.at(0.0).rho)
        28.0
    """
    (system,) = _read(text, spread=False)
    return system


@checked
def parse_candidates(text: str) -> list[System]:
    """Makes the candidates that a text describes: one for each number in a list.

    Args:
        text: as for `parse_system`, with lists [28, 30, 32] or linspace(28, 48, 11). Several lists
            must have one length; candidate i takes the i-th number of each.

    Returns:
        The systems.

    Raises:
        InputError: as for `parse_system`, for lists of different lengths, and for no list.

    Example:
        >>> import jaxcast
        >>> [system.rho for system in jaxcast.dynamics.parse_candidates("lorenz63(rho=linspace(28, 32, 3))")]
        [28.0, 30.0, 32.0]
    """
    return _read(text, spread=True)


@checked
def parse_noise(text: str) -> Noise:
    """Makes the noise that a text describes; `describe_system` is its inverse.

    Args:
        text: name(parameter=number or list of numbers, ...).

    Returns:
        The noise.

    Raises:
        InputError: as for `parse_system`.

    Example:
        >>> import jaxcast
        >>> jaxcast.dynamics.parse_noise("additive(scale=[0.5, 0, 0.5])").scale[0]
        0.5
    """
    name, arguments = _call(_expression(text, NOISE), text, NOISE)
    kind = _lookup(name, Noise, "noise", text)
    noise: Noise = kind(**_parameters(kind, name, arguments, text))
    return noise


@checked
def describe_system(system: System | Schedule | Noise) -> str:
    """Writes a system as text, exact to the last digit of its numbers.

    Args:
        system: a system, a schedule or a noise.

    Returns:
        The text, which `parse_system` reads if all classes in it are registered.

    Example:
        >>> import jaxcast
        >>> jaxcast.dynamics.describe_system(
        ...     jaxcast.Rossler(c=jaxcast.LinearRamp(start=4.0, stop=9.0, begin=0.0, end=500.0))
        ... )
        'rossler(a=0.2, b=0.2, c=linear_ramp(start=4.0, stop=9.0, begin=0.0, end=500.0))'
    """
    name = name_of(type(system)) or type(system).__name__
    values = ((field.name, getattr(system, field.name)) for field in dataclasses.fields(system))
    return f"{name}({', '.join(f'{key}={_text(value)}' for key, value in values)})"


@checked
def candidate_coordinates(candidates: list[System]) -> tuple[str, np.ndarray] | None:
    """Finds the one number in which candidates differ.

    Args:
        candidates: systems of one kind.

    Returns:
        The parameter's name and its values (model,); None if the candidates differ in more than one
        parameter, in none, or in a schedule.

    Example:
        >>> import jaxcast
        >>> candidates = [jaxcast.Lorenz63(rho=28.0), jaxcast.Lorenz63(rho=30.0)]
        >>> name, values = jaxcast.dynamics.candidate_coordinates(candidates)
        >>> name, values.tolist()
        ('rho', [28.0, 30.0])
    """
    columns = {
        field.name: [getattr(system, field.name) for system in candidates]
        for field in dataclasses.fields(candidates[0])
    }
    varying = {name: column for name, column in columns.items() if len({_text(value) for value in column}) > 1}
    if len(varying) != 1:
        return None
    ((name, column),) = varying.items()
    return (name, np.asarray(column, float)) if all(np.ndim(v) == 0 and not callable(v) for v in column) else None


def _read(text: str, *, spread: bool) -> list[System]:
    try:
        return _systems(text, spread=spread)
    except RecursionError:
        raise InputError(f"expected a text such as {SYSTEM}, got one nested too deeply, {_quoted(text)}") from None


def _systems(text: str, *, spread: bool) -> list[System]:
    name, arguments = _call(_expression(text), text)
    kind = _lookup(name, System, "system", text)
    usual = parameters_of(name) if kind is class_of(name) else {}
    values = usual | _parameters(kind, name, arguments, text)
    lists = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
    lengths = {len(value) for value in lists.values()}
    if not spread and lists:
        raise InputError(f"expected one number or a schedule for {', '.join(lists)}, got a list in {_quoted(text)}")
    if spread and len(lengths) != 1:
        raise InputError(
            "expected candidates that differ by a list of numbers, such as lorenz63(rho=[28, 30, 32]), all lists "
            f"of one length, got {_quoted(text)}"
        )
    count = lengths.pop() if spread else 1
    return [kind(**values | {key: float(value[i]) for key, value in lists.items()}) for i in range(count)]


def _expression(text: str, example: str = SYSTEM) -> ast.expr:
    try:
        with warnings.catch_warnings(action="ignore"):  # such as Python's about 1if
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        raise InputError(f"expected a text such as {example}, got {_quoted(text)}") from None


def _quoted(text: str, most: int = 100) -> str:
    """Quotes a text in a message; two quotes are shorter than what a message may repeat."""
    return f"'{shown(text, most)}'"


def _piece(node: ast.expr, text: str) -> str:
    """Quotes the part of the text that a node stands for."""
    return _quoted(ast.get_source_segment(text.strip(), node) or text, 50)


def _call(node: ast.expr, text: str, example: str = SYSTEM) -> tuple[str, dict[str, ast.expr]]:
    """Returns the name and keyword arguments of a call; a bare name is a call without arguments."""
    if isinstance(node, ast.Name):
        return node.id, {}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise InputError(f"expected name(parameter=value, ...), got {_piece(node, text)} in {_quoted(text)}")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise InputError(f"expected every argument by name, as in {example}, got {_piece(node, text)}")
    names = [str(keyword.arg) for keyword in node.keywords]
    if len(set(names)) < len(names):
        raise InputError(f"expected every argument once, got {_piece(node, text)}")
    return node.func.id, {str(keyword.arg): keyword.value for keyword in node.keywords}


def _value(node: ast.expr, text: str) -> Any:
    """Reads a number, a list of numbers as an array, or a schedule."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "linspace":
        if len(node.args) == 3 and not node.keywords:
            start, stop, count = (_number(argument, text) for argument in node.args)
            if 1 <= count <= MAX_COUNT and count == int(count):
                return np.linspace(start, stop, int(count))
        raise InputError(f"expected linspace(first, last, how many up to {MAX_COUNT}), got {_piece(node, text)}")
    if isinstance(node, ast.List | ast.Tuple):
        if not node.elts:
            raise InputError(f"expected at least one number in a list, got none in {_quoted(text)}")
        return np.asarray([_number(element, text) for element in node.elts])
    if isinstance(node, ast.Call | ast.Name):
        name, arguments = _call(node, text)
        kind = _lookup(name, Schedule, "schedule", text)
        schedule = kind(**_parameters(kind, name, arguments, text))
        _check_schedule(schedule, text)
        return schedule
    return _number(node, text)


def _check_schedule(schedule: Schedule, text: str) -> None:
    """Refuses numbers that do not make a schedule."""
    came = f"got {_quoted(describe_system(schedule), 80)} in {_quoted(text)}"
    wanted = {SumOfCosines: ("amplitudes", "periods", "phases"), PiecewiseConstant: ("times", "values")}
    lists = wanted.get(type(schedule), ())
    for field in dataclasses.fields(schedule):
        value = getattr(schedule, field.name)
        if isinstance(value, Schedule) or (np.ndim(value) == 1) != (field.name in lists):
            kind = "a list of numbers" if field.name in lists else "one number"
            raise InputError(f"{field.name} must be {kind}, {came}")
        if field.name in ("period", "periods") and 0 in np.atleast_1d(value):
            raise InputError(f"a period must not be zero, {came}")
    if isinstance(schedule, LinearRamp) and not schedule.begin < schedule.end:
        raise InputError(f"a ramp must begin before its end, {came}")
    schedule(0.0)  # checks the lengths of the lists


def _number(node: ast.expr, text: str) -> float:
    try:
        value = ast.literal_eval(node)
        is_number = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except (ValueError, OverflowError, RecursionError, MemoryError):
        is_number = False
    if not is_number:
        raise InputError(f"expected a finite number, got {_piece(node, text)} in {_quoted(text)}")
    return float(value)


def _lookup(name: str, base: type, what: str, text: str) -> Any:
    table: dict[str, type] = names_of(base)
    if undefined := undefined_of(name):
        raise InputError(f"the class {name} does not define {', '.join(undefined)} yet; see jaxcast.{base.__name__}")
    found = class_named(name)
    if found is None or not issubclass(found, base):
        others = list(numbers()) if base is System else []
        catalogue = f"{len(others)} of the catalogue (jaxcast simulate --list), " if others else ""
        raise InputError(
            f"unknown {what} {_quoted(name, 50)} in {_quoted(text)}{_nearest(name, [*table, *others])}; there are "
            f"{', '.join(table)}, {catalogue}and your own once their module is imported (--import)"
        )
    return found


def _parameters(kind: type, name: str, arguments: dict[str, ast.expr], text: str) -> dict[str, Any]:
    """Reads a call's arguments and checks them against the fields of its class."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = dict[str, Any]()
    for key, node in arguments.items():
        if key not in fields:
            raise InputError(
                f"unknown parameter {_quoted(key, 50)} of {name} in {_quoted(text)}{_nearest(key, fields)}; there "
                f"are {', '.join(fields)}"
            )
        if fields[key].type is str and isinstance(node, ast.Name):
            values[key] = node.id
            continue
        if fields[key].type is System:
            (values[key],) = _systems(ast.get_source_segment(text.strip(), node) or "", spread=False)
            continue
        values[key] = _value(node, text)
        if fields[key].metadata.get("static"):
            if not isinstance(values[key], float) or values[key] != int(values[key]) or values[key] > MAX_COUNT:
                raise InputError(
                    f"{key} of {name} must be a whole number up to {MAX_COUNT}, got {shown(_text(values[key]), 100)}"
                )
            values[key] = int(values[key])
    missing = [key for key, field in fields.items() if field.default is dataclasses.MISSING and key not in values]
    if missing:
        raise InputError(f"{name} needs {', '.join(missing)} as well, got {_quoted(text)}")
    return values


def _nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name[:100], names, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _text(value: Any) -> str:
    if isinstance(value, Schedule | System):
        return describe_system(value)
    if isinstance(value, str):
        return value
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    array = np.asarray(value)
    return repr(array.item()) if array.ndim == 0 else str(array.tolist())
