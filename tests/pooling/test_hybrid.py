import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.pooling.hybrid.normal_equations import NormalEquations


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
    return jaxcast.pooling.fit_hybrid(*ring, stencil=1, num_delays=2, num_errors=1, degree=2, penalties=(1e-9,))


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


def test_the_residual_finds_a_truth_between_the_candidates(ring, cell):
    truth, candidates = ring
    assert cell.warmup == 1
    rolled = jaxcast.forecast(cell, truth.states[:10], 40, truth.times[:49]).forecast
    plain = jaxcast.forecast(
        jaxcast.Forecaster(jaxcast.equal_weights(2), candidates), truth.states[:10], 40, truth.times[:49]
    )
    errors = [np.sqrt(np.mean((np.asarray(f) - truth.states[10:50]) ** 2)) for f in (rolled, plain.forecast)]
    assert errors[0] < 0.02 * errors[1]


def test_all_sites_share_their_weights(ring, cell):
    truth, _ = ring
    plain = jaxcast.forecast(cell, truth.states[:6], 5, truth.times[:10]).forecast
    turned = jaxcast.forecast(cell, jnp.roll(truth.states[:6], 2, 1), 5, truth.times[:10]).forecast
    np.testing.assert_allclose(turned, jnp.roll(plain, 2, 1), rtol=1e-8)


def test_a_saved_hybrid_forecasts_the_same(ring, cell, tmp_path):
    truth, _ = ring
    jaxcast.save_model(tmp_path, cell)
    again = jaxcast.load_model(tmp_path).cell
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(cell), strict=True):
        np.testing.assert_array_equal(one, other)
    windows = jaxcast.cut_windows(truth, num_windows=2, num_leads=3, history_size=4)
    np.testing.assert_array_equal(
        *(jaxcast.forecast_windows(one, windows).forecast for one in (again, cell)),
    )


def test_the_penalty_is_the_one_that_lasts_longest_in_closed_loop(ring):
    cell = jaxcast.pooling.fit_hybrid(*ring, penalties=(1e3, 1e-8), num_leads=10)
    best = jaxcast.pooling.fit_hybrid(*ring, penalties=(1e-8,))
    np.testing.assert_array_equal(cell.readout.weights, best.readout.weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"degree": 0}, "degree must be at least 1, got 0"),
        ({"penalties": ()}, "at least one penalty"),
        ({"stencil": 3}, "radius must be at most 2"),
        ({"stencil": np.zeros((5, 2, 1), int)}, "must belong to one site"),
        ({"base": "best"}, "base"),
        ({"forecast_map": None}, "base='none'"),
        ({"num_leads": 5000}, "to validate with"),
    ],
)
def test_bad_settings_are_refused(ring, given, message):
    truth, candidates = ring
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.pooling.fit_hybrid(truth, **{"forecast_map": candidates} | given)
