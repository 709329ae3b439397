"""Localisation: how far an observation reaches."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.assimilation.checks import check_all
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree


@checked
def gaspari_cohn(distances: Float[Any, "*shape"], radius: float) -> Float[Array, "*shape"]:
    """Computes the taper of Gaspari and Cohn, close to a Gaussian but zero from a distance on.

    It is a correlation function: 1 at distance 0, and 0 from 2 c on, with c = sqrt(10/3) radius,
    which gives it the width of exp(-distance^2 / (2 radius^2)).

    Args:
        distances: at least 0.
        radius: standard deviation of the Gaussian that it is close to.

    Returns:
        The taper at each distance.

    Raises:
        InputError: for a radius that is not positive, or distances that are negative or NaN.

    Source:
        Gaspari and Cohn, Q. J. R. Meteorol. Soc. 125, 723-757 (1999), eq. 4.10.

    Example:
        >>> import jaxcast
        >>> [round(float(t), 3) for t in jaxcast.assimilation.gaspari_cohn([0.0, 2.0, 8.0], radius=2.0)]
        [1.0, 0.635, 0.0]
    """
    if not radius > 0:
        raise InputError(f"radius must be positive, got {radius}")
    check_all("distances", distances, least=0)
    r = jnp.asarray(distances) / (np.sqrt(10 / 3) * radius)
    near = 1 - 5 / 3 * r**2 + 5 / 8 * r**3 + r**4 / 2 - r**5 / 4
    outer = jnp.clip(r, 1.0, 2.0)
    far = 4 - 5 * outer + 5 / 3 * outer**2 + 5 / 8 * outer**3 - outer**4 / 2 + outer**5 / 12 - 2 / (3 * outer)
    return jnp.where(r < 1, near, jnp.maximum(far, 0))


class Localisation(FrozenPytree, name="localisation"):
    """Tapers between components of the state and observations.

    Unknown parameters are updated by all observations, as they belong to no place.

    Args:
        to_components: (dim, observation), from each observation to each component.
        among: (observation, observation), between observations.

    Raises:
        InputError: for tapers that do not fit each other, or are negative or not finite.

    Example:
        >>> import jaxcast
        >>> ring = jaxcast.assimilation.localise_ring(40, radius=4.0)
        >>> ring.to_components.shape, ring.among.shape
        ((40, 40), (40, 40))
    """

    to_components: Float[Any, "dim observation"]
    among: Float[Any, "observation observation"]

    def __post_init__(self) -> None:
        first, second = np.shape(self.to_components), np.shape(self.among)
        if len(first) != 2 or second != (first[1],) * 2:
            raise InputError(
                f"expected tapers (dim, observation) and (observation, observation), got {first} and {second}"
            )
        check_all("to_components", self.to_components, least=0)
        check_all("among", self.among, least=0)

    def of_members(self, num_variables: int, num_observations: int, dtype: Any) -> Float[Array, "variable observation"]:
        """Returns the tapers from observations to the variables of a member.

        Args:
            num_variables: the components of the state, and the variables of parameters after them.
            num_observations: at a step.
            dtype: of the result.

        Returns:
            Those of the components, and ones.

        Raises:
            InputError: for tapers of another size.
        """
        shape = jnp.shape(self.to_components)
        if shape[0] > num_variables or shape[1] != num_observations:
            raise InputError(
                f"expected tapers of {num_observations} observations to the components of a state of at most "
                f"{num_variables}, got {shape}"
            )
        tapers = jnp.asarray(self.to_components, dtype)
        return jnp.concatenate([tapers, jnp.ones((num_variables - len(tapers), tapers.shape[1]), dtype)])


@checked
def localise(
    positions: Float[Any, "dim axis"],
    observed_positions: Float[Any, "observation axis"],
    *,
    radius: float,
    period: float | None = None,
) -> Localisation:
    """Makes a localisation from positions in space.

    Args:
        positions: of the components of the state.
        observed_positions: of the observations.
        radius: of `gaspari_cohn`, in the unit of the positions.
        period: length of space in each direction where it is periodic, as on a ring.

    Returns:
        The tapers.

    Raises:
        InputError: for positions with different numbers of axes or that are not finite, and a
            radius or a period that is not positive.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> sites = jnp.arange(6.0)[:, None]
        >>> tapers = jaxcast.assimilation.localise(sites, sites[::2], radius=1.0)
        >>> tapers.to_components.shape
        (6, 3)
    """
    own, observed = np.asarray(positions), np.asarray(observed_positions)
    if own.ndim != 2 or observed.ndim != 2 or own.shape[1] != observed.shape[1]:
        raise InputError(f"expected positions (number, axis) in one space, got {own.shape} and {observed.shape}")
    check_all("positions", own)
    check_all("observed_positions", observed)
    if period is not None:
        check_number("period", period, above=0)

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        apart = np.abs(a[:, None] - b)
        if period is not None:
            apart = np.minimum(apart % period, period - apart % period)
        return np.asarray(np.sqrt((apart**2).sum(-1)))

    return Localisation(
        gaspari_cohn(distances(own, observed), radius), gaspari_cohn(distances(observed, observed), radius)
    )


@checked
def localise_ring(num_sites: int, *, radius: float, observed: Sequence[int] | None = None) -> Localisation:
    """Makes the localisation of a ring of sites, such as that of `Lorenz96`.

    Args:
        num_sites: the number of sites.
        radius: of `gaspari_cohn`, in sites.
        observed: numbers of the sites that are observed, in the order of the observations; all
            where it is not given.

    Returns:
        The tapers.

    Raises:
        InputError: for a radius that is not positive, or sites that the ring does not have.

    Example:
        >>> import jaxcast
        >>> jaxcast.assimilation.localise_ring(8, radius=1.0, observed=[0, 4]).to_components.shape
        (8, 2)
    """
    check_whole("num_sites", num_sites)
    for site in () if observed is None else observed:
        check_whole("an observed site", site, least=0, most=num_sites - 1)
    sites = np.arange(float(num_sites))[:, None]
    seen = sites if observed is None else sites[list(observed)]
    return localise(sites, seen, radius=radius, period=float(num_sites))
