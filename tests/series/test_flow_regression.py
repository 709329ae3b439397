"""Factor models and regressions of trips between zones against plain numpy of their equations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.series import fit_factor_regression, fit_flow_regression, series_windows

LAGS, LEADS, SEASON, ZONES = (0, 1, 2, 6, 13), (1, 2), 7, 3
SETTINGS = {"leads": LEADS, "num_factors": 3, "penalty": 0.1, "season": SEASON, "num_older": 2}


def trips(length=90):
    rng = np.random.default_rng(0)
    size = rng.uniform(1, 9, ZONES**2) * np.eye(ZONES).ravel() * 4 + rng.uniform(1, 6, ZONES**2)
    level = 1 + 0.6 * np.sin(2 * np.pi * np.arange(length)[:, None] / SEASON + np.arange(ZONES**2))
    return rng.poisson(size * level).astype(float)


VALUES = jnp.asarray(trips())
SAMPLES = series_windows(VALUES, lags=LAGS, leads=LEADS)


@pytest.fixture(scope="module")
def model():
    return fit_flow_regression(SAMPLES, **SETTINGS, num_groups=2, num_blocks=3)


@pytest.mark.slow
def test_a_factor_regression_is_ridge_of_principal_components_on_their_lags(model):
    """Rows 13 .. 88 are the newest steps; the last lacks its second lead."""
    first, base = VALUES[14:], model.base
    change = VALUES[14:] - VALUES[7:-7]
    variance = (change**2).mean(0) / 2
    mean, std = first.mean(0), np.sqrt(variance + 0.09 * variance.mean())
    z = np.asarray((VALUES - mean) / std)
    axes = np.linalg.svd(z[14:], full_matrices=False)[2][:3]
    np.testing.assert_allclose(np.abs(base.components @ axes.T), np.eye(3), atol=1e-4)
    newest = np.arange(13, 89)
    factors = z @ np.asarray(base.components).T
    for k, lead in enumerate(LEADS):
        # Lags 0 and 1 hold all factors, 2 and 6 two of them; a season before lead 1 are 6 and 13, before lead 2 none.
        older = [factors[newest - lag][:, :2] for lag in (6, 2)]
        recent = [factors[newest - lag] for lag in (1, 0)]
        seasons = {1: np.mean([factors[newest - lag] for lag in (6, 13)], 0), 2: 0 * factors[newest]}[lead]
        x = np.concatenate([*older, *recent, seasons], 1)
        kept = newest + lead < 90
        a, y = x[kept] - x[kept].mean(0), factors[newest[kept] + lead]
        gram = a.T @ a
        w = np.linalg.solve(gram + 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram)), a.T @ (y - y.mean(0)))
        expected = mean + std * (((x - x[kept].mean(0)) @ w + y.mean(0)) @ np.asarray(base.components))
        np.testing.assert_allclose(base(SAMPLES.history, lags=SAMPLES.lags).forecast[:, k], expected, rtol=1e-6)


def features_by_hand(model, history, lead, origin, destination, first):
    """The features of one pair in one window, by their definition."""
    mean, std = (np.asarray(a).reshape(ZONES, ZONES) for a in (model.base.mean, model.base.std))
    z = (np.asarray(history).reshape(-1, ZONES, ZONES) - mean) / std  # rows: lags 13, 6, 2, 1, 0
    own = std[origin, destination]
    multiple = {
        "origin": lambda u: own * (u[origin] @ std[origin]) / (std[origin] @ std[origin]),
        "destination": lambda u: own * (u[:, destination] @ std[:, destination]) / (std[:, destination] ** 2).sum(),
        "all": lambda u: own * (u * std).sum() / (std**2).sum(),
    }
    season = {1: z[:2].mean(0), 2: 0 * z[0]}[lead]
    found = [first, *z[:, origin, destination], *z[1:, destination, origin]]
    found += [multiple[kind](u) for kind in ("origin", "destination", "all") for u in z[1:]]
    return np.asarray([*found, season[origin, destination], *(multiple[k](season) for k in ("origin", "destination"))])


@pytest.mark.slow
def test_a_flow_regression_adds_what_the_pair_its_zones_and_the_way_back_have_seen(model):
    history = SAMPLES.history[40]
    forecast, base = model(history, lags=SAMPLES.lags), model.base
    for pair, (origin, destination) in {1: (0, 1), 5: (1, 2), 8: (2, 2)}.items():
        for k, lead in enumerate(LEADS):
            of_factors = np.asarray(forecast.info["factor_forecast"])[k, pair]
            np.testing.assert_allclose(of_factors, base(history, lags=SAMPLES.lags).forecast[k, pair], rtol=1e-9)
            first = (of_factors - base.mean[pair]) / base.std[pair]
            x = features_by_hand(model, history, lead, origin, destination, first)
            group = model.groups[pair]
            added = x @ model.weights[k, group] + model.bias[k, group]
            expected = max(0, base.mean[pair] + base.std[pair] * (first + added))
            np.testing.assert_allclose(forecast.forecast[k, pair], expected, rtol=1e-6)


@pytest.mark.slow
def test_the_correction_is_the_minimum_over_forecasts_of_other_blocks(model):
    """No other weights have a smaller penalised error on samples that the factor models have not seen."""
    blocks, rows = np.array_split(np.arange(76), 3), np.asarray(SAMPLES.rows)
    own = np.flatnonzero(np.asarray(model.groups) == 1)
    x, y, scale = [], [], np.asarray(model.base.std)
    for block in blocks:
        apart = (rows.max(1) < rows[block].min()) | (rows.min(1) > rows[block].max())
        without = fit_factor_regression(SAMPLES, **SETTINGS, sample_weights=apart.astype(float))
        forecasts = np.asarray(without(SAMPLES.history[block], lags=SAMPLES.lags).forecast[:, 0])
        for sample, forecast in zip(block, forecasts, strict=True):
            for pair in own:
                first = (forecast[pair] - model.base.mean[pair]) / scale[pair]
                history = np.asarray(SAMPLES.history[sample])
                x.append(scale[pair] * np.r_[features_by_hand(model, history, 1, *divmod(pair, ZONES), first), 1])
                target = (SAMPLES.targets[sample, 0, pair] - model.base.mean[pair]) / scale[pair]
                y.append(scale[pair] * (target - first))
    x, y = np.asarray(x), np.asarray(y)
    weights = np.r_[np.asarray(model.weights[0, 1]), np.asarray(model.bias[0, 1])]
    count = x[:, -1] @ x[:, -1]
    middle = (x.T @ x[:, -1]) / count
    spread = np.sqrt(np.maximum((x**2).sum(0) / count - middle**2, 0))[:-1] + 1e-6
    penalty = 0.01 * ((x[:, :-1] - np.outer(x[:, -1], middle[:-1])) ** 2 / spread**2).sum() / len(spread)
    slope = x.T @ (x @ weights - y) + penalty * np.r_[spread**2 * weights[:-1], 0]
    np.testing.assert_allclose(slope, 0, atol=1e-6 * abs(x.T @ y).max())


@pytest.mark.slow
def test_permuted_zones_have_permuted_forecasts(model):
    order = np.asarray([2, 0, 1])
    pairs = (order[:, None] * ZONES + order).ravel()
    samples = series_windows(VALUES[:, pairs], lags=LAGS, leads=LEADS)
    permuted = fit_flow_regression(samples, **SETTINGS, num_groups=2, num_blocks=3)
    found, expected = (
        permuted(samples.history, lags=samples.lags).forecast,
        model(SAMPLES.history, lags=SAMPLES.lags).forecast[..., pairs],
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_consecutive_steps_and_rows_without_a_value_are_taken(model):
    whole = model(VALUES[:60]).forecast
    np.testing.assert_allclose(whole, model(VALUES[59 - np.asarray(LAGS[::-1])], lags=SAMPLES.lags).forecast)
    padded = jnp.concatenate([jnp.full((1, 9), np.nan), VALUES[47:60]])
    gone = jnp.where(jnp.arange(60)[:, None] == 46, np.nan, VALUES[:60])
    np.testing.assert_allclose(model(padded).forecast, model(gone).forecast)
    assert np.isfinite(model(padded).forecast).all()


@pytest.mark.slow
def test_windows_that_begin_before_the_table_are_learned_from():
    early = series_windows(jnp.concatenate([jnp.full((13, 9), jnp.nan), VALUES]), lags=LAGS, leads=LEADS)
    fitted = fit_flow_regression(early, **SETTINGS, num_groups=2, num_blocks=3)
    assert np.isfinite(fitted(VALUES).forecast).all()


@pytest.mark.slow
def test_a_saved_flow_regression_forecasts_the_same_bits(model, tmp_path):
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(
        loaded(SAMPLES.history, lags=SAMPLES.lags).forecast, model(SAMPLES.history, lags=SAMPLES.lags).forecast
    )
    assert jax.tree.structure(loaded) == jax.tree.structure(model)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one pair has most", "one is unknown", "one zone"])
def test_few_or_unequal_pairs_have_fewer_groups_and_finite_weights(kind, tmp_path):
    values = np.array(VALUES)
    if kind == "one pair has most":
        values[:, 0] *= 1000
    elif kind == "one is unknown":
        values[:, :8] = np.nan
    else:
        values = values[:, :1]
    samples = series_windows(jnp.asarray(values), lags=LAGS, leads=LEADS)
    model = fit_flow_regression(samples, **SETTINGS, num_groups=9, num_blocks=3)
    assert model.weights.shape[1] == len(np.unique(model.groups))
    assert np.isfinite(model(samples.history, lags=samples.lags).forecast).all()
    jaxcast.save_model(tmp_path / "model", model)
    assert jaxcast.load_model(tmp_path / "model").pool.groups.shape == model.groups.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leads": (1,)}, "expected the 2 leads of the samples"),
        ({"num_factors": 0}, "num_factors must be at least 1, got 0"),
        ({"penalty": -1.0}, "penalty must be zero or more, and finite, got -1.0"),
        ({"num_groups": 0}, "num_groups must be at least 1, got 0"),
        ({"num_blocks": 1}, "num_blocks must be at least 2, got 1"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(jaxcast.InputError, match=message):
        fit_flow_regression(SAMPLES, **{**SETTINGS, **changes})


def test_bad_samples_are_refused(model):
    with pytest.raises(jaxcast.InputError, match="got 8 regions, which is not a square number"):
        fit_flow_regression(jax.tree.map(lambda a: a[..., :8], SAMPLES), **SETTINGS)
    with pytest.raises(jaxcast.InputError, match="without a feature axis"):
        fit_factor_regression(series_windows(VALUES[..., None], lags=LAGS, leads=LEADS), **SETTINGS)
    with pytest.raises(jaxcast.InputError, match="nothing is known"):
        fit_factor_regression(SAMPLES._replace(weights=0 * SAMPLES.weights), **SETTINGS)
    with pytest.raises(jaxcast.InputError, match="14 consecutive steps or more, got 4"):
        model(VALUES[:4])
    with pytest.raises(jaxcast.InputError, match="groups must be from 0 to 1"):
        dataclasses.replace(model, groups=model.groups + jnp.int32(1)).check()
