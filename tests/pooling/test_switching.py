import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import jaxcast
from jaxcast.pooling.switching_fit import smooth, stationary


def chain(num_steps, num_models=3, dim=2, seed=0):
    """Forecasts and values of a hidden Markov chain over the candidates, and the chain's own numbers."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(num_models, 0.5), size=num_models)
    factors = rng.normal(size=(num_models, dim, dim)) + 2 * np.eye(dim)
    covariances = factors @ factors.transpose(0, 2, 1)
    forecasts = rng.normal(scale=6.0, size=(num_steps, num_models, dim))
    regime, values = 0, []
    for n in range(num_steps):
        regime = rng.choice(num_models, p=transition[regime])
        values.append(rng.multivariate_normal(forecasts[n, regime], covariances[regime]))
    return forecasts, np.asarray(values), transition, covariances


def log_densities(forecasts, values, covariances):
    return np.asarray(
        [
            [multivariate_normal(row[i], covariances[i]).logpdf(value) for i in range(len(covariances))]
            for row, value in zip(forecasts, values, strict=True)
        ]
    )


def rolled(pool, forecasts, values, known=None):
    """The weights for every step of a pool fed these values and forecast rows, by the library's own scan."""
    cell = jaxcast.Forecaster(pool, lambda value, row: row)
    steps = len(values)
    known = jnp.ones(steps, bool) if known is None else jnp.asarray(known)
    # Row n of what is given are the forecasts of value n + 1.
    xs = jaxcast.Input(jnp.asarray(values), known, jnp.asarray(np.roll(forecasts, -1, axis=0)))
    _, outputs = jaxcast.roll(cell, xs)
    return np.asarray(outputs.info["weights"])


def test_interacting_models_are_the_filter_of_the_chain():
    forecasts, values, transition, covariances = chain(40)
    prior = np.asarray([0.2, 0.3, 0.5])
    pool = jaxcast.pooling.InteractingModels(jnp.asarray(transition), jnp.asarray(covariances), jnp.asarray(prior))
    weights = rolled(pool, forecasts, values)
    expected = prior @ transition
    np.testing.assert_allclose(weights[0], expected, rtol=1e-9)
    for n in range(1, 40):
        posterior = expected * np.exp(log_densities(forecasts[n : n + 1], values[n : n + 1], covariances)[0])
        expected = posterior / posterior.sum() @ transition
        np.testing.assert_allclose(weights[n], expected, rtol=1e-7, atol=1e-14)


def test_fixed_share_is_the_published_update():
    forecasts, values, *_ = chain(30, num_models=4)
    share, scale = 0.2, np.asarray([1.5, 0.7])
    weights = rolled(jaxcast.pooling.FixedShare(share, jnp.asarray(scale)), forecasts, values)
    expected = np.full(4, 0.25)
    for n in range(1, 30):
        losses = 0.5 * (((forecasts[n] - values[n]) / scale) ** 2).sum(-1)
        v = expected * np.exp(-(losses - losses.min()))
        v /= v.sum()
        pool = share * v.sum()
        expected = (1 - share) * v + (pool - share * v) / 3
        np.testing.assert_allclose(weights[n], expected, rtol=1e-7)


@pytest.mark.parametrize("kind", ["fixed_share", "interacting"])
def test_without_the_truth_the_transition_alone_moves_the_weights(kind):
    forecasts, values, transition, covariances = chain(20)
    pool = jaxcast.pooling.FixedShare(0.1, 2.0)
    if kind == "interacting":
        pool = jaxcast.pooling.InteractingModels(jnp.asarray(transition), jnp.asarray(covariances), jnp.full(3, 1 / 3))
    known = (np.arange(20) < 8) | (np.arange(20) >= 14)
    weights = rolled(pool, forecasts, values, known)
    moves = np.asarray(pool.transition_of(3))
    for n in range(8, 15):  # the first value after a gap verifies forecasts that did not start from the truth
        np.testing.assert_allclose(weights[n], weights[n - 1] @ moves, rtol=1e-9)
    assert not np.allclose(weights[15], weights[14] @ moves)


def test_a_component_that_is_not_known_is_no_evidence():
    forecasts, values, transition, covariances = chain(12)
    known = np.stack([np.ones(12, bool), np.arange(12) < 1], 1)
    pool = jaxcast.pooling.InteractingModels(jnp.asarray(transition), jnp.asarray(covariances), jnp.full(3, 1 / 3))
    first = jaxcast.pooling.InteractingModels(
        jnp.asarray(transition), jnp.asarray(covariances[:, :1, :1]), jnp.full(3, 1 / 3)
    )
    alone = rolled(first, forecasts[..., :1], values[:, :1])
    np.testing.assert_allclose(rolled(pool, forecasts, values, known), alone, rtol=1e-9)


def test_weights_survive_hopeless_and_diverged_candidates():
    forecasts = np.tile(np.asarray([[1e9], [0.0], [np.inf]]), (5, 1, 1))
    weights = rolled(jaxcast.pooling.FixedShare(0.01, 1e-3), forecasts, np.zeros((5, 1)))
    np.testing.assert_allclose(weights[1:], [[0.005, 0.99, 0.005]] * 4, rtol=1e-9)


@pytest.mark.slow
def test_smoothing_is_the_sum_over_all_sequences():
    forecasts, values, transition, covariances = chain(6)
    densities, prior = log_densities(forecasts, values, covariances), np.asarray([0.5, 0.2, 0.3])
    posterior, transitions, total = np.zeros((6, 3)), np.zeros((3, 3)), 0.0
    for sequence in itertools.product(range(3), repeat=6):
        p = prior[sequence[0]] * np.exp(sum(densities[n, z] for n, z in enumerate(sequence)))
        p *= np.prod([transition[a, b] for a, b in itertools.pairwise(sequence)])
        total += p
        for n, z in enumerate(sequence):
            posterior[n, z] += p
        for a, b in itertools.pairwise(sequence):
            transitions[a, b] += p
    smoothed = smooth(jnp.asarray(densities), jnp.asarray(prior), jnp.asarray(transition))
    np.testing.assert_allclose(smoothed.posterior, posterior / total, rtol=1e-9)
    np.testing.assert_allclose(smoothed.transitions, transitions / total, rtol=1e-9)
    assert float(smoothed.log_likelihood) == pytest.approx(np.log(total), rel=1e-12)


@pytest.mark.slow
def test_the_stationary_distribution_is_the_eigenvector():
    transition = chain(2, num_models=5)[2]
    expected = np.linalg.eig(transition.T)
    expected = np.real(expected.eigenvectors[:, np.argmax(expected.eigenvalues.real)])
    np.testing.assert_allclose(stationary(jnp.asarray(transition)), expected / expected.sum(), atol=1e-10)
    np.testing.assert_allclose(stationary(jnp.asarray([[0.0, 1.0], [1.0, 0.0]])), 0.5)


@pytest.mark.slow
def test_fitting_recovers_the_chain():
    forecasts, values, transition, covariances = chain(4000)
    pool = jaxcast.pooling.fit_interacting_models(jnp.asarray(forecasts), jnp.asarray(values))
    np.testing.assert_allclose(pool.transition, transition, atol=0.05)
    np.testing.assert_allclose(pool.covariances, covariances, atol=0.15 * covariances.max())
    np.testing.assert_allclose(pool.prior @ transition, pool.prior, atol=0.02)


@pytest.mark.slow
def test_fitted_numbers_are_a_maximum_of_the_likelihood():
    forecasts, values, *_ = chain(300)
    pool = jaxcast.pooling.fit_fixed_share(jnp.asarray(forecasts), jnp.asarray(values), num_iterations=300)

    def likelihood(share, scale):
        densities = log_densities(forecasts, values, [np.diag(scale**2)] * 3)
        transition = jaxcast.pooling.FixedShare(share, 1.0).transition_of(3)
        return float(smooth(jnp.asarray(densities), jnp.full(3, 1 / 3), transition).log_likelihood)

    scale = np.asarray(pool.scale)
    best = likelihood(float(pool.share), scale)
    for factor in (0.95, 1.05):
        assert likelihood(factor * float(pool.share), scale) < best
        assert likelihood(float(pool.share), scale * [factor, 1]) < best
        assert likelihood(float(pool.share), scale * [1, factor]) < best


@pytest.mark.slow
def test_a_perfect_candidate_is_found_and_kept(candidates):
    truth = jaxcast.simulate(jaxcast.Lorenz63(rho=34.0), [1.0, 2.0, 20.0], num_samples=200, transient=20.0)
    samples = jaxcast.one_step_samples(truth, 1, candidates)
    for fit in (jaxcast.pooling.fit_fixed_share, jaxcast.pooling.fit_interacting_models):
        cell = jaxcast.Forecaster(fit(samples.forecasts, samples.targets), candidates)
        outputs = jaxcast.forecast(cell, truth.states[:6], 20)
        assert (np.argmax(outputs.info["weights"], -1) == 3).all()
        np.testing.assert_allclose(outputs.forecast[:3], truth.states[6:9], atol=0.05)


@pytest.mark.slow
def test_weights_can_be_held(trajectory, candidates):
    cell = jaxcast.pooling.HeldWeights(jaxcast.Forecaster(jaxcast.pooling.FixedShare(0.2, 1.0), candidates))
    weights = jaxcast.forecast(cell, trajectory.states[:6], 5).info["weights"]
    np.testing.assert_allclose(weights, np.tile(weights[0], (5, 1)), rtol=1e-12)


def test_what_does_not_fit_is_refused(without_type_checks, candidates, trajectory):
    with pytest.raises(jaxcast.InputError, match="need candidates"):
        jaxcast.forecast(jaxcast.Forecaster(jaxcast.pooling.FixedShare(0.1, 1.0)), trajectory.states[:6], 2)
    pool = jaxcast.pooling.InteractingModels(jnp.eye(2), jnp.ones((2, 3, 3)), jnp.ones(2))
    with pytest.raises(jaxcast.InputError, match="each of 11 candidates, got 2, 2 and 2"):
        jaxcast.forecast(jaxcast.Forecaster(pool, candidates), trajectory.states[:6], 2)
    with pytest.raises(jaxcast.InputError, match=r"got \(5, 1, 2\) and \(5, 2\)"):
        jaxcast.pooling.fit_fixed_share(jnp.ones((5, 1, 2)), jnp.ones((5, 2)))
