"""Dropout in one or in many places of a network, with one draw of random numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

NUM_VALUES = 2**16


class Dropout:
    """The dropout of one pass through a network; each call uses up part of one draw.

    A draw in every place would take most of the time that the network needs to compile.

    Args:
        probability: with which a component is set to zero, to within 1e-5; the others are scaled
            up.
        key: random key; without one nothing is dropped.
        size: components of all calls together, or more.
    """

    def __init__(self, probability: float, key: Key[Array, ""] | None, size: int):
        self._threshold = round(probability * NUM_VALUES)
        self._bits = None if key is None or not self._threshold else jax.random.bits(key, (size,), "uint16")
        self._used = 0

    def __call__(self, xs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Sets components to zero.

        Args:
            xs: the components, of any shape.

        Raises:
            ValueError: where the draw is used up.
        """
        if self._bits is None:
            return xs
        start, self._used = self._used, self._used + xs.size
        if self._used > self._bits.size:
            raise ValueError(f"expected at most {self._bits.size} components, got {self._used}")
        kept = self._bits[start : self._used].reshape(xs.shape) >= self._threshold
        return jnp.where(kept, xs * (NUM_VALUES / (NUM_VALUES - self._threshold)), 0)


def drop(xs: Float[Array, "*shape"], probability: float, key: Key[Array, ""] | None) -> Float[Array, "*shape"]:
    """Applies dropout in one place.

    Args:
        xs: the components, of any shape.
        probability: see `Dropout`.
        key: random key; without one nothing is dropped.
    """
    return Dropout(probability, key, xs.size)(xs)
