"""Analyses of an ensemble Kalman filter: transform, perturbed observations, local transform."""

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.assimilation.checks import check_all
from jaxcast.assimilation.localisation import Localisation
from jaxcast.assimilation.transforms import rotate, transform
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static


def _check(inflation: Any, certainty: Any = 1.0) -> None:
    check_all("inflation", inflation, least=1)
    check_all("certainty", certainty, above=0)


class EnsembleAnalysis(ABC):
    """Base of the ways in which an `EnsembleKalmanFilter` assimilates the observations of a step."""

    @abstractmethod
    def analyse(
        self,
        prior: Float[Array, "member variable"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> Float[Array, "member variable"]:
        """Returns the ensemble after the analysis.

        Args:
            prior: the members before it, each a state and the variables of parameters.
            observed: what is observed of each member, divided by the noise; 0 where there is no
                observation.
            values: the observations, likewise.
            key: of what is random.

        Returns:
            The members.
        """


class EnsembleTransform(FrozenPytree, EnsembleAnalysis, name="ensemble_transform"):
    """The analysis of the ensemble transform Kalman filter, with random rotations.

        [u; p] <- mean + K (y - mean h(u)) + Q (anomalies) T,    T T' = (I + Y' R^-1 Y / (M - 1))^-1

    T is the symmetric square root, and Q a random rotation that keeps the mean. Mean and covariance
    are exactly those of the Kalman filter for the ensemble's own; without the rotation, single
    members would become outliers in large ensembles.

    Args:
        inflation: factor, at least 1, of the anomalies before each analysis.
        is_finite_size: whether the factor is multiplied by one that is computed at each step from
            the innovations, which accounts for the sampling error of a small ensemble. No tuning of
            the inflation is needed then where the model is right.
        certainty: with finite size, how firmly no inflation is expected; above 1 the factor answers
            less to the surprises of single steps.
        is_rotated: whether the anomalies are rotated.

    Raises:
        InputError: for an inflation below 1, or a certainty that is not positive.

    Source:
        Hunt, Kostelich and Szunyogh, Physica D 230, 112-126 (2007), section 2.3, for the
        transform; Sakov and Oke, Mon. Wea. Rev. 136, 1042-1053 (2008), and Livings, Dance and
        Nichols, Physica D 237, 1021-1028 (2008), for rotations that keep the mean; Bocquet,
        Nonlin. Processes Geophys. 18, 735-750 (2011), for the finite size.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> prior = jax.random.normal(jax.random.key(0), (10, 2))
        >>> analysis = jaxcast.assimilation.EnsembleTransform(inflation=1.02)
        >>> analysis.analyse(prior, prior[:, :1] / 0.1, jnp.asarray([0.5 / 0.1]), jax.random.key(1)).shape
        (10, 2)
    """

    inflation: Any = 1.0
    is_finite_size: bool = static(default=False)
    certainty: Any = 1.0
    is_rotated: bool = static(default=True)

    def __post_init__(self) -> None:
        _check(self.inflation, self.certainty)

    def analyse(
        self,
        prior: Float[Array, "member variable"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> Float[Array, "member variable"]:
        mean = observed.mean(0)
        posterior = transform(
            prior,
            observed - mean,
            values - mean,
            self.inflation,
            is_finite_size=self.is_finite_size,
            certainty=self.certainty,
        )
        return rotate(posterior, key) if self.is_rotated else posterior


class LocalEnsembleTransform(FrozenPytree, EnsembleAnalysis, name="local_ensemble_transform"):
    """The analysis of the local ensemble transform Kalman filter (LETKF).

    Each component has an analysis of its own, in which the inverse variance of each observation is
    multiplied by the taper between both. So a small ensemble serves a large state, whose far parts
    seem correlated in few members though they are not.

    Args:
        localisation: the tapers, such as `localise_ring` makes them.
        inflation: factor, at least 1, of the anomalies before each analysis.
        is_finite_size: as in `EnsembleTransform`, for each component.
        certainty: as in `EnsembleTransform`.
        is_rotated: whether the anomalies are rotated, all components by the same rotation.

    Raises:
        InputError: as `EnsembleTransform` does; when called, for tapers of another size.

    Source:
        Hunt, Kostelich and Szunyogh, Physica D 230, 112-126 (2007).

    Example:
        >>> import jax, jaxcast
        >>> prior = jax.random.normal(jax.random.key(0), (5, 8))
        >>> analysis = jaxcast.assimilation.LocalEnsembleTransform(jaxcast.assimilation.localise_ring(8, radius=2.0))
        >>> analysis.analyse(prior, prior, prior[0] + 1, jax.random.key(1)).shape
        (5, 8)
    """

    localisation: Localisation
    inflation: Any = 1.0
    is_finite_size: bool = static(default=False)
    certainty: Any = 1.0
    is_rotated: bool = static(default=True)

    def __post_init__(self) -> None:
        _check(self.inflation, self.certainty)

    def analyse(
        self,
        prior: Float[Array, "member variable"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> Float[Array, "member variable"]:
        mean = observed.mean(0)
        anomalies, innovation = observed - mean, values - mean

        def local(column: Array, taper: Array) -> Array:
            root = jnp.sqrt(taper)
            own = transform(
                column[:, None],
                anomalies * root,
                innovation * root,
                self.inflation,
                is_finite_size=self.is_finite_size,
                certainty=self.certainty,
            )
            return own[:, 0]

        tapers = self.localisation.of_members(prior.shape[1], len(values), prior.dtype)
        posterior = jax.vmap(local, (1, 0), 1)(prior, tapers)
        return rotate(posterior, key) if self.is_rotated else posterior


class PerturbedObservations(FrozenPytree, EnsembleAnalysis, name="perturbed_observations"):
    """The stochastic analysis: each member assimilates the observations with noise of its own.

        x_m <- x_m + (rho C_xy) (rho C_yy + R)^-1 (y + noise_m - h(x_m))

    C are covariances of the ensemble and rho tapers, by components. The noise of all members has
    the mean zero.

    Args:
        inflation: factor, at least 1, of the anomalies before each analysis.
        localisation: the tapers; None for none.

    Raises:
        InputError: for an inflation below 1; when called, for tapers of another size.

    Source:
        Burgers, van Leeuwen and Evensen, Mon. Wea. Rev. 126, 1719-1724 (1998); Houtekamer and
        Mitchell, Mon. Wea. Rev. 129, 123-137 (2001), for the tapers.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> prior = jax.random.normal(jax.random.key(0), (10, 2))
        >>> analysis = jaxcast.assimilation.PerturbedObservations(inflation=1.04)
        >>> analysis.analyse(prior, prior[:, :1] / 0.1, jnp.asarray([0.5 / 0.1]), jax.random.key(1)).shape
        (10, 2)
    """

    inflation: Any = 1.0
    localisation: Localisation | None = None

    def __post_init__(self) -> None:
        _check(self.inflation)

    @highest
    def analyse(
        self,
        prior: Float[Array, "member variable"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> Float[Array, "member variable"]:
        k = len(prior) - 1
        mean, center = prior.mean(0), observed.mean(0)
        inflation = jnp.asarray(self.inflation, prior.dtype)
        anomalies, seen = inflation * (prior - mean), inflation * (observed - center)
        across, among = anomalies.T @ seen / k, seen.T @ seen / k
        if self.localisation is not None:
            across = across * self.localisation.of_members(prior.shape[1], len(values), prior.dtype)
            among = among * jnp.asarray(self.localisation.among, prior.dtype)
        noise = jax.random.normal(key, observed.shape, observed.dtype)
        surprise = values + noise - noise.mean(0) - (center + seen)
        among = among + jnp.eye(len(values), dtype=prior.dtype)
        change = jax.scipy.linalg.solve(among, surprise.T, assume_a="pos")
        return mean + anomalies + (across @ change).T
