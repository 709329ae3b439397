from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcast


@pytest.fixture(scope="module")
def scales(trajectory, candidates):
    return jaxcast.pooling.input_scales(trajectory, candidates)


def make(scales, **options):
    settings = dict(dim=3, hidden_size=6, num_warmup=3, scales=scales, key=jax.random.key(1), dtype=jnp.float64)
    pool = jaxcast.pooling.RecurrentAttention(**settings | options)
    pool.score.kernel[...] *= 100  # weights far from equal
    return pool


@pytest.fixture(
    scope="module",
    params=[
        ("lstm", True),
        ("gru", False),
        pytest.param(("gru", True), marks=pytest.mark.slow),
    ],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def pool(request, scales):
    cell, per_component = request.param
    return make(scales, cell=cell, per_component=per_component)


@pytest.mark.slow
def test_a_chunk_is_the_rolled_cell(pool, trajectory, candidates):
    chunks = jaxcast.pooling.sequence_chunks(trajectory, candidates, length=20, stride=7)
    outputs = pool.along(chunks.values, chunks.errors, chunks.forecasts)
    for n in (0, 5):
        # One value more: a rolled cell knows no errors at the first that it sees.
        seen = trajectory.states[7 * n : 7 * n + 21]
        rolled = jaxcast.open_loop(jaxcast.Forecaster(pool, candidates), seen)
        np.testing.assert_allclose(outputs.forecast[n, 2:], rolled.forecast[3:], rtol=1e-9)
        weights = rolled.info["component_weights"][3:]
        np.testing.assert_allclose(outputs.info["component_weights"][n, 2:], weights, rtol=1e-8, atol=1e-12)
        assert np.ptp(weights, axis=-1).max() > 0.1
        assert np.isnan(rolled.forecast[:3]).all()
        np.testing.assert_array_equal(chunks.targets[n, :-1], chunks.values[n, 1:])


@pytest.mark.slow
def test_samples_hold_the_rolled_memory(pool, trajectory, candidates):
    short = jax.tree.map(lambda a: a[:30], trajectory)
    samples = jaxcast.pooling.rolled_samples(pool, short, candidates)
    rolled = jaxcast.open_loop(jaxcast.Forecaster(pool, candidates), short.states)
    np.testing.assert_allclose(pool(samples.memory, samples.forecasts).forecast, rolled.forecast[3:-1], rtol=1e-9)
    np.testing.assert_array_equal(samples.targets, short.states[4:])


@pytest.mark.slow
def test_for_delays_they_are_the_gathered_ones(attention, trajectory, candidates):
    rolled = jaxcast.pooling.rolled_samples(attention, trajectory, candidates)
    gathered = jaxcast.one_step_samples(trajectory, 5, candidates)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), rolled, gathered)


@pytest.mark.slow
def test_permuting_candidates_permutes_weights_and_changes_no_forecast(pool, trajectory, candidates):
    order = np.random.default_rng(0).permutation(11)
    chunks = jaxcast.pooling.sequence_chunks(trajectory, candidates, length=8, stride=50)
    plain = pool.along(chunks.values, chunks.errors, chunks.forecasts)
    permuted = pool.along(chunks.values, chunks.errors[:, :, order], chunks.forecasts[:, :, order])
    weights = plain.info["component_weights"][..., order]
    np.testing.assert_allclose(permuted.info["component_weights"], weights, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(permuted.forecast, plain.forecast, rtol=1e-10)


@pytest.mark.slow
def test_weights_are_convex_and_shared_by_components_where_asked(pool, trajectory, candidates):
    chunks = jaxcast.pooling.sequence_chunks(trajectory, candidates, length=8, stride=50)
    info = pool.along(chunks.values, chunks.errors, chunks.forecasts).info
    weights = info["component_weights"]
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(weights.mean(-2), info["weights"], rtol=1e-12)
    apart = np.abs(weights - weights[..., :1, :]).max()
    assert apart > 0.01 if pool.config["per_component"] else apart == 0


@pytest.mark.slow
def test_the_gradient_over_time_is_that_of_differences(scales, trajectory, candidates):
    pool = make(scales)
    chunks = jaxcast.pooling.sequence_chunks(trajectory, candidates, length=8, stride=150)
    gradient = jax.grad(jaxcast.pooling.error_over_time)(pool, chunks)
    leaves, structure = jax.tree.flatten(pool)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    direction = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]

    def along(step):
        moved = [leaf + step * towards for leaf, towards in zip(leaves, direction, strict=True)]
        return jaxcast.pooling.error_over_time(jax.tree.unflatten(structure, moved), chunks)

    expected = (along(1e-6) - along(-1e-6)) / 2e-6
    found = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), direction, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def periodic(length):
    """A value that goes up by one at every third step and down by a half at the others, and a candidate for each."""
    steps = np.resize([1.0, -0.5, -0.5], length)
    states = np.cumsum(steps)[:, None]
    return jaxcast.Trajectory(jnp.arange(length) * 1.0, jnp.asarray(states))


def up_or_down(value, exogenous):
    return jnp.stack([value + 1, value - 0.5])


@pytest.mark.slow
def test_it_learns_what_one_delay_cannot(count_compilations):
    trajectory = periodic(200)
    scales = jaxcast.pooling.input_scales(trajectory, up_or_down)
    chunks = jaxcast.pooling.sequence_chunks(trajectory, up_or_down, length=12, stride=3)
    keys, adam = jax.random.split(jax.random.key(0), 2), optax.adam(1e-2)

    def init(key):
        return jaxcast.pooling.RecurrentAttention(dim=1, hidden_size=8, num_warmup=4, scales=scales, key=key)

    def run():
        return jaxcast.fit(
            chunks, init=init, keys=keys, optimizer=adam, num_epochs=60, batch_size=8,
            loss=jaxcast.pooling.error_over_time,
        )  # fmt: skip

    recurrent = run()
    assert (recurrent.losses[:, -1] < 1e-3).all()
    count_compilations()
    run()
    assert count_compilations() == 0

    # After a step down either may follow: with the newest error alone the best is their mean.
    def init_delay(key):
        return jaxcast.AdditiveAttention(dim=1, num_delays=1, hidden_size=8, key=key)

    still = jaxcast.one_step_samples(trajectory, 1, up_or_down)
    still = still._replace(memory=still.memory._replace(states=jnp.zeros_like(still.memory.states)))
    delayed = jaxcast.fit(
        still,
        init=init_delay,
        loss=jaxcast.pooling.mean_squared_error,
        keys=keys,
        optimizer=adam,
        num_epochs=60,
        batch_size=32,
    )
    assert (delayed.losses[:, -1] > 0.1).all()

    # And it goes on in closed loop.
    model = jax.tree.map(lambda a: a[0], recurrent.models)
    rolled = jaxcast.forecast(jaxcast.Forecaster(model, up_or_down), trajectory.states[:9], 12).forecast
    np.testing.assert_allclose(rolled, trajectory.states[9:21], atol=0.3)


@pytest.mark.slow
def test_a_perfect_candidate_among_wrong_ones_is_found(truth, trajectory):
    rho = truth.rho
    wrong = [jaxcast.Lorenz63(rho=jaxcast.Cosine(mean, rho.amplitude, rho.period)) for mean in (42.0, 44.0)]
    ensemble = jaxcast.flow_map(jaxcast.stack_systems([wrong[0], truth, wrong[1]]))
    scales = jaxcast.pooling.input_scales(trajectory, ensemble)
    chunks = jaxcast.pooling.sequence_chunks(trajectory, ensemble, length=8, stride=2)

    def init(key):
        return jaxcast.pooling.RecurrentAttention(dim=3, hidden_size=8, num_warmup=2, scales=scales, key=key)

    fit = jaxcast.fit(
        chunks, init=init, keys=jax.random.key(0)[None], optimizer=optax.adam(1e-2), num_epochs=25, batch_size=16,
        loss=jaxcast.pooling.error_over_time,
    )  # fmt: skip
    pool = jax.tree.map(lambda a: a[0], fit.models)
    weights = pool.along(chunks.values, chunks.errors, chunks.forecasts).info["weights"][:, 2:, 1]
    assert np.median(weights) > 0.99


@pytest.mark.slow
def test_bad_settings_are_refused(scales, pool, trajectory, candidates, without_type_checks):
    with pytest.raises(jaxcast.InputError, match="cell must be one of gru, lstm, got 'rnn'"):
        make(scales, cell="rnn")
    with pytest.raises(jaxcast.InputError, match="hidden_size must be at least 1, got 0"):
        make(scales, hidden_size=0)
    with pytest.raises(jaxcast.InputError, match="expected mean of the scales for 2 components"):
        make(scales, dim=2)
    with pytest.raises(jaxcast.InputError, match="attention needs candidates"):
        jaxcast.forecast(jaxcast.Forecaster(pool), trajectory.states[:9], 2)
    with pytest.raises(jaxcast.InputError, match="trajectory of at least 402 samples, got 400"):
        jaxcast.pooling.sequence_chunks(trajectory, candidates, length=400)
    chunks = jaxcast.pooling.sequence_chunks(trajectory, candidates, length=2, stride=50)
    with pytest.raises(jaxcast.InputError, match="longer than the burn-in of 2 steps, got 2"):
        jaxcast.pooling.error_over_time(pool, chunks)
    short = jax.tree.map(lambda a: a[:4], trajectory)
    with pytest.raises(jaxcast.InputError, match="at least 5 samples, got 4"):
        jaxcast.pooling.rolled_samples(pool, short, candidates)
