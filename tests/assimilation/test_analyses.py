"""Analyses against formulas in NumPy, each other, and SciPy's minimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.test_util import check_grads

import jaxcast
from jaxcast.assimilation import (
    EnsembleTransform,
    HarmonicParameter,
    LocalEnsembleTransform,
    Localisation,
    PerturbedObservations,
    gaspari_cohn,
    localise,
    localise_ring,
)
from jaxcast.assimilation.observation import weights_of
from jaxcast.assimilation.transforms import finite_size_inflation, transform

KEY = jax.random.key(0)


def problem(num_members=6, dim=4, num_observed=3, seed=0):
    rng = np.random.default_rng(seed)
    prior = jnp.asarray(rng.normal(size=(num_members, dim)) * 2 + 1)
    noise = rng.uniform(0.3, 1.0, num_observed)
    return prior, prior[:, :num_observed] / noise, jnp.asarray(rng.normal(size=num_observed) / noise)


@pytest.mark.slow
@pytest.mark.parametrize(("num_members", "num_observed", "is_finite_size"), [(6, 3, True), (3, 4, False)])
def test_a_local_analysis_that_reaches_everywhere_is_the_global_one(num_members, num_observed, is_finite_size):
    prior, observed, values = problem(num_members, num_observed=num_observed)
    everywhere = Localisation(np.ones((4, num_observed)), np.ones((num_observed, num_observed)))
    settings = dict(inflation=1.1, is_finite_size=is_finite_size)
    ours = LocalEnsembleTransform(everywhere, **settings).analyse(prior, observed, values, KEY)
    np.testing.assert_allclose(ours, EnsembleTransform(**settings).analyse(prior, observed, values, KEY), rtol=1e-8)


@pytest.mark.slow
def test_a_local_analysis_sees_near_observations_alone():
    """A site beyond the reach of all observations stays; at the site of one, it is the analysis with the taper 1."""
    prior = problem(6, dim=5)[0]
    observed, values = prior[:, :1] / 0.5, jnp.asarray([3.0])
    tapers = Localisation(np.asarray([[1.0], [0.5], [0.0], [0.0], [0.0]]), np.ones((1, 1)))
    ours = LocalEnsembleTransform(tapers, is_rotated=False).analyse(prior, observed, values, KEY)
    np.testing.assert_allclose(ours[:, 2:], prior[:, 2:], rtol=1e-12)
    mean = observed.mean(0)
    for column, taper in ((0, 1.0), (1, 0.5)):  # half the inverse variance
        root = np.sqrt(taper)
        alone = transform(prior[:, column, None], (observed - mean) * root, (values - mean) * root)
        np.testing.assert_allclose(ours[:, column], alone[:, 0], rtol=1e-10)


@pytest.mark.slow
def test_perturbed_observations_are_the_kalman_filter_in_a_large_ensemble():
    prior, observed, values = problem(50_000)
    posterior = np.asarray(PerturbedObservations().analyse(prior, observed, values, KEY))
    noise = np.asarray(prior[0, :3] / observed[0])
    cov, mean = np.cov(np.asarray(prior).T), np.asarray(prior.mean(0))
    gain = cov[:, :3] @ np.linalg.inv(cov[:3, :3] + np.diag(noise**2))
    np.testing.assert_allclose(posterior.mean(0), mean + gain @ (values * noise - mean[:3]), atol=1e-9)
    np.testing.assert_allclose(np.cov(posterior.T), cov - gain @ cov[:3], atol=0.04)


@pytest.mark.slow
def test_tapers_of_covariances_act_by_components():
    prior, observed, values = problem(9, dim=3)
    tapers = Localisation(np.eye(3), np.eye(3))
    ours = PerturbedObservations(localisation=tapers).analyse(prior, observed, values, KEY)
    for k in range(3):  # with the same noise, as all components were alone
        noise = jax.random.normal(KEY, observed.shape, observed.dtype)
        noise = (noise - noise.mean(0))[:, k]
        covariance, variance = np.cov(prior[:, k], observed[:, k])[0, 1], np.var(observed[:, k], ddof=1)
        alone = prior[:, k] + covariance / (variance + 1) * (values[k] + noise - observed[:, k])
        np.testing.assert_allclose(ours[:, k], alone, rtol=1e-9)


def test_the_finite_size_inflation_is_the_minimum_of_its_cost():
    for seed, num_members in ((0, 4), (1, 10), (2, 30)):
        rng = np.random.default_rng(seed)
        sizes, surprise = rng.uniform(0, 6, 3), rng.normal(size=3) * 3
        k = num_members - 1

        def cost(log_square, sizes=sizes, surprise=surprise, m=num_members, k=k):
            square = np.exp(log_square)
            return (surprise**2 / (1 + sizes**2 * square / k)).sum() + 1.5 * (1 + 1 / m) * k * (1 / square + log_square)

        best = scipy.optimize.minimize_scalar(cost, bounds=(0, np.log(10)), method="bounded", options={"xatol": 1e-10})
        ours = finite_size_inflation(jnp.asarray(sizes), jnp.asarray(surprise), num_members, 1.5)
        assert float(ours) == pytest.approx(np.exp(best.x / 2), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("num_members", "num_observed"), [pytest.param(6, 3, marks=pytest.mark.slow), (3, 4)])
def test_gradients_are_those_of_differences_also_where_nothing_is_observed(num_members, num_observed):
    prior, observed, values = problem(num_members, num_observed=num_observed)
    mask = jnp.asarray([1.0, 1.0, 0.0, 0.0][:num_observed])
    anomalies, innovation = (observed - observed.mean(0)) * mask, (values - observed.mean(0)) * mask

    def run(prior, anomalies, innovation):
        return transform(jnp.asarray(prior), anomalies * mask, innovation * mask, 1.05)

    check_grads(run, (prior, anomalies, innovation), order=1, modes=("fwd", "rev"), eps=1e-5)
    found = jax.grad(lambda prior: (EnsembleTransform().analyse(prior, prior[:, :2], values[:2], KEY) ** 2).sum())(
        prior
    )
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0.1


@pytest.mark.slow
def test_the_taper_is_a_correlation_that_ends():
    """The fifth-order piecewise rational function, at the points where its pieces are simple fractions."""
    c = np.sqrt(10 / 3) * 2.0
    found = gaspari_cohn(np.asarray([0, 0.5, 1, 1.5, 2, 3]) * c, radius=2.0)
    half = 1 - 5 / 3 / 4 + 5 / 8 / 8 + 1 / 32 - 1 / 128
    np.testing.assert_allclose(found, [1, half, 5 / 24, 0.0164930556, 0, 0], atol=1e-9)
    ring = localise_ring(24, radius=2.0)
    assert np.linalg.eigvalsh(ring.among).min() > -1e-9
    np.testing.assert_allclose(ring.among[0, 1], ring.among[0, 23])
    part = localise_ring(24, radius=2.0, observed=[3, 20])
    np.testing.assert_allclose(part.to_components, ring.to_components[:, [3, 20]])
    plane = localise(np.asarray([[0.0, 0.0], [3.0, 4.0]]), np.asarray([[0.0, 0.0]]), radius=5.0)
    np.testing.assert_allclose(plane.to_components[1, 0], gaspari_cohn(np.asarray(5.0), radius=5.0))


def test_a_harmonic_parameter_is_a_cosine():
    harmonic = HarmonicParameter(30.0, 40.0, 10.0, shortest=8.0, longest=20.0)
    member = harmonic.initial(jnp.asarray([0.5, 0.5, 0.25, 0.3]))
    period = 2 * np.pi / np.exp(float(member[3]))
    assert 8 < period < 20
    found = []
    for _ in range(30):
        found.append(float(harmonic.value(member)))
        member = harmonic.step(member, jnp.zeros(4))
    np.testing.assert_allclose(found, 35 + 5 * np.cos(2 * np.pi * (np.arange(30) / period + 0.25)), atol=1e-9)


def test_weights_are_zero_where_nothing_is_known():
    value = jnp.asarray([1.0, np.nan, 3.0])
    found = weights_of(jnp.asarray([True, True, False]), value, 0.5)
    np.testing.assert_array_equal(found, [2.0, 0.0, 0.0])
    np.testing.assert_array_equal(weights_of(True, value, jnp.asarray([0.5, 1.0, 0.25])), [2.0, 0.0, 4.0])


@pytest.mark.slow
def test_an_operator_sees_what_a_mask_leaves():
    """x alone by operator, by matrix, by function and by NaN: the same analyses."""
    system = jaxcast.Lorenz63()
    truth = jaxcast.simulate(system, [1.0, 2.0, 20.0], num_samples=20, transient=5.0).states
    ensemble = truth[0] + 2 * jax.random.normal(KEY, (8, 3))
    gaps = truth.at[:, 1:].set(jnp.nan)
    settings = dict(observation_noise=0.5, key=KEY, num_members=8, initial_ensemble=ensemble)
    kind = jaxcast.assimilation
    operators = [None, kind.ObservedComponents((0,)), kind.ObservationMatrix(np.eye(3)[:1]), lambda u: u[:1]]
    found = []
    for operator in operators:
        cell = kind.EnsembleKalmanFilter(jaxcast.flow_map(system), operator=operator, **settings)
        values = gaps if operator is None else truth[:, :1]
        outputs = jaxcast.open_loop(cell, values)
        found.append(outputs.info["analysis"])
        assert outputs.forecast.shape == truth.shape
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, rtol=1e-7)
    assert jaxcast.forecast(cell, truth[:, :1], 5).forecast.shape == (5, 3)
    with pytest.raises(jaxcast.InputError, match="give initial_ensemble"):
        kind.EnsembleKalmanFilter(jaxcast.flow_map(system), 0.5, KEY, operator=operators[1])
    with pytest.raises(jaxcast.InputError, match=r"must return values like those given, of shape \(2,\), got \(1,\)"):
        jaxcast.open_loop(cell, truth[:, :2])
