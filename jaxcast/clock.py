"""Times with more digits than float32, which cannot hold t = 100000.01.

In float64 times are plain numbers, and nothing here has an effect. In narrower dtypes a time is an
`Instant`, the sum of two float32 with 48 bits together, and steps are counted by an integer. The
arithmetic is exact or far below float32 rounding. Numbers are split by masking bits, so that no
compiler that fuses products with sums can change the result.

Source:
    Dekker, Numerische Mathematik 18, 224-242 (1971); Knuth, The Art of Computer Programming,
    volume 2, section 4.2.2.
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_HALF_MASK = np.uint32(0xFFFFF000)
"""Keeps 12 bits of a float32; the product of two such numbers is exact."""
_DIGIT_BITS = 10


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Instant:
    """A time, or times of one shape, as hi + lo: the nearest float32 and the remainder.

    Flow maps get it as their time. Arithmetic with it returns plain numbers, as `joined` does.

    Args:
        hi: float32.
        lo: float32, at most half a unit in the last place of hi.
    """

    hi: Any
    lo: Any

    def tree_flatten(self) -> tuple[tuple[Any, Any], None]:
        """Returns the two parts, for JAX."""
        return (self.hi, self.lo), None

    @classmethod
    def tree_unflatten(cls, _: None, parts: tuple[Any, Any]) -> "Instant":
        """Makes an instant from its two parts, for JAX.

        Args:
            _: not used.
            parts: hi and lo.

        Returns:
            The instant.
        """
        return cls(*parts)

    def __getitem__(self, index: Any) -> "Instant":
        return Instant(self.hi[index], self.lo[index])

    def __jax_array__(self) -> Array:
        return jnp.asarray(joined(self))

    def __add__(self, other: Any) -> Any:
        return joined(self) + joined(other)

    def __sub__(self, other: Any) -> Any:
        return joined(self) - joined(other)

    def __mul__(self, other: Any) -> Any:
        return joined(self) * joined(other)

    def __truediv__(self, other: Any) -> Any:
        return joined(self) / joined(other)

    def __rsub__(self, other: Any) -> Any:
        return other - joined(self)

    def __rtruediv__(self, other: Any) -> Any:
        return other / joined(self)

    __radd__ = __add__
    __rmul__ = __mul__

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the times."""
        return np.shape(self.hi)


def is_narrow(dtype: Any) -> bool:
    """Tells whether numbers of a dtype have too few bits for times.

    Args:
        dtype: of the states.

    Returns:
        True for anything narrower than float64.
    """
    return jnp.dtype(dtype).itemsize < 8


def split(value: Any, dtype: Any) -> Any:
    """Converts a time for states of a dtype.

    Args:
        value: a number or array; a Python float or a NumPy array keeps all its bits.
        dtype: of the states.

    Returns:
        An array of the dtype, or an `Instant` if it is narrower than float64.
    """
    if isinstance(value, Instant):
        return value if is_narrow(dtype) else value.hi.astype(dtype) + value.lo
    return split_number(value) if is_narrow(dtype) else jnp.asarray(value, dtype)


def split_number(value: Any) -> Instant:
    """Splits a number or array into an `Instant`; on the host if it is there.

    Args:
        value: the time.

    Returns:
        The instant.
    """
    if isinstance(value, jax.Array):
        hi = value.astype(jnp.float32)
        return Instant(hi, (value - hi.astype(value.dtype)).astype(jnp.float32))
    number = np.asarray(value, np.float64)
    high = number.astype(np.float32)
    return Instant(jnp.asarray(high), jnp.asarray((number - high).astype(np.float32)))


class HasTimes(abc.ABC):
    """A model with times among its own numbers, such as a schedule."""

    @abc.abstractmethod
    def with_all_digits(self) -> Any:
        """Returns the model with its times as instants, before JAX cuts them to float32."""


class HasStep(abc.ABC):
    """A model that maps a value to the value one sampling step later."""

    @abc.abstractmethod
    def sampling_step(self) -> Any:
        """Returns the time between the value that it gets and the one that it returns."""


def has_float64() -> bool:
    """Tells whether JAX is set to have float64."""
    return bool(jnp.result_type(float) == jnp.float64)


def joined(time: Any) -> Any:
    """Joins a time into one number: float64 if JAX is set to it, otherwise the nearest float32.

    Args:
        time: a number or an `Instant`.

    Returns:
        The number.
    """
    if not isinstance(time, Instant):
        return time
    if has_float64():
        return time.hi.astype(jnp.float64) + time.lo
    return time.hi + time.lo


def after_steps(start: Any, num_steps: Any, h: Any) -> Any:
    """Computes start + num_steps h.

    Args:
        start: a number or an `Instant`.
        num_steps: a whole number below 2^31, an integer if the others are instants.
        h: the step, of the kind of start.

    Returns:
        The time, of the kind of start.
    """
    if not isinstance(start, Instant):
        return start + num_steps * h
    n = jnp.asarray(num_steps, jnp.int32)
    digits = [n & 1023, (n >> _DIGIT_BITS) & 1023, n >> (2 * _DIGIT_BITS)]
    total = start
    for power, digit in reversed(list(enumerate(digits))):
        count = digit.astype(jnp.float32) * np.float32(2 ** (_DIGIT_BITS * power))
        for part in _halves(h.hi):
            total = _plus(total, count * part)
        total = Instant(total.hi, total.lo + count * h.lo)
    return _normal(total)


def shifted(time: Any, step: Any) -> Any:
    """Computes time + step for a step that is a plain number.

    Args:
        time: a number or an `Instant`.
        step: a number of the dtype of the states.

    Returns:
        The time, of the same kind.
    """
    return _normal(_plus(time, step)) if isinstance(time, Instant) else time + step


def difference(a: Any, b: Any) -> Any:
    """Computes a - b as one number, accurate to its own rounding even if both are large.

    Args:
        a: a number or an `Instant`.
        b: a number or an `Instant`.

    Returns:
        The difference.
    """
    if not isinstance(a, Instant) and not isinstance(b, Instant):
        return a - b
    a, b = _as_instant(a), _as_instant(b)
    total = _plus(a, -b.hi)
    return total.hi + (total.lo - b.lo)


@jax.custom_jvp
def turns(time: Any, period: Any) -> Any:
    """Computes time / period less a whole number, so that an angle keeps its digits.

    Args:
        time: an `Instant`.
        period: a number or an `Instant`.

    Returns:
        The number of turns, about -1/2 to 1/2.
    """
    time, period = _as_instant(time), _as_instant(period)
    whole = jnp.round(time.hi / period.hi)
    left = time
    for count in _halves(whole):
        for part in _halves(period.hi):
            left = _plus(left, -count * part)
    return (left.hi + (left.lo - whole * period.lo)) / period.hi


@turns.defjvp
def _turns_jvp(primals: Any, tangents: Any) -> Any:
    (time, period), (dt, dp) = primals, tangents
    t, p = joined(time), joined(period)
    change = _sum(dt) / p - t / p**2 * _sum(dp)
    return turns(time, period), change.astype(jnp.float32)


def _sum(tangent: Any) -> Any:
    return tangent.hi + tangent.lo if isinstance(tangent, Instant) else tangent


def _as_instant(value: Any) -> Instant:
    return value if isinstance(value, Instant) else split_number(value)


def _halves(a: Array) -> tuple[Array, Array]:
    """Splits a number into two of at most 12 bits each."""
    bits = jax.lax.bitcast_convert_type(jnp.asarray(a, jnp.float32), jnp.uint32)
    first = jax.lax.bitcast_convert_type(bits & _HALF_MASK, jnp.float32)
    return first, a - first


def _plus(a: Instant, b: Any) -> Instant:
    """Computes a + b for a number b, with the rounding of hi kept in lo; not normalised."""
    total = a.hi + b
    other = total - a.hi
    return Instant(total, a.lo + ((a.hi - (total - other)) + (b - other)))


def _normal(a: Instant) -> Instant:
    total = a.hi + a.lo
    return Instant(total, a.lo - (total - a.hi))
