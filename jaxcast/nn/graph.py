"""Operators of graphs.

A graph is (node, node): A_ij >= 0 is the weight with which node i listens to node j. Several graphs
are one array (graph, node, node). Operators are pure functions, so that learned graphs have
gradients; those of a graph that is given are computed once and then passed to the layers.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.precision import highest


@checked
def transition(graph: Float[ArrayLike, "*graph node node"]) -> Float[Array, "*graph node node"]:
    """Returns the transition matrix of a random walk, P = diag(1/d) A, d_i = sum_j A_ij.

    Args:
        graph: A, not negative, with any leading axes.

    Returns:
        The matrix. Its rows sum to 1; that of a node without neighbours is zero.

    Source:
        Li, Yu, Shahabi and Liu (2018), section 2.2.

    Example:
        >>> import jaxcast
        >>> jaxcast.nn.transition([[0.0, 3.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).tolist()
        [[0.0, 0.75, 0.25], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    weights = _square(graph)
    degree = weights.sum(-1, keepdims=True)
    return weights / jnp.where(degree > 0, degree, 1)


@checked
def backward_transition(graph: Float[ArrayLike, "*graph node node"]) -> Float[Array, "*graph node node"]:
    """Returns the transition matrix of the walk against the edges, P' = diag(1/c) A^T, c_j = sum_i A_ij.

    Args:
        graph: A, not negative, with any leading axes.

    Returns:
        The matrix. Its rows sum to 1; that of a node to which nobody listens is zero.

    Source:
        Li, Yu, Shahabi and Liu (2018), section 2.2.

    Example:
        >>> import jaxcast
        >>> jaxcast.nn.backward_transition([[0.0, 3.0], [1.0, 1.0]]).tolist()
        [[0.0, 1.0], [0.75, 0.25]]
    """
    return transition(jnp.swapaxes(_square(graph), -1, -2))


@checked
def both_transitions(graph: Float[ArrayLike, "*graph node node"]) -> Float[Array, "support node node"]:
    """Returns the transition matrices of all graphs, forward and backward, for a diffusion convolution.

    Args:
        graph: A, not negative, (node, node) or (graph, node, node).

    Returns:
        All P, then all P'.

    Example:
        >>> import jaxcast
        >>> jaxcast.nn.both_transitions([[0.0, 3.0], [1.0, 1.0]]).tolist()
        [[[0.0, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.75, 0.25]]]
    """
    graphs = _square(graph)
    graphs = graphs.reshape(-1, *graphs.shape[-2:])
    return jnp.concatenate([transition(graphs), backward_transition(graphs)])


@checked
def symmetric_normalised(graph: Float[ArrayLike, "*graph node node"]) -> Float[Array, "*graph node node"]:
    """Returns S = diag(d^-1/2) A diag(d^-1/2), d_i = sum_j A_ij.

    Args:
        graph: A, symmetric and not negative, with any leading axes.

    Returns:
        The matrix. Row and column of a node without neighbours are zero.

    Source:
        Kipf and Welling (2017), eq. 2.

    Example:
        >>> import jaxcast
        >>> jaxcast.nn.symmetric_normalised([[0.0, 4.0], [4.0, 0.0]]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    weights = _square(graph)
    degree = weights.sum(-1)
    root = jnp.where(degree > 0, jnp.where(degree > 0, degree, 1) ** -0.5, 0)
    return root[..., :, None] * weights * root[..., None, :]


@checked
def rescaled_laplacian(
    graph: Float[ArrayLike, "*graph node node"], largest: float | int | None = None
) -> Float[Array, "*graph node node"]:
    """Returns L~ = 2 L / lambda_max - I, L = I - S, whose eigenvalues lie within [-1, 1].

    A graph that is not symmetric is replaced by max(A, A^T) first, as spectral methods need it. The
    largest eigenvalue takes of the order of N^3 operations: compute L~ once for a graph that stays
    the same, not at each step.

    Args:
        graph: A, not negative, with any leading axes.
        largest: lambda_max; by default each graph's own. 2 is its upper bound, which makes L~ = -S.

    Returns:
        The matrix. Off the diagonal, row and column of a node without neighbours are zero.

    Raises:
        InputError: for an eigenvalue that is not positive.

    Source:
        Defferrard, Bresson and Vandergheynst (2016), section 2.1.

    Example:
        >>> import jaxcast
        >>> jaxcast.nn.rescaled_laplacian([[0.0, 4.0], [4.0, 0.0]]).round(6).tolist()
        [[0.0, -1.0], [-1.0, 0.0]]
    """
    if largest is not None and not largest > 0:
        raise InputError(f"largest must be above 0, got {largest}; 2 is its upper bound")
    weights = _square(graph)
    identity = jnp.eye(weights.shape[-1], dtype=weights.dtype)
    laplacian = identity - symmetric_normalised(jnp.maximum(weights, jnp.swapaxes(weights, -1, -2)))
    bound: Any = _largest_eigenvalue(laplacian)[..., None, None] if largest is None else largest
    return 2 / bound * laplacian - identity


@highest
def _largest_eigenvalue(matrix: Array) -> Array:
    """Returns v^T L v of the last eigenvector, whose gradient exists where eigenvalues coincide too."""
    vector = jax.lax.stop_gradient(jnp.linalg.eigh(jax.lax.stop_gradient(matrix))[1][..., -1])
    return jnp.einsum("...i,...ij,...j->...", vector, matrix, vector)


@checked
@highest
def chebyshev_polynomials(
    laplacian: Float[ArrayLike, "*graph node node"], order: int
) -> Float[Array, "*graph degree node node"]:
    """Returns T_0 = I, T_1 = L~ and T_k = 2 L~ T_(k-1) - T_(k-2), up to an order.

    `ChebyshevConvolution` does without these matrices, as it needs only their products.

    Args:
        laplacian: L~, the rescaled Laplacian.
        order: the highest degree.

    Returns:
        The polynomials, one for each degree from 0.

    Raises:
        InputError: for a negative order.

    Example:
        >>> import jaxcast
        >>> jaxcast.nn.chebyshev_polynomials([[0.0, -1.0], [-1.0, 0.0]], order=2)[2].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    first = _square(laplacian)
    check_whole("order", order, least=0)
    found = [jnp.broadcast_to(jnp.eye(first.shape[-1], dtype=first.dtype), first.shape), first]
    while len(found) <= order:
        found.append(2 * first @ found[-1] - found[-2])
    return jnp.stack(found[: order + 1], -3)


def _square(graph: ArrayLike) -> Array:
    found = jnp.asarray(graph)
    if found.ndim < 2 or found.shape[-1] != found.shape[-2]:
        raise InputError(f"expected a graph (node, node), perhaps with axes in front, got shape {found.shape}")
    return found
