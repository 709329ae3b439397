"""What distributions of counts share: the check of data, and quantiles among whole numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.tracing import is_traced

MOST_STEPS = 200


@checked
def check_counts(values: Shaped[ArrayLike, "..."], name: str = "values") -> None:
    """Refuses what is not a count: fractions, negative numbers and infinity; NaN means missing.

    Call it before a network is trained by the likelihood of a `NegativeBinomial` or `Poisson`.

    Args:
        values: the data; traced ones pass.
        name: what to call them in a message.

    Raises:
        InputError: with the first value that is not a count, and its index.

    Example:
        >>> import jaxcast
        >>> jaxcast.distributions.check_counts([0.0, 3.0, float("nan")])
        >>> jaxcast.distributions.check_counts([2.0, 0.5], "targets")
        Traceback (most recent call last):
            ...
        jaxcast.errors.InputError: expected counts in targets, whole numbers from 0 on, got 0.5 at index (1,), the first of 1; round them, or choose a head that is not of counts, such as "student_t"
    """
    if is_traced(values):
        return
    values = np.asarray(values)
    with np.errstate(invalid="ignore"):
        is_bad = ~np.isnan(values) & ~((values >= 0) & (values == np.floor(values)) & np.isfinite(values))
    if is_bad.any():
        first = tuple(int(k) for k in np.unravel_index(int(np.argmax(is_bad)), values.shape))
        raise InputError(
            f"expected counts in {name}, whole numbers from 0 on, got {values[first]:g} at index {first}, the first of "
            f'{is_bad.sum()}; round them, or choose a head that is not of counts, such as "student_t"'
        )


def smallest_count(
    cdf: Callable[[Array], Array], levels: Float[Array, "..."], guess: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Finds the smallest counts at which a cdf reaches some levels.

    From a guess on, steps double until they have passed the count; then bisection finds it.

    Args:
        cdf: of counts.
        levels: to be reached.
        guess: where to start, of the shape of the results.

    Returns:
        The counts.
    """

    def next_count(low: Array, high: Array, last: Array, width: Array) -> Array:
        up, down = last + width, jnp.maximum(last - width, 0)
        return jnp.where(jnp.isinf(high), up, jnp.where(low < 0, down, jnp.floor((low + high) / 2)))

    def is_open(low: Array, high: Array, count: Array) -> Array:
        return (high - low > 1) & (count > low) & (count < high)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        number, low, high, count, width = state
        reached, going = cdf(count) >= levels, is_open(low, high, count)
        high, low = jnp.where(going & reached, count, high), jnp.where(going & ~reached, count, low)
        return number + 1, low, high, jnp.where(going, next_count(low, high, count, width), count), 2 * width

    def unfinished(state: tuple[Array, ...]) -> Array:
        number, low, high, count, _ = state
        return (number < MOST_STEPS) & is_open(low, high, count).any()

    guess = jnp.maximum(jnp.floor(guess), 0)
    # At first the least step that changes the guess.
    width = jnp.maximum(1, jnp.ceil(4 * jnp.finfo(guess.dtype).eps * guess))
    start: tuple[Array, ...] = (
        jnp.zeros((), int),
        jnp.full_like(guess, -1),
        jnp.full_like(guess, jnp.inf),
        guess,
        width,
    )
    found = jax.lax.while_loop(unfinished, step, start)[2]
    return jnp.where(jnp.isfinite(found), found, jnp.nan)


def normal_guess(levels: Array, mean: Array, variance: Array, skewness: Array) -> Array:
    """Guesses quantiles by the normal distribution, corrected for skewness.

    Args:
        levels: of the quantiles.
        mean: of the distribution.
        variance: of the distribution.
        skewness: of the distribution.

    Source:
        Cornish and Fisher, Rev. Inst. Int. Stat. 5, 307-320 (1938).
    """
    z = jax.scipy.special.ndtri(levels)
    found: Array = mean + jnp.sqrt(variance) * (z + skewness * (z**2 - 1) / 6)
    return found
