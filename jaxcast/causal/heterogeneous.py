"""Effects that depend on covariates: the R-learner."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.causal.bases import Basis, LinearBasis, Places, standardised
from jaxcast.causal.estimates import CausalEffect, Groups, Interval, Regression, normal_interval, over_repeats, regress
from jaxcast.causal.network import NetworkNuisance, check_network
from jaxcast.causal.perceptron import mean_output, train_perceptron
from jaxcast.checks import check_finite
from jaxcast.errors import InputError, shown
from jaxcast.precision import highest, product
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.tracing import is_traced

LEAST_SINGULAR_VALUE = 3e-7
"""Of functions of covariates, as a share of the largest; below it some follow from others."""


class LinearEffect(FrozenPytree):
    """An effect that is linear in functions of covariates, theta(x) = b' [1; f(x)].

    Call it with covariates, (*batch, covariate), for the effects there.

    Args:
        basis: f.
        places: where the basis sits.
        coefficients: b, the constant first.
        covariance: of the coefficients, without treatment axes for one treatment.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.causal.simulate_confounded(400, key=jax.random.key(0))
        >>> average = jaxcast.causal.fit_partially_linear(
        ...     data.outcome, data.treatment, data.covariates, key=jax.random.key(1)
        ... )
        >>> effect = jaxcast.causal.fit_r_learner(average, data.covariates[:, :1])
        >>> effect(data.covariates[:, :1]).shape
        (400,)
    """

    places: Places
    coefficients: Float[Array, " feature *treatment"]
    covariance: Float[Array, "..."]
    basis: Basis = static()

    @checked
    @highest
    def __call__(self, covariates: Shaped[ArrayLike, "*batch covariate"]) -> Float[Array, "*batch_and_treatment"]:
        """Returns the effects at some covariates.

        Args:
            covariates: those that the effect depends on.

        Raises:
            InputError: for another number of covariates.
        """
        return jnp.tensordot(self._features(covariates), self.coefficients, 1)

    @checked
    @highest
    def standard_errors(
        self, covariates: Shaped[ArrayLike, "*batch covariate"]
    ) -> Float[Array, "*batch_and_treatment"]:
        """Returns the standard errors of the effects at some covariates.

        Args:
            covariates: those that the effect depends on.

        Raises:
            InputError: for another number of covariates.
        """
        features = self._features(covariates)
        if self.coefficients.ndim == 1:
            return jnp.sqrt(jnp.einsum("...f,fg,...g->...", features, self.covariance, features))
        return jnp.sqrt(jnp.einsum("...f,fkgk,...g->...k", features, self.covariance, features))

    @checked
    def interval(self, covariates: Shaped[ArrayLike, "*batch covariate"], level: float = 0.95) -> Interval:
        """Returns the normal confidence interval of each effect, for each point by itself.

        Args:
            covariates: those that the effect depends on.
            level: probability with which an interval covers the effect at its point.

        Raises:
            InputError: for another number of covariates, or a level outside (0, 1).
        """
        return normal_interval(self(covariates), self.standard_errors(covariates), level)

    def _features(self, covariates: Any) -> Float[Array, "*batch feature"]:
        check_covariates(covariates, self.places)
        features = self.basis.expand(jnp.asarray(covariates, self.places.mean.dtype), self.places)
        return jnp.concatenate([jnp.ones_like(features[..., :1]), features], -1)


class NetworkEffect(FrozenPytree):
    """An effect that networks have learned, the mean over their seeds.

    Call it with covariates, (sample, covariate), for the effects there.

    Args:
        places: mean and standard deviation of the covariates.
        models: the networks, with a leading seed axis.
        is_vector: whether there is a treatment axis.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.causal.simulate_confounded(400, key=jax.random.key(0))
        >>> average = jaxcast.causal.fit_partially_linear(
        ...     data.outcome, data.treatment, data.covariates, key=jax.random.key(1)
        ... )
        >>> network = jaxcast.causal.NetworkNuisance(hidden_sizes=(8,), num_epochs=2)
        >>> effect = jaxcast.causal.fit_r_learner_network(
        ...     average, data.covariates[:, :1], network=network, key=jax.random.key(2)
        ... )
        >>> effect(data.covariates[:, :1]).shape
        (400,)
    """

    places: Places
    models: Any
    is_vector: bool = static()

    @checked
    def __call__(self, covariates: Shaped[ArrayLike, "sample covariate"]) -> Float[Array, " sample *treatment"]:
        """Returns the effects at some covariates.

        Args:
            covariates: those that the effect depends on.

        Raises:
            InputError: for another number of covariates.
        """
        check_covariates(covariates, self.places)
        x = standardised(jnp.asarray(covariates, self.places.mean.dtype), self.places)
        effects = mean_output(self.models, x)
        return effects if self.is_vector else effects[..., 0]


def check_covariates(covariates: Any, places: Places) -> None:
    """Refuses covariates of another number than an effect was fitted to.

    Args:
        covariates: what came.
        places: of the fit.

    Raises:
        InputError: with both numbers.
    """
    shape, wanted = np.shape(covariates), len(places.mean)
    if not shape or shape[-1] != wanted:
        raise InputError(f"expected the {wanted} covariates that the effect was fitted to, got shape {shape}")


@checked
def fit_r_learner(
    average: CausalEffect, covariates: Shaped[ArrayLike, "sample covariate"], *, basis: Basis | None = None
) -> LinearEffect:
    """Fits an effect that is linear in functions of covariates, in closed form.

        b = argmin sum (U - sum_j V_j theta_j(x))^2,    theta_j(x) = b_j' [1; f(x)]

    with the residuals U and V of a partially linear fit. Standard errors are robust, with the
    clusters or lags of that fit, and the median over its repeats.

    Args:
        average: result of `fit_partially_linear`.
        covariates: those that the effect may depend on, of the same samples; few.
        basis: f; by default `LinearBasis()`.

    Returns:
        The effect as a function of the covariates.

    Raises:
        InputError: for covariates of other samples or with NaN, that never change or follow from
            others, or as many coefficients as samples.

    Source:
        Nie and Wager, Biometrika 108, 299-319 (2021).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> one, other = jax.random.normal(jax.random.key(1), (2, 1000))
        >>> treatment = x[:, 0] + one
        >>> outcome = (1 + 2 * x[:, 1]) * treatment + x[:, 0] + other
        >>> average = jaxcast.causal.fit_partially_linear(outcome, treatment, x, key=jax.random.key(2))
        >>> effect = jaxcast.causal.fit_r_learner(average, x[:, 1:])
        >>> [round(float(number)) for number in effect(jnp.asarray([[0.0], [1.0]]))]
        [1, 3]
    """
    values = _checked(average, covariates)
    functions = LinearBasis() if basis is None else basis
    if not isinstance(functions, Basis):
        raise InputError(f"basis must be one of jaxcast.causal, such as SplineBasis(), got {shown(repr(basis))}")
    places = functions.places(values)
    features = functions.expand(values, places)
    features = jnp.concatenate([jnp.ones_like(features[:, :1]), features], -1)
    is_vector = average.treatment_residuals.ndim == 3
    treatments = average.treatment_residuals if is_vector else average.treatment_residuals[..., None]
    num_coefficients = features.shape[1] * treatments.shape[-1]
    if num_coefficients >= len(values):
        raise InputError(f"expected fewer coefficients than the {len(values)} samples, got {num_coefficients}")
    _check_rank(features)
    found = _regress(average.outcome_residuals, treatments, features, average.groups)
    shape = (features.shape[1], treatments.shape[-1]) if is_vector else features.shape[1:]
    return LinearEffect(
        places, found.coefficients.reshape(shape), found.covariance.reshape(*shape, *shape), basis=functions
    )


def _check_rank(features: Array) -> None:
    """Refuses functions of covariates of which some follow from others, so that nobody can tell their effects."""
    if is_traced(features):
        return
    values = np.asarray(features, float)
    norms = np.sqrt((values**2).sum(0))
    sizes = np.linalg.svd(values / np.where(norms > 0, norms, 1), compute_uv=False)
    if sizes[-1] < LEAST_SINGULAR_VALUE * sizes[0]:
        raise InputError(
            "some covariates, or functions of them, follow from others or never change; leave out those, or give "
            "LinearBasis() for covariates of two values"
        )


@jax.jit
def _regress(outcomes: Array, treatments: Array, features: Array, groups: Groups) -> Regression:
    def one_repeat(u: Array, v: Array) -> Regression:
        return regress(u, (features[:, :, None] * v[:, None]).reshape(len(u), -1), groups)

    return over_repeats(jax.vmap(one_repeat)(outcomes, treatments))


@checked
def fit_r_learner_network(
    average: CausalEffect,
    covariates: Shaped[ArrayLike, "sample covariate"],
    *,
    network: NetworkNuisance | None = None,
    key: Key[Array, ""],
) -> NetworkEffect:
    """Fits an effect that is any smooth function of covariates, by networks.

    They minimise the mean of (U - sum_j V_j theta_j(x))^2, with the residuals U and V of a
    partially linear fit, averaged over its repeats, and stop by a part of the samples that is held
    out. There are no standard errors: compare with `fit_r_learner`, and several seeds.

    Args:
        average: result of `fit_partially_linear`.
        covariates: those that the effect may depend on, of the same samples.
        network: sizes and training; by default `NetworkNuisance()`.
        key: random key of weights, shuffles and the held-out part.

    Returns:
        The effect as a function of the covariates.

    Raises:
        InputError: for covariates of other samples or with NaN, or settings out of range.

    Source:
        Nie and Wager, Biometrika 108, 299-319 (2021).

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.causal.simulate_confounded(400, key=jax.random.key(0))
        >>> average = jaxcast.causal.fit_partially_linear(
        ...     data.outcome, data.treatment, data.covariates, key=jax.random.key(1)
        ... )
        >>> network = jaxcast.causal.NetworkNuisance(hidden_sizes=(8,), num_epochs=2)
        >>> effect = jaxcast.causal.fit_r_learner_network(
        ...     average, data.covariates[:, :2], network=network, key=jax.random.key(2)
        ... )
        >>> effect(data.covariates[:3, :2]).shape
        (3,)
    """
    values = _checked(average, covariates)
    settings = NetworkNuisance() if network is None else network
    check_network(settings)
    basis = LinearBasis()
    places = basis.places(values)
    is_vector = average.treatment_residuals.ndim == 3
    treatments = average.treatment_residuals if is_vector else average.treatment_residuals[..., None]
    # Effects are learned around the average one, in units in which outcomes have a variance of one.
    size = average.outcome_residuals.std()
    middle = jnp.atleast_1d(average.effect)
    u = (average.outcome_residuals - product(treatments, middle)).mean(0)
    scale = treatments.std((0, 1))
    data = {"x": basis.expand(values, places), "u": u / size, "v": treatments.mean(0) / scale}
    models = train_perceptron(
        data | {"weight": jnp.ones_like(u)}, _r_loss, settings, output_size=treatments.shape[-1], key=key
    )
    return NetworkEffect(places, _in_units(models, size / scale, middle), is_vector=is_vector)


def _in_units(models: Any, factor: Array, middle: Array) -> Any:
    """Returns the networks with outputs times a factor, plus the average effect."""
    last = models.layers[-1]
    last.kernel[...] = last.kernel[...] * factor
    last.bias[...] = last.bias[...] * factor + middle
    return models


def _r_loss(model: Any, batch: Any) -> Float[Array, ""]:
    return jnp.mean(batch["weight"] * (batch["u"] - (model(batch["x"]) * batch["v"]).sum(-1)) ** 2)


def _checked(average: CausalEffect, covariates: Any) -> Float[Array, "sample covariate"]:
    shape, size = np.shape(covariates), average.outcome_residuals.shape[1]
    if len(shape) != 2 or shape[0] != size or not shape[1]:
        raise InputError(f"expected covariates (sample, covariate) of the {size} samples of the fit, got shape {shape}")
    check_finite({"covariates": covariates})
    return jnp.asarray(covariates, average.outcome_residuals.dtype)
