"""Regressions for nuisance functions of double machine learning, without the held-out samples."""

import copy
from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxcast.causal.splits import Splits
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced


class Nuisance(ABC):
    """Base of regressions that predict each sample by a fit that has not seen its fold."""

    @abstractmethod
    def predict_held_out(
        self,
        covariates: Float[Array, "sample covariate"],
        targets: Float[Array, "sample target"],
        splits: Splits,
        *,
        among: Bool[Array, " sample"],
        key: Key[Array, ""],
    ) -> Float[Array, "repeat sample target"]:
        """Fits each fold's training samples and predicts the samples that it holds out.

        Args:
            covariates: of all samples.
            targets: what to predict from them.
            splits: folds of each repeat.
            among: samples that may be learned from at all, such as the treated ones.
            key: random key.

        Returns:
            The predictions of all samples, also of those that are not `among` them.
        """


@runtime_checkable
class Learner(Protocol):
    """Any object with fit and predict, such as a regressor of scikit-learn.

    It is copied before every fit and stays as it is.
    """

    def fit(self, x: Any, y: Any) -> Any:
        """Learns from samples.

        Args:
            x: covariates, (sample, covariate).
            y: targets, (sample,).
        """

    def predict(self, x: Any) -> Any:
        """Returns a prediction for each sample.

        Args:
            x: covariates, (sample, covariate).
        """


@runtime_checkable
class Classifier(Protocol):
    """Any object with fit and predict_proba, such as a classifier of scikit-learn, for targets 0 and 1."""

    def fit(self, x: Any, y: Any) -> Any:
        """Learns from samples.

        Args:
            x: covariates, (sample, covariate).
            y: targets 0 and 1, (sample,).
        """

    def predict_proba(self, x: Any) -> Any:
        """Returns the probabilities of 0 and 1 for each sample.

        Args:
            x: covariates, (sample, covariate).
        """


class LearnerNuisance(Nuisance):
    """A copy of a learner for every repeat, fold and target.

    Args:
        learner: with fit and predict, or with fit and predict_proba.
    """

    def __init__(self, learner: Learner | Classifier):
        self.learner = learner

    def predict_held_out(
        self,
        covariates: Float[Array, "sample covariate"],
        targets: Float[Array, "sample target"],
        splits: Splits,
        *,
        among: Bool[Array, " sample"],
        key: Key[Array, ""],
    ) -> Float[Array, "repeat sample target"]:
        if is_traced(covariates, targets, splits, among):
            raise InputError("a learner with fit and predict cannot run inside jax.jit or jax.vmap; use RidgeNuisance")
        x, y, may = (np.asarray(a) for a in (covariates, targets, among))
        train, fold = np.asarray(splits.train), np.asarray(splits.fold)
        found = np.empty((len(train), *y.shape), y.dtype)
        for repeat, number in np.ndindex(train.shape[:2]):
            own, held_out = train[repeat, number] & may, fold[repeat] == number
            for target in range(y.shape[1]):
                found[repeat, held_out, target] = self._predictions(x[own], y[own, target], x[held_out])
        return jnp.asarray(found)

    def _predictions(self, x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        learner = copy.deepcopy(self.learner)
        if isinstance(learner, Classifier):
            if not np.isin(y, (0, 1)).all():
                raise InputError(
                    f"a classifier predicts targets 0 and 1 only, got {shown(np.unique(y)[:5].tolist())}, ...; "
                    "give a regressor for this nuisance"
                )
            learner.fit(x, y.astype(int))
            predicted = np.asarray(learner.predict_proba(new), float)
            predicted = predicted[:, -1] if predicted.ndim == 2 and predicted.shape[1] == 2 else predicted
        else:
            learner.fit(x, y)
            predicted = np.asarray(learner.predict(new), float).squeeze()
        if predicted.shape not in ((len(new),), ()) or not np.isfinite(predicted).all():
            raise InputError(
                f"expected one finite prediction of the nuisance for each of {len(new)} samples, got shape "
                f"{predicted.shape} with {np.sum(~np.isfinite(predicted))} that are NaN or infinite"
            )
        return predicted


def as_nuisance(nuisance: Any) -> Nuisance:
    """Returns a nuisance of jaxcast as it is, and a learner with fit and predict as a nuisance.

    Args:
        nuisance: what the user gave.

    Raises:
        InputError: for anything else.
    """
    if isinstance(nuisance, Nuisance):
        return nuisance
    if isinstance(nuisance, type) or not isinstance(nuisance, Learner | Classifier):
        raise InputError(
            "a nuisance must be one of jaxcast.causal, such as RidgeNuisance(), or an object with fit and predict, got "
            f"{shown(repr(nuisance))}"
        )
    return LearnerNuisance(nuisance)
