"""Pools of samples: whole trajectories of every model."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcast.checks import check_seed, check_whole
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.outputs.pools import rows_to_pool
from jaxcast.hub.outputs.reading import Outputs
from jaxcast.io.tables import polars

COMPOUND = ("reference_date", "location", "target")


def pool_samples(
    rows: Any,
    *,
    compound: Sequence[str] = COMPOUND,
    max_samples: int | None = None,
    weights: Mapping[str, float | int] | None = None,
    seed: int = 0,
    model: str = "pool",
) -> Outputs:
    """Pools samples: whole trajectories of every model, numbered anew.

    The samples of a compound task (one round, location and target, say) with the same id are one
    trajectory over its other task ids, such as horizons. Trajectories stay whole, so that the pool
    keeps how each model's values depend on each other. Where there are more than `max_samples`,
    each model gives a number in proportion to its weight, or all that it has; with equal weights
    all give as many. Where these are not whole numbers, a draw decides which models give one more.
    A model's trajectories are drawn systematically: in order from low to high, by the mean rank of
    their values, every kth is taken, from a random one on. Each is as likely as any other, and the
    draw is closer to all of them than a random one.

    Models may differ in the tasks of their trajectories. The pool's trajectories are over the tasks
    that at least half of the models have, and of the models that have all of these.

    Args:
        rows: Rows of `read_outputs`; those of other types are ignored.
        compound: Task ids that are the same in a trajectory, the hub's compound_taskid_set.
            `reference_date` always is.
        max_samples: Largest number of samples of a task; by default all are kept, and `weights`
            only choose models.
        weights: Weight of each model; by default equal.
        seed: Seed of the draw.
        model: Name of the pool.

    Returns:
        A row for each task and sample, with ids 1, 2, ... that differ between compound tasks, and
        what was not used: trajectories that lack a task of their model, tasks of too few models,
        and models without one of the others.

    Raises:
        InputError: where nothing can be pooled, for unknown columns, or for weights of unknown
            models or below 0.

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "target": "cases"}
        >>> rows = pl.DataFrame(
        ...     [{"model": m, **task, "horizon": h, "output_type": "sample", "output_type_id": str(i),
        ...       "value": 10 * i + h} for m in "ab" for i in range(4) for h in (1, 2)]
        ... )
        >>> pooled = jaxcast.hub.pool_samples(rows, max_samples=4).rows
        >>> pooled.group_by("horizon").len().sort("horizon").rows()
        [(1, 4), (2, 4)]
        >>> pooled["value"].diff().to_list()[1::2]  # each trajectory is whole
        [1.0, 1.0, 1.0, 1.0]
    """
    pl = polars()
    rows, tasks, dropped = rows_to_pool(rows, "sample", weights)
    unit = compound_columns(tasks, compound)
    within = [name for name in tasks if name not in unit]
    check_seed(seed)
    if max_samples is not None:
        check_whole("max_samples", max_samples)
    rows = whole_trajectories(rows, unit, within, dropped)
    rows = _common_tasks(rows, unit, within, dropped)
    place = pl.col("value").rank().over("model", *tasks)  # of the values of a task, low to high
    path = (
        rows.with_columns(place=place).group_by("model", *unit, "output_type_id", "weight").agg(pl.col("place").mean())
    )
    path = path.sort(*unit, "model", "place", "output_type_id")
    chosen, start = [], 0
    for key, paths in path.group_by(unit, maintain_order=True):
        rng = np.random.default_rng([seed, zlib.crc32(str(key).encode())])
        kept = paths[_drawn(paths, max_samples, rng)]
        chosen.append(kept.with_columns(number=start + pl.int_range(1, pl.len() + 1)))
        start += len(kept)
    if not chosen:
        raise InputError(
            f"no whole trajectory is left to pool ({shown('; '.join(dropped))}); give compound as the hub has it"
        )
    numbered = rows.join(
        pl.concat(chosen).drop("weight", "place"), on=["model", *unit, "output_type_id"], nulls_equal=True
    )
    numbered = numbered.sort("number", *within)
    id_ = pl.col("number").cast(pl.String).alias("output_type_id")
    kind = pl.lit("sample").alias("output_type")
    return Outputs(numbered.select(pl.lit(model).alias("model"), *tasks, kind, id_, "value"), tuple(dropped))


def compound_columns(tasks: list[str], compound: Sequence[str]) -> list[str]:
    """Returns the columns of a compound task.

    Args:
        tasks: Names of the columns that distinguish tasks.
        compound: Task ids that are the same in a trajectory.

    Raises:
        InputError: for one that is none of the columns.
    """
    unknown = [name for name in compound if name not in tasks]
    if unknown:
        raise InputError(
            f"compound names {shown(unknown[0])!r}, which is none of the columns {shown(', '.join(tasks))}"
        )
    return [name for name in tasks if name in compound or name == "reference_date"]


def whole_trajectories(rows: Any, unit: list[str], within: list[str], dropped: list[str]) -> Any:
    """Leaves out trajectories that lack a task that others of the model in the compound task have.

    Args:
        rows: Rows of samples.
        unit: Columns of a compound task.
        within: The other columns of tasks.
        dropped: List to which a line for each model is added.
    """
    pl = polars()
    task = pl.struct(within) if within else pl.lit(0)
    sizes = rows.with_columns(
        size=pl.len().over("model", *unit, "output_type_id"), tasks=task.n_unique().over("model", *unit)
    )
    return _kept(sizes, pl.col("size") == pl.col("tasks"), unit, "trajectory", "lacks tasks of others", dropped).drop(
        "size", "tasks"
    )


def _common_tasks(rows: Any, unit: list[str], within: list[str], dropped: list[str]) -> Any:
    """Keeps the tasks that at least half of the models have, of models that have all of these."""
    pl = polars()
    counts = rows.with_columns(
        models=pl.col("model").n_unique().over(*unit, *within), of=pl.col("model").n_unique().over(unit)
    )
    is_common = 2 * pl.col("models") >= pl.col("of")
    rare = counts.filter(~is_common)
    if len(rare):
        number = rare.select(*unit, *within).n_unique()
        names = ", ".join(rare["model"].unique().sort())
        dropped.append(f"samples of {counted(number, 'task')} that less than half of the models have ({shown(names)})")
    common = counts.filter(is_common)
    task = pl.struct(within) if within else pl.lit(0)
    common = common.with_columns(size=task.n_unique().over("model", *unit), tasks=task.n_unique().over(unit))
    return _kept(
        common, pl.col("size") == pl.col("tasks"), unit, "compound task", "lacks tasks of the pool", dropped
    ).drop("size", "tasks", "models", "of")


def _kept(rows: Any, is_good: Any, unit: list[str], noun: str, fault: str, dropped: list[str]) -> Any:
    """Returns the good rows; counts what each model loses, trajectories or compound tasks."""
    bad = rows.filter(~is_good)
    key = ["model", *unit, *(["output_type_id"] if noun == "trajectory" else [])]
    for name, number in bad.select(key).unique().group_by("model").len().sort("model").rows():
        words = noun if number == 1 else {"trajectory": "trajectories"}.get(noun, f"{noun}s")
        dropped.append(
            f"{number} {words} of {shown(name)} that {fault if number == 1 else fault.replace('lacks', 'lack')}"
        )
    return rows.filter(is_good)


def _drawn(paths: Any, max_samples: int | None, rng: np.random.Generator) -> np.ndarray:
    """Returns the indices of the trajectories that a pool of at most some of them keeps."""
    if max_samples is None or len(paths) <= max_samples:
        return np.arange(len(paths))
    models = paths["model"].to_numpy()
    names, first = np.unique(models, return_index=True)
    held = np.asarray([(models == name).sum() for name in names])
    quota = _quota(held, paths["weight"].to_numpy()[first], max_samples, rng)
    # Systematic sampling: every kth of a model's trajectories, low to high, from a random one.
    drawn = [
        np.flatnonzero(models == name)[
            ((rng.uniform(0, 1 - 1e-9) + np.arange(number)) * own / max(number, 1)).astype(int)
        ]
        for name, number, own in zip(names, quota, held, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _quota(held: np.ndarray, weights: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the number of samples of each model: in proportion to its weight, at most all."""
    share = np.zeros(len(held))
    is_open = np.ones(len(held), bool)
    while True:  # what models with few samples cannot give falls to the others
        left = total - held[~is_open].sum()
        share = np.where(is_open, left * weights / weights[is_open].sum(), held)
        short = is_open & (share > held)
        if not short.any():
            break
        is_open &= ~short
    whole = np.floor(share + 1e-9).astype(int)
    # The rest is drawn in proportion to the fractions, so that no model gains on average.
    room = np.where(whole < held, np.maximum(share - whole, 0), 0)
    rest = total - int(whole.sum())
    if rest:
        whole[rng.choice(len(held), rest, replace=False, p=room / room.sum())] += 1
    return whole
