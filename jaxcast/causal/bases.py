"""Bases of functions of the covariates, for regressions that are linear in them."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import check_whole
from jaxcast.limits import check_arrays
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.pytrees import FrozenPytree, static


class Places(NamedTuple):
    """Where a basis sits, measured once on covariates.

    Args:
        mean: of each covariate.
        std: standard deviation of each covariate, 1 for one that never changes.
        knots: of each covariate, standardised and rising; none for polynomials.
    """

    mean: Float[Array, " covariate"]
    std: Float[Array, " covariate"]
    knots: Float[Array, "knot covariate"]


class Basis(ABC):
    """Base of all bases: functions of standardised covariates, without the constant.

    A basis of your own is a hashable class with these two methods.
    """

    @abstractmethod
    def places(self, covariates: Float[Array, "sample covariate"]) -> Places:
        """Measures where the basis sits.

        Args:
            covariates: of all samples.

        Returns:
            Means, standard deviations and knots.
        """

    @abstractmethod
    def expand(self, covariates: Float[Array, "*batch covariate"], places: Places) -> Float[Array, "*batch feature"]:
        """Evaluates the functions.

        Args:
            covariates: in their own units.
            places: of the samples that the basis was fitted to.

        Returns:
            One feature for each function.
        """


def standardised(covariates: Float[Array, "*batch covariate"], places: Places) -> Float[Array, "*batch covariate"]:
    """Returns covariates in units of their standard deviation.

    Args:
        covariates: in their own units.
        places: with mean and standard deviation.
    """
    return (covariates - places.mean) / places.std


def measured(covariates: Float[Array, "sample covariate"], probabilities: np.ndarray) -> Places:
    """Returns means, standard deviations and standardised quantiles of covariates.

    Args:
        covariates: of all samples.
        probabilities: of the quantiles.
    """
    mean, std = covariates.mean(0), covariates.std(0)
    # What never changes, but for rounding, is left at 0.
    std = jnp.where(std > jnp.finfo(std.dtype).eps * (1 + jnp.abs(mean)), std, 1)
    scaled = (covariates - mean) / std
    knots = jnp.quantile(scaled, jnp.asarray(probabilities, std.dtype), axis=0)
    return Places(mean, std, knots)


class LinearBasis(Basis, FrozenPytree):
    """The standardised covariates themselves.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> basis, x = jaxcast.causal.LinearBasis(), jnp.asarray([[1.0], [3.0]])
        >>> basis.expand(x, basis.places(x)).tolist()
        [[-1.0], [1.0]]
    """

    def places(self, covariates: Float[Array, "sample covariate"]) -> Places:
        return measured(covariates, np.zeros(0))

    def expand(self, covariates: Float[Array, "*batch covariate"], places: Places) -> Float[Array, "*batch feature"]:
        return standardised(covariates, places)


class PolynomialBasis(Basis, FrozenPytree):
    """All products of the standardised covariates up to a degree.

    Args:
        degree: the highest total degree.

    Raises:
        InputError: for a degree below 1, or more products than fit into memory.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> basis, x = jaxcast.causal.PolynomialBasis(degree=2), jnp.asarray([[1.0, 0.0], [3.0, 4.0]])
        >>> basis.expand(x, basis.places(x)).shape
        (2, 5)
    """

    degree: int = static(default=2)

    def places(self, covariates: Float[Array, "sample covariate"]) -> Places:
        check_whole("degree of PolynomialBasis", self.degree)
        return measured(covariates, np.zeros(0))

    def expand(self, covariates: Float[Array, "*batch covariate"], places: Places) -> Float[Array, "*batch feature"]:
        factors = monomials(covariates.shape[-1], self.degree)
        check_arrays(f"{len(factors)} products of covariates", (*covariates.shape[:-1], len(factors)))
        return products(standardised(covariates, places), factors)[..., 1:]


class SplineBasis(Basis, FrozenPytree):
    """Natural cubic splines of every covariate, and perhaps the products of pairs of covariates.

        N_1(x) = x,    N_(k+1)(x) = d_k(x) - d_(K-1)(x),
        d_k(x) = ((x - t_k)_+^3 - (x - t_K)_+^3) / (t_K - t_k)

    with K knots t at quantiles of the covariate. A natural spline is linear beyond its outermost
    knots, so a few large values do no harm. Of a covariate with two values only the linear part is
    left.

    Args:
        num_knots: K, at least 3.
        interactions: whether to add x_i x_j for all pairs i < j of standardised covariates.

    Raises:
        InputError: for fewer than 3 knots, or more pairs than fit into memory.

    Source:
        Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), equation 5.4;
        Harrell, Regression Modeling Strategies (2015), for the places of the knots.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> basis, x = jaxcast.causal.SplineBasis(num_knots=4), jnp.linspace(0, 1, 50)[:, None]
        >>> basis.expand(x, basis.places(x)).shape
        (50, 3)
    """

    num_knots: int = static(default=5)
    interactions: bool = static(default=False)

    def places(self, covariates: Float[Array, "sample covariate"]) -> Places:
        check_whole("num_knots of SplineBasis", self.num_knots, least=3)
        outermost = 0.05 if self.num_knots > 3 else 0.1
        return measured(covariates, np.linspace(outermost, 1 - outermost, self.num_knots))

    def expand(self, covariates: Float[Array, "*batch covariate"], places: Places) -> Float[Array, "*batch feature"]:
        scaled, knots = standardised(covariates, places), places.knots
        cubes = [jnp.maximum(scaled - knot, 0) ** 3 for knot in knots]
        gaps = [knots[-1] - knot for knot in knots[:-1]]
        slopes = [
            jnp.where(gap > 0, (cube - cubes[-1]) / jnp.where(gap > 0, gap, 1), 0)
            for cube, gap in zip(cubes, gaps, strict=False)
        ]
        parts = [scaled, *(slope - slopes[-1] for slope in slopes[:-1])]
        if self.interactions:
            rows, columns = np.triu_indices(covariates.shape[-1], 1)
            check_arrays(f"{len(rows)} pairs of covariates", (*covariates.shape[:-1], len(rows)))
            parts.append(scaled[..., rows] * scaled[..., columns])
        return jnp.concatenate(parts, -1)
