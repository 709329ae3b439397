"""Pools with a correction of what no combination of the candidates can express."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import (
    Checked,
    check_finite,
    check_floats,
    check_model,
    check_positive,
    check_texts,
    check_whole,
    sizes_of,
)
from jaxcast.errors import InputError, shown
from jaxcast.numerics.polynomials import chebyshev_terms
from jaxcast.numerics.ridge import gaussian_kernel
from jaxcast.pooling.memory import DelayMemory, PoolMemory
from jaxcast.pooling.pool import Pool
from jaxcast.pooling.samples import OneStepSamples
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.types import Scalar

MARGIN = 1.1
"""How far features may leave their training range before they are clipped."""


class Features(Checked, FrozenPytree):
    """The features of a correction: the newest state and entries of the pool's info.

    They are in [-1, 1] along the training samples.

    Args:
        middle: of the range of each feature.
        half: half the range of each feature. All features of one entry share it, so that those that
            hardly vary, and are mostly noise, stay small.
        stretch: another factor for the features from the entries.
        info: names of the entries.
    """

    middle: Float[Array, " feature"]
    half: Float[Array, " feature"]
    stretch: Any
    info: tuple[str, ...] = static()

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".middle": "feature", ".half": "feature", ".stretch": ""})
        check_texts("info", self.info, least=0)
        check_positive(half=self.half, stretch=self.stretch)

    def __call__(self, state: Float[Array, "*batch dim"], info: Mapping[str, Any]) -> Float[Array, "*batch feature"]:
        if unknown := [name for name in self.info if name not in info]:
            raise InputError(f"the pool's info has no {shown(', '.join(unknown))}, which its correction sees")
        joined = _joined(self.info, state, info)
        if joined.shape[-1:] != self.middle.shape:
            raise InputError(f"the correction sees {self.middle.shape[0]} features, got {joined.shape[-1]}")
        scaled = jnp.clip((joined - self.middle) / self.half, -MARGIN, MARGIN)
        return scaled * jnp.where(jnp.arange(scaled.shape[-1]) < state.shape[-1], 1, self.stretch)


class PolynomialCorrection(Checked, FrozenPytree, name="polynomial_correction"):
    """A polynomial correction: C(x) = sum_n c_n prod_j T_(n_j)(x_j), with Chebyshev polynomials T.

    Args:
        coefficients: c, of all terms up to the total degree.
        degree: the total degree.
    """

    coefficients: Float[Array, "term dim"]
    degree: int = static()

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes = sizes_of(self, {".coefficients": "term dim"})
        check_whole("degree", self.degree, most=sizes["term"])

    def check_features(self, num_features: int) -> None:
        """Checks that it has a coefficient for every term.

        Args:
            num_features: features of x.

        Raises:
            InputError: for another number of coefficients.
        """
        num_terms = math.comb(num_features + self.degree, self.degree)
        if len(self.coefficients) != num_terms:
            raise InputError(f"expected coefficients of {num_terms} terms, got {len(self.coefficients)}")

    @highest
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch dim"]:
        return chebyshev_terms(features, self.degree) @ self.coefficients


class KernelCorrection(Checked, FrozenPytree, name="kernel_correction"):
    """A kernel correction: C(x) = sum_n exp(-|x - x_n|^2 / (2 length^2)) c_n.

    It is smooth, and zero far from all centres.

    Args:
        centres: x_n, from the training samples.
        coefficients: c_n.
        length: of the kernel.
    """

    centres: Float[Array, "centre feature"]
    coefficients: Float[Array, "centre dim"]
    length: Any

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".centres": "centre feature", ".coefficients": "centre dim", ".length": ""})
        check_positive(length=self.length)

    def check_features(self, num_features: int) -> None:
        """Checks that its centres have these features.

        Args:
            num_features: features of x.

        Raises:
            InputError: for centres of another number of features.
        """
        if self.centres.shape[1] != num_features:
            raise InputError(f"expected centres of {num_features} features, got {self.centres.shape[1]}")

    @highest
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch dim"]:
        return gaussian_kernel(features, self.centres, self.length) @ self.coefficients


class CorrectedPool(Pool, Checked, FrozenPytree, name="corrected"):
    """A pool's forecast plus a correction that depends on the state and on the pool's info.

        y = pool(memory, F) + C(x),    x = [u_(j-1), info of the pool]

    `info` is the pool's, with "correction", (*batch, dim), added. `fit_correction` returns it.

    Args:
        pool: to correct.
        features: x.
        correction: C.

    Raises:
        InputError: when saved or loaded, for features and coefficients that do not match.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=300)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (30.0, 34.0)]))
        >>> samples = jaxcast.one_step_samples(truth, 1, candidates)
        >>> pool = jaxcast.pooling.fit_correction(samples, pool=jaxcast.equal_weights(2))
        >>> before, after = (jaxcast.pooling.one_step_errors(p, samples).mean() for p in (pool.pool, pool))
        >>> bool(after < 0.01 * before)
        True
    """

    pool: Pool
    features: Features
    correction: PolynomialCorrection | KernelCorrection

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        for part in (self.pool, self.features, self.correction):
            check_model(part)
        num_features = len(self.features.middle)
        self.correction.check_features(num_features)
        dim = self.correction.coefficients.shape[1]
        if num_features < dim or (num_features == dim) == bool(self.features.info):
            raise InputError(
                f"expected features of {dim} components and of the info {self.features.info}, got {num_features}"
            )

    @property
    def memory(self) -> PoolMemory:
        return _with_newest(self.pool.memory)

    def __call__(self, memory: Any, forecasts: Any) -> Output:
        forecast, info = self.pool(memory, forecasts)
        correction = self.correction(self.features(self.memory.newest(memory), info))
        return Output(forecast + correction, info | {"correction": correction})


@checked
def fit_correction(
    samples: OneStepSamples,
    *,
    pool: Any,
    kind: Literal["kernel", "polynomial"] = "kernel",
    info: Sequence[str] | None = None,
    lengths: Sequence[float] = (0.4, 0.6),
    stretches: Sequence[float] = (0.5,),
    degrees: Sequence[int] = (2, 3, 4),
    penalties: Sequence[float] = (1e-8, 1e-7, 1e-6, 1e-4, 1e-2, 1.0),
    validation_share: float = 0.2,
    max_centres: int = 4000,
) -> CorrectedPool:
    """Fits the correction of a pool, by ridge regression in closed form.

        C = argmin sum_n |y_n - pool_n - C(x_n)|^2 + penalty |C|^2

    |C| is the norm of the coefficients (polynomial) or of the kernel's function space (kernel).
    Every combination of the settings is fitted on the first samples and scored on the last ones;
    the best is refitted on all.

    Args:
        samples: in time order, as from `one_step_samples` or `rolled_samples`.
        pool: to correct.
        kind: "kernel" is more accurate in few dimensions, "polynomial" smaller and faster.
        info: entries of the pool's info that the correction sees besides the newest state; by
            default "position" where there is one.
        lengths: of the kernel, to try; features are in [-1, 1].
        stretches: factors of the features from info, to try.
        degrees: total degrees of polynomials, to try.
        penalties: to try, for the sum over all samples.
        validation_share: share of the samples, the last ones, that selects the settings; it has no
            effect on a single setting.
        max_centres: most centres of a kernel; of more samples, evenly spaced ones are the centres.

    Returns:
        The corrected pool.

    Raises:
        InputError: for an unknown kind, info that the pool does not return, settings out of range,
            too few samples, or samples that are not finite.

    Source:
        Hoerl and Kennard (1970) for the ridge; Saunders, Gammerman and Vovk (1998) for the kernel.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=300)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (30.0, 34.0)]))
        >>> samples = jaxcast.one_step_samples(truth, 2, candidates)
        >>> pool = jaxcast.pooling.fit_correction(
        ...     samples, pool=jaxcast.pooling.fit_regime_interpolation(samples), kind="polynomial", degrees=(2,)
        ... )
        >>> pool.features.info
        ('position',)
    """
    _check_settings(kind, (lengths, stretches, degrees, penalties), validation_share, max_centres)
    num_fit = int(len(samples.targets) * (1 - validation_share))
    if min(num_fit, len(samples.targets) - num_fit) < 1:
        raise InputError(f"expected samples to fit and to validate with, got {len(samples.targets)}")
    check_finite(samples._asdict())
    states = _with_newest(pool.memory).newest(samples.memory)
    pooled = jax.lax.map(lambda s: pool(s.memory, s.forecasts), samples, batch_size=512)
    features = _feature_range(states, pooled.info, names=_checked_info(info, pooled.info))
    missing = samples.targets - pooled.forecast
    scale = jnp.maximum(samples.targets.std(0), jnp.finfo(missing.dtype).tiny)

    def fitted(setting: tuple[float, Any, float], rows: slice) -> tuple[Features, Array, Any]:
        stretched = dataclasses.replace(features, stretch=jnp.asarray(setting[0], missing.dtype))
        x = _seen(stretched, states, pooled.info)
        return stretched, x, _fit(kind, x[rows], missing[rows], *setting[1:], max_centres)

    def score(setting: tuple[float, Any, float]) -> float:
        _, x, correction = fitted(setting, slice(num_fit))
        error = float(_error(correction, x[num_fit:], missing[num_fit:], scale))
        return error if np.isfinite(error) else np.inf

    sizes: Sequence[Any] = lengths if kind == "kernel" else degrees
    settings = list(product(stretches if features.info else (1.0,), sizes, penalties))
    best = min(settings, key=score) if len(settings) > 1 else settings[0]
    stretched, _, correction = fitted(best, slice(None))
    return CorrectedPool(pool, stretched, correction)


def _check_settings(kind: str, grids: tuple[Sequence[Any], ...], validation_share: float, max_centres: int) -> None:
    if kind not in ("kernel", "polynomial"):
        raise InputError(f"kind must be 'kernel' or 'polynomial', got {shown(repr(kind))}")
    if not all(grids) or min(map(min, grids)) <= 0 or not 0 < validation_share < 1 or max_centres < 1:
        raise InputError(
            "expected positive lengths, stretches, degrees and penalties, at least one of each, a validation_share "
            f"in (0, 1) and max_centres of at least 1, got {shown(', '.join(map(str, grids)))}, {validation_share} "
            f"and {max_centres}"
        )


def _fit(kind: str, x: Array, missing: Array, size: Any, penalty: float, max_centres: int) -> Any:
    if kind == "polynomial":
        return PolynomialCorrection(_fit_polynomial(x, missing, penalty, size), size)
    return _fit_kernel(x, missing, size, penalty, max_centres=max_centres)


def _with_newest(memory: PoolMemory) -> PoolMemory:
    """Returns a memory that holds the newest state."""
    return DelayMemory(1) if memory == DelayMemory(0) else memory


def _checked_info(names: Sequence[str] | None, info: Mapping[str, Any]) -> tuple[str, ...]:
    if names is None:
        return ("position",) if "position" in info else ()
    unknown = sorted(set(names) - info.keys())
    if unknown:
        raise InputError(
            f"the pool returns no {shown(', '.join(unknown))}; its info holds "
            f"{shown(', '.join(sorted(info)) or 'nothing')}"
        )
    return tuple(names)


def _joined(names: tuple[str, ...], state: Array, info: Mapping[str, Any]) -> Array:
    """Joins state and entries; each entry's own axes become one."""
    batch = state.shape[:-1]
    return jnp.concatenate([state, *(info[name].reshape(*batch, -1).astype(state.dtype) for name in names)], -1)


@partial(jax.jit, static_argnames="names")
def _feature_range(states: Array, info: Mapping[str, Any], *, names: tuple[str, ...]) -> Features:
    middles, halves = [], []
    for values in (states, *(_joined((name,), states[:, :0], info) for name in names)):
        low, high = values.min(0), values.max(0)
        half = (high - low) / 2
        halves.append(half if values is states else jnp.full_like(half, half.max()))
        middles.append((low + high) / 2)
    half = jnp.concatenate(halves)
    return Features(jnp.concatenate(middles), jnp.where(half > 0, half, 1), jnp.ones(()), names)


@jax.jit
def _seen(features: Features, states: Array, info: Mapping[str, Any]) -> Array:
    return features(states, info)


@jax.jit
def _error(correction: Any, x: Array, missing: Array, scale: Array) -> Array:
    return (((missing - correction(x)) / scale) ** 2).mean()


@partial(jax.jit, static_argnames="degree")
@highest
def _fit_polynomial(x: Array, missing: Array, penalty: Scalar, degree: int) -> Array:
    terms = chebyshev_terms(x, degree)
    gram = terms.T @ terms + penalty * jnp.eye(terms.shape[-1], dtype=terms.dtype)
    return jax.scipy.linalg.solve(gram, terms.T @ missing, assume_a="pos")


@partial(jax.jit, static_argnames="max_centres")
@highest
def _fit_kernel(x: Array, missing: Array, length: Scalar, penalty: Scalar, *, max_centres: int) -> KernelCorrection:
    if len(x) <= max_centres:
        gram = gaussian_kernel(x, x, length) + penalty * jnp.eye(len(x), dtype=x.dtype)
        return KernelCorrection(x, jax.scipy.linalg.solve(gram, missing, assume_a="pos"), jnp.asarray(length, x.dtype))
    centres = x[np.linspace(0, len(x) - 1, max_centres).round().astype(int)]
    kernel = gaussian_kernel(x, centres, length)
    # Subset of regressors: the norm of the function space is that of the kernel among the centres.
    gram = kernel.T @ kernel + penalty * gaussian_kernel(centres, centres, length)
    gram += 1e-12 * jnp.trace(gram) / max_centres * jnp.eye(max_centres, dtype=x.dtype)
    solved = jax.scipy.linalg.solve(gram, kernel.T @ missing, assume_a="pos")
    return KernelCorrection(centres, solved, jnp.asarray(length, x.dtype))
