"""Polynomials in several variables: the terms that they are made of."""

import itertools
from functools import cache, reduce

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Factors = tuple[tuple[int, ...], ...]


@cache
def monomials(num_variables: int, degree: int) -> Factors:
    """The factors of all monomials up to a degree, the constant first: variables counted from 1, where 0 stands for one."""
    return tuple(itertools.combinations_with_replacement(range(num_variables + 1), max(degree, 1)))


def products(values: Float[Array, "*batch variable"], factors: Factors) -> Float[Array, "*batch term"]:
    """The product of the values that each tuple names."""
    with_one = jnp.concatenate([jnp.ones_like(values[..., :1]), values], -1)
    # As products with zeros and ones, not by index: the gradient of a gather is a scatter, slow to compile and to run.
    chosen = (
        jnp.matmul(
            with_one, jnp.asarray(np.eye(with_one.shape[-1])[:, list(column)], values.dtype), precision="highest"
        )
        for column in zip(*factors, strict=True)
    )
    return reduce(jnp.multiply, chosen)


def chebyshev_terms(values: Float[Array, "*batch variable"], degree: int) -> Float[Array, "*batch term"]:
    """prod_j T_(n_j)(x_j) with Chebyshev's T in place of the powers of each monomial."""
    powers = [jnp.ones_like(values), values]
    while len(powers) <= degree:
        powers.append(2 * values * powers[-1] - powers[-2])
    table = jnp.stack(powers, -1)
    num_variables = values.shape[-1]
    terms = np.asarray(
        [np.bincount(term, minlength=num_variables + 1)[1:] for term in monomials(num_variables, degree)]
    )
    return reduce(jnp.multiply, (table[..., n, :][..., terms[:, n]] for n in range(num_variables)))
