"""Polynomials in several variables: their terms."""

import itertools
import json
import math
from functools import cache, reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.precision import highest

Factors = tuple[tuple[int, ...], ...]


@cache
def monomials(num_variables: int, degree: int) -> Factors:
    """Lists the factors of all monomials up to a degree, the constant first.

    Args:
        num_variables: how many variables there are.
        degree: the highest degree.

    Returns:
        For each monomial the variables that it multiplies, counted from 1; 0 stands for the
        number one.
    """
    num_terms = math.comb(num_variables + max(degree, 1), max(degree, 1))
    check_arrays(
        f"{num_terms} products of {num_variables} variables", (num_terms, max(degree, 1) + 7)
    )  # of Python tuples
    return tuple(itertools.combinations_with_replacement(range(num_variables + 1), max(degree, 1)))


def check_factors(name: str, factors: Any, num_variables: int) -> None:
    """Refuses factors that are not all `monomials` up to some degree.

    Args:
        name: of the factors, for a message.
        factors: what was given.
        num_variables: how many variables there are.

    Raises:
        InputError: for a missing, additional or misplaced term, or one of other variables.
    """
    is_nested = isinstance(factors, tuple) and factors and all(isinstance(term, tuple) for term in factors)
    degree = len(factors[0]) if is_nested else 0
    fits = is_nested and degree >= 1 and math.comb(num_variables + degree, degree) == len(factors)
    if not fits or json.dumps(factors) != json.dumps(monomials(num_variables, degree)):
        raise InputError(
            f"{name} must be all products of {num_variables} variables up to a degree, got {shown(factors)}"
        )


@highest
def products(values: Float[Array, "*batch variable"], factors: Factors) -> Float[Array, "*batch term"]:
    """Computes monomials.

    Args:
        values: of the variables.
        factors: of each monomial, as `monomials` lists them.

    Returns:
        The monomials.
    """
    with_one = jnp.concatenate([jnp.ones_like(values[..., :1]), values], -1)
    # Products with zeros and ones: the gradient of a gather is a scatter, slow to compile and run.
    chosen = (
        with_one @ jnp.asarray(np.eye(with_one.shape[-1])[:, list(column)], values.dtype)
        for column in zip(*factors, strict=True)
    )
    return reduce(jnp.multiply, chosen)


def chebyshev_terms(values: Float[Array, "*batch variable"], degree: int) -> Float[Array, "*batch term"]:
    """Computes products of Chebyshev polynomials, prod_j T_(n_j)(x_j), in place of monomials.

    Args:
        values: of the variables.
        degree: the highest total degree.

    Returns:
        The products, in the order of `monomials`.
    """
    powers = [jnp.ones_like(values), values]
    while len(powers) <= degree:
        powers.append(2 * values * powers[-1] - powers[-2])
    table = jnp.stack(powers, -1)
    num_variables = values.shape[-1]
    terms = np.asarray(
        [np.bincount(term, minlength=num_variables + 1)[1:] for term in monomials(num_variables, degree)]
    )
    return reduce(jnp.multiply, (table[..., n, :][..., terms[:, n]] for n in range(num_variables)))
