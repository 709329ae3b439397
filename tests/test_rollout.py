import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.pooling.memory import Memory
from jaxcast.pytrees import FrozenPytree


@pytest.fixture(scope="module")
def cell(attention, candidates):
    return jaxcast.Forecaster(attention, candidates)


@pytest.fixture(scope="module")
def network():
    network = jaxcast.pooling.FeedForward(dim=3, num_delays=4, hidden_size=8, key=jax.random.key(0), dtype=jnp.float64)
    return jaxcast.Forecaster(network)


def loop(cell, xs, known):
    """What `roll` means, in plain Python."""
    carry, forecast, forecasts = cell.init_carry(xs[0]), None, []
    for value, is_known in zip(xs, known, strict=True):
        fed = jnp.where(is_known, value, 0.0 if forecast is None else forecast)
        carry, output = cell(carry, jaxcast.Input(fed, jnp.all(is_known)))
        forecast = cell.feedback(output, None)
        forecasts.append(forecast)
    return np.stack(forecasts)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["all", "spin_up", "gaps", "component_gaps"])
@pytest.mark.parametrize("which", ["cell", "network", "held"])
def test_the_scan_is_a_python_loop(request, cell, trajectory, which, pattern):
    cell = jaxcast.pooling.HeldWeights(cell) if which == "held" else request.getfixturevalue(which)
    values = trajectory.states[:24]
    gaps = np.random.default_rng(0).random(24) < 0.6
    known = {
        "all": np.ones(24, bool),
        "spin_up": np.arange(24) < 8,
        "gaps": gaps | (np.arange(24) == 0),
        "component_gaps": np.stack([np.ones(24, bool), gaps | (np.arange(24) == 0), np.ones(24, bool)], 1),
    }[pattern]
    _, outputs = jaxcast.roll(cell, jaxcast.Input(values, jnp.asarray(known)))
    np.testing.assert_allclose(outputs.forecast, loop(cell, values, known), rtol=1e-9)


@pytest.mark.slow
def test_the_named_forms_are_mask_patterns_of_roll(cell, trajectory):
    values, known = trajectory.states[:20], jnp.arange(20) < 9
    _, rolled = jaxcast.roll(cell, jaxcast.Input(values, known))
    forecast = jaxcast.forecast(cell, values[:9], 12)
    np.testing.assert_allclose(forecast.forecast, rolled.forecast[8:], rtol=1e-9)
    np.testing.assert_allclose(forecast.info["weights"], rolled.info["weights"][8:], rtol=1e-7, atol=1e-12)

    state = jaxcast.spin_up(cell, values[:9])
    np.testing.assert_allclose(state.output.forecast, rolled.forecast[8], rtol=1e-12)
    state, first = jaxcast.closed_loop(cell, state, 4)
    _, second = jaxcast.closed_loop(cell, state, 7)
    np.testing.assert_allclose(np.concatenate([first.forecast, second.forecast]), rolled.forecast[9:], rtol=1e-9)

    _, all_known = jaxcast.roll(cell, jaxcast.Input(values, jnp.ones(20, bool)))
    open_loop = jaxcast.open_loop(cell, values)
    assert np.isnan(open_loop.forecast[:5]).all()
    np.testing.assert_allclose(open_loop.forecast[5:], all_known.forecast[5:], rtol=1e-12)


@pytest.mark.slow
def test_an_interrupted_roll_goes_on_where_it_was(cell, trajectory):
    values, known = trajectory.states[:20], jnp.arange(20) % 3 != 2
    _, whole = jaxcast.roll(cell, jaxcast.Input(values, known))
    state, first = jaxcast.roll(cell, jaxcast.Input(values[:11], known[:11]))
    _, second = jaxcast.roll(cell, jaxcast.Input(values[11:], known[11:]), state)
    np.testing.assert_allclose(np.concatenate([first.forecast, second.forecast]), whole.forecast, rtol=1e-9)


@pytest.mark.slow
def test_gathered_windows_are_the_rolled_memory(cell, attention, trajectory, candidates):
    samples = jaxcast.one_step_samples(trajectory, 5, candidates)
    carry, gathered = cell.init_carry(trajectory.states[0]), 0
    for n, value in enumerate(trajectory.states[:30]):
        carry, _ = cell(carry, jaxcast.Input(value, jnp.asarray(True)))
        if n >= cell.warmup and n + 1 < len(trajectory.states):
            expected = jax.tree.map(lambda a, g=gathered: a[g], samples)
            np.testing.assert_allclose(carry.memory.states, expected.memory.states, rtol=1e-15)
            np.testing.assert_allclose(carry.memory.errors, expected.memory.errors, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(carry.pending, expected.forecasts, rtol=1e-12)
            np.testing.assert_allclose(expected.targets, trajectory.states[n + 1], rtol=1e-15)
            gathered += 1
    assert gathered == 25
    open_loop = jaxcast.open_loop(cell, trajectory.states).forecast
    by_samples = attention(samples.memory, samples.forecasts).forecast
    np.testing.assert_allclose(open_loop[5:-1], by_samples, rtol=1e-9)


def test_gathered_states_are_the_rolled_ones_without_candidates(network, trajectory):
    samples = jaxcast.one_step_samples(trajectory, 4)
    open_loop = jaxcast.open_loop(network, trajectory.states).forecast
    assert np.isnan(open_loop[:3]).all()
    np.testing.assert_allclose(open_loop[3:-1], network.pool(samples.memory, None).forecast, rtol=1e-9)


@pytest.mark.slow
def test_closed_loop_errors_are_measured_against_the_forecast(cell, candidates, trajectory):
    state = jaxcast.spin_up(cell, trajectory.states[:8])
    lead_1 = state.output.forecast
    after, _ = jaxcast.closed_loop(cell, state, 1)
    np.testing.assert_allclose(after.carry.memory.states[0], lead_1, rtol=1e-14)
    np.testing.assert_allclose(after.carry.memory.errors[0], state.carry.pending - lead_1, rtol=1e-12)


@pytest.mark.slow
def test_held_weights_are_those_of_the_start(cell, attention, candidates, trajectory):
    history = trajectory.states[:8]
    start = jaxcast.spin_up(cell, history).output.info["weights"]
    held = jaxcast.forecast(jaxcast.pooling.HeldWeights(cell), history, 10)
    np.testing.assert_allclose(held.info["weights"], np.broadcast_to(start, (10, 11)), rtol=1e-12)
    fixed = jaxcast.forecast(jaxcast.Forecaster(jaxcast.pooling.FixedWeights(start), candidates), history, 10)
    np.testing.assert_allclose(held.forecast, fixed.forecast, rtol=1e-9)

    best = jaxcast.pooling.HeldWeights(jaxcast.Forecaster(jaxcast.pooling.BestCandidate(attention), candidates))
    alone = jaxcast.Forecaster(jaxcast.pooling.single_candidate(int(np.argmax(start)), 11), candidates)
    np.testing.assert_allclose(
        jaxcast.forecast(best, history, 10).forecast, jaxcast.forecast(alone, history, 10).forecast, rtol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi_head", "simplex", "best", "fixed"])
def test_what_any_weighted_pool_weighs_can_be_held(kind, candidates, trajectory):
    sizes = dict(dim=3, num_delays=2, hidden_size=8, key=jax.random.key(0), dtype=jnp.float64)
    heads = jaxcast.pooling.MultiHeadAttention(score="additive", num_heads=3, **sizes)
    heads.readout.kernel[...] += jax.random.normal(jax.random.key(1), (9, 3)) / 100
    pool = {
        "multi_head": heads,
        "simplex": jaxcast.pooling.SimplexLeastSquares(2),
        "best": jaxcast.pooling.BestCandidate(heads),
        "fixed": jaxcast.pooling.FixedWeights(jnp.arange(11.0)),
    }[kind]
    history = trajectory.states[:6]
    held = jaxcast.forecast(jaxcast.pooling.HeldWeights(jaxcast.Forecaster(pool, candidates)), history, 10)

    carry = jaxcast.spin_up(jaxcast.Forecaster(pool, candidates), history).carry
    weights, value = pool.weigh(carry.memory, carry.pending), history[-1]
    for n in range(10):
        expected = pool.combine(weights, candidates(value))
        value = expected.forecast
        np.testing.assert_allclose(held.forecast[n], value, rtol=1e-8)
        assert sorted(held.info) == sorted(expected.info)
        for name, shares in expected.info.items():
            np.testing.assert_allclose(held.info[name][n], shares, rtol=1e-7, atol=1e-12)


@pytest.mark.slow
def test_gradients_through_a_closed_loop_agree_with_differences(attention, candidates, trajectory):
    history, truth = trajectory.states[:8], trajectory.states[8:28]
    flat, unravel = jax.flatten_util.ravel_pytree(attention)

    @jax.jit
    def loss(flat):
        forecasts = jaxcast.forecast(jaxcast.Forecaster(unravel(flat), candidates), history, 20).forecast
        return jnp.mean((forecasts - truth) ** 2)

    gradient = jax.jit(jax.grad(loss))(flat)
    for seed in range(3):
        direction = jax.random.normal(jax.random.key(seed), flat.shape)
        direction /= jnp.linalg.norm(direction)
        eps = 1e-5
        slope = (loss(flat + eps * direction) - loss(flat - eps * direction)) / (2 * eps)
        np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-5)


@pytest.mark.slow
def test_gradients_reach_the_candidates_and_the_history(attention, trajectory):
    history = trajectory.states[:8]

    def end(rho, history):
        ensemble = jaxcast.Lorenz63(sigma=jnp.full(3, 10.0), rho=rho, beta=jnp.full(3, 8 / 3))
        cell = jaxcast.Forecaster(attention, jaxcast.flow_map(ensemble))
        return jaxcast.forecast(cell, history, 4).forecast[-1, 0]

    rho = jnp.asarray([28.0, 38.0, 48.0])
    by_rho, by_history = jax.grad(end, argnums=(0, 1))(rho, history)
    eps = 1e-5
    difference = (end(rho.at[1].add(eps), history) - end(rho.at[1].add(-eps), history)) / (2 * eps)
    np.testing.assert_allclose(by_rho[1], difference, rtol=1e-5)
    newest = (end(rho, history.at[-1, 2].add(eps)) - end(rho, history.at[-1, 2].add(-eps))) / (2 * eps)
    np.testing.assert_allclose(by_history[-1, 2], newest, rtol=1e-5)


@pytest.mark.slow
def test_other_numbers_compile_nothing(candidates, trajectory, count_compilations):
    def run(seed, start):
        pool = jaxcast.AdditiveAttention(dim=3, num_delays=3, hidden_size=8, key=jax.random.key(seed))
        cell = jaxcast.Forecaster(pool, candidates)
        histories = jnp.stack([trajectory.states[start : start + 6], trajectory.states[start + 9 : start + 15]])
        forecasts = jax.vmap(lambda history: jaxcast.forecast(cell, history, 5).forecast)(histories)
        jaxcast.open_loop(cell, histories[0])
        return forecasts.block_until_ready()

    first = run(0, 0)
    assert count_compilations() > 0
    second = run(1, 30)
    assert count_compilations() == 0
    assert not np.allclose(first, second)


@pytest.mark.slow
def test_scheduled_candidates_are_given_the_time(truth, trajectory):
    cell = jaxcast.Forecaster(jaxcast.equal_weights(1), jaxcast.flow_map(jaxcast.stack_systems([truth])))
    forecast = jaxcast.forecast(cell, trajectory.states[:3], 10, trajectory.times[:12]).forecast
    np.testing.assert_allclose(forecast, trajectory.states[3:13], rtol=1e-8)


def test_forecasts_may_come_from_any_function(trajectory):
    """As for a hub: what is given at each step are the forecasts themselves."""
    rows = jax.random.normal(jax.random.key(0), (10, 2, 3))
    cell = jaxcast.Forecaster(jaxcast.equal_weights(2), lambda value, exogenous: exogenous)
    outputs = jaxcast.open_loop(cell, trajectory.states[:10], rows)
    np.testing.assert_allclose(outputs.forecast, rows.mean(1), rtol=1e-14)


def test_an_unknown_start_is_nan_and_stays_so():
    cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
    values, known = jnp.ones((4, 1)), jnp.asarray([False, False, True, False])
    _, outputs = jaxcast.roll(cell, jaxcast.Input(values, known))
    np.testing.assert_array_equal(outputs.forecast[:, 0], [np.nan, np.nan, 1, 1])


class RandomWalk(FrozenPytree, jaxcast.Cell):
    warmup = 0
    reads_tokens = False

    def init_carry(self, value, exogenous=None):
        return ()

    def check_first(self, value, known):
        pass

    def __call__(self, carry, x):
        return carry, jaxcast.Output(x.value, {})

    def feedback(self, output, key):
        return output.forecast + jax.random.normal(key, output.forecast.shape)


def test_feedback_may_sample():
    state = jaxcast.spin_up(RandomWalk(), jnp.zeros((2, 1)))
    _, one = jaxcast.closed_loop(RandomWalk(), state, 5, key=jax.random.key(0))
    _, same = jaxcast.closed_loop(RandomWalk(), state, 5, key=jax.random.key(0))
    _, other = jaxcast.closed_loop(RandomWalk(), state, 5, key=jax.random.key(1))
    np.testing.assert_array_equal(one.forecast, same.forecast)
    assert not np.allclose(one.forecast, other.forecast)
    assert len(np.unique(np.diff(one.forecast[:, 0]))) == 4


def test_bad_input_is_refused_in_one_line(cell, trajectory, without_type_checks):
    states = trajectory.states
    with pytest.raises(jaxcast.InputError, match="at least 6 known values, got 5"):
        jaxcast.forecast(cell, states[:5], 3)
    with pytest.raises(jaxcast.InputError, match=r"exogenous must cover .* 8 \+ 3 - 1 steps, got 8"):
        jaxcast.forecast(cell, states[:8], 3, trajectory.times[:8])
    with pytest.raises(jaxcast.InputError, match=r"boolean mask of shape \(9,\) or \(9, 3\), got int64\(9,\)"):
        jaxcast.roll(cell, jaxcast.Input(states[:9], jnp.arange(9)))


def test_the_memory_is_newest_first():
    memory = jaxcast.pooling.DelayMemory(3)
    kept = memory.init(jnp.zeros(1), jnp.zeros((2, 1)))
    for n in range(5):
        x = jaxcast.Input(jnp.asarray([float(n)]), known=True)
        kept = memory.observe(kept, x, jnp.asarray([[10.0 * n], [n + 1.0]]))
    assert isinstance(kept, Memory)
    assert kept.states[:, 0].tolist() == [4, 3, 2]
    assert kept.errors[:, :, 0].tolist() == [[36, 1], [27, 1], [18, 1]]


def test_what_does_not_fit_together_is_refused(attention, candidates, trajectory, without_type_checks):
    states = trajectory.states
    linear = jaxcast.pooling.LinearRegression(jnp.ones((3, 11, 3)), jnp.zeros(3))
    small = jaxcast.AdditiveAttention(dim=2, num_delays=5, hidden_size=4, key=jax.random.key(0))
    single = jaxcast.flow_map(jaxcast.Lorenz63())
    for cell, message in (
        (
            jaxcast.pooling.HeldWeights(jaxcast.Forecaster(linear, candidates)),
            "a pool with weights to hold .* got LinearRegression",
        ),
        (
            jaxcast.Forecaster(jaxcast.pooling.BestCandidate(linear), candidates),
            "a pool with weights to hold .* got LinearRegression",
        ),
        (
            jaxcast.pooling.HeldWeights(jaxcast.Forecaster(jaxcast.pooling.Persistence())),
            "held weights need candidates",
        ),
        (
            jaxcast.Forecaster(attention, single),
            r"must return \(model, dim\), got shape \(3,\); give it the flow map of jaxcast.stack",
        ),
        (jaxcast.Forecaster(attention), "AdditiveAttention needs candidates"),
        (jaxcast.Forecaster(small, candidates), "the memory holds 30 numbers a sample, the network was made for 20"),
        (jaxcast.Forecaster(jaxcast.equal_weights(2), candidates), "a weight for each of 11 candidates, got"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            jaxcast.forecast(cell, states[:8], 3)
    with pytest.raises(jaxcast.InputError, match="num_leads must be at least 1, got 0"):
        jaxcast.forecast(jaxcast.Forecaster(attention, candidates), states[:8], 0)
    with pytest.raises(jaxcast.InputError, match=r"expected 8 steps of every input, got an array of shape \(7,\)"):
        jaxcast.open_loop(jaxcast.Forecaster(attention, candidates), states[:8], trajectory.times[:7])
    with pytest.raises(jaxcast.InputError, match="num_delays must be at least 1, got 0"):
        jaxcast.AdditiveAttention(dim=3, num_delays=0, hidden_size=4, key=jax.random.key(0))


def test_a_gpu_takes_several_steps_in_a_pass():
    cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
    traced = jax.jit(lambda history: jaxcast.forecast(cell, history, 20).forecast).trace(jnp.ones((2, 1)))
    on_cpu, on_gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda"))
    in_passes = "tensor<3x6x1xf64>"  # three passes of six steps; one more step follows
    assert in_passes in on_gpu
    assert in_passes not in on_cpu
