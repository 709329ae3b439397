"""Heads: the numbers of a network as parameters of distributions."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.checks import check_choice, check_whole
from jaxcast.distributions.abstract import Head
from jaxcast.distributions.mixture import Mixture
from jaxcast.distributions.negative_binomial import NegativeBinomial
from jaxcast.distributions.normal import Normal
from jaxcast.distributions.poisson import Poisson
from jaxcast.distributions.quantiles import Quantiles
from jaxcast.distributions.student_t import StudentT
from jaxcast.errors import InputError, shown
from jaxcast.numerics.levels import check_levels, middle_of, rising_quantiles

LEAST = 1e-6
"""The smallest standard deviation, rate and dispersion, so that gradients stay finite."""
HeadName = Literal["quantiles", "normal", "student_t", "negative_binomial", "poisson", "mixture"]
HEADS: tuple[str, ...] = get_args(HeadName)
"""The names of heads."""


def _positive(raw: Array) -> Array:
    return jnp.maximum(jax.nn.softplus(raw), LEAST)


@dataclasses.dataclass(frozen=True)
class NormalHead(Head):
    """Makes normal distributions of two numbers.

        mean = shift + scale o_0,    standard deviation = scale softplus(o_1)

    The standard deviation is at least 1e-6 scale.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> normal = jaxcast.distributions.NormalHead()(jnp.asarray([0.5, 0.0]), 10.0)
        >>> float(normal.mean), round(float(normal.scale), 2)
        (5.0, 6.93)
    """

    name = "normal"
    num_parameters = 2
    is_count = False

    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> Normal:
        return Normal(shift + scale * raw[..., 0], scale * _positive(raw[..., 1]))


@dataclasses.dataclass(frozen=True)
class StudentTHead(Head):
    """Makes Student's t distributions of three numbers.

        loc = shift + scale o_0,    scale = scale softplus(o_1),    df = 2 + softplus(o_2)

    The variance is finite; the scale is at least 1e-6 of that of the data.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> student = jaxcast.distributions.StudentTHead()(jnp.asarray([0.5, 0.0, 0.0]), 10.0)
        >>> round(float(student.df), 2)
        2.69
    """

    name = "student_t"
    num_parameters = 3
    is_count = False

    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> StudentT:
        return StudentT(2 + _positive(raw[..., 2]), shift + scale * raw[..., 0], scale * _positive(raw[..., 1]))


def _rate(raw: Array, scale: Any, shift: Any) -> Array:
    return scale * _positive(raw + shift / scale)


@dataclasses.dataclass(frozen=True)
class NegativeBinomialHead(Head):
    """Makes negative binomial distributions of two numbers.

        mean = scale softplus(o_0 + shift / scale),    dispersion = softplus(o_1) / sqrt(scale)

    Source:
        Salinas, Flunkert, Gasthaus and Januschowski, Int. J. Forecast. 36, 1181-1191 (2020).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> counts = jaxcast.distributions.NegativeBinomialHead()(jnp.asarray([0.0, 0.0]), 4.0)
        >>> round(float(counts.mean), 2), round(float(counts.dispersion), 2)
        (2.77, 0.35)
    """

    name = "negative_binomial"
    num_parameters = 2
    is_count = True

    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> NegativeBinomial:
        return NegativeBinomial(_rate(raw[..., 0], scale, shift), _positive(raw[..., 1]) / jnp.sqrt(scale))


@dataclasses.dataclass(frozen=True)
class PoissonHead(Head):
    """Makes Poisson distributions of one number.

        rate = scale softplus(o_0 + shift / scale)

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> round(float(jaxcast.distributions.PoissonHead()(jnp.asarray([0.0]), 4.0).mean), 2)
        2.77
    """

    name = "poisson"
    num_parameters = 1
    is_count = True

    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> Poisson:
        return Poisson(_rate(raw[..., 0], scale, shift))


@dataclasses.dataclass(frozen=True)
class MixtureHead(Head):
    """Makes mixtures of distributions of another head.

    The first numbers are the logits of the components; then come the numbers of each component.

    Args:
        head: of the components.
        num_components: how many.

    Raises:
        InputError: for quantiles or mixtures as components, or fewer than one of them.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> head = jaxcast.distributions.MixtureHead(jaxcast.distributions.NormalHead(), 3)
        >>> head.num_parameters, float(head(jnp.zeros(9), 10.0).mean)
        (9, 0.0)
    """

    head: Head = dataclasses.field(default_factory=NormalHead)
    num_components: int = 3

    name = "mixture"

    def __post_init__(self) -> None:
        check_whole("num_components", self.num_components)
        if not isinstance(self.head, NormalHead | StudentTHead | NegativeBinomialHead | PoissonHead):
            raise InputError(f"expected the head of one distribution, such as NormalHead(), got {shown(self.head)}")

    @property
    def num_parameters(self) -> int:
        return self.num_components * (1 + self.head.num_parameters)

    @property
    def is_count(self) -> bool:
        return self.head.is_count

    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> Mixture:
        logits, numbers = jnp.split(raw, [self.num_components], -1)
        numbers = numbers.reshape(*raw.shape[:-1], self.num_components, self.head.num_parameters)
        scale, shift = (jnp.asarray(a)[..., None] for a in (scale, shift))
        return Mixture(self.head(numbers, scale, shift), logits)


@dataclasses.dataclass(frozen=True)
class QuantileHead(Head):
    """Makes quantiles that never cross.

    The middle one is shift + scale o_m; softplus of each other number, times scale, is the distance
    to the next quantile.

    Args:
        levels: of the quantiles, rising within (0, 1).

    Raises:
        InputError: for levels that do not rise.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> head = jaxcast.distributions.QuantileHead((0.1, 0.5, 0.9))
        >>> [round(float(q), 2) for q in head(jnp.asarray([0.0, 1.0, 1.0]), 10.0).values]
        [3.07, 10.0, 23.13]
    """

    levels: tuple[float, ...]

    name = "quantiles"
    is_count = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", check_levels(self.levels))

    @property
    def num_parameters(self) -> int:
        return len(self.levels)

    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> Quantiles:
        scale, shift = (jnp.asarray(a)[..., None] for a in (scale, shift))
        return Quantiles(shift + scale * rising_quantiles(raw, middle_of(self.levels)), self.levels)


def make_head(name: str, levels: Sequence[float] = ()) -> Head:
    """Makes a head by its name.

    Args:
        name: "quantiles", "normal", "student_t", "negative_binomial", "poisson", or "mixture" of
            three normal distributions.
        levels: of quantiles, which only "quantiles" needs.

    Returns:
        The head.

    Raises:
        InputError: for another name, or quantiles whose levels do not rise.

    Example:
        >>> import jaxcast
        >>> jaxcast.distributions.make_head("student_t").num_parameters
        3
    """
    check_choice("head", name, HEADS)
    if name == "quantiles":
        return QuantileHead(tuple(levels))
    made: tuple[Head, ...] = (NormalHead(), StudentTHead(), NegativeBinomialHead(), PoissonHead(), MixtureHead())
    return next(head for head in made if head.name == name)
