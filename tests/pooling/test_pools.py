import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast

ATTENTION = ["additive", "scaled", "multi_additive", "multi_scaled"]
FROM_MEMORY = [*ATTENTION, "simplex", "best"]


@pytest.fixture(scope="module")
def samples(trajectory, candidates):
    return jaxcast.one_step_samples(trajectory, 5, candidates)


@pytest.fixture(scope="module")
def pools(attention, samples):
    """One of every kind, in float64, with weights far from equal."""
    sizes = dict(dim=3, num_delays=5, hidden_size=16, key=jax.random.key(1), dtype=jnp.float64)
    scaled = jaxcast.pooling.ScaledDotProductAttention(**sizes)
    heads = jaxcast.pooling.MultiHeadAttention(score="additive", num_heads=3, **sizes)
    heads.heads.score.kernel[...] *= 10
    return {
        "additive": attention,
        "scaled": scaled,
        "multi_additive": heads,
        "multi_scaled": jaxcast.pooling.MultiHeadAttention(score="scaled_dot_product", num_heads=2, **sizes),
        "simplex": jaxcast.pooling.SimplexLeastSquares(5),
        "best": jaxcast.pooling.BestCandidate(attention),
        "fixed": jaxcast.pooling.FixedWeights(jnp.arange(11.0) / 55),
        "linear": jaxcast.pooling.fit_linear_regression(samples.forecasts, samples.targets),
        "ridge": jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=1.0),
    }


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


@pytest.mark.slow
def test_attention_is_the_published_equation(attention, samples):
    for n in (0, 17, 100):
        memory = jax.tree.map(lambda a, n=n: a[n], samples.memory)
        expected = numpy_attention(attention, *map(np.asarray, (*memory, samples.forecasts[n])))
        output = attention(memory, samples.forecasts[n])
        np.testing.assert_allclose(output.forecast, expected[0], rtol=1e-12)
        np.testing.assert_allclose(output.info["weights"], expected[1], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["additive", "multi_additive"])
def test_attention_is_the_same_where_it_is_differentiated(pools, samples, kind):
    """The two are computed in different ways; see `_additive_scores`."""
    batch = jax.tree.map(lambda a: a[:4], samples)

    def forecasts(pool):
        return pool(batch.memory, batch.forecasts).forecast

    pool = pools[kind]
    direction = jax.tree.map(jnp.ones_like, pool)
    value, slope = jax.jvp(forecasts, (pool,), (direction,))
    np.testing.assert_allclose(forecasts(pool), value, rtol=1e-12)
    shifted = [forecasts(jax.tree.map(lambda a, d, s=s: a + s * d, pool, direction)) for s in (1e-5, -1e-5)]
    np.testing.assert_allclose((shifted[0] - shifted[1]) / 2e-5, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("change", [dict(dtype=jnp.float32), dict(query_dim=1), dict(num_delays=20)])
def test_attention_of_other_sizes_is_the_same_where_it_is_differentiated(change):
    sizes = dict(dim=3, num_delays=5, hidden_size=16, dtype=jnp.float64) | change
    pool = jaxcast.AdditiveAttention(**sizes, key=jax.random.key(0))
    states, errors, forecasts = (
        jax.random.normal(jax.random.key(n), shape, jnp.float64)
        for n, shape in enumerate([(sizes["num_delays"], pool.query_dim), (sizes["num_delays"], 4, 3), (4, 3)])
    )

    def forecast(errors):
        return pool(jaxcast.pooling.Memory(states, errors), forecasts).forecast

    value, _ = jax.jvp(forecast, (errors,), (errors,))
    assert forecast(errors).dtype == value.dtype == jnp.float64
    np.testing.assert_allclose(forecast(errors), value, rtol=1e-12 if sizes["dtype"] == jnp.float64 else 1e-5)
    with pytest.raises(jaxcast.InputError, match="expected a memory of states"):
        pool(jaxcast.pooling.Memory(states[None], errors), forecasts)


@pytest.mark.slow
def test_attention_is_the_same_on_a_gpu(attention, samples, monkeypatch):
    memory, forecasts = jax.tree.map(lambda a: a[:3], (samples.memory, samples.forecasts))
    expected = attention.weigh(memory, forecasts)
    monkeypatch.setattr("jaxcast.pooling.attention.by_platform", lambda _, *args, cuda: cuda(*args))
    np.testing.assert_allclose(attention.weigh(memory, forecasts), expected, rtol=1e-12)


@pytest.mark.slow
def test_scaled_attention_is_the_published_equation(pools, samples):
    pool, memory = pools["scaled"], jax.tree.map(lambda a: a[7], samples.memory)
    states, errors = map(np.asarray, memory)
    query = states.ravel() @ np.asarray(pool.query.kernel[...]) + np.asarray(pool.query.bias[...])
    keys = [errors[:, i].ravel() @ np.asarray(pool.key.kernel[...]) for i in range(11)]
    weights = np.exp([query @ key / 4 for key in keys])  # sqrt(hidden_size) is 4
    output = pool(memory, samples.forecasts[7])
    np.testing.assert_allclose(output.info["weights"], weights / weights.sum(), rtol=1e-10)
    np.testing.assert_allclose(output.forecast, weights / weights.sum() @ samples.forecasts[7], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi_additive", "multi_scaled"])
def test_multi_head_attention_is_a_linear_map_of_its_heads(pools, samples, kind):
    pool = nnx.clone(pools[kind])
    num_heads = pool.config["num_heads"]
    alone = [jax.tree.map(lambda a, p=p: a[p], pool.heads)(samples.memory, samples.forecasts) for p in range(num_heads)]
    output = pool(samples.memory, samples.forecasts)
    weights = np.stack([head.info["weights"] for head in alone], 1)
    assert np.abs(weights[:, 0] - weights[:, 1]).max() > 0.1
    np.testing.assert_allclose(output.info["head_weights"], weights, rtol=1e-9)
    np.testing.assert_allclose(output.info["weights"], weights.mean(1), rtol=1e-9)
    np.testing.assert_allclose(output.forecast, np.mean([head.forecast for head in alone], 0), rtol=1e-12)

    pool.readout.kernel[...] = jax.random.normal(jax.random.key(2), (3 * num_heads, 3))
    expected = np.concatenate([head.forecast for head in alone], 1) @ pool.readout.kernel[...]
    np.testing.assert_allclose(pool(samples.memory, samples.forecasts).forecast, expected, rtol=1e-10)


@pytest.mark.slow
def test_multi_head_attention_trains(samples):
    def init(key):
        sizes = dict(dim=3, num_delays=5, hidden_size=8, dtype=jnp.float64)
        return jaxcast.pooling.MultiHeadAttention(score="additive", num_heads=2, **sizes, key=key)

    keys = jax.random.split(jax.random.key(0), 3)
    fit = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.pooling.mean_squared_error,
        keys=keys,
        optimizer=optax.adam(1e-3),
        num_epochs=20,
        batch_size=32,
    )
    assert (fit.losses[:, -1] < 0.7 * fit.losses[:, 0]).all()
    start = jax.vmap(lambda key: init(jax.random.fold_in(key, 0)))(keys)
    for before, after in zip(jax.tree.leaves(start), jax.tree.leaves(fit.models), strict=True):
        assert before.shape == after.shape
        assert (before != after).any(axis=tuple(range(1, after.ndim))).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*FROM_MEMORY, "fixed", "linear", "ridge"])
def test_a_batch_is_its_samples(pools, samples, kind):
    few = jax.tree.map(lambda a: a[:12].reshape(3, 4, *a.shape[1:]), samples)
    together = pools[kind](few.memory, few.forecasts)
    one_by_one = jax.vmap(jax.vmap(pools[kind]))(few.memory, few.forecasts)
    np.testing.assert_allclose(together.forecast, one_by_one.forecast, rtol=1e-5 if kind == "linear" else 1e-9)
    assert together.info["weights"].shape == (3, 4, 11)
    for name, weights in together.info.items():
        np.testing.assert_allclose(weights, one_by_one.info[name], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*FROM_MEMORY, "fixed", "linear", "ridge"])
def test_gathered_is_rolled(pools, candidates, trajectory, samples, kind):
    rolled = jaxcast.open_loop(jaxcast.Forecaster(pools[kind], candidates), trajectory.states[:60])
    gathered = pools[kind](*jax.tree.map(lambda a: a[:54], samples)[:2])
    np.testing.assert_allclose(rolled.forecast[5:-1], gathered.forecast, rtol=1e-4 if kind == "linear" else 1e-8)
    for name, weights in gathered.info.items():
        np.testing.assert_allclose(rolled.info[name][5:-1], weights, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", FROM_MEMORY)
def test_permuting_candidates_permutes_weights_and_changes_no_forecast(pools, samples, kind):
    order = np.random.default_rng(0).permutation(11)
    plain = pools[kind](samples.memory, samples.forecasts)
    memory = samples.memory._replace(errors=samples.memory.errors[:, :, order])
    permuted = pools[kind](memory, samples.forecasts[:, order])
    np.testing.assert_allclose(permuted.info["weights"], plain.info["weights"][:, order], rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(permuted.forecast, plain.forecast, rtol=1e-7 if kind == "simplex" else 1e-12)
    assert np.ptp(np.asarray(plain.info["weights"]), axis=1).max() > 0.1  # else the test would say nothing


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*FROM_MEMORY, "fixed"])
def test_candidates_that_agree_are_the_forecast(pools, samples, kind):
    pool, few = pools[kind], jax.tree.map(lambda a: a[:9], samples)
    assert isinstance(pool, jaxcast.pooling.WeightedPool)
    agreed = jnp.broadcast_to(few.targets[:, None], few.forecasts.shape)
    output = pool.combine(pool.weigh(few.memory, few.forecasts), agreed)
    np.testing.assert_allclose(output.forecast, few.targets, rtol=1e-14)
    np.testing.assert_allclose(output.info["weights"].sum(-1), 1, rtol=1e-14)


@pytest.mark.parametrize("kind", [*ATTENTION, "simplex"])
def test_candidates_that_err_alike_weigh_alike(pools, samples, kind):
    few = jax.tree.map(lambda a: a[:9], samples)
    errors = jnp.broadcast_to(few.memory.errors[:, :, :1], few.memory.errors.shape)
    weights = pools[kind](few.memory._replace(errors=errors), few.forecasts).info["weights"]
    np.testing.assert_allclose(weights, 1 / 11, rtol=1e-5 if kind == "simplex" else 1e-13)


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


@pytest.mark.slow
def test_a_perfect_candidate_among_wrong_ones_is_found(truth, trajectory):
    rho = truth.rho
    wrong = [jaxcast.Lorenz63(rho=jaxcast.Cosine(mean, rho.amplitude, rho.period)) for mean in (42.0, 44.0, 48.0)]
    ensemble = jaxcast.flow_map(jaxcast.stack_systems([*wrong[:2], truth, wrong[2]]))
    samples = jaxcast.one_step_samples(trajectory, 2, ensemble)

    def init(key):
        return jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=16, key=key)

    fit = jaxcast.fit(
        samples, init=init, loss=jaxcast.pooling.mean_squared_error, keys=jax.random.split(jax.random.key(0), 2), optimizer=optax.adam(1e-2), num_epochs=200,
        batch_size=32,
    )  # fmt: skip
    for seed in range(2):
        pool = jax.tree.map(lambda a, seed=seed: a[seed], fit.models)
        weights = pool(samples.memory, samples.forecasts).info["weights"]
        assert np.median(weights[:, 2]) > 0.99
        assert fit.losses[seed, -1] < 1e-3 * fit.losses[seed, 0]


def test_linear_regression_is_least_squares(samples):
    # Directions of less than this share are rounding, and so differ between compilers.
    pool = jaxcast.pooling.fit_linear_regression(samples.forecasts, samples.targets, rcond=1e-9)
    features = np.asarray(samples.forecasts).reshape(len(samples.targets), -1)
    centred, targets = features - features.mean(0), np.asarray(samples.targets)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    kept = left[:, values > 1e-9 * values[0]]
    expected = targets.mean(0) + kept @ (kept.T @ (targets - targets.mean(0)))
    np.testing.assert_allclose(pool(None, samples.forecasts).forecast, expected, atol=1e-5)


@pytest.mark.slow
def test_linear_regression_recovers_an_exact_combination():
    forecasts = jax.random.normal(jax.random.key(0), (200, 4, 3))
    mixing = jax.random.normal(jax.random.key(1), (3, 4, 3))
    targets = jnp.einsum("dme,nme->nd", mixing, forecasts) + jnp.asarray([1.0, -2.0, 0.5])
    pool = jaxcast.pooling.fit_linear_regression(forecasts, targets)
    np.testing.assert_allclose(pool.weights, mixing, atol=1e-12)
    np.testing.assert_allclose(pool.bias, [1.0, -2.0, 0.5], atol=1e-12)


def test_ridge_is_least_squares_of_the_augmented_problem(samples):
    features = np.asarray(samples.forecasts).reshape(len(samples.targets), -1)
    targets = np.asarray(samples.targets)
    for penalty in (0.1, 30.0):
        # Rows sqrt(penalty) I for the weights, none for the bias.
        shrinking = np.hstack([np.sqrt(penalty) * np.eye(33), np.zeros((33, 1))])
        design = np.vstack([np.hstack([features, np.ones((len(features), 1))]), shrinking])
        expected = np.linalg.lstsq(design, np.vstack([targets, np.zeros((33, 3))]))[0]
        pool = jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=penalty)
        np.testing.assert_allclose(np.asarray(pool.weights).reshape(3, 33), expected[:-1].T, atol=1e-9)
        np.testing.assert_allclose(pool.bias, expected[-1], atol=1e-8)
        own = np.mean([pool.weights[d, :, d] for d in range(3)], 0)
        np.testing.assert_allclose(pool(None, samples.forecasts).info["weights"][4], own, rtol=1e-12)


def test_the_penalty_is_traced(samples, count_compilations):
    jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=1.0).weights.block_until_ready()
    count_compilations()
    jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=2.0).weights.block_until_ready()
    assert count_compilations() == 0

    def size(penalty):
        return jnp.sum(jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=penalty).weights ** 2)

    assert jax.jit(jax.grad(size))(1.0) < 0


def test_fixed_pools(candidates):
    forecasts = candidates([1.0, 2.0, 20.0])
    np.testing.assert_allclose(jaxcast.equal_weights(11)(None, forecasts).forecast, forecasts.mean(0), rtol=1e-14)
    np.testing.assert_allclose(
        jaxcast.pooling.single_candidate(4, 11)(None, forecasts).forecast, forecasts[4], rtol=1e-15
    )
    with pytest.raises(jaxcast.InputError, match="one of 11 candidates, 0 to 10, got 11"):
        jaxcast.pooling.single_candidate(11, 11)


def test_the_best_candidate_is_the_one_with_most_weight(attention, samples):
    weights = attention(samples.memory, samples.forecasts).info["weights"]
    output = jaxcast.pooling.BestCandidate(attention)(samples.memory, samples.forecasts)
    best = np.argmax(weights, axis=1)
    np.testing.assert_allclose(output.forecast, np.asarray(samples.forecasts)[np.arange(len(best)), best], rtol=1e-14)


@pytest.mark.parametrize("kind", ATTENTION)
def test_a_pool_is_rebuilt_from_its_config(pools, kind):
    pool = pools[kind]
    config = json.loads(json.dumps(pool.config))
    assert config["dtype"] == "float64"
    again = type(pool)(**config, key=jax.random.key(9))
    assert nnx.graphdef(again) == nnx.graphdef(pool)
    for leaf, same in zip(jax.tree.leaves(again), jax.tree.leaves(pool), strict=True):
        assert (leaf.shape, leaf.dtype) == (same.shape, same.dtype)


def test_networks_of_the_default_dtype_are_rebuilt_too():
    network = jaxcast.pooling.FeedForward(dim=3, num_delays=4, hidden_size=8, key=jax.random.key(0))
    assert network.config == {"dim": 3, "num_delays": 4, "hidden_size": 8, "dtype": "float32"}
    assert nnx.graphdef(jaxcast.pooling.FeedForward(**network.config, key=jax.random.key(1))) == nnx.graphdef(network)
    assert jaxcast.pooling.SimplexLeastSquares(
        **jaxcast.pooling.SimplexLeastSquares(4).config
    ) == jaxcast.pooling.SimplexLeastSquares(4)


def test_what_a_pool_cannot_do_is_refused(pools, samples, without_type_checks):
    sizes = dict(dim=3, num_delays=5, hidden_size=4, key=jax.random.key(0))
    states_only = samples.memory._replace(errors=None)
    for call, message in (
        (
            lambda: jaxcast.pooling.MultiHeadAttention(score="dot", num_heads=2, **sizes),
            "one of additive, .*, got 'dot'",
        ),
        (
            lambda: jaxcast.pooling.MultiHeadAttention(score="additive", num_heads=0, **sizes),
            "num_heads must be at least 1",
        ),
        (lambda: jaxcast.pooling.SimplexLeastSquares(0), "num_delays must be at least 1, got 0"),
        (
            lambda: jaxcast.pooling.SimplexLeastSquares(2)(*samples[:2]),
            "memory holds 5 delays, the pool was made for 2",
        ),
        (lambda: pools["simplex"](states_only, samples.forecasts), "SimplexLeastSquares needs candidates"),
        (lambda: pools["multi_scaled"](states_only, samples.forecasts), "ScaledDotProductAttention needs candidates"),
        (
            lambda: jaxcast.pooling.fit_ridge(*samples[1:], penalty=-1.0),
            "penalty must be zero or more, and finite, got -1.0",
        ),
        (lambda: jaxcast.pooling.fit_ridge(samples.forecasts[0], samples.targets, penalty=1.0), "expected forecasts"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            call()
