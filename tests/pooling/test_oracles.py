"""Pools and forecasters of one series against their equations, with numbers in which a slip would show."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast
from jaxcast.forecasters.recurrent import projected_loss
from jaxcast.forecasters.reservoir import random_network
from jaxcast.pooling.corrected import _feature_range

KEY = jax.random.key(0)


@pytest.mark.slow
def test_the_ends_are_the_first_and_the_last_candidate():
    pool = jaxcast.pooling.ComponentAttention(
        dim=2, num_models=3, num_delays=2, hidden_sizes=(4,), errors="ends", activation="silu", key=KEY, dtype=jnp.float64
    )  # fmt: skip
    rng = np.random.default_rng(0)
    states, errors = rng.normal(size=(2, 2)), rng.normal(size=(2, 3, 2))
    memory = jaxcast.pooling.Memory(jnp.asarray(states), jnp.asarray(errors))
    inputs = np.concatenate([states[0], errors[0, 0], errors[0, 2], errors[1, 0], errors[1, 2]])
    np.testing.assert_allclose(pool.inputs(memory), inputs, rtol=1e-12)
    (layer,) = pool.hidden
    hidden = inputs @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
    hidden = hidden / (1 + np.exp(-hidden))
    scores = (hidden @ np.asarray(pool.score.kernel[...]) + np.asarray(pool.score.bias[...])).reshape(2, 3)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(pool.weigh(memory, jnp.ones((3, 2))), expected, rtol=1e-9)


@pytest.mark.slow
def test_the_distance_of_the_ends_enters_as_its_logarithm():
    pool = jaxcast.pooling.ComponentAttention(dim=2, num_models=2, num_delays=1, key=KEY, dtype=jnp.float64)
    memory = jaxcast.pooling.Memory(jnp.zeros((1, 2)), jnp.asarray([[[1.0, 2.0], [-2.0, -2.0]]]))
    np.testing.assert_allclose(pool.inputs(memory), [0, 0, 2 * 11 / 25 - 1, np.log(25)], rtol=1e-4)


@pytest.mark.slow
def test_recurrent_attention_is_its_equation():
    """The errors in units of how far the candidates are apart, whose logarithm is told too; one score for each component."""
    scales = jaxcast.pooling.Standardizer(jnp.asarray([1.0, -2.0]), jnp.asarray([2.0, 0.5]), jnp.asarray([0.1, 4.0]))
    pool = jaxcast.pooling.RecurrentAttention(dim=2, hidden_size=3, scales=scales, key=KEY, dtype=jnp.float64)
    rng = np.random.default_rng(0)
    value, errors, hidden = rng.normal(size=2), rng.normal(size=(4, 2)), rng.normal(size=(4, 3))
    state, scaled = (value - [1, -2]) / [2, 0.5], errors / [0.1, 4]
    spread = ((scaled - scaled.mean(0)) ** 2).sum(1).mean()
    inputs = [np.concatenate([state, [np.log(spread)], error / np.sqrt(spread)]) for error in scaled]
    np.testing.assert_allclose(pool.memory.inputs(jnp.asarray(value), jnp.asarray(errors)), inputs, rtol=1e-4)
    seen = np.concatenate([hidden, np.broadcast_to([*hidden.mean(0), *state], (4, 5))], 1)
    scores = np.tanh(seen @ pool.hidden.kernel[...] + pool.hidden.bias[...]) @ pool.score.kernel[...]
    memory = pool.memory.init(jnp.asarray(value), jnp.ones((4, 2)))
    memory = memory._replace(value=jnp.asarray(value), hidden=jnp.asarray(hidden))
    weights = np.exp(scores) / np.exp(scores).sum(0)
    np.testing.assert_allclose(pool.weigh(memory, jnp.ones((4, 2))), weights.T, rtol=1e-9)


@pytest.mark.slow
def test_the_first_value_has_no_errors_and_changes_no_carry():
    pool = jaxcast.pooling.RecurrentAttention(dim=1, hidden_size=3, key=KEY, dtype=jnp.float64)
    empty = pool.memory.init(jnp.zeros(1), jnp.zeros((2, 1)))
    x = jaxcast.Input(jnp.asarray([5.0]), jnp.asarray(True))
    first = pool.memory.observe(empty, x, jnp.asarray([[1.0], [7.0]]))
    assert not np.asarray(first.hidden).any()
    assert first.value.tolist() == [5.0]
    second = pool.memory.observe(first, x, jnp.asarray([[1.0], [7.0]]))
    _, hidden = pool.cell.step(empty.carry, pool.memory.inputs(x.value, jnp.asarray([[-4.0], [2.0]])))
    np.testing.assert_allclose(second.hidden, hidden, rtol=1e-12)


def test_scales_are_those_of_states_and_of_one_step_errors():
    states = jnp.asarray([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0], [9.0, 5.0]])
    trajectory = jaxcast.Trajectory(jnp.arange(4.0), states)
    scales = jaxcast.pooling.input_scales(trajectory, lambda u: jnp.stack([u + jnp.asarray([1.0, 0]), u]))
    errors = np.asarray([[0, -1], [-2, -3], [-4, -5]])  # u + 1 and u, less the next value
    np.testing.assert_allclose(scales.error, [np.sqrt((errors**2).mean()), 1], rtol=1e-12)
    np.testing.assert_allclose(scales.mean, [3.5, 5])
    np.testing.assert_allclose(scales.std, [np.std([0, 1, 4, 9]), 1])


@pytest.mark.slow
def test_an_interpolation_weighs_by_the_newest_step_in_units_of_each_component():
    """By least squares of the errors over their scales; all steps are told, newest first."""
    pool = jaxcast.pooling.RegimeInterpolation(
        jnp.asarray([[-1.0], [0.5], [0.5]]), jnp.asarray([1.0, 10.0]), num_delays=2
    )
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(2, 3, 2)) * [1.0, 10.0]
    output = pool(jaxcast.pooling.Memory(jnp.zeros((2, 2)), jnp.asarray(errors)), jnp.zeros((3, 2)))
    direction = np.asarray([-1.0, 0.5, 0.5]) / 1.5
    positions = []
    for step in errors / [1.0, 10.0]:
        along = direction @ step
        positions.append(np.clip(-(along @ step.mean(0)) / (along @ along + 1e-6), -1.2, 1.2))
    np.testing.assert_allclose(output.info["position"], positions, rtol=1e-9)
    assert abs(positions[0] - positions[1]) > 0.1
    np.testing.assert_allclose(output.info["weights"], 1 / 3 + positions[0] * direction, rtol=1e-9)


def test_directions_are_those_of_forecasts_in_units_of_each_component():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(20, 4, 2)) * [1.0, 100.0]
    samples = jaxcast.pooling.OneStepSamples(
        jaxcast.pooling.Memory(jnp.zeros((20, 1, 2)), jnp.zeros((20, 1, 4, 2))), jnp.asarray(spread), jnp.zeros((20, 2))
    )
    pool = jaxcast.pooling.fit_regime_interpolation(samples, num_directions=2)
    centred = spread - spread.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).mean((0, 1)))
    np.testing.assert_allclose(pool.scale, scale, rtol=1e-9)
    left, *_ = np.linalg.svd(np.moveaxis(centred / scale, 1, 0).reshape(4, -1))
    for k in range(2):
        expected = left[:, k] / abs(left[:, k]).max()
        sign = 1 if expected[0] <= expected[-1] else -1
        np.testing.assert_allclose(pool.directions[:, k], sign * expected, atol=1e-7)


def made_samples(num, seed=0):
    """Two candidates whose mean misses a wave of the state, and noise."""
    rng = np.random.default_rng(seed)
    states = rng.uniform(-1, 1, size=(num, 2))
    missing = np.sin(3 * states) * [1.0, 50.0] + rng.normal(size=(num, 2)) * [0.3, 15.0]
    forecasts = jnp.asarray(np.stack([states - 1, states + 1], 1))
    memory = jaxcast.pooling.Memory(jnp.asarray(states)[:, None], jnp.zeros((num, 1, 2, 2)))
    return jaxcast.pooling.OneStepSamples(memory, forecasts, jnp.asarray(states + missing))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernel", "polynomial"])
def test_the_setting_of_a_correction_is_chosen_by_samples_that_it_was_not_fitted_to(kind):
    """In deviations of each component; and then fitted again to all."""
    pool, num = jaxcast.equal_weights(2), 50
    sizes = (0.2, 1.0) if kind == "kernel" else (1, 4)
    samples = made_samples(num)
    name = "lengths" if kind == "kernel" else "degrees"
    scale, errors, leaking = np.asarray(samples.targets).std(0), {}, {}
    grid = [(size, penalty) for size in sizes for penalty in (1e-8, 1e-1)]
    for size, penalty in grid:
        options = {"kind": kind, name: (size,), "penalties": (penalty,)}
        # Features are scaled by all samples: the range of inputs alone, no targets.
        features = jaxcast.pooling.fit_correction(samples, pool=pool, **options)
        state = np.asarray(samples.memory.states)[:, 0]
        x = (state - np.asarray(features.features.middle)) / np.asarray(features.features.half)
        missing = np.asarray(samples.targets) - state
        found = {}
        for rows in (40, num):
            if kind == "kernel":
                gauss = np.exp(-((x[:, None] - x[None, :rows]) ** 2).sum(-1) / (2 * size**2))
                solved = np.linalg.solve(gauss[:rows] + penalty * np.eye(rows), missing[:rows])
            else:
                gauss = np.polynomial.chebyshev.chebvander2d(x[:, 0], x[:, 1], [size, size])
                gauss = gauss[:, (np.add.outer(np.arange(size + 1), np.arange(size + 1)) <= size).ravel()]
                gram = gauss[:rows].T @ gauss[:rows] + penalty * np.eye(gauss.shape[1])
                solved = np.linalg.solve(gram, gauss[:rows].T @ missing[:rows])
            found[rows] = (missing - gauss @ solved)[40:]
        errors[size, penalty] = ((found[40] / scale) ** 2).mean()
        leaking[size, penalty] = ((found[num] / scale) ** 2).mean()
    best = min(grid, key=errors.get)
    assert best != min(grid, key=leaking.get)
    chosen = jaxcast.pooling.fit_correction(samples, pool=pool, kind=kind, **{name: sizes}, penalties=(1e-8, 1e-1))
    alone = jaxcast.pooling.fit_correction(samples, pool=pool, kind=kind, **{name: best[:1]}, penalties=best[1:])
    np.testing.assert_array_equal(chosen.correction.coefficients, alone.correction.coefficients)


def test_entries_of_the_info_share_their_half_range_and_components_do_not():
    states = jnp.asarray([[0.0, 10.0], [4.0, 30.0]])
    features = _feature_range(states, {"position": jnp.asarray([[1.0, 5.0], [3.0, 5.2]])}, names=("position",))
    np.testing.assert_allclose(features.middle, [2, 20, 2, 5.1])
    np.testing.assert_allclose(features.half, [2, 10, 1, 1])


def test_fewer_centres_are_evenly_spaced_and_penalised_by_their_own_kernel():
    samples, length, penalty = made_samples(30), 0.5, 0.2
    pool = jaxcast.pooling.fit_correction(
        samples, pool=jaxcast.equal_weights(2), lengths=(length,), penalties=(penalty,), max_centres=6
    )
    state = np.asarray(samples.memory.states)[:, 0]
    x = (state - (state.max(0) + state.min(0)) / 2) / ((state.max(0) - state.min(0)) / 2)
    centres = x[[0, 6, 12, 17, 23, 29]]
    gauss = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * length**2))  # noqa: E731
    kernel = gauss(x, centres)
    gram = kernel.T @ kernel + penalty * gauss(centres, centres)
    expected = np.linalg.solve(gram, kernel.T @ (np.asarray(samples.targets) - state))
    np.testing.assert_allclose(pool.correction.centres, centres, rtol=1e-12)
    np.testing.assert_allclose(kernel @ pool.correction.coefficients, kernel @ expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("without_type_checks")
def test_one_step_of_baum_and_welch_where_every_state_is_seen():
    """Candidates so far apart that it is certain which one was right: counts and scatters by hand."""
    right = np.asarray([0, 0, 1, 2, 0, 0, 1, 2, 2, 0])
    rng = np.random.default_rng(0)
    off = rng.normal(size=(10, 2)) * 0.1
    places = np.asarray([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    forecasts = np.broadcast_to(places, (10, 3, 2))
    pool = jaxcast.pooling.fit_interacting_models(forecasts, places[right] - off, num_iterations=40, pseudo_count=0.3)
    counts = np.full((3, 3), 0.3)
    np.add.at(counts, (right[:-1], right[1:]), 1)
    np.testing.assert_allclose(pool.transition, counts / counts.sum(1, keepdims=True), rtol=1e-6)
    scatter = np.stack([off[right == k].T @ off[right == k] for k in range(3)])
    shared, often = scatter.sum(0) / 10, np.bincount(right)[:, None, None]
    np.testing.assert_allclose(pool.covariances, (scatter + 3 * shared) / (often + 3), rtol=1e-4)
    share = jaxcast.pooling.fit_fixed_share(forecasts, places[right] - off, num_iterations=40)
    assert float(share.share) == pytest.approx((right[1:] != right[:-1]).mean(), rel=1e-6)
    np.testing.assert_allclose(share.scale, np.sqrt((off**2).mean(0)), rtol=1e-6)


def test_directions_below_the_cutoff_are_left_out_of_a_linear_regression():
    rng = np.random.default_rng(0)
    both = rng.normal(size=(50, 1))
    forecasts = np.concatenate([both, both + 1e-5 * rng.normal(size=(50, 1))], 1)[..., None]
    targets = both + 1e-4 * rng.normal(size=(50, 1))
    pool = jaxcast.pooling.fit_linear_regression(jnp.asarray(forecasts), jnp.asarray(targets), rcond=1e-3)
    np.testing.assert_allclose(pool.weights[0, :, 0], [0.5, 0.5], atol=1e-3)
    whole = jaxcast.pooling.fit_linear_regression(jnp.asarray(forecasts), jnp.asarray(targets))
    assert abs(whole.weights[0, 0, 0] - 0.5) > 0.1


def wave(num):
    times = 0.3 * np.arange(num)
    return np.stack([np.sin(times) * np.cos(0.37 * times), np.cos(times) + 2], 1)


@pytest.mark.slow
@pytest.mark.parametrize("squared", [True, False])
def test_a_reservoir_is_read_out_by_ridge_regression_after_what_is_discarded(squared):
    series, penalty, discarded = wave(60), 1e-2, 9
    cell = jaxcast.forecasters.fit_reservoir(
        series, key=KEY, num_nodes=8, connections=3, leak=0.6, penalty=penalty, num_discarded=discarded, squared=squared
    )
    network = jax.tree.map(np.asarray, cell.network)
    z, nodes, features = (series - series.mean(0)) / series.std(0), np.zeros(8), []
    for one in z[:-1]:
        heard = (network.strengths * nodes[network.sources]).sum(1) + network.inputs @ one + network.bias
        nodes = 0.4 * nodes + 0.6 * np.tanh(heard)
        read = nodes.copy()
        if squared:
            read[1::2] **= 2
        features.append([*one, *read])
    x, y = np.asarray(features)[discarded:], z[discarded + 1 :]
    off, aim = x - x.mean(0), y - y.mean(0)
    weights = np.linalg.solve(off.T @ off + penalty * np.eye(10), off.T @ aim)
    np.testing.assert_allclose(cell.readout.weights, weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(cell.readout.bias, y.mean(0) - x.mean(0) @ weights, rtol=1e-6, atol=1e-9)
    last = jaxcast.open_loop(cell, jnp.asarray(series[:-1])).forecast[-1]
    np.testing.assert_allclose(last, series.mean(0) + series.std(0) * (x[-1] @ weights + cell.readout.bias), rtol=1e-9)


def test_inputs_and_biases_of_a_network_fill_their_own_ranges():
    network = random_network(4, 60, input_scale=0.2, bias_scale=0.9, key=KEY)
    for drawn, scale in ((network.inputs, 0.2), (network.bias, 0.9)):
        assert -scale <= drawn.min() < -0.9 * scale
        assert 0.9 * scale < drawn.max() <= scale


def pieces_of(z, num_steps, num_discarded):
    """The last piece ends with the series; each has the steps before it in which layers forget how they began."""
    ends = [len(z) - 1 - n * num_steps for n in range((len(z) - 1 - num_discarded) // num_steps)]
    first = num_steps + num_discarded
    return (
        jnp.asarray(np.stack([z[end - first : end] for end in ends])),
        jnp.asarray(np.stack([np.diff(z[end - num_steps : end + 1], axis=0) for end in ends])),
    )


@pytest.mark.slow
def test_layers_are_trained_by_adam_along_a_cosine_on_pieces_and_read_out_from_all():
    series, options = wave(45), dict(penalty=0.01, num_discarded=4)
    layers = jaxcast.nn.RNN(input_size=2, hidden_size=3, key=KEY, dtype=jnp.float64)
    ours = jaxcast.forecasters.fit_recurrent_forecaster(
        series, layers=layers, num_optimizer_steps=2, learning_rate=0.1, chunk_size=12, **options
    )
    pieces, targets = pieces_of((series - series.mean(0)) / series.std(0), 12, 4)
    assert pieces.shape == (3, 16, 2)
    gradient, adam = jax.jit(jax.grad(projected_loss)), optax.scale_by_adam()
    state = adam.init(layers)
    for rate in (0.1, 0.05):
        changes, state = adam.update(gradient(layers, pieces, targets, 0.01), state)
        layers = jax.tree.map(lambda a, b, rate=rate: a - rate * b, layers, changes)
    for own, other in zip(jax.tree.leaves(ours.layers), jax.tree.leaves(layers), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-6, atol=1e-9)
    expected = jaxcast.forecasters.fit_recurrent_readout(series, layers=layers, **options)
    np.testing.assert_allclose(ours.weights[...], expected.weights[...], rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_the_loss_of_layers_is_the_log_of_what_their_best_readout_leaves():
    z, penalty = wave(45) - wave(45).mean(0), 0.05
    layers = jaxcast.nn.RNN(input_size=2, hidden_size=3, key=KEY, dtype=jnp.float64)
    pieces, targets = pieces_of(z, 12, 4)
    _, hidden = layers(pieces)
    x = np.concatenate([pieces, hidden], -1)[:, 4:].reshape(36, 5)
    y = np.asarray(targets).reshape(36, 2)
    x, y = x - x.mean(0), y - y.mean(0)
    solved = np.linalg.solve(x.T @ x + penalty * np.eye(5), x.T @ y)
    expected = np.log(((y - x @ solved) ** 2).sum() + penalty * (solved**2).sum())
    assert float(projected_loss(layers, pieces, targets, penalty)) == pytest.approx(expected, rel=1e-9)


def test_a_readout_discards_the_steps_in_which_layers_forget():
    series, penalty = wave(40), 0.05
    layers = jaxcast.nn.RNN(input_size=2, hidden_size=3, key=KEY, dtype=jnp.float64)
    cell = jaxcast.forecasters.fit_recurrent_readout(series, layers=layers, penalty=penalty, num_discarded=7)
    z = (series - series.mean(0)) / series.std(0)
    _, hidden = layers(jnp.asarray(z[:-1]))
    x, y = np.concatenate([z[:-1], hidden], 1)[7:], np.diff(z, axis=0)[7:]
    off = x - x.mean(0)
    solved = np.linalg.solve(off.T @ off + penalty * np.eye(5), off.T @ (y - y.mean(0)))
    np.testing.assert_allclose(cell.weights[...], solved, rtol=1e-8)
    np.testing.assert_allclose(cell.bias[...], y.mean(0) - x.mean(0) @ solved, rtol=1e-8)


@pytest.mark.slow
def test_dropout_of_a_language_model_has_masks_of_its_own_for_what_goes_in_and_out():
    size, kept = 300, 0.6
    model = jaxcast.text.LanguageModel(
        num_tokens=size, hidden_size=size, num_layers=1, embedding_size=size, kind="rnn", activation="relu",
        dropout=1 - kept, key=KEY, dtype=jnp.float64,
    )  # fmt: skip
    (layer,) = model.stack.layers
    identity, nothing = jnp.eye(size), jnp.zeros(size)
    model.embedding[...] = jnp.ones((size, size))
    layer.input_kernel, layer.recurrent_kernel = nnx.Param(identity), nnx.Param(0 * identity)
    layer.bias, model.readout.bias[...] = nnx.Param(nothing), nothing
    model.readout.kernel[...] = identity
    _, logits = model(jnp.zeros(1, int), key=jax.random.key(1))
    factor = 2**16 / round(2**16 * kept)  # what is kept is drawn by sixteen bits
    np.testing.assert_allclose(np.unique(logits), [0, factor**2], rtol=1e-12)
    assert abs((np.asarray(logits) > 0).mean() - kept**2) < 0.1


@pytest.mark.slow
def test_a_language_model_begins_with_orthogonal_layers_that_do_not_forget():
    (layer,) = jaxcast.text.LanguageModel(
        num_tokens=5, hidden_size=4, num_layers=1, key=KEY, dtype=jnp.float64
    ).stack.layers
    for gate in jnp.split(layer.recurrent_kernel[...], 4, -1):
        np.testing.assert_allclose(gate.T @ gate, jnp.eye(4), atol=1e-12)
    np.testing.assert_array_equal(layer.bias[...].reshape(4, 4), [[0] * 4, [1] * 4, [0] * 4, [0] * 4])


@pytest.mark.parametrize(("length", "streams", "size"), [(9, 2, 4), (8, 2, 3), (10, 3, 3), (7, 1, 6)])
def test_streams_are_followed_by_the_same_text_one_token_on(length, streams, size):
    seen, followed = jaxcast.text.text_streams(np.arange(length), streams)
    np.testing.assert_array_equal(seen, np.arange(streams * size).reshape(streams, size))
    np.testing.assert_array_equal(followed, np.asarray(seen) + 1)


@pytest.mark.slow
def test_a_correction_is_judged_in_deviations_of_each_component():
    """A small component asks for a small penalty; a thousand times as large, noise would ask for a large one."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, size=(150, 2))
    missing = np.stack([np.sin(4 * states[:, 0]), 1000 * rng.normal(size=150)], 1)
    memory = jaxcast.pooling.Memory(jnp.asarray(states)[:, None], jnp.zeros((150, 1, 2, 2)))
    forecasts = jnp.asarray(np.stack([states - 1, states + 1], 1))
    samples = jaxcast.pooling.OneStepSamples(memory, forecasts, jnp.asarray(states + missing))
    penalties, judged = (1.0, 1e5), {}
    for penalty in penalties:
        x = 2 * (states - states.min(0)) / np.ptp(states, axis=0) - 1
        gauss = np.exp(-((x[:, None] - x[None, :120]) ** 2).sum(-1) / (2 * 0.6**2))
        off = (missing - gauss @ np.linalg.solve(gauss[:120] + penalty * np.eye(120), missing[:120]))[120:]
        judged[penalty] = ((off / np.asarray(samples.targets).std(0)) ** 2).mean(), (off**2).mean()
    best, other = (min(penalties, key=lambda penalty, k=k: judged[penalty][k]) for k in (0, 1))
    chosen = jaxcast.pooling.fit_correction(samples, pool=jaxcast.equal_weights(2), lengths=(0.6,), penalties=penalties)
    alone = jaxcast.pooling.fit_correction(samples, pool=jaxcast.equal_weights(2), lengths=(0.6,), penalties=(best,))
    np.testing.assert_array_equal(chosen.correction.coefficients, alone.correction.coefficients)
    assert best != other
