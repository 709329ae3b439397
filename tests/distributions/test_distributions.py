"""Likelihoods, distribution functions, quantiles and samples, against scipy.stats and high precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxcast
from jaxcast.distributions import Mixture, NegativeBinomial, Normal, Poisson, Quantiles, StudentT

LEVELS = np.asarray([1e-6, 0.025, 0.1, 0.3, 0.4999, 0.5, 0.7, 0.975, 0.999])
DF = np.asarray([0.5, 1.0, 2.2, 5.0, 30.0, 300.0, 1e5])
RATES = np.asarray([1e-3, 0.4, 5.0, 60.0, 3000.0, 1e6])
VALUES = np.linspace(-9.0, 12.0, 8)[:, None]
COUNTS = np.asarray([0.0, 1.0, 2.0, 7.0, 60.0, 3100.0])[:, None]


def of_size(rate, dispersion):
    return scipy.stats.nbinom(1 / dispersion, 1 / (1 + dispersion * rate))


PAIRS = {
    "normal": (Normal(np.asarray([0.5, -3.0]), np.asarray([0.1, 4.0])), scipy.stats.norm([0.5, -3.0], [0.1, 4.0])),
    "student_t": (StudentT(DF, 0.5, 2.0), scipy.stats.t(DF, 0.5, 2.0)),
    "poisson": (Poisson(RATES[:5]), scipy.stats.poisson(RATES[:5])),
    "negative_binomial": (NegativeBinomial(RATES[:5], 0.3), of_size(RATES[:5], 0.3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_likelihoods_and_quantiles_agree_with_scipy(name):
    ours, theirs = PAIRS[name]
    values = COUNTS if ours.is_discrete else VALUES
    expected = (theirs.logpmf if ours.is_discrete else theirs.logpdf)(values)
    np.testing.assert_allclose(ours.log_prob(values), expected, rtol=3e-12, atol=3e-12)
    np.testing.assert_array_equal(ours.loss(values), -ours.log_prob(values))
    np.testing.assert_allclose(ours.cdf(values), theirs.cdf(values), atol=1e-11)
    np.testing.assert_allclose(ours.mean, np.where(np.isfinite(theirs.mean()), theirs.mean(), np.nan), rtol=1e-12)
    shape = (-1, *[1] * np.ndim(theirs.mean()))
    expected = np.moveaxis(theirs.ppf(LEVELS.reshape(shape)), 0, -1)
    found = np.asarray(ours.quantiles(LEVELS))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    assert (np.diff(found) >= 0).all()


@pytest.mark.peers
@pytest.mark.parametrize(("rate", "dispersion"), [(5.0, 1e-9), (1e5, 1e-4), (2e6, 3.0), (0.01, 50.0)])
def test_probabilities_of_counts_are_exact_for_extreme_parameters(rate, dispersion):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        for count in (0, 1, 30, int(rate), int(3 * rate)):
            m, a, y = mpmath.mpf(rate), mpmath.mpf(dispersion), mpmath.mpf(count)
            r = 1 / a
            exact = mpmath.loggamma(y + r) - mpmath.loggamma(r) - mpmath.loggamma(y + 1)
            exact += y * mpmath.log(a * m / (1 + a * m)) - r * mpmath.log(1 + a * m)
            found = NegativeBinomial(rate, dispersion).log_prob(float(count))
            np.testing.assert_allclose(found, float(exact), rtol=1e-12, atol=1e-12)
            short = NegativeBinomial(jnp.float32(rate), jnp.float32(dispersion)).log_prob(jnp.float32(count))
            np.testing.assert_allclose(short, float(exact), rtol=1e-5, atol=2e-5)
            exact = y * mpmath.log(m) - m - mpmath.loggamma(y + 1)
            np.testing.assert_allclose(Poisson(rate).log_prob(float(count)), float(exact), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_quantiles_in_float32_are_near_those_in_float64():
    levels = np.asarray([0.025, 0.3, 0.5, 0.9, 0.975])
    rates = np.asarray([0.4, 60.0, 3000.0, 1e6, 1e8])
    for make, numbers in (
        (Poisson, (rates,)),
        (NegativeBinomial, (rates, 0.3)),
        (NegativeBinomial, (rates, 1e-5)),
        (StudentT, (DF[2:], 0.0, 1.0)),
    ):
        short = make(*(np.asarray(n, np.float32) for n in numbers)).quantiles(levels)
        assert short.dtype == jnp.float32
        np.testing.assert_allclose(short, make(*numbers).quantiles(levels), rtol=3e-4, atol=1e-5)


@pytest.mark.slow
def test_a_mixture_is_the_weighted_sum_of_its_components():
    locs, scales, logits = np.asarray([-4.0, 0.0, 9.0]), np.asarray([1.0, 0.2, 3.0]), np.asarray([0.3, -1.0, 1.0])
    mixture = Mixture(Normal(np.stack([locs, locs + 1]), scales), np.stack([logits, logits]))
    weights = np.exp(logits) / np.exp(logits).sum()
    each = scipy.stats.norm(locs, scales)
    values = np.linspace(-6.0, 14.0, 9)
    expected = np.log((weights * each.pdf(values[:, None])).sum(-1))
    np.testing.assert_allclose(mixture.log_prob(np.stack([values, values + 1], -1)), np.stack([expected] * 2, -1))
    np.testing.assert_allclose(mixture.mean, (weights * locs).sum() + np.asarray([0.0, 1.0]), rtol=1e-12)
    found = np.asarray(mixture.quantiles(LEVELS))
    cdf = (weights * each.cdf(found[0][:, None])).sum(-1)
    np.testing.assert_allclose(cdf, LEVELS, rtol=1e-9)
    np.testing.assert_allclose(found[1], found[0] + 1, rtol=1e-9)


@pytest.mark.slow
def test_quantiles_of_a_mixture_of_counts_are_the_smallest_counts():
    mixture = Mixture(Poisson(np.asarray([1.0, 80.0])), np.asarray([0.0, 0.5]))
    support = np.arange(200.0)
    share = 1 / (1 + np.exp(0.5))
    cdf = share * scipy.stats.poisson.cdf(support, 1.0) + (1 - share) * scipy.stats.poisson.cdf(support, 80.0)
    expected = [support[cdf >= level][0] for level in LEVELS]
    np.testing.assert_array_equal(mixture.quantiles(LEVELS), expected)


SAMPLED = {
    "normal": (Normal(1.0, 2.0), 1.0, 4.0),
    "student_t": (StudentT(9.0, 1.0, 2.0), 1.0, 4.0 * 9 / 7),
    "poisson": (Poisson(7.0), 7.0, 7.0),
    "large_poisson": (Poisson(3e9), 3e9, 3e9),
    "negative_binomial": (NegativeBinomial(7.0, 0.5), 7.0, 7.0 + 0.5 * 49),
    "mixture": (Mixture(Normal(jnp.asarray([0.0, 4.0]), 1.0), jnp.log(jnp.asarray([0.25, 0.75]))), 3.0, 4.0),
    "quantiles": (Quantiles(jnp.asarray([1.0, 2.0, 5.0]), (0.2, 0.6, 0.7)), None, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_moments_and_quantiles_of_the_distribution(name):
    distribution, mean, variance = SAMPLED[name]
    mean = distribution.mean if mean is None else mean
    draws = np.asarray(distribution.sample(jax.random.key(1), 20_000))
    assert draws.shape == (20_000,)
    error = draws.std() / np.sqrt(20_000)
    assert abs(draws.mean() - mean) < 4 * error
    assert variance is None or abs(draws.var() / variance - 1) < 0.1
    if not distribution.is_discrete:
        for level, quantile in zip((0.1, 0.5, 0.9), np.asarray(distribution.quantiles([0.1, 0.5, 0.9])), strict=True):
            assert abs((draws <= quantile).mean() - level) < 0.012


@pytest.mark.slow
def test_shapes_broadcast():
    normal = Normal(np.zeros((4, 1)), np.ones(5))
    assert normal.mean.shape == (4, 5)
    assert normal.quantiles([0.1, 0.9]).shape == (4, 5, 2)
    assert normal.sample(jax.random.key(0), 3).shape == (3, 4, 5)
    assert normal.log_prob(np.zeros((7, 4, 5))).shape == (7, 4, 5)
    assert StudentT(np.full((4, 1), 3.0), np.zeros(5), 1.0).sample(jax.random.key(0), 2).shape == (2, 4, 5)


@pytest.mark.slow
def test_between_levels_quantiles_are_linear_and_beyond_exponential():
    found = Quantiles(np.asarray([[1.0, 2.0, 5.0], [0.0, 0.0, 1.0]]), (0.2, 0.6, 0.7))
    np.testing.assert_array_equal(found.quantiles([0.2, 0.6, 0.7]), found.values)
    np.testing.assert_allclose(found.quantiles([0.4, 0.65])[0], [1.5, 3.5])
    np.testing.assert_allclose(found.quantiles([0.1])[0], [1 - 0.5 * np.log(2)])
    levels = np.linspace(0.001, 0.999, 777)
    quantiles = np.asarray(found.quantiles(levels))
    assert (np.diff(quantiles) >= 0).all()
    np.testing.assert_allclose(found.cdf(quantiles.T)[:, 0], levels, rtol=1e-10)
    # The density integrates to 1, and the mean is the integral of the quantile function.
    grid = np.linspace(-8.0, 200.0, 100_001)
    density = np.exp(np.asarray(Quantiles(np.asarray([1.0, 2.0, 5.0]), (0.2, 0.6, 0.7)).log_prob(grid)))
    np.testing.assert_allclose(np.trapezoid(density, grid), 1.0, atol=1e-3)
    np.testing.assert_allclose(np.trapezoid(grid * density, grid), found.mean[0], rtol=1e-3)
    errors = np.asarray([1.5])[:, None] - np.asarray(found.values)
    expected = np.maximum(np.asarray(found.levels) * errors, (np.asarray(found.levels) - 1) * errors).mean(-1)
    np.testing.assert_allclose(found.loss(np.asarray([1.5, 1.5])), expected)


@pytest.mark.slow
def test_one_level_is_a_point():
    point = Quantiles(np.asarray([2.0]), (0.5,))
    assert point.quantiles([0.1, 0.9]).tolist() == [2.0, 2.0]
    assert float(point.mean) == 2.0
    assert point.cdf(np.asarray([1.9, 2.0])).tolist() == [0.0, 1.0]
    with pytest.raises(jaxcast.InputError, match="levels must increase"):
        Quantiles(np.asarray([1.0, 2.0]), (0.5, 0.5))


def test_what_is_no_count_is_refused():
    jaxcast.distributions.check_counts(np.asarray([[0.0, np.nan], [3.0, 1e9]]))
    for bad in (0.5, -1.0, np.inf):
        with pytest.raises(jaxcast.InputError, match=r"expected counts in sales, .* at index \(1, 0\), the first of 1"):
            jaxcast.distributions.check_counts(np.asarray([[0.0, np.nan], [bad, 1.0]]), "sales")
    assert float(Poisson(2.0).log_prob(-1.0)) == -np.inf
