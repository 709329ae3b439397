"""Regressions on lags of several series, trained in closed form: linear, kernel, polynomial, reservoir."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.arguments import check_penalty, checked, is_zero
from jaxcast.checks import check_flag, check_floats, check_model, check_whole, sizes_of
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.polynomials import monomials, products
from jaxcast.pooling.linear import ridge
from jaxcast.pytrees import register
from jaxcast.regions.features import target_features_of
from jaxcast.regions.lags import LagInputs, Window
from jaxcast.regions.samples import LeadSamples, check_samples, learned_from
from jaxcast.reservoirs import Network, excite, random_network
from jaxcast.rollout import Output
from jaxcast.schedules import Scalar

Expansion = Callable[[Array], Array]


@register
@dataclasses.dataclass(frozen=True)
class Identity:
    """The features themselves: a linear regression.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.Identity()(jnp.asarray([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature"]:
        return features


@register
@dataclasses.dataclass(frozen=True)
class Monomials:
    """All products of 1 to `degree` features: a polynomial, as in next-generation reservoir computing (see `NVAR`).

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.Monomials(2)(jnp.asarray([2.0, 3.0])).tolist()
        [2.0, 3.0, 4.0, 6.0, 9.0]
    """

    degree: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        check_whole("degree", self.degree)

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch monomial"]:
        return products(features, monomials(features.shape[-1], self.degree)[1:])


@register
@dataclasses.dataclass(frozen=True)
class RandomFourier:
    """Random cosines, whose inner products approach a Gaussian kernel: kernel ridge regression for any number of samples.

        phi(x) = [ sqrt(2 d / m) cos(W x + c), linear x ],    phi(x) . phi(y) ~ d exp(-bandwidth^2 |x - y|^2 / 2 d) + linear^2 x . y

    with d features x. Made by `random_fourier`. Source: Rahimi and Recht (2007).

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> expansion = jaxcast.random_fourier(2, 4000, bandwidth=1.0, linear=0.0, key=jax.random.key(0))
        >>> x, y = expansion(jnp.asarray([[0.0, 0.0], [1.0, 1.0]]))
        >>> bool(abs(x @ y / 2 - jnp.exp(-0.5)) < 0.05)
        True
    """

    frequencies: Float[Array, "feature cosine"]
    phases: Float[Array, " cosine"]
    bandwidth: Scalar
    linear: Scalar

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a expansion."""
        check_floats(self)
        sizes_of(self, {".frequencies": "feature cosine", ".phases": "cosine", ".bandwidth": "", ".linear": ""})

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch expanded"]:
        size, num_cosines = self.frequencies.shape
        waves = jnp.cos(features @ (self.frequencies * (self.bandwidth / size**0.5)) + self.phases)
        return jnp.concatenate([waves * (2 * size / num_cosines) ** 0.5, features * self.linear], -1)


@checked
def random_fourier(
    num_features: int, num_cosines: int, *, bandwidth: Scalar, linear: Scalar = 1.0, key: Key[Array, ""]
) -> RandomFourier:
    """Random cosines of a Gaussian kernel, beside the features themselves.

    Args:
        num_cosines: m. bandwidth: the larger, the finer the kernel. linear: the features' share; 0 for none.
        key: for W and c.

    Example:
        >>> import jax, jaxcast
        >>> jaxcast.random_fourier(3, 100, bandwidth=0.5, key=jax.random.key(0)).frequencies.shape
        (3, 100)
    """
    check_arrays(f"{num_cosines} cosines of {num_features} features", (num_features, num_cosines))
    of_waves, of_phases = jax.random.split(key)
    frequencies = jax.random.normal(of_waves, (num_features, num_cosines))
    phases = jax.random.uniform(of_phases, (num_cosines,), maxval=2 * jnp.pi)
    return RandomFourier(frequencies, phases, jnp.asarray(bandwidth), jnp.asarray(linear))


@register
@dataclasses.dataclass(frozen=True)
class Echoes:
    """What a reservoir holds after it has run over a window from rest, beside the features themselves.

        r_k = (1 - leak) r_(k+1) + leak tanh(A r_(k+1) + W_in x_k + c),    phi(x) = [r_0, x]

    with x_k the mixtures at lag k, oldest first; all lags must be there, 0 to num_lags - 1. Made by `random_echoes`.
    Source: see `Reservoir`, whose network it is.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> echoes = jaxcast.random_echoes(num_features=6, num_lags=3, num_nodes=10, key=jax.random.key(0))
        >>> echoes(jnp.ones((4, 6))).shape
        (4, 16)
    """

    network: Network
    leak: Scalar
    num_lags: int = dataclasses.field(metadata={"static": True})

    @checked
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch expanded"]:
        def run(inputs: Float[Array, "lag mixture"]) -> Array:
            rest = jnp.zeros(self.network.bias.shape, inputs.dtype)
            return jax.lax.scan(lambda r, x: (excite(self.network, self.leak, r, x), None), rest, inputs)[0]

        newest_first = features.reshape(-1, features.shape[-1] // self.num_lags, self.num_lags)
        nodes = jax.vmap(run)(jnp.flip(jnp.swapaxes(newest_first, 1, 2), 1))
        return jnp.concatenate([nodes.reshape(*features.shape[:-1], -1), features], -1)


@checked
def random_echoes(
    *, num_features: int, num_lags: int, num_nodes: int, leak: Scalar = 0.5, key: Key[Array, ""]
) -> Echoes:
    """A random reservoir for windows.

    Args:
        num_features: of the inputs, all lags of every mixture. num_nodes: of the reservoir. leak: 1 for none. key: for A, W_in and c.

    Raises:
        InputError: for features that are not so many lags of each mixture.

    Example:
        >>> import jax, jaxcast
        >>> jaxcast.random_echoes(num_features=6, num_lags=3, num_nodes=10, key=jax.random.key(0)).network.inputs.shape
        (10, 2)
    """
    if num_features % num_lags:
        raise InputError(f"expected {num_lags} lags of each mixture, and no other feature, got {num_features} features")
    network = random_network(num_features // num_lags, num_nodes, connections=min(6, num_nodes), key=key)
    return Echoes(network, jnp.asarray(leak), num_lags)


@register
@dataclasses.dataclass(frozen=True)
class LagRegression:
    """A regression from lags to all leads at once, made by `fit_lag_regression`.

        y_(r,h) = [newest_r] + scale_r ( W_h' phi(x_r) + b_h )

    Without `difference` there is no newest, but of centred inputs the mean of each series. One W for all regions
    ("global"), or one for each; where several features are forecast, one for each of them, from the features of all.
    Counts are not negative: `nonnegative` cuts forecasts at zero.

    Args:
        inputs: what is seen of histories.
        expansion: phi.
        weights: W, (lead, feature), with an axis of regions in front where each has its own, and one of targets after the
            leads where there are several features.
        bias: b, alike without the last axis.
        difference: whether forecasts start from the newest value.
        nonnegative: whether they are cut at zero.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.lead_samples(values, window_size=4, leads=(1, 5))
        >>> inputs = jaxcast.lag_inputs(samples, lags=range(4))
        >>> model = jaxcast.fit_lag_regression(samples, inputs, jaxcast.Identity(), penalty=1e-6)
        >>> off = samples.weights * (model(samples.history).forecast - samples.targets)
        >>> bool(abs(off).max() < 1e-3)
        True
    """

    inputs: LagInputs
    expansion: Any
    weights: Float[Array, "..."]
    bias: Float[Array, "..."]
    difference: bool = dataclasses.field(metadata={"static": True})
    nonnegative: bool = dataclasses.field(metadata={"static": True})

    @property
    def num_leads(self) -> int:
        """How many leads it forecasts."""
        return self.bias.shape[-2 if self.target_features else -1]

    @property
    def target_features(self) -> tuple[int, ...]:
        """Which features it forecasts; () where histories have no feature axis."""
        return self.inputs.target_features

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a regression."""
        for part in (self.inputs, self.expansion):
            check_model(part)
        for name in ("difference", "nonnegative"):
            check_flag(name, getattr(self, name))
        num_regions, num_features = len(self.inputs.mean), self.inputs.num_features
        most = self.weights.shape[-1]
        if isinstance(self.expansion, Monomials):
            check_whole("degree", self.expansion.degree, most=most)
            check_whole(
                "the number of terms", math.comb(num_features + self.expansion.degree, num_features) - 1, most=most
            )
        size = expansion_size(self.expansion, num_features)
        targets = f"{len(self.target_features)} " * bool(self.target_features)
        own = f"{num_regions} " * (self.weights.ndim - bool(targets) == 3)
        weights = {".weights": self.weights, ".bias": self.bias}
        check_floats(weights)
        sizes_of(weights, {"['.weights']": f"{own}lead {targets}{size}", "['.bias']": f"{own}lead {targets}"})

    @checked
    def __call__(self, history: Float[Array, "..."], given: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where the samples had one.
            given: as in the samples that it learned from.

        Returns:
            Forecasts (*batch, lead, region), with a last axis of targets where there is one of features.

        Raises:
            InputError: for another shape.
        """
        window = self.inputs(history, given)
        expanded = self.expansion(window.features)
        if self.target_features:
            several = [self._steps(expanded, k) for k in range(len(self.target_features))]
            steps = jnp.stack(several, -1)
            forecast = steps * window.scale[..., None, :, :]
            newest = window.newest[..., None, :, :]
        else:
            forecast = self._steps(expanded) * window.scale[..., None, :]
            newest = window.newest[..., None, :]
        forecast = forecast + (newest if self.difference else window.level)
        return Output(jnp.maximum(forecast, 0) if self.nonnegative else forecast, {})

    def _steps(self, expanded: Array, target: int | None = None) -> Float[Array, "*batch lead region"]:
        """Forecasts in units of the scale."""
        weights = self.weights if target is None else self.weights[..., target, :]
        bias = self.bias if target is None else self.bias[..., target]
        subscripts = "...rf,hf->...hr" if weights.ndim == 2 else "...rf,rhf->...hr"
        return jnp.einsum(subscripts, expanded, weights) + bias.T.reshape(len(bias.T), -1)


@checked
def fit_lag_regression(
    samples: LeadSamples,
    inputs: LagInputs,
    expansion: Expansion,
    *,
    penalty: Scalar,
    scale_power: Scalar = 1.0,
    each_region: bool = False,
    difference: bool = False,
    nonnegative: bool = False,
) -> LagRegression:
    """Fits a regression on lags in closed form, for all leads.

        W_h, b_h = argmin sum w_(n,h,r) scale_(n,r)^(2 p) | target_(n,h,r) - W_h' phi(x_(n,r)) - b_h |^2 + penalty e_h |W_h|^2

    targets in units of the scale, e_h the mean eigenvalue of what is inverted, p the scale_power: 1 for an error in the
    series' own units, 0 for one in which all regions count alike. The normal equations are solved by their eigenvalues,
    so in float32 penalties below 1e-5 are lost in rounding; those of a float64 run are exact. Other numbers compile nothing,
    and under `jax.vmap` over penalties the eigenvalues are found once. A penalty of 0 is plain least squares, of least norm where
    there are many solutions.

    Args:
        samples: to learn from.
        inputs: what is seen of them.
        expansion: phi, such as `Identity()`, `Monomials(2)` or `random_fourier(...)`.
        penalty: strength of the regularisation, in units of the mean eigenvalue.
        scale_power: p.
        each_region: whether each region has its own W and b.
        difference: whether to forecast the change from the newest value.
        nonnegative: see `LagRegression`.

    Returns:
        The regression.

    Raises:
        InputError: for a penalty below zero, or targets or what is given that are not finite, or inputs made from samples of other features.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.lead_samples(values, window_size=4, leads=(1, 5))
        >>> inputs = jaxcast.lag_inputs(samples, lags=range(4))
        >>> expansion = jaxcast.random_fourier(4, 50, bandwidth=0.5, key=jax.random.key(0))
        >>> jaxcast.fit_lag_regression(samples, inputs, expansion, penalty=1e-4).weights.shape
        (2, 54)
    """
    check_penalty(penalty)
    check_samples(samples)
    if inputs.target_features != target_features_of(samples):
        raise InputError(
            f"expected samples whose target features are {inputs.target_features}, as of the inputs, got "
            f"{target_features_of(samples)} with histories {samples.history.shape}; make the inputs from these samples"
        )
    solve = _each if each_region else _together
    chosen = None if is_zero(penalty) else penalty
    weights, bias = solve(learned_from(samples), inputs, expansion, chosen, scale_power, difference)
    return LagRegression(inputs, expansion, weights, bias, difference, nonnegative)


def _together(
    samples: LeadSamples,
    inputs: LagInputs,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    difference: bool,
) -> tuple[Array, Array]:
    return _solve_all(samples, inputs(samples.history, samples.given), expansion, penalty, power, difference)


def _each(
    samples: LeadSamples,
    inputs: LagInputs,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    difference: bool,
) -> tuple[Array, Array]:
    """One region after the other, so that memory holds the features of one only."""

    def one(own: Any) -> tuple[Array, Array]:
        number, mixing, std, targets, weights = own
        window = inputs.of_regions(samples.history, samples.given, mixing[None], std[None], number[None])
        alone = samples._replace(targets=targets[:, :, None], weights=weights[:, :, None])
        return _solve_all(alone, window, expansion, penalty, power, difference)

    regions_first = [jnp.moveaxis(a, 2, 0) for a in (samples.targets, samples.weights)]
    return jax.lax.map(one, (jnp.arange(len(inputs.std)), inputs.mixing, inputs.std, *regions_first))


def _solve_all(
    samples: LeadSamples, window: Window, expansion: Expansion, penalty: Scalar | None, power: Scalar, difference: bool
) -> tuple[Float[Array, "lead *target feature"], Float[Array, " lead *target"]]:
    """The weights of every target, each by itself."""
    if samples.features is None:
        return _solve(samples, window, expansion, penalty, power, difference)
    found = []
    for k in range(samples.targets.shape[-1]):
        own = samples._replace(targets=samples.targets[..., k], weights=samples.weights[..., k])
        level = window.level[..., k] if jnp.ndim(window.level) else window.level
        seen = Window(window.features, window.newest[..., k], window.scale[..., k], level)
        found.append(_solve(own, seen, expansion, penalty, power, difference))
    return jnp.stack([weights for weights, _ in found], 1), jnp.stack([bias for _, bias in found], 1)


@partial(jax.jit, static_argnames="difference")
def _solve(
    samples: LeadSamples, window: Window, expansion: Expansion, penalty: Scalar | None, power: Scalar, difference: bool
) -> tuple[Float[Array, "lead feature"], Float[Array, " lead"]]:
    features = expansion(window.features).reshape(-1, expansion_size(expansion, window.features.shape[-1]))
    scale = window.scale.ravel()

    def of_lead(targets: Array, weights: Array) -> tuple[Array, Array]:
        wanted = (targets - (window.newest if difference else window.level)).ravel() / scale
        weights = weights.ravel() * scale ** (2 * power)
        weights = weights / weights.sum()
        mean, middle = weights @ features, weights @ wanted
        centred = (features - mean) * jnp.sqrt(weights)[:, None]
        if penalty is None:
            solved = ridge(centred, ((wanted - middle) * jnp.sqrt(weights))[:, None], 0.0)[:, 0]
            return solved, middle - mean @ solved
        values, vectors = jnp.linalg.eigh(jnp.matmul(centred.T, centred, precision="highest"))
        values = jnp.maximum(values, 0)
        moments = centred.T @ ((wanted - middle) * jnp.sqrt(weights))
        # Without a penalty, directions that are rounding alone are left out: the least weights of the many that do as well.
        kept = (jnp.asarray(penalty) > 0) | (values > jnp.finfo(values.dtype).eps * max(centred.shape) * values.max())
        divisors = jnp.where(kept, values + penalty * values.mean(), 1)
        solved = vectors @ jnp.where(kept, (vectors.T @ moments) / divisors, 0)
        return solved, middle - mean @ solved

    leads_first = (jnp.moveaxis(a, -2, 0) for a in (samples.targets, samples.weights))
    return jax.lax.map(lambda lead: of_lead(*lead), tuple(leads_first))


def expansion_size(expansion: Expansion, num_features: int) -> int:
    """How many numbers an expansion makes of so many features."""
    return jax.eval_shape(expansion, jax.ShapeDtypeStruct((num_features,), jnp.result_type(float))).shape[-1]
