"""Hierarchies and groups of series: which series are sums of which."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.pytrees import FrozenPytree, static

EVERYTHING = "total"
"""The name of the sum of all series in groups."""


class Hierarchy(FrozenPytree):
    """Series of which some are sums of others; made by the functions that begin with `hierarchy_`.

        y = S b,    S = [ A ; I ]

    with b the bottom series, which are sums of no others, and y all series, sums first. Values that
    fulfil the equation are coherent: they add up.

    Args:
        summing: S, of 0 and 1.
        names: of all series, in the order of the rows of S; the last are the bottom series.

    Raises:
        InputError: for a matrix that does not end with the identity, for sums of nothing, or for
            names that are not one for each row.

    Source:
        Hyndman and Athanasopoulos, Forecasting: Principles and Practice, third edition, chapter 11.

    Example:
        >>> import jaxcast
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_parents({"north": "all", "south": "all"})
        >>> hierarchy.names, hierarchy.sums([1.0, 2.0]).tolist()
        (('all', 'north', 'south'), [3.0, 1.0, 2.0])
    """

    summing: Float[np.ndarray, "series bottom"]
    names: tuple[str, ...] = static()

    def __post_init__(self) -> None:
        summing = np.asarray(self.summing)
        size = summing.shape[-1]
        if summing.ndim != 2 or not 0 < size <= len(summing) or not np.array_equal(summing[-size:], np.eye(size)):
            raise InputError(f"summing must end with the identity of the bottom series, got shape {summing.shape}")
        if not np.isin(summing, (0, 1)).all() or not summing.any(1).all():
            raise InputError("summing must consist of 0 and 1, with at least one 1 in every row")
        if len(self.names) != len(summing) or len(set(self.names)) < len(summing):
            raise InputError(f"expected {len(summing)} different names, got {shown(self.names)}")

    @property
    def num_bottom(self) -> int:
        """The number of bottom series."""
        return self.summing.shape[1]

    @property
    def bottom(self) -> tuple[str, ...]:
        """The names of the bottom series."""
        return self.names[-self.num_bottom :]

    @property
    def aggregates(self) -> tuple[str, ...]:
        """The names of the sums."""
        return self.names[: -self.num_bottom]

    def members(self, name: str) -> tuple[str, ...]:
        """Returns the names of the bottom series that a series is the sum of.

        Args:
            name: of any series.

        Raises:
            InputError: for an unknown name.
        """
        if name not in self.names:
            raise InputError(f"unknown series {shown(repr(name))}; the hierarchy has {shown(', '.join(self.names))}")
        row = self.summing[self.names.index(name)]
        return tuple(member for member, is_in in zip(self.bottom, row, strict=True) if is_in)

    @checked
    def sums(self, values: Float[Any, "*batch bottom"]) -> Float[np.ndarray, "*batch series"]:
        """Returns the values of all series from those of the bottom series.

        Args:
            values: of the bottom series.

        Returns:
            S b; a sum is NaN where a value is.

        Raises:
            InputError: for values of other series.
        """
        values = np.asarray(values, float)
        if values.shape[-1:] != (self.num_bottom,):
            raise InputError(f"expected values of {self.num_bottom} bottom series, got shape {values.shape}")
        known = np.isfinite(values)
        found = np.where(known, values, 0) @ self.summing.T
        return np.where((~known).astype(float) @ self.summing.T > 0, np.nan, found)

    @checked
    def is_coherent(self, values: Float[Any, "*batch series"], *, tolerance: float = 1e-6) -> bool:
        """Tells whether values add up.

        Args:
            values: of all series.
            tolerance: the largest gap that is rounding, relative to the largest value.

        Returns:
            True if no series is farther from the sum of its members.

        Raises:
            InputError: for values of other series.
        """
        values = self.checked_values(values)
        gaps = np.abs(values - self.sums(values[..., -self.num_bottom :]))
        return bool(gaps.max(initial=0.0) <= tolerance * max(1.0, float(np.abs(values).max(initial=0.0))))

    def checked_values(self, values: Any) -> Float[np.ndarray, "*batch series"]:
        """Returns values as an array of float64.

        Args:
            values: of all series.

        Raises:
            InputError: for values of other series.
        """
        values = np.asarray(values, float)
        if values.shape[-1:] != (len(self.names),):
            raise InputError(
                f"expected values of the {len(self.names)} series of the hierarchy on the last axis, got shape "
                f"{values.shape}"
            )
        return values


@checked
def hierarchy_from_parents(parents: Mapping[str, str]) -> Hierarchy:
    """Makes a hierarchy from the parent of each series.

    Args:
        parents: of each series that is part of a sum, the name of that sum.

    Returns:
        The hierarchy: sums from the top down, then the bottom series, each in the order in which
        they are named.

    Raises:
        InputError: for no series, an empty name, or a series that is part of itself.

    Example:
        >>> import jaxcast
        >>> parents = {"Oslo": "Norway", "Bergen": "Norway", "Malmo": "Sweden", "Norway": "all", "Sweden": "all"}
        >>> jaxcast.hierarchy.hierarchy_from_parents(parents).names
        ('all', 'Norway', 'Sweden', 'Oslo', 'Bergen', 'Malmo')
    """
    parents = {str(child): str(parent) for child, parent in parents.items()}
    if not parents:
        raise InputError("expected at least one series with a parent, got none")
    sums = list(dict.fromkeys(parents.values()))
    if "" in parents or "" in sums:
        raise InputError("expected a name for every series and parent, got an empty one")
    bottom = [child for child in parents if child not in set(sums)]
    depths = {name: _depth(name, parents) for name in (*sums, *bottom)}
    sums.sort(key=depths.__getitem__)
    check_arrays("a hierarchy", (len(sums) + len(bottom), len(bottom)))
    row_of = {name: n for n, name in enumerate(sums)}
    summing = np.zeros((len(sums), len(bottom)))
    for column, name in enumerate(bottom):
        while name in parents:
            name = parents[name]
            summing[row_of[name], column] = 1
    return Hierarchy(np.concatenate([summing, np.eye(len(bottom))]), (*sums, *bottom))


def _depth(name: str, parents: Mapping[str, str]) -> int:
    """Counts the sums that a series is part of."""
    depth, above, seen = 0, name, [name]
    while above in parents:
        depth, above = depth + 1, parents[above]
        if above in seen:
            circle = " is part of ".join(map(repr, [*seen[seen.index(above) :], above]))
            raise InputError(f"a series cannot be part of itself: {shown(circle)}; correct one of these parents")
        seen.append(above)
    return depth


@checked
def hierarchy_from_groups(
    names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    sums_over: Sequence[Sequence[str]] | None = None,
    total: str = EVERYTHING,
) -> Hierarchy:
    """Makes a grouped structure from columns of labels of the bottom series.

    Every combination of columns gives sums: of all series with the same labels. They are named by
    their labels, as in "north / female". Sums of one series only, and of the same series as an
    earlier sum, are left out, so nested columns give a tree.

    Args:
        names: of the bottom series.
        groups: of each column, the labels of the series.
        sums_over: combinations of columns that give sums; () for the sum of all. By default all
            combinations.
        total: the name of the sum of all.

    Returns:
        The structure: the total, sums of few columns, sums of many, then the bottom series.

    Raises:
        InputError: for no or repeated names, columns of another length, unknown columns, or sums
            with the name of another series.

    Example:
        >>> import jaxcast
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_groups(
        ...     ("a", "b", "c", "d"), {"place": ["north", "north", "south", "south"], "sex": ["f", "m", "f", "m"]}
        ... )
        >>> hierarchy.names
        ('total', 'north', 'south', 'f', 'm', 'a', 'b', 'c', 'd')
    """
    names = tuple(map(str, names))
    if not names or len(set(names)) < len(names):
        raise InputError(f"expected different names of at least one series, got {shown(names)}")
    for column, labels in groups.items():
        if len(labels) != len(names):
            raise InputError(f"expected {len(names)} labels in column {shown(repr(column))}, got {len(labels)}")
    chosen = _combinations(tuple(groups)) if sums_over is None else [tuple(columns) for columns in sums_over]
    found: dict[tuple[bool, ...], str] = {}
    for columns in chosen:
        for column in columns:
            if column not in groups:
                raise InputError(f"unknown column {shown(repr(column))}; there are {shown(', '.join(groups))}")
        rows = list(zip(*(map(str, groups[column]) for column in columns), strict=True)) or [()] * len(names)
        for labels in dict.fromkeys(rows):
            members = tuple(row == labels for row in rows)
            if sum(members) > 1:
                found.setdefault(members, " / ".join(labels) or total)
    whole = (*found.values(), *names)
    if len(set(whole)) < len(whole):
        twice = next(name for name in whole if whole.count(name) > 1)
        raise InputError(f"{shown(repr(twice))} would name two series; give labels that differ between columns")
    check_arrays("a grouped structure", (len(whole), len(names)))
    sums = np.asarray(list(found), float).reshape(-1, len(names))
    return Hierarchy(np.concatenate([sums, np.eye(len(names))]), whole)


def _combinations(columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [some for size in range(len(columns) + 1) for some in combinations(columns, size)]


@checked
def hierarchy_of_total(names: Sequence[str], *, total: str = "US") -> Hierarchy:
    """Makes the hierarchy of a total and its parts, such as a nation and its states.

    Args:
        names: of the parts; the total may be among them.
        total: the name of their sum.

    Returns:
        The hierarchy: the total, then the parts.

    Raises:
        InputError: for no parts, or repeated names.

    Example:
        >>> import jaxcast
        >>> jaxcast.hierarchy.hierarchy_of_total(("01", "02", "US")).names
        ('US', '01', '02')
    """
    parts = tuple(str(name) for name in names if name != total)
    if not parts or len(set(parts)) < len(parts):
        raise InputError(f"expected different names of at least one part of {shown(repr(total))}, got {shown(names)}")
    return hierarchy_from_parents(dict.fromkeys(parts, total))
