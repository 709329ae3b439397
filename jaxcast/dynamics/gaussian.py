"""Normal numbers for noise in every step: few operations each, on any number of lanes.

`jax.random` counts numbers instead of carrying a state. That takes four times the operations, more
than the steps themselves.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)
_ROOT_OF_HALF = np.int32(0x3F3504F3)
"""The bits of a float32."""
_LOG_SERIES = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
"""Of (log(1 + x) - x + x^2 / 2) / x^3, as in the Cephes library of Moshier."""


class Generator(NamedTuple):
    """The state of xoshiro128++: four words of 32 bits, of any one shape.

    Source:
        Blackman and Vigna, ACM Transactions on Mathematical Software 47, article 36 (2021).
    """

    first: UInt32[Array, "..."]
    second: UInt32[Array, "..."]
    third: UInt32[Array, "..."]
    fourth: UInt32[Array, "..."]


def seeded(words: tuple[Any, Any], stream: Any = 0) -> Generator:
    """Makes a generator.

    Args:
        words: two random words of 32 bits, the seed.
        stream: whole numbers; other ones give other, independent numbers.

    Returns:
        The generator; its words have the shape of the seed beside the stream.
    """
    stream = jnp.asarray(stream, jnp.uint32)
    return Generator(*_threefry(words, stream, jnp.uint32(0)), *_threefry(words, stream, jnp.uint32(1)))


def _threefry(key: tuple[Any, Any], first: Array, second: Array) -> tuple[Array, Array]:
    """Hashes two words: 20 rounds of Threefry, as in `jax.random`."""
    keys = (*key, key[0] ^ key[1] ^ _PARITY)
    first, second = first + keys[0], second + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[:4] if i % 2 == 0 else _ROTATIONS[4:]:
            first = first + second
            second = _rotated(second, rotation) ^ first
        first, second = first + keys[(i + 1) % 3], second + keys[(i + 2) % 3] + np.uint32(i + 1)
    return first, second


def _rotated(word: Array, count: int) -> Array:
    return (word << np.uint32(count)) | (word >> np.uint32(32 - count))


def _next_word(state: Generator) -> tuple[Generator, Array]:
    a, b, c, d = state
    word = _rotated(a + d, 7) + a
    shifted = b << np.uint32(9)
    c, d = c ^ a, d ^ b
    return Generator(a ^ d, b ^ c, c ^ shifted, _rotated(d, 11)), word


def normal_pair(state: Generator) -> tuple[Generator, Array, Array]:
    """Draws two independent standard normal numbers, in float32, for each lane of a generator.

    This is the transform of Box and Muller. The sine and cosine are polynomials on an eighth of a
    turn, exact to float32, which compilers turn into vectors.

    Args:
        state: of the generator.

    Returns:
        The next state, and two numbers of the generator's shape.
    """
    state, bits = _next_word(state)
    state, turn = _next_word(state)
    # From 2^-33 to 1: the smallest probability sets the largest number, 6.8.
    share = (bits >> np.uint32(1)).astype(jnp.int32).astype(jnp.float32) * np.float32(2**-31) + np.float32(2**-33)
    radius = jnp.sqrt(np.float32(-2) * _log(share))
    # The upper 24 bits are an angle of -1/8 to 1/8 turn; the lowest three an eighth and its mirror.
    angle = (turn >> np.uint32(8)).astype(jnp.int32).astype(jnp.float32) * np.float32(2**-24) - np.float32(0.5)
    x = angle * np.float32(np.pi / 2)
    square = x * x
    sine = x + x * square * (np.float32(-1 / 6) + square * (np.float32(1 / 120) + square * np.float32(-1 / 5040)))
    cosine = 1 + square * (
        np.float32(-0.5)
        + square * (np.float32(1 / 24) + square * (np.float32(-1 / 720) + square * np.float32(1 / 40320)))
    )
    is_turned = (turn & np.uint32(1)) != 0
    first, second = jnp.where(is_turned, sine, cosine), jnp.where(is_turned, cosine, sine)
    return state, _signed(first * radius, turn, 30), _signed(second * radius, turn, 29)


def _log(x: Array) -> Array:
    """Computes the logarithm in float32; unlike `jnp.log`, the same in vectors and alone."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    exponent = (bits - _ROOT_OF_HALF) >> 23
    rest = jax.lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - 1
    series = jnp.full_like(rest, _LOG_SERIES[0])
    for coefficient in _LOG_SERIES[1:]:
        series = series * rest + np.float32(coefficient)
    return rest + rest * rest * (series * rest - np.float32(0.5)) + exponent.astype(jnp.float32) * np.float32(np.log(2))


def _signed(value: Array, word: Array, count: int) -> Array:
    """Flips the sign where a bit of the word is set."""
    sign = (word << np.uint32(count)) & np.uint32(0x80000000)
    bits = jax.lax.bitcast_convert_type(value, jnp.uint32) ^ sign
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
