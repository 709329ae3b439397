import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast


@pytest.fixture(scope="module")
def samples(trajectory, candidates):
    return jaxcast.one_step_samples(trajectory, 5, candidates)


def numpy_attention(pool, states, errors, forecasts):
    """The published equations for one sample, candidate by candidate."""
    hidden, bias = np.asarray(pool.hidden.kernel[...]).T, np.asarray(pool.hidden.bias[...])
    query_weights, key_weights = np.split(hidden, 2, axis=1)
    value = np.asarray(pool.score.kernel[...])[:, 0]
    query = np.concatenate(list(states))
    scores = []
    for i in range(errors.shape[1]):
        key = np.concatenate([errors[lag, i] for lag in range(errors.shape[0])])
        scores.append(value @ np.tanh(query_weights @ query + key_weights @ key + bias))
    weights = np.exp(scores - np.max(scores))
    weights /= weights.sum()
    return sum(a * f for a, f in zip(weights, forecasts, strict=True)), weights


def test_attention_is_the_published_equation(attention, samples):
    for n in (0, 17, 100):
        memory = jax.tree.map(lambda a, n=n: a[n], samples.memory)
        expected = numpy_attention(attention, *map(np.asarray, (*memory, samples.forecasts[n])))
        output = attention(memory, samples.forecasts[n])
        np.testing.assert_allclose(output.forecast, expected[0], rtol=1e-12)
        np.testing.assert_allclose(output.info["weights"], expected[1], rtol=1e-10)


def test_a_batch_is_its_samples(attention, samples):
    together = attention(samples.memory, samples.forecasts)
    one_by_one = jax.vmap(attention)(samples.memory, samples.forecasts)
    np.testing.assert_allclose(together.forecast, one_by_one.forecast, rtol=1e-12)
    np.testing.assert_allclose(together.info["weights"], one_by_one.info["weights"], rtol=1e-10)


def test_permuting_candidates_permutes_weights_and_changes_no_forecast(attention, samples):
    order = np.random.default_rng(0).permutation(11)
    plain = attention(samples.memory, samples.forecasts)
    memory = samples.memory._replace(errors=samples.memory.errors[:, :, order])
    permuted = attention(memory, samples.forecasts[:, order])
    np.testing.assert_allclose(permuted.info["weights"], plain.info["weights"][:, order], rtol=1e-10)
    np.testing.assert_allclose(permuted.forecast, plain.forecast, rtol=1e-12)
    assert np.ptp(np.asarray(plain.info["weights"]), axis=1).max() > 0.1  # else the test would say nothing


def test_parameters_and_initialisation_are_the_published_ones():
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=120, key=jax.random.key(0))
    leaves = jax.tree.leaves(pool)
    assert sum(leaf.size for leaf in leaves) == 15 * 120 + 15 * 120 + 120 + 120  # W_q, W_k, b, w_v
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    for layer, fan_in in ((pool.hidden, 15), (pool.score, 120)):
        kernel = np.asarray(layer.kernel[...])
        assert np.abs(kernel).max() <= fan_in**-0.5
        np.testing.assert_allclose(kernel.std(), fan_in**-0.5 / 3**0.5, rtol=0.15)


def test_a_float32_network_keeps_float64_forecasts(samples):
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=8, key=jax.random.key(0))
    output = pool(samples.memory, samples.forecasts)
    assert output.forecast.dtype == output.info["weights"].dtype == jnp.float64
    np.testing.assert_allclose(output.info["weights"].sum(-1), 1, rtol=1e-15)


def test_a_perfect_candidate_among_wrong_ones_is_found(truth, trajectory):
    rho = truth.rho
    wrong = [jaxcast.Lorenz63(rho=jaxcast.Cosine(mean, rho.amplitude, rho.period)) for mean in (42.0, 44.0, 48.0)]
    ensemble = jaxcast.flow_map(jaxcast.stack([*wrong[:2], truth, wrong[2]]))
    samples = jaxcast.one_step_samples(trajectory, 2, ensemble)

    def init(key):
        return jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=16, key=key)

    fit = jaxcast.fit(
        init, samples, keys=jax.random.split(jax.random.key(0), 2), optimizer=optax.adam(1e-2), num_epochs=200,
        batch_size=32,
    )  # fmt: skip
    for seed in range(2):
        pool = jax.tree.map(lambda a, seed=seed: a[seed], fit.model)
        weights = pool(samples.memory, samples.forecasts).info["weights"]
        assert np.median(weights[:, 2]) > 0.99
        assert fit.losses[seed, -1] < 1e-3 * fit.losses[seed, 0]


def test_linear_regression_is_least_squares(samples):
    pool = jaxcast.fit_linear_regression(samples.forecasts, samples.targets)
    features = np.asarray(samples.forecasts).reshape(len(samples.targets), -1)
    centred, targets = features - features.mean(0), np.asarray(samples.targets)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    kept = left[:, values > 1e-12 * values[0]]
    expected = targets.mean(0) + kept @ (kept.T @ (targets - targets.mean(0)))
    np.testing.assert_allclose(pool(None, samples.forecasts).forecast, expected, atol=1e-4)


def test_linear_regression_recovers_an_exact_combination():
    forecasts = jax.random.normal(jax.random.key(0), (200, 4, 3))
    mixing = jax.random.normal(jax.random.key(1), (3, 4, 3))
    targets = jnp.einsum("dme,nme->nd", mixing, forecasts) + jnp.asarray([1.0, -2.0, 0.5])
    pool = jaxcast.fit_linear_regression(forecasts, targets)
    np.testing.assert_allclose(pool.weights, mixing, atol=1e-12)
    np.testing.assert_allclose(pool.bias, [1.0, -2.0, 0.5], atol=1e-12)


def test_fixed_pools(candidates):
    forecasts = candidates([1.0, 2.0, 20.0])
    np.testing.assert_allclose(jaxcast.equal_weights(11)(None, forecasts).forecast, forecasts.mean(0), rtol=1e-14)
    np.testing.assert_allclose(jaxcast.single_candidate(4, 11)(None, forecasts).forecast, forecasts[4], rtol=1e-15)
    with pytest.raises(jaxcast.InputError, match="one of 11 candidates, 0 to 10, got 11"):
        jaxcast.single_candidate(11, 11)


def test_the_best_candidate_is_the_one_with_most_weight(attention, samples):
    weights = attention(samples.memory, samples.forecasts).info["weights"]
    output = jaxcast.BestCandidate(attention)(samples.memory, samples.forecasts)
    best = np.argmax(weights, axis=1)
    np.testing.assert_allclose(output.forecast, np.asarray(samples.forecasts)[np.arange(len(best)), best], rtol=1e-14)
