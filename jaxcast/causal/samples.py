"""Samples of double machine learning: checked arrays, splits, and groups that depend on each other."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxcast.causal.estimates import Groups
from jaxcast.causal.splits import Splits, block_splits, numbered, random_splits
from jaxcast.checks import check_finite, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

LEAST_LEFT = 1e-6
"""Share of a treatment's variance that its prediction must leave."""


class Samples(NamedTuple):
    """Outcome, treatments and covariates in one dtype.

    Args:
        outcome: of each sample.
        treatments: with a treatment axis also for one.
        covariates: of each sample.
    """

    outcome: Float[Array, " sample"]
    treatments: Float[Array, "sample treatment"]
    covariates: Float[Array, "sample covariate"]


def checked_samples(outcome: Any, treatment: Any, covariates: Any) -> Samples:
    """Returns the samples as arrays of one dtype.

    Args:
        outcome: (sample,).
        treatment: (sample,) or (sample, treatment).
        covariates: (sample, covariate).

    Raises:
        InputError: for other shapes, NaN, infinity, or treatments without variation of their own.
    """
    shapes = [np.shape(a) for a in (outcome, treatment, covariates)]
    is_right = len(shapes[0]) == 1 and len(shapes[1]) in (1, 2) and len(shapes[2]) == 2
    if not is_right or len({shape[:1] for shape in shapes}) > 1 or 0 in shapes[0] + shapes[1] + shapes[2]:
        raise InputError(
            "expected outcome (sample,), treatment (sample,) or (sample, treatment) and covariates (sample, covariate) "
            f"of the same samples, got shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    check_finite({"outcome": outcome, "treatment": treatment, "covariates": covariates})
    dtype = jnp.result_type(float) if not is_traced(outcome) else jnp.result_type(outcome)
    arrays = [jnp.asarray(a, dtype) for a in (outcome, treatment, covariates)]
    samples = Samples(arrays[0], arrays[1].reshape(shapes[0][0], -1), arrays[2])
    if not is_traced(outcome, treatment):
        _check_variation(np.asarray(outcome, float), np.asarray(treatment, float).reshape(shapes[0][0], -1))
    return samples


def _check_variation(outcome: np.ndarray, treatments: np.ndarray) -> None:
    if outcome.min() == outcome.max():
        raise InputError(f"expected an outcome that varies, got {outcome[0]:g} everywhere")
    spread = treatments.std(0)
    still = np.flatnonzero(treatments.min(0) == treatments.max(0))
    if len(still):
        where = f"treatment {still[0]}" if treatments.shape[1] > 1 else "the treatment"
        raise InputError(
            f"expected treatments that vary, got {treatments[0, still[0]]:g} everywhere in {where}; leave it out"
        )
    scaled = (treatments - treatments.mean(0)) / spread
    if np.linalg.matrix_rank(scaled.T @ scaled / len(scaled), tol=1e-7) < treatments.shape[1]:
        raise InputError(
            f"the {treatments.shape[1]} treatments are linear combinations of each other; of indicators leave one "
            "level out, as treatment_indicators does"
        )


def split_and_group(
    num_samples: int,
    *,
    num_folds: int,
    num_repeats: int,
    blocks: bool,
    gap: int,
    times: Any,
    clusters: Any,
    num_lags: int | None,
    splits: Splits | None,
    key: Key[Array, ""],
) -> tuple[Splits, Groups]:
    """Returns the splits, and which scores depend on each other.

    Args:
        num_samples: number of samples.
        num_folds: number of folds.
        num_repeats: number of repeats.
        blocks: whether folds are blocks of time.
        gap: steps left out around a block.
        times: label of each sample's time step.
        clusters: label of each sample's cluster.
        num_lags: lags up to which scores are correlated; None to choose.
        splits: to use instead of those drawn here.
        key: random key.

    Raises:
        InputError: for settings that do not go together.
    """
    if clusters is not None and (blocks or times is not None):
        raise InputError("give clusters, or times and blocks: scores are grouped by one of them")
    if gap and not blocks:
        raise InputError(f"a gap of {gap} belongs to blocks; give blocks=True")
    steps = None if times is None else numbered("times", times, num_samples)
    members = None if clusters is None else numbered("clusters", clusters, num_samples)
    number = steps if members is None else members
    num_groups = num_samples if number is None else int(number.max()) + 1
    if num_groups < 2:
        raise InputError("expected at least two different clusters or times, got one")
    if splits is None and blocks:
        splits = block_splits(num_samples, num_folds=num_folds, num_repeats=num_repeats, gap=gap, times=steps, key=key)
    elif splits is None:
        splits = random_splits(num_samples, num_folds=num_folds, num_repeats=num_repeats, clusters=members, key=key)
    _check_splits(splits, num_samples)
    if num_lags is None:
        num_lags = math.floor(num_groups ** (1 / 3)) if blocks else 0
    check_whole("num_lags", num_lags, least=0, most=num_groups - 1)
    if num_lags and members is not None:
        raise InputError(f"clusters have no order, so num_lags must be 0, got {num_lags}")
    return splits, Groups(
        None if number is None else jnp.asarray(number), num_groups=num_groups, num_lags=int(num_lags)
    )


def _check_splits(splits: Splits, num_samples: int) -> None:
    train, fold = np.shape(splits.train), np.shape(splits.fold)
    if len(train) != 3 or fold != (train[0], num_samples) or train[2] != num_samples:
        raise InputError(
            f"expected splits of {num_samples} samples, train (repeat, fold, sample) and fold (repeat, sample), got "
            f"shapes {train} and {fold}"
        )
    if is_traced(splits):
        return
    held_out = np.asarray(splits.fold)[:, None] == np.arange(train[1])[:, None]
    if (held_out.sum(1) != 1).any() or (held_out & np.asarray(splits.train)).any():
        raise InputError("expected splits in which one fold holds each sample out and does not learn from it")
    if (np.asarray(splits.train).sum(-1) < 2).any():
        raise InputError("expected splits with at least two samples to learn from in every fold; give a smaller gap")


def check_left(name: str, residuals: Any, target: Any) -> None:
    """Refuses treatments that the covariates determine.

    Args:
        name: of the target, for a message.
        residuals: of its predictions, with a last axis of targets.
        target: what was predicted.

    Raises:
        InputError: where hardly anything is left.
    """
    if is_traced(residuals):
        return
    left = np.square(np.asarray(residuals, float)).mean((0, 1)) / np.asarray(target, float).var(0)
    if not (left > LEAST_LEFT).all():
        raise InputError(
            f"the covariates determine {name} {shown(int(np.argmin(left)))} entirely, so its effect cannot be told "
            "from theirs; leave out covariates that are made from it"
        )
