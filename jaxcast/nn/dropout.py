"""Dropout in one or in many places of a network, with one draw of random numbers."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Bool, Float, Key, UInt16

from jaxcast.backends.dispatch import compile_apart

NUM_VALUES = 2**16


def random_bits(key: Key[Array, ""], size: int) -> UInt16[Array, " size"]:
    """Draws random bits, sixteen for each component.

    `jax.random.bits` draws 64 bits for each component and keeps sixteen; this keeps all, which
    takes a twelfth of the time on a CPU.

    Args:
        key: random key.
        size: components.
    """
    if str(jax.random.key_impl(key)) != "threefry2x32":
        return jax.random.bits(key, (size,), "uint16")
    # Apart from what uses the bits: merged with it, the choice between the two halves of a word is made
    # for one component after the other.
    return compile_apart(_halves_of_words(size), key)


@functools.cache
def _halves_of_words(size: int) -> Callable[[Key[Array, ""]], UInt16[Array, " size"]]:
    def halves(key: Key[Array, ""]) -> UInt16[Array, " size"]:
        words = threefry_2x32(jax.random.key_data(key), jnp.arange(-(-size // 2), dtype=jnp.uint32))
        return jnp.concatenate([words.astype(jnp.uint16), (words >> 16).astype(jnp.uint16)])[:size]

    return halves


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
        self._bits = None if key is None or not self._threshold else random_bits(key, size)
        self._used = 0

    @property
    def factor(self) -> float:
        """What the components that are kept are multiplied by."""
        return NUM_VALUES / (NUM_VALUES - self._threshold)

    def kept(self, shape: tuple[int, ...]) -> Bool[Array, "*shape"] | None:
        """Returns which components are kept; None where nothing is dropped.

        Args:
            shape: of the components.

        Raises:
            ValueError: where the draw is used up.
        """
        if self._bits is None:
            return None
        start, self._used = self._used, self._used + math.prod(shape)
        if self._used > self._bits.size:
            raise ValueError(f"expected at most {self._bits.size} components, got {self._used}")
        kept: Bool[Array, "*shape"] = self._bits[start : self._used].reshape(shape) >= self._threshold
        return kept

    def __call__(self, xs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Sets components to zero.

        Args:
            xs: the components, of any shape.

        Raises:
            ValueError: where the draw is used up.
        """
        return self.applied(xs, self.kept(xs.shape))

    def applied(self, xs: Float[Array, "*shape"], kept: Bool[Array, "*shape"] | None) -> Float[Array, "*shape"]:
        """Sets components to zero that are not kept.

        Args:
            xs: the components, of any shape.
            kept: what `kept` returned for them.
        """
        return xs if kept is None else jnp.where(kept, xs * self.factor, 0)


NO_DROPOUT = Dropout(0.0, None, 0)
"""Drops nothing."""


def drop(xs: Float[Array, "*shape"], probability: float, key: Key[Array, ""] | None) -> Float[Array, "*shape"]:
    """Applies dropout in one place.

    Args:
        xs: the components, of any shape.
        probability: see `Dropout`.
        key: random key; without one nothing is dropped.
    """
    return Dropout(probability, key, xs.size)(xs)
