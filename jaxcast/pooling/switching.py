"""Switching pools: the probability that a candidate is right, updated by its latest forecast.

Both pools are the filter of a hidden Markov chain over the candidates. z_n = i means that candidate
i makes the step to value n, p(z_(n+1) = j | z_n = i) = T_ij, and u_n = F_n^(i) + a Gaussian error.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_number, check_positive, sizes_of
from jaxcast.errors import InputError, shown
from jaxcast.pooling.memory import PoolMemory
from jaxcast.pooling.pool import WeightedSum
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Input
from jaxcast.types import Scalar


class SwitchingMemory(NamedTuple):
    """The memory of a switching pool.

    Args:
        log_weights: logarithm of each candidate's weight for the next step.
        verifies: whether the newest value, from which the pending forecasts start, was the truth,
            at least in part.
    """

    log_weights: Float[Array, "*batch model"]
    verifies: Bool[Array, "*batch"]


class _Switching(WeightedSum, PoolMemory):
    """Base of pools whose memory is their weights; a subclass has transitions and likelihoods."""

    @abstractmethod
    def transition_of(self, num_models: int) -> Float[Array, "model model"]:
        """Returns the transition matrix T.

        Args:
            num_models: candidates.
        """

    @abstractmethod
    def log_likelihood(self, errors: Float[Array, "model dim"], known: Bool[Array, "..."]) -> Float[Array, " model"]:
        """Returns the log-likelihood of each candidate, up to a constant.

        Args:
            errors: of the candidates at the newest value.
            known: whether the value is the truth, for all components or each.
        """

    @abstractmethod
    def prior_of(self, num_models: int) -> Float[Array, " model"]:
        """Returns the weights before the first value.

        Args:
            num_models: candidates.
        """

    def newest(self, memory: Any) -> Any:
        raise InputError(
            f"a {type(self).__name__} remembers weights, not values; fit a correction to a pool with delays"
        )

    @property
    def memory(self) -> Any:
        return self

    def init(self, value: Float[Array, " dim"], forecasts: Any) -> SwitchingMemory:
        if forecasts is None:
            raise InputError("switching weights need candidates: give the Forecaster a forecast map")
        prior = jnp.asarray(self.prior_of(len(forecasts)), forecasts.dtype)
        return SwitchingMemory(jnp.log(prior), jnp.asarray(False))

    def observe(self, memory: SwitchingMemory, x: Input, pending: Float[Array, "model dim"]) -> SwitchingMemory:
        # A forecast is verified only where it started from the truth and ended at it. In closed
        # loop the value is the pool's own forecast and no evidence; nor is the first value after a
        # gap.
        known = jnp.asarray(x.known)
        evidence = self.log_likelihood(pending - x.value, known)
        # A candidate that has diverged gets no weight.
        evidence = jnp.where(jnp.isfinite(evidence), evidence, -jnp.inf)
        is_evidence = memory.verifies & jnp.any(known)
        posterior = jax.nn.log_softmax(memory.log_weights + jnp.where(is_evidence, evidence, 0.0))
        log_transition = jnp.log(self.transition_of(len(posterior))).astype(posterior.dtype)
        return SwitchingMemory(logsumexp(posterior[:, None] + log_transition, axis=0), jnp.any(known))

    def warmup(self, with_errors: bool) -> int:
        # The first verified forecast takes two values.
        return 1

    @checked
    def weigh(
        self, memory: SwitchingMemory, forecasts: Float[Array, "*batch model dim"]
    ) -> Float[Array, "*batch model"]:
        if memory.log_weights.shape[-1] != forecasts.shape[-2]:
            raise InputError(
                f"the memory holds weights of {memory.log_weights.shape[-1]} candidates, got {forecasts.shape[-2]}"
            )
        return jnp.exp(memory.log_weights).astype(forecasts.dtype)


class FixedShare(_Switching, Checked, FrozenPytree, name="fixed_share"):
    """Weights that follow each candidate's likelihood, of which a fixed share is redistributed.

        v_i = w_i exp(-L_i) / sum_k w_k exp(-L_k),    L_i = 1/2 sum_d ((F_d^(i) - u_d) / s_d)^2
        w'_i = (1 - share) v_i + share / (M - 1) sum_(k != i) v_k,    y = sum_i w'_i F_i

    L_i is that of the last verified forecast. In closed loop nothing is verified, and the weights
    drift towards equal ones; `HeldWeights` holds them instead.

    Args:
        share: part of its weight that every candidate gives away at each step, from 0 to 1: the
            rate at which the right one changes.
        scale: s, the standard deviation of the right candidate's error, one number or one for each
            component, (dim,).

    Raises:
        InputError: when rolled without candidates, or for a memory of another number of them.

    Source:
        Herbster and Warmuth, Machine Learning 32, 151-178 (1998), section 5.

    Example:
        >>> import jaxcast
        >>> candidates = jaxcast.flow_map(
        ...     jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 28.0, 30.0)])
        ... )
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.FixedShare(share=0.05, scale=0.05), candidates)
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(rho=28.0), [1.0, 1.0, 20.0], num_samples=20)
        >>> [round(float(weight), 3) for weight in jaxcast.open_loop(cell, truth.states).info["weights"][-1]]
        [0.025, 0.95, 0.025]
    """

    share: Scalar
    scale: Any

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".share": "", ".scale": "dim" if jnp.ndim(self.scale) else ""})
        check_number("share", float(np.asarray(self.share)), least=0, most=1)
        check_positive(scale=self.scale)

    def transition_of(self, num_models: int) -> Float[Array, "model model"]:
        other = jnp.asarray(self.share) / max(num_models - 1, 1)
        return jnp.where(jnp.eye(num_models, dtype=bool), 1 - (num_models - 1) * other, other)

    def prior_of(self, num_models: int) -> Float[Array, " model"]:
        return jnp.full(num_models, 1 / num_models)

    def log_likelihood(self, errors: Float[Array, "model dim"], known: Bool[Array, "..."]) -> Float[Array, " model"]:
        return -0.5 * jnp.where(known, (errors / jnp.asarray(self.scale, errors.dtype)) ** 2, 0.0).sum(-1)


class InteractingModels(_Switching, Checked, FrozenPytree, name="interacting_models"):
    """The filter of a hidden Markov chain over the candidates, with Gaussian one-step errors.

        v_i = w_i N(u; F^(i), C_i) / sum_k w_k N(u; F^(k), C_k)
        w'_j = sum_i v_i T_ij,    y = sum_j w'_j F_j

    In closed loop nothing is verified, and only the transition matrix moves the weights. It is the
    interacting multiple-model estimator for models that see the state itself, so there are no
    states to mix.

    Args:
        transition: T, whose row i has the probabilities of what follows candidate i.
        covariances: C, of each candidate's errors while it is the right one.
        prior: probability of each candidate at the first value.

    Raises:
        InputError: when rolled without candidates, or with another number of them.

    Source:
        Blom and Bar-Shalom, IEEE Trans. Automatic Control 33, 780-783 (1988); Rabiner, Proc. IEEE
        77, 257-286 (1989).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> candidates = jaxcast.flow_map(
        ...     jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 28.0, 30.0)])
        ... )
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(rho=28.0), [1.0, 1.0, 20.0], num_samples=20)
        >>> order = jnp.asarray([[0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.9, 0.0, 0.1]])
        >>> pool = jaxcast.pooling.InteractingModels(order, jnp.tile(1e-3 * jnp.eye(3), (3, 1, 1)), jnp.full(3, 1 / 3))
        >>> outputs = jaxcast.forecast(jaxcast.Forecaster(pool, candidates), truth.states, num_leads=2)
        >>> [[round(float(weight), 2) for weight in row] for row in outputs.info["weights"]]
        [[0.0, 0.1, 0.9], [0.81, 0.01, 0.18]]
    """

    transition: Float[Array, "model model"]
    covariances: Float[Array, "model dim dim"]
    prior: Float[Array, " model"]

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".transition": "model model", ".covariances": "model dim dim", ".prior": "model"})
        for name in ("transition", "prior"):
            rows = np.asarray(getattr(self, name), float)
            if (rows < 0).any() or not np.allclose(rows.sum(-1), 1, atol=1e-4):
                raise InputError(
                    f"{name} must hold probabilities that sum to 1, got sums {shown(rows.sum(-1).tolist())}"
                )
        covariances = np.asarray(self.covariances, float)
        if not np.allclose(covariances, np.swapaxes(covariances, -1, -2)):
            raise InputError("covariances must be symmetric")
        check_positive(eigenvalues_of_covariances=np.linalg.eigvalsh(covariances))

    def transition_of(self, num_models: int) -> Float[Array, "model model"]:
        return self.transition

    def prior_of(self, num_models: int) -> Float[Array, " model"]:
        if not len(self.prior) == len(self.transition) == len(self.covariances) == num_models:
            raise InputError(
                f"expected a transition, a covariance and a prior for each of {num_models} candidates, got "
                f"{len(self.transition)}, {len(self.covariances)} and {len(self.prior)}"
            )
        return self.prior

    def log_likelihood(self, errors: Float[Array, "model dim"], known: Bool[Array, "..."]) -> Float[Array, " model"]:
        covariances = jnp.asarray(self.covariances, errors.dtype)
        if known.ndim:  # unknown components are left out, as if they were independent and right
            both = known[:, None] & known[None, :]
            covariances = jnp.where(both, covariances, jnp.eye(len(known), dtype=errors.dtype))
            errors = jnp.where(known, errors, 0.0)
        return gaussian_log_density(errors, covariances)


@highest
def gaussian_log_density(
    errors: Float[Array, "*sample model dim"], covariances: Float[Array, "model dim dim"]
) -> Float[Array, "*sample model"]:
    """Computes log N(error; 0, C_i), up to the constant that all candidates share.

    Args:
        errors: of the candidates.
        covariances: C, of each candidate.
    """
    root = jnp.linalg.cholesky(covariances)
    # The inverse of the factor serves all samples; to solve for each would be slower.
    identity = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
    whiten = jax.scipy.linalg.solve_triangular(root, identity, lower=True)
    whitened = jnp.einsum("mde,...me->...md", whiten, errors)
    return -0.5 * (whitened**2).sum(-1) - jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)).sum(-1)
