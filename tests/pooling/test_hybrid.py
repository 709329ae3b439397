import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.forecasters.readout import Readout
from jaxcast.pooling.hybrid.fit import Along, in_pieces
from jaxcast.pooling.hybrid.normal_equations import NormalEquations
from jaxcast.pooling.hybrid.regressors import SeenSamples
from jaxcast.pooling.hybrid.stencil import as_stencil


@pytest.fixture(scope="module")
def ring():
    """Lorenz '96 with candidates of a wrong forcing."""
    make = [jaxcast.Lorenz96(dim=5, forcing=forcing) for forcing in (7.0, 9.0)]
    candidates = jaxcast.flow_map(jaxcast.stack_systems(make), dt=0.05, h=0.05)
    start = 0.1 * np.arange(5.0)
    truth = jaxcast.simulate(
        jaxcast.Lorenz96(dim=5, forcing=7.7), start, num_samples=240, dt=0.05, h=0.05, transient=5.0
    )
    return truth, candidates


@pytest.fixture(scope="module")
def cell(ring):
    return jaxcast.pooling.fit_hybrid(*ring, stencil=1, num_delays=2, num_errors=1, penalties=(1e-9,))


def test_normal_equations_are_a_ridge_on_features_of_deviation_one():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(3, [1, 5, 0.1], (90, 3)), rng.normal(size=(90, 2))
    equations = NormalEquations(3, 2)
    for rows in (slice(40), slice(40, 90)):
        equations.add(features[rows], targets[rows])
    ((weights, bias),) = equations.solve([0.3])
    scaled = (features - features.mean(0)) / features.std(0)
    plain = np.linalg.solve(scaled.T @ scaled + 0.3 * 90 * np.eye(3), scaled.T @ (targets - targets.mean(0)))
    np.testing.assert_allclose(weights, plain / features.std(0)[:, None], rtol=1e-10)
    np.testing.assert_allclose(features.mean(0) @ weights + bias, targets.mean(0), rtol=1e-10)


@pytest.mark.slow
def test_a_step_is_its_equation(ring, cell):
    truth, candidates = ring
    states = np.asarray(truth.states)
    step = 3
    output = jax.tree.map(np.asarray, jaxcast.open_loop(cell, truth.states[:4], truth.times[:4]))
    forecasts = np.stack([np.asarray(candidates(u, 0.0)) for u in states[:4]])
    base = forecasts.mean(1)
    channels = cell.channels
    fields = [
        (states[step] - channels.mean) / channels.std,
        (states[step - 1] - channels.mean) / channels.std,
        (base[step] - states[step]) / channels.step,
        (base[step - 1] - states[step]) / channels.error,
        channels.modes[:, 0] @ (forecasts[step] - base[step]) / channels.spread[0],
    ]
    for site in range(5):
        seen = np.concatenate([np.asarray(field)[[site, (site + 1) % 5, (site - 1) % 5]] for field in fields])
        pairs = [seen[i] * seen[j] for i in range(6) for j in range(i, 6)]
        residual = np.concatenate([seen, pairs]) @ cell.readout.weights + cell.readout.bias
        expected = base[step, site] + channels.error[site] * residual[0]
        np.testing.assert_allclose(output.forecast[step, site], expected, rtol=1e-8)
    np.testing.assert_allclose(output.forecast[step] - base[step], output.info["correction"][step], atol=1e-9)


def as_columns(*parts):
    return np.concatenate([np.asarray(part) for part in parts], -1)


@pytest.mark.slow
def test_features_are_their_equations():
    rng = np.random.default_rng(0)
    seen, targets = rng.normal(size=(40, 6)), rng.normal(size=(40, 1))
    samples = SeenSamples(jnp.asarray(seen), jnp.asarray(targets), 2)
    key = jax.random.key(0)

    def features(regressor, at):
        made = regressor.make(samples, key)
        return made, np.asarray(made(made.init(len(at)), jnp.asarray(at))[1])

    at = seen[3:7] * 0.5
    x, y = at[:, 0], at[:, 1]
    _, found = features(jaxcast.pooling.PolynomialRegressor(3), at)
    np.testing.assert_allclose(
        np.sort(found[:, 6:], 1), np.sort(np.stack([x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3], 1), 1)
    )
    _, far = features(jaxcast.pooling.PolynomialRegressor(2), 100 * np.ones((1, 6)))
    low, high = seen.min(0)[:2], seen.max(0)[:2]
    np.testing.assert_allclose(far[0, -1], (high + 0.05 * (high - low))[1] ** 2)
    _, found = features(jaxcast.pooling.KernelRegressor(num_centres=4, bandwidth=0.7), at)
    length = 0.7 * np.sqrt(seen.var(0).sum())
    centres = seen[[0, 13, 26, 39]]
    np.testing.assert_allclose(
        found, as_columns(at, np.exp(-((at[:, None] - centres) ** 2).sum(-1) / (2 * length**2))), rtol=1e-9
    )
    reservoir, found = features(jaxcast.pooling.ReservoirRegressor(8, connections=2, leak=0.6), at)
    network = reservoir.network
    matrix = np.zeros((8, 8))
    matrix[np.arange(8)[:, None], network.sources] = network.strengths
    nodes = 0.6 * np.tanh(at @ network.inputs.T + network.bias)
    again = 0.4 * nodes + 0.6 * np.tanh(nodes @ matrix.T + at @ network.inputs.T + network.bias)
    state, _ = reservoir(reservoir.init(4), jnp.asarray(at))
    np.testing.assert_allclose(state, nodes, rtol=1e-9)
    state, twice = reservoir(state, jnp.asarray(at))
    again[:, 1::2] **= 2
    np.testing.assert_allclose(twice, as_columns(at, again), rtol=1e-8)


@pytest.mark.slow
def test_a_network_learns_what_no_line_can():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(400, 3))
    targets = np.abs(seen[:, :1])
    samples = SeenSamples(jnp.asarray(seen[:300]), jnp.asarray(targets[:300]), 1)
    regressor = jaxcast.pooling.NetworkRegressor(hidden_size=8, num_optimizer_steps=300, learning_rate=1e-2)
    network = regressor.make(samples, jax.random.key(0))
    errors = []
    for columns in (seen, np.asarray(network((), jnp.asarray(seen))[1])):
        design = np.c_[columns, np.ones(len(columns))]
        weights = np.linalg.lstsq(design[:300], targets[:300], rcond=None)[0]
        errors.append(np.abs(design[300:] @ weights - targets[300:]).mean())
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.slow
def test_the_residual_finds_a_truth_between_the_candidates(ring, cell):
    truth, candidates = ring
    assert cell.warmup == 1
    rolled = jaxcast.forecast(cell, truth.states[:10], 40, truth.times[:49]).forecast
    plain = jaxcast.forecast(
        jaxcast.Forecaster(jaxcast.equal_weights(2), candidates), truth.states[:10], 40, truth.times[:49]
    )
    errors = [np.sqrt(np.mean((np.asarray(f) - truth.states[10:50]) ** 2)) for f in (rolled, plain.forecast)]
    assert errors[0] < 0.02 * errors[1]


@pytest.mark.slow
def test_all_sites_share_their_weights(ring, cell):
    truth, _ = ring
    plain = jaxcast.forecast(cell, truth.states[:6], 5, truth.times[:10]).forecast
    turned = jaxcast.forecast(cell, jnp.roll(truth.states[:6], 2, 1), 5, truth.times[:10]).forecast
    np.testing.assert_allclose(turned, jnp.roll(plain, 2, 1), rtol=1e-8)


@pytest.mark.slow
def test_a_saved_hybrid_forecasts_the_same(ring, cell, tmp_path):
    truth, _ = ring
    jaxcast.save_model(tmp_path, cell)
    again = jaxcast.load_model(tmp_path).cell
    windows = jaxcast.cut_windows(truth, num_windows=2, num_leads=3, history_size=4)
    np.testing.assert_array_equal(*(jaxcast.forecast_windows(one, windows).forecast for one in (again, cell)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "regressor",
    [
        jaxcast.pooling.KernelRegressor(num_centres=9),
        jaxcast.pooling.ReservoirRegressor(num_nodes=9),
        jaxcast.pooling.NetworkRegressor(hidden_size=2, num_optimizer_steps=1),
    ],
    ids=lambda regressor: type(regressor).__name__,
)
def test_every_regressor_can_be_saved(cell, regressor, tmp_path):
    seen = jnp.arange(5.0 * 15).reshape(5, 15)
    features = regressor.make(SeenSamples(seen, seen[:, :1], 6), jax.random.key(0))
    other = dataclasses.replace(cell, features=features)
    other = dataclasses.replace(other, readout=Readout(jnp.ones((other.num_features, 1)), jnp.ones(1)))
    jaxcast.save_model(tmp_path, other)
    again = jaxcast.load_model(tmp_path).cell
    assert jax.tree.structure(again) == jax.tree.structure(other)
    for one, two in zip(jax.tree.leaves(again), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_candidates_errors_are_seen_if_asked_for(ring, cell):
    truth, candidates = ring
    states = np.asarray(truth.states[:3])
    forecasts = np.stack([np.asarray(candidates(u, 0.0)) for u in states])
    base = forecasts.mean(1)
    seeing = dataclasses.replace(cell, candidate_errors=True)
    memory = seeing.empty_memory(truth.states[0])
    for n in range(3):
        memory, seen = seeing.see(memory, truth.states[n], jnp.asarray(base[n]), jnp.asarray(forecasts[n]))
    assert seeing.num_features == cell.num_features + 3
    own = np.asarray(seen)[:, ::3].T  # of the site itself
    error, earlier = own[3] * cell.channels.error, own[5] * cell.channels.spread[0] * cell.channels.modes[0, 0]
    np.testing.assert_allclose(error + earlier, forecasts[1, 0] - states[2], rtol=1e-8)


@pytest.mark.slow
def test_features_in_pieces_are_those_along_the_whole(ring, cell, monkeypatch):
    rng = np.random.default_rng(0)
    along = Along(*(jnp.asarray(rng.normal(size=shape)) for shape in ((12, 5), (12, 5), (12, 2, 5))))
    ((_, whole),) = in_pieces(cell, along, 1)
    monkeypatch.setattr("jaxcast.pooling.hybrid.fit.MOST_AT_ONCE", 6)
    starts, pieces = zip(*in_pieces(cell, along, 1), strict=True)
    assert starts == (0, 6)
    np.testing.assert_allclose(jnp.concatenate(pieces), whole, rtol=1e-12)


@pytest.mark.slow
def test_any_cell_can_be_the_base(ring, cell):
    """The base's own candidates are run, and its memory fills first."""
    truth, candidates = ring
    pool = jaxcast.pooling.fit_regime_interpolation(jaxcast.one_step_samples(truth, 1, candidates))
    given = jaxcast.pooling.fit_hybrid(
        truth, candidates, base=jaxcast.Forecaster(pool, candidates), stencil=1, penalties=(1e-9,)
    )
    named = jaxcast.pooling.fit_hybrid(truth, candidates, base="interpolation", stencil=1, penalties=(1e-9,))
    assert given.warmup == pool.memory.warmup(with_errors=True) + 2
    np.testing.assert_array_equal(given.readout.weights, named.readout.weights)
    plain = jaxcast.open_loop(jaxcast.Forecaster(pool, candidates), truth.states[:9], truth.times[:9])
    output = jaxcast.open_loop(given, truth.states[:9], truth.times[:9])
    np.testing.assert_allclose((output.forecast - output.info["correction"])[4:], plain.forecast[4:], rtol=1e-10)


@pytest.mark.slow
def test_a_stencil_of_two_components_keeps_them_apart():
    table = jaxcast.pooling.ring_stencil(4, 1, num_components=2)
    assert table[1].tolist() == [[1, 5], [2, 6], [0, 4]]
    stencil = as_stencil(table, 8)
    values = jnp.arange(8.0)
    assert stencil.gather(values[None])[1].tolist() == [1, 5, 2, 6, 0, 4]
    np.testing.assert_array_equal(stencil.scatter(values[stencil.table[:, 0]]), values)
    assert stencil.pooled(values).tolist() == [1.5] * 4 + [5.5] * 4


@pytest.mark.slow
def test_the_penalty_is_the_one_that_lasts_longest_in_closed_loop(ring):
    cell = jaxcast.pooling.fit_hybrid(*ring, penalties=(1e3, 1e-8), num_leads=10)
    best = jaxcast.pooling.fit_hybrid(*ring, penalties=(1e-8,))
    np.testing.assert_array_equal(cell.readout.weights, best.readout.weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_delays": 0}, "num_delays must be at least 1, got 0"),
        ({"penalties": ()}, "at least one penalty"),
        ({"stencil": 3}, "radius must be at most 2"),
        ({"stencil": np.zeros((5, 2, 1), int)}, "must belong to one site"),
        ({"base": "best"}, "base"),
        ({"forecast_map": None}, "base='none'"),
        ({"num_leads": 5000}, "num_leads must be at most 60"),
    ],
)
def test_bad_settings_are_refused(ring, given, message):
    truth, candidates = ring
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.pooling.fit_hybrid(truth, **{"forecast_map": candidates} | given)
