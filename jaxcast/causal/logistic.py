"""Logistic regression on a basis, for probabilities of treatment."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxcast.causal.bases import Basis, SplineBasis
from jaxcast.causal.nuisance import Nuisance
from jaxcast.causal.ridge import check_penalties, of_own_fold, scaled_features
from jaxcast.causal.splits import Splits
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.tracing import is_traced

PENALTIES = tuple(np.logspace(-5, 0, 6).tolist())
MOST_STEPS = 30
"""Newton steps at most; a handful is usual."""
HALVINGS = (1.0, 0.5, 0.2, 0.05, 0.0)


class LogisticNuisance(Nuisance, FrozenPytree):
    """Logistic ridge regression on functions of the covariates, for targets 0 and 1.

        W = argmin -mean_train log likelihood + penalty |W|^2 / 2,    p(x) = sigmoid(b + W' f(x))

    by Newton's method. Each fold and target takes the penalty of the smallest deviance + 2 df on
    the fold's training samples, df = tr((H + penalty)^-1 H) + 1 with H the Hessian of the loss.

    Args:
        basis: functions of the covariates.
        penalties: to choose from; one alone is used as it is.

    Raises:
        InputError: for penalties that are not positive, or targets outside [0, 1].

    Source:
        Wood, Generalized Additive Models (2017), section 6.2, for the choice of the penalty.

    Example:
        >>> import jaxcast
        >>> jaxcast.causal.LogisticNuisance(basis=jaxcast.causal.LinearBasis()).basis
        LinearBasis()
    """

    basis: Basis = static(default=SplineBasis())
    penalties: tuple[float, ...] = static(default=PENALTIES)

    def predict_held_out(
        self,
        covariates: Float[Array, "sample covariate"],
        targets: Float[Array, "sample target"],
        splits: Splits,
        *,
        among: Bool[Array, " sample"],
        key: Key[Array, ""],
    ) -> Float[Array, "repeat sample target"]:
        check_penalties(self.penalties)
        if not is_traced(targets) and not ((np.asarray(targets) >= 0) & (np.asarray(targets) <= 1)).all():
            raise InputError(
                f"a logistic nuisance predicts targets from 0 to 1, got {np.min(targets):g} to {np.max(targets):g}; "
                "give RidgeNuisance()"
            )
        return _predict(self.basis, self.penalties, covariates, targets, splits, among)


@partial(jax.jit, static_argnums=(0, 1))
@highest
def _predict(
    basis: Basis, penalties: tuple[float, ...], covariates: Array, targets: Array, splits: Splits, among: Array
) -> Array:
    features = scaled_features(basis, covariates)
    features = jnp.concatenate([features, jnp.ones_like(features[:, :1])], -1)
    strengths = jnp.asarray(penalties, features.dtype)

    def one_repeat(split: Splits) -> Array:
        def one_fold(train: Array) -> Array:
            weights = (train & among).astype(features.dtype)
            total = weights.sum()
            one_target = lambda target: _fit(features, target, weights / total, total, strengths)  # noqa: E731
            return jax.lax.map(one_target, targets.T)

        coefficients = jax.lax.map(one_fold, split.train)
        predictions = jnp.einsum("nf,ktf->knt", features, coefficients)
        return of_own_fold(jax.nn.sigmoid(predictions), split.fold)

    return jax.lax.map(one_repeat, splits)


def _fit(features: Array, target: Array, weights: Array, count: Array, penalties: Array) -> Float[Array, " feature"]:
    """Returns the coefficients with the penalty of the smallest deviance plus twice the degrees of freedom."""

    def one_penalty(start: Array, penalty: Array) -> tuple[Array, tuple[Array, Array]]:
        found, freedom = _newton(features, target, weights, penalty, start)
        return found, (found, 2 * count * _loss(features @ found, target, weights) + 2 * freedom)

    # From the strongest penalty on, each starts where the one before has ended.
    order = jnp.argsort(-penalties)
    _, (coefficients, criteria) = jax.lax.scan(one_penalty, jnp.zeros_like(features[0]), penalties[order])
    return coefficients[jnp.argmin(criteria)]


def _loss(logits: Array, target: Array, weights: Array) -> Float[Array, ""]:
    return weights @ (jax.nn.softplus(logits) - target * logits)


def _newton(
    features: Array, target: Array, weights: Array, penalty: Array, start: Array
) -> tuple[Float[Array, " feature"], Float[Array, ""]]:
    # The constant, which is last, has no penalty but a trace of one where all targets are alike.
    ridge = jnp.full_like(start, penalty).at[-1].set(jnp.finfo(start.dtype).eps)

    def curvature(logits: Array) -> Array:
        share = jax.nn.sigmoid(logits)
        return (features * (weights * share * (1 - share))[:, None]).T @ features

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        found, _, number = state
        logits = features @ found
        slope = features.T @ (weights * (jax.nn.sigmoid(logits) - target)) + ridge * found
        move = -jnp.linalg.solve(curvature(logits) + jnp.diag(ridge), slope)
        along = features @ move
        lengths = jnp.asarray(HALVINGS, found.dtype)

        def objective(length: Array) -> Array:
            return _loss(logits + length * along, target, weights) + ridge @ (found + length * move) ** 2 / 2

        best = lengths[jnp.argmin(jax.vmap(objective)(lengths))]
        return found + best * move, -slope @ move, number + 1

    # The decrement is twice the distance to the minimum; one more step squares it.
    enough = jnp.finfo(start.dtype).eps ** 0.65
    goes_on = lambda state: (state[1] > enough) & (state[2] < MOST_STEPS)  # noqa: E731
    found, _, _ = jax.lax.while_loop(goes_on, step, (start, jnp.full((), jnp.inf, start.dtype), jnp.zeros((), int)))
    hessian = curvature(features @ found)
    return found, jnp.trace(jnp.linalg.solve(hessian + jnp.diag(ridge), hessian))
