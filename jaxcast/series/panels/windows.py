"""Windows of single series, with covariates, and their sizes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown


class PanelSizes(NamedTuple):
    """The sizes of the windows of a panel.

    Args:
        history_size: steps of a history.
        num_leads: the number of leads, which follow each other from 1 on.
        num_past: covariates that are known up to the newest step.
        num_known: covariates that are known in advance.
        num_static: numbers that each series has once.
        cardinalities: how many values each category of a series has, without that of the unseen.

    Raises:
        InputError: when made of or checked for sizes that are not whole numbers in range.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.PanelSizes(history_size=8, num_leads=2).num_known
        0
    """

    history_size: int
    num_leads: int
    num_past: int = 0
    num_known: int = 0
    num_static: int = 0
    cardinalities: tuple[int, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """The sizes as JSON values."""
        return self._asdict() | {"cardinalities": list(self.cardinalities)}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "PanelSizes":
        """Makes the sizes of JSON values.

        Args:
            config: as `config` gives them.

        Returns:
            The sizes.

        Raises:
            InputError: for sizes that are not whole numbers in range.
        """
        if not isinstance(config, Mapping) or {*config} != {*cls._fields}:
            raise InputError(f"expected the sizes {', '.join(cls._fields)}, got {shown(config)}")
        cardinalities = config["cardinalities"]
        if not isinstance(cardinalities, list | tuple):
            raise InputError(f"expected a list of cardinalities, got {shown(cardinalities)}")
        sizes = cls(**{**config, "cardinalities": tuple(cardinalities)})
        sizes.check()
        return sizes

    def check(self) -> None:
        """Raises InputError unless all are whole numbers, those of steps at least 1."""
        for name in ("history_size", "num_leads"):
            check_whole(name, self._asdict()[name])
        for name in ("num_past", "num_known", "num_static"):
            check_whole(name, self._asdict()[name], least=0)
        for size in self.cardinalities:
            check_whole("every cardinality", size)


class PanelWindows(NamedTuple):
    """Windows of the series of a panel, each of one series, and what they are to forecast.

    What is not there has a last axis of size 0.

    Args:
        history: oldest step first; NaN where a value is missing, or before the series begins.
        targets: the values of the next steps; 0 where none is known.
        weights: 1 where a target is known and to be learned from, else 0.
        past: covariates known up to the newest step; NaN where missing.
        known: covariates known in advance, over the steps of the history and those of the targets,
            such as the hour of the day.
        static: numbers of the series.
        categories: number of each category of the series, from 1 on; 0 for one not seen in
            training.

    Raises:
        InputError: when asked for sizes with another number of cardinalities than categories.

    Example:
        >>> import jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> windows.known.shape, windows.sizes().num_leads
        ((5, 10, 0), 2)
    """

    history: Float[Array, "*batch time"]
    targets: Float[Array, "*batch lead"]
    weights: Float[Array, "*batch lead"]
    past: Float[Array, "*batch time past"]
    known: Float[Array, "*batch time_and_lead known"]
    static: Float[Array, "*batch static"]
    categories: Int[Array, "*batch category"]

    @classmethod
    def plain(cls, history: Any, targets: Any, weights: Any = None) -> "PanelWindows":
        """Makes windows without covariates.

        Args:
            history: (*batch, time).
            targets: (*batch, lead); NaN where one is not known.
            weights: of the targets; by default 1 where they are known.

        Returns:
            The windows.
        """
        targets = np.asarray(targets)
        known = np.isfinite(targets)
        weights = known.astype(targets.dtype) if weights is None else weights
        batch, steps = history.shape[:-1], history.shape[-1]
        empty = [np.empty((*batch, *size, 0), targets.dtype) for size in ((steps,), (steps + targets.shape[-1],), ())]
        arrays: Any = (history, np.where(known, targets, 0), weights, *empty, np.empty((*batch, 0), int))
        return cls._make(arrays)

    def sizes(self, cardinalities: tuple[int, ...] = ()) -> PanelSizes:
        """Returns the sizes of the windows.

        Args:
            cardinalities: how many values each category has.

        Raises:
            InputError: for another number of categories.
        """
        if len(cardinalities) != self.categories.shape[-1]:
            raise InputError(
                f"expected a cardinality for each of {self.categories.shape[-1]} categories, got {cardinalities}"
            )
        own = (self.history, self.targets, self.past, self.known, self.static)
        return PanelSizes._make((*(a.shape[-1] for a in own), tuple(cardinalities)))
