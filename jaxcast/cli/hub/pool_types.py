"""Pools of a hub's samples, pmf, cdf, means and medians, for `jaxcast hub pool`."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcast.errors import InputError
from jaxcast.hub.outputs.pools import pool_cdf, pool_means, pool_medians, pool_pmf
from jaxcast.hub.outputs.reading import Outputs
from jaxcast.hub.outputs.samples import COMPOUND, pool_samples
from jaxcast.io.tables import polars

NAME = "equal_weights"
MOST_SAMPLES = 200
"""Samples of a pool that are scored."""


def pool_types(
    rows: Any,
    categories: Mapping[Any, Sequence[str]],
    compound: Sequence[str] | Mapping[str | None, Sequence[str]],
) -> tuple[list[Any], list[str]]:
    """Pools output types other than quantiles with equal weights, in all rounds.

    Args:
        rows: Rows of `read_outputs`.
        categories: Categories of targets in their order.
        compound: Task ids that are the same in a trajectory of samples, perhaps by target.

    Returns:
        The rows of each pool, and lines on what was not used.
    """
    pl, found, dropped = polars(), [], list[str]()
    groups = rows.filter(pl.col("output_type") != "quantile").group_by("output_type", "target", maintain_order=True)
    for (kind, target), of_kind in groups:
        joint = compound.get(target, COMPOUND) if isinstance(compound, Mapping) else compound
        try:
            pooled = _pool(kind, of_kind, categories.get(target), joint)
        except InputError as error:
            dropped.append(f"{kind} of {target}: no pool ({error})")
            continue
        dropped += [f"pool of {kind} of {target}: {line}" for line in pooled.dropped]
        found.append(pooled.rows)
    return found, dropped


def _pool(kind: str, rows: Any, categories: Sequence[str] | None, compound: Sequence[str]) -> Outputs:
    if kind == "pmf":
        return pool_pmf(rows, categories=categories, model=NAME)
    if kind == "sample":
        return pool_samples(rows, compound=compound, max_samples=MOST_SAMPLES, model=NAME)
    return {"cdf": pool_cdf, "mean": pool_means, "median": pool_medians}[kind](rows, model=NAME)
