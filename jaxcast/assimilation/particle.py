"""The bootstrap particle filter, with resampling and jitter."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.assimilation.checks import check_all
from jaxcast.assimilation.ensemble_filter import EnsembleFilter
from jaxcast.assimilation.members import without_lost
from jaxcast.precision import highest
from jaxcast.types import Info


class ParticleFilter(EnsembleFilter, name="particle_filter"):
    """A bootstrap particle filter: members weigh by how likely they make the observations.

        log w <- log w - |y - h(x)|^2 / (2 R),    effective size = 1 / sum w^2

    Where the effective size falls below a share of the members, they are resampled, with evenly
    spaced quantiles of their weights, and each moves by a random step with the covariance of the
    ensemble times (jitter M^(-1 / (n + 4)))^2, for n numbers in a member. Nothing is assumed about
    the shape of the distribution, but the number of members must grow exponentially with what is
    uncertain: a few components. A member that is not finite, as where it leaves the range of the
    model, has no weight from then on.

    `info` holds "effective_size", and what `EnsembleKalmanFilter` reports.

    Args:
        model: u (dim,) -> u one step later, or (u, exogenous); with unknown parameters
            (u, parameters (parameter,)).
        observation_noise: standard deviation of an observation, a number or (observation,).
        key: random key of the initial ensemble and of all steps.
        parameters: the dynamics of each unknown parameter.
        operator: what of a state is observed; None for the whole state.
        model_noise: standard deviation of the model error at each step.
        num_members: M.
        initial_ensemble: (member, dim), states of the members just before the first value.
        resampling_share: of the members; a smaller effective size calls for resampling.
        jitter: width of the random step after resampling. A model without noise needs one, or all
            members become copies.

    Raises:
        InputError: as `EnsembleKalmanFilter` does, for a share outside of 0 to 1 or a negative
            jitter.

    Source:
        Gordon, Salmond and Smith, IEE Proceedings F 140, 107-113 (1993); Musso, Oudjane and Le
        Gland (2001), in Sequential Monte Carlo Methods in Practice, for the jitter; van Leeuwen,
        Mon. Wea. Rev. 137, 4089-4114 (2009), for the uses.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> cell = jaxcast.assimilation.ParticleFilter(
        ...     lambda u: 0.9 * u, observation_noise=1.0, key=jax.random.key(0), model_noise=0.5, num_members=200
        ... )
        >>> outputs = jaxcast.open_loop(cell, jnp.asarray([[1.0], [0.5], [0.8]]))
        >>> bool((outputs.info["effective_size"] > 20).all())
        True
    """

    resampling_share: Any = 0.5
    jitter: Any = 1.0

    def check_analysis(self) -> None:
        """Refuses a share or a jitter that it cannot have.

        Raises:
            InputError: with the setting.
        """
        check_all("resampling_share", self.resampling_share, least=0, most=1)
        check_all("jitter", self.jitter, least=0)

    def analyse(
        self,
        members: Float[Array, "member number"],
        log_weights: Float[Array, " member"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> tuple[Float[Array, "member number"], Float[Array, " member"], Info]:
        later = log_weights - ((values - observed) ** 2).sum(1) / 2
        # A member that left the range of the model has no weight.
        is_finite = jnp.isfinite(members).all(1)
        # An observation that is too far from every member to tell them apart says nothing.
        log_weights = jnp.where((is_finite & jnp.isfinite(later)).any(), later, log_weights)
        log_weights = jnp.where(is_finite & ~jnp.isnan(log_weights), log_weights, -jnp.inf)
        log_weights = log_weights - log_weights.max()
        shares = jax.nn.softmax(log_weights)
        size = 1 / (shares**2).sum()
        drawn = self._resample(members, shares, key)
        is_due = size < jnp.asarray(self.resampling_share, size.dtype) * len(members)
        members = jnp.where(is_due, drawn, members)
        return members, jnp.where(is_due, 0, log_weights), {"effective_size": size}

    def shares(self, log_weights: Float[Array, " member"]) -> Float[Array, " member"] | None:
        return jax.nn.softmax(log_weights)

    @highest
    def _resample(self, members: Array, shares: Array, key: Key[Array, ""]) -> Array:
        num_members, num_numbers = members.shape
        members, shares = without_lost(members, shares)
        first, second = jax.random.split(key)
        quantiles = (jnp.arange(num_members) + jax.random.uniform(first, dtype=shares.dtype)) / num_members
        ends = jnp.cumsum(shares)
        # From the right, so that a member without a share is never chosen.
        chosen = jnp.searchsorted(ends, quantiles * ends[-1], side="right").clip(0, num_members - 1)
        mean = shares @ members
        anomalies = (members - mean) * jnp.sqrt(shares)[:, None]
        variances, vectors = jnp.linalg.eigh(anomalies.T @ anomalies)
        width = jnp.asarray(self.jitter, members.dtype) * num_members ** (-1 / (num_numbers + 4))
        root = vectors * jnp.sqrt(jnp.maximum(variances, 0)) * width
        noise = jax.random.normal(second, members.shape, members.dtype)
        return members[chosen] + noise @ root.T
