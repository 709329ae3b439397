"""What a cell offers from which whole records can be reanalysed, and the backward pass over them."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.precision import highest
from jaxcast.rollout import Input, Output

LOCAL_ROOT = 0.3
"""Relative size of what counts in the anomalies around a component; fewer members than components
leave noise in the others, which the backward pass would amplify."""


class Estimate(NamedTuple):
    """A state with the variables of parameters, as it is estimated.

    Args:
        mean: the estimate.
        anomalies: rows whose squares sum to its covariance.
    """

    mean: Float[Array, " number"]
    anomalies: Float[Array, "row number"]


def of_members(members: Float[Array, "member number"]) -> Estimate:
    """Returns the estimate of an ensemble.

    Args:
        members: the ensemble.
    """
    mean = members.mean(0)
    return Estimate(mean, (members - mean) / jnp.sqrt(jnp.asarray(len(members) - 1, members.dtype)))


def as_members(estimate: Estimate) -> Float[Array, "member number"]:
    """Returns the ensemble of an estimate.

    Args:
        estimate: with a row for each member.
    """
    return estimate.mean + jnp.sqrt(jnp.asarray(len(estimate.anomalies) - 1, estimate.mean.dtype)) * estimate.anomalies


class Smoothable(ABC):
    """Base of filters and smoothers from which `reanalyse` makes a reanalysis.

    A step of a filter estimates the newest state, one of a smoother the state `lag` steps before,
    or the first one until then.
    """

    lag: int
    smallest_root: float | None = None
    """Relative size of a direction in which an estimate counts as certain; None for rounding."""

    @abstractmethod
    def estimate(self, carry: Any, x: Input) -> tuple[Any, Output, Estimate, Estimate]:
        """Takes a step.

        Args:
            carry: the memory so far.
            x: the newest value and what comes with it.

        Returns:
            The memory, the output, the estimate, and the same one step later, before its value.
        """

    @abstractmethod
    def moved(self, estimate: Estimate, exogenous: Any) -> Estimate:
        """Returns an estimate one step later, without noise.

        Args:
            estimate: before the step.
            exogenous: of the step.
        """

    @abstractmethod
    def parameters_of(self, estimate: Estimate) -> tuple[Array, Array]:
        """Returns mean and standard deviation of the unknown parameters.

        Args:
            estimate: of the state and their variables.
        """

    @abstractmethod
    def tapers(self, num_numbers: int, dtype: Any) -> Float[Array, "number number"] | None:
        """Returns the tapers between the numbers of a member; None for none.

        Args:
            num_numbers: of a member.
            dtype: of the result.

        Raises:
            InputError: where observations have tapers and numbers have none.
        """


@highest
def smoothed(cell: Smoothable, now: Estimate, later: Estimate, known: Estimate) -> Estimate:
    """Corrects an estimate by all later values.

        A = pinv(X_later) X_now,    mean += (known - later) A,    X_now += (X_known - X_later) A

    With tapers each number has its own A, from rows times the roots of its tapers, of which the
    directions that are small count as certain.

    Args:
        cell: whose estimates they are.
        now: the estimate.
        later: the same one step later.
        known: of the later step, from all values.

    Returns:
        The estimate from all values.

    Source:
        Raanes, Q. J. R. Meteorol. Soc. 142, 1259-1264 (2016).
    """
    changes = jnp.concatenate([(known.mean - later.mean)[None], known.anomalies - later.anomalies])
    tapers = cell.tapers(len(now.mean), now.mean.dtype)
    if tapers is None:
        found = changes @ (jnp.linalg.pinv(later.anomalies, rtol=cell.smallest_root) @ now.anomalies)
    else:

        def local(column: Array, taper: Array) -> Array:
            root = jnp.sqrt(taper)
            return (changes * root) @ (jnp.linalg.pinv(later.anomalies * root, rtol=LOCAL_ROOT) @ column)

        found = jax.vmap(local, (1, 0), 1)(now.anomalies, tapers)
    # Nothing later corrects an estimate after which the filter was lost.
    found = jnp.where(jnp.isfinite(found).all(), found, 0)
    return Estimate(now.mean + found[0], now.anomalies + found[1:])
