"""Values that JAX traces, and functions that it calls on the host."""

import abc
from typing import Any

import jax


def is_traced(*values: Any) -> bool:
    """Tells whether any leaf is traced, as under `jax.jit` or `jax.vmap`: its numbers are unknown.

    Args:
        values: trees of arrays and numbers.

    Returns:
        True where at least one leaf is traced.

    Example:
        >>> import jax
        >>> from jaxcast.tracing import is_traced
        >>> seen = []
        >>> _ = jax.jit(lambda x: seen.append(is_traced(x, 1.0)))(2.0)
        >>> seen, is_traced(2.0)
        ([True], False)
    """
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


class OutsideJax(abc.ABC):
    """A function that JAX calls on the host and cannot see into.

    Its exceptions arrive only when its results are used, so `checked` functions wait for them.
    """

    @abc.abstractmethod
    def __call__(self, value: Any, exogenous: Any = None) -> Any:
        """Returns the candidates' forecasts of the value after this one."""
