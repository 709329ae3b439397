"""Ridge regression on a basis, for all folds, repeats and targets in one compiled program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxcast.causal.bases import Basis, SplineBasis
from jaxcast.causal.nuisance import Nuisance
from jaxcast.causal.splits import Splits
from jaxcast.checks import check_positive
from jaxcast.errors import InputError, shown
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static

PENALTIES = tuple(np.logspace(-6, 1, 22).tolist())


class RidgeNuisance(Nuisance, FrozenPytree):
    """Ridge regression on functions of the covariates; each fold chooses its own penalty.

        W = argmin mean_train |y - b - W' f(x)|^2 + penalty |W|^2

    with features f of standard deviation 1. Each fold and target takes the penalty of the smallest
    generalised cross-validation error on the fold's training samples,

        GCV = mean |residual|^2 / (1 - df / n)^2,    df = 1 + sum_i s_i / (s_i + penalty)

    with s the eigenvalues of the features' covariance. Knots and scales of the basis are those of
    the covariates of all samples; outcomes and treatments that are held out take no part.

    Args:
        basis: functions of the covariates.
        penalties: to choose from, in units of the variance of a feature; one alone is used as it
            is.

    Raises:
        InputError: for penalties that are not positive.

    Source:
        Golub, Heath and Wahba, Technometrics 21, 215-223 (1979).

    Example:
        >>> import jaxcast
        >>> jaxcast.causal.RidgeNuisance(penalties=(0.1,)).basis
        SplineBasis(num_knots=5, interactions=False)
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
        return _predict(self.basis, self.penalties, covariates, targets, splits, among)


def check_penalties(penalties: tuple[float, ...]) -> None:
    """Refuses penalties that are not positive numbers.

    Args:
        penalties: to choose from.

    Raises:
        InputError: also for none.
    """
    if not penalties or not np.isfinite(penalties).all():
        raise InputError(f"expected at least one finite penalty, got {shown(penalties)}")
    check_positive(penalties=np.asarray(penalties))


def scaled_features(basis: Basis, covariates: Float[Array, "sample covariate"]) -> Float[Array, "sample feature"]:
    """Returns the functions of the covariates, each with mean 0 and standard deviation 1.

    Args:
        basis: the functions.
        covariates: of all samples.
    """
    features = basis.expand(covariates, basis.places(covariates))
    mean, std = features.mean(0), features.std(0)
    return (features - mean) / jnp.where(std > 0, std, 1)


def of_own_fold(predictions: Float[Array, "fold sample target"], fold: Array) -> Float[Array, "sample target"]:
    """Returns for each sample the prediction of the fold that holds it out.

    Args:
        predictions: of all samples by all folds.
        fold: of each sample.
    """
    return jnp.take_along_axis(predictions, fold[None, :, None], 0)[0]


@partial(jax.jit, static_argnums=(0, 1))
@highest
def _predict(
    basis: Basis, penalties: tuple[float, ...], covariates: Array, targets: Array, splits: Splits, among: Array
) -> Array:
    features = scaled_features(basis, covariates)
    middle, size = targets.mean(0), targets.std(0)
    size = jnp.where(size > 0, size, 1)
    scaled = (targets - middle) / size

    def one_repeat(split: Splits) -> Array:
        fit = lambda train: _fit(features, scaled, train & among, jnp.asarray(penalties, features.dtype))  # noqa: E731
        slopes, level = jax.lax.map(fit, split.train)
        predictions = jnp.einsum("nf,kft->knt", features, slopes) + level[:, None]
        return of_own_fold(predictions, split.fold)

    return middle + size * jax.lax.map(one_repeat, splits)


def _fit(
    features: Array, targets: Array, train: Array, penalties: Array
) -> tuple[Float[Array, "feature target"], Float[Array, " target"]]:
    """Returns slopes and levels of one fold."""
    weights = train.astype(features.dtype)
    count = weights.sum()
    mean, level = weights @ features / count, weights @ targets / count
    own = (features - mean) * weights[:, None]
    gram = own.T @ own / count
    products = own.T @ (targets - level) / count
    squares = weights @ (targets - level) ** 2 / count
    values, vectors = jnp.linalg.eigh(gram)
    values = jnp.maximum(values, 0)[:, None]
    projected = vectors.T @ products

    def gcv(penalty: Array) -> Array:
        shrunk = projected / (values + penalty)
        residual = squares - 2 * (projected * shrunk).sum(0) + (values * shrunk**2).sum(0)
        free = 1 - (1 + (values / (values + penalty)).sum()) / count
        return jnp.where(free > 0, residual / jnp.where(free > 0, free, 1) ** 2, jnp.inf)

    penalty = penalties[jnp.argmin(jax.vmap(gcv)(penalties), 0)]
    slopes = vectors @ (projected / (values + penalty))
    return slopes, level - mean @ slopes
