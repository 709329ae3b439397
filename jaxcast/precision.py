"""The precision of products of matrices.

GPUs and TPUs round the factors of float32 products to 10 and 7 binary digits unless a program asks
for more. Networks leave the choice to the user, by `jax_default_matmul_precision`. Everything else
asks for the highest: scores, filters, fits in closed form and weighted sums of forecasts.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jaxtyping import Array

Function = TypeVar("Function", bound=Callable[..., Any])


def highest(function: Function) -> Function:
    """Decorates a function without networks: its products are computed in full precision.

    It goes below `jax.jit`, and on the function's own rules of derivatives too.

    Args:
        function: of arrays.

    Returns:
        The same function, in full precision.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcast.precision import highest
        >>> "HIGHEST" in jax.jit(highest(jnp.dot)).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()
        True
    """
    decorated: Function = jax.default_matmul_precision("highest")(function)
    return decorated


@highest
def product(a: Array, b: Array) -> Array:
    """Multiplies in full precision, inside a function that also calls a user's model.

    Args:
        a: the left factor, a vector or a matrix.
        b: the right factor, likewise.

    Returns:
        The product.
    """
    return a @ b
