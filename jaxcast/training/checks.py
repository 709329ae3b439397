"""Checks of a training: finite data where the loss sees them, and a finite loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, PyTree

from jaxcast.errors import InputError
from jaxcast.tracing import is_traced
from jaxcast.training.run import FitSettings


class DivergenceError(InputError):
    """Error for a training whose loss has become NaN or infinite."""


def check_data(name: str, init: Any, models: Any, data: PyTree, keys: Array, settings: FitSettings) -> None:
    """Checks that data are finite wherever the loss sees them.

    NaN and infinity are accepted where loss and gradient stay finite all the same: in targets of
    weight 0 of a `WindowLoss`, for example, or in missing values of histories.

    Args:
        name: of the data, "data" or "validation".
        init: key -> model; None where there are models.
        models: with a leading seed axis, or None.
        data: arrays with a leading sample axis, over time with leading stream and time axes.
        keys: of the seeds.
        settings: of the fit.

    Raises:
        InputError: with the array and the first sample, or stream and step, where the loss is not
            finite.
    """
    bad = _bad_places(data, 2 if settings.over_time else 1)
    if not len(bad):
        return
    model = jax.tree.map(lambda a: a[0], models) if init is None else init(jax.random.fold_in(keys[0], 0))
    is_finite = _judge(model, settings)
    size = 1 if settings.over_time else min(settings.size, len(bad))
    for start in range(0, len(bad), size):
        group = bad[start : start + size]
        if is_finite(_batch_at(data, np.resize(group, (size, *group.shape[1:])), settings)):
            continue
        place = next((p for p in group if not is_finite(_batch_at(data, p[None], settings))), group[0])
        where = f"sample {place[0]}" if len(place) == 1 else f"step {place[1]} of stream {place[0]}"
        raise InputError(
            f"{name} must be finite where the loss sees it, got NaN or infinity in "
            f"{name}{_culprit(data, place, settings, is_finite)} at {where} (counted from 0); drop or fill such "
            "values, or have the loss mask them by jnp.where before it computes"
        )


def _bad_places(data: PyTree, num_axes: int) -> np.ndarray:
    """Returns the places, (place, axis), of samples or steps that are not finite."""
    bad: Any = False
    for leaf in jax.tree.leaves(data):
        if not is_traced(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating):
            if jnp.isfinite(leaf).all():  # on the device: finite data are not copied to the host
                continue
            finite = np.asarray(jnp.isfinite(leaf))
            bad = bad | ~finite.reshape((*finite.shape[:num_axes], -1)).all(-1)
    places = np.argwhere(bad)
    return places if num_axes == 1 or not len(places) else places[np.unique(places[:, 0], return_index=True)[1]]


def _batch_at(data: PyTree, places: np.ndarray, settings: FitSettings) -> PyTree:
    """Returns the samples, or the chunk of one stream with the step, as a batch."""
    if not settings.over_time:
        return jax.tree.map(lambda a: a[places[:, 0]], data)
    stream, start = places[0][0], places[0][1] // settings.size * settings.size
    return jax.tree.map(lambda a: a[stream : stream + 1, start : start + settings.size], data)


def _judge(model: Any, settings: FitSettings) -> Callable[[PyTree], bool]:
    """Makes a function of a batch that returns whether loss and gradient are finite."""
    graph, *state = nnx.split(model, nnx.Param, ...)
    params, others = state
    options: dict[str, Any] = {"key": jax.random.key(0)} if settings.with_key else {}

    def loss(params: Any, batch: PyTree) -> Any:
        model = nnx.merge(graph, params, others)
        if not settings.over_time:
            return settings.loss(model, batch, **options)
        return settings.loss(model, model.init_carry(1), batch, **options)[0]

    both = jax.jit(jax.value_and_grad(loss))
    return lambda batch: all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(both(params, batch)))


def _culprit(data: PyTree, place: np.ndarray, settings: FitSettings, is_finite: Callable[[PyTree], bool]) -> str:
    """Returns the path of the array whose values make the loss not finite."""
    batch = _batch_at(data, place[None], settings)
    leaves, structure = jax.tree_util.tree_flatten_with_path(batch)
    bad = [k for k, (_, leaf) in enumerate(leaves) if not np.isfinite(np.asarray(leaf, float)).all()]
    for k in bad if len(bad) > 1 else []:
        repaired = [jnp.nan_to_num(leaf, posinf=0, neginf=0) if n == k else leaf for n, (_, leaf) in enumerate(leaves)]
        if is_finite(jax.tree.unflatten(structure, repaired)):
            return jax.tree_util.keystr(leaves[k][0])
    return jax.tree_util.keystr(leaves[bad[0]][0])


def check_losses(losses: Float[Array, "seed epoch"], trained: Bool[Any, "seed epoch"] | None = None) -> None:
    """Checks that a training has not diverged.

    Args:
        losses: of every epoch.
        trained: which epochs took place, where seeds stop early; by default all.

    Raises:
        DivergenceError: with the first seed and epoch, counted from 0, whose loss is not finite.
    """
    if is_traced(losses):
        return
    values = np.asarray(losses)
    bad = ~np.isfinite(values)
    if trained is not None:
        bad &= np.asarray(trained)
    if not bad.any():
        return
    epoch = int(np.argmax(bad.any(0)))
    seeds = np.flatnonzero(bad[:, epoch])
    seed = int(seeds[0])
    raise DivergenceError(
        f"the training diverges: the loss of seed {seed} is {values[seed, epoch]} in epoch {epoch} of "
        f"{values.shape[1]} (counted from 0), {int(bad.any(1).sum())} of {len(values)} seeds in all; lower the "
        "learning rate, or clip gradients by clip_norm"
    )
