import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.series import DirectNetwork, PanelWindows, fit_panel_network, panel_windows, series_panel
from jaxcast.series.panel_models.held_out import held_out_windows, training_scale, weighted
from jaxcast.series.panel_models.learning import PanelLoss
from jaxcast.series.panel_models.recalibration import moved_paths, recalibrated, spread_of, spread_shifts

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
NUM_LEADS, HISTORY = 3, 6


class Line(DirectNetwork, name="line_of_a_panel"):
    """Linear in all that a network sees."""

    def __init__(self, sizes, *, key, **options):
        super().__init__(sizes, key=key, **options)
        size = sizes.history_size * (1 + sizes.num_past) + self.static_size
        size += (sizes.history_size + sizes.num_leads) * sizes.num_known
        shape = (size, sizes.num_leads * self.head.num_parameters)
        self.kernel = nnx.Param(0.01 * jax.random.normal(key, shape, self.dtype))

    def raw_outputs(self, inputs, key):
        batch = inputs.values.shape[:-1]
        parts = (inputs.values, inputs.past, inputs.known, inputs.static, inputs.embedded)
        raw = jnp.concatenate([a.reshape(*batch, -1) for a in parts], -1) @ self.kernel[...]
        return raw.reshape(*batch, self.sizes.num_leads, -1), {"seen": inputs.is_known}

    @property
    def own_config(self):
        return {}


def gaussian_line(sizes, *, key):
    return Line(sizes, head="normal", levels=LEVELS, key=key)


def count_line(sizes, *, key):
    return Line(sizes, head="poisson", levels=(0.1, 0.5, 0.9), key=key)


def random_values(number, length, seed):
    """A walk around a level, whose noise grows with the level."""
    rng = np.random.default_rng((seed, number))
    level = np.exp(rng.normal())
    return level * (10 + np.cumsum(rng.standard_t(4, length) * 0.3))


def random_panel(num=120, seed=0, first=0, ahead=NUM_LEADS):
    numbers = range(first, first + num)
    lengths = [30 + number % 40 for number in numbers]
    rng = np.random.default_rng(seed)
    return series_panel(
        [random_values(number, length, seed) for number, length in zip(numbers, lengths, strict=True)],
        names=[f"series {number}" for number in numbers],
        past_covariates=[5 + rng.normal(size=(length, 1)) for length in lengths],
        future_covariates=[rng.normal(size=(length + ahead, 1)) for length in lengths],
        static_covariates=100 + rng.normal(size=(num, 1)),
        categories={"kind": ["ab"[number % 2] if number < 400 else "new" for number in numbers]},
    )


OPTIONS = {"num_epochs": 4, "num_batches": 4, "seasons": [5], "embed_series": True, "seeds": (0, 7)}


def fit(panel, init=gaussian_line, **options):
    own = {"num_leads": NUM_LEADS, "history_size": HISTORY, "num_epochs": 1, "num_batches": 1}
    return fit_panel_network(panel, init=init, **own | options)


@pytest.fixture(scope="module")
def fitted():
    return fit(random_panel(), **OPTIONS)


@pytest.mark.slow
def test_every_seed_is_trained_and_the_best_is_taken(fitted):
    assert len(fitted.models) == 2
    assert fitted.losses.shape == fitted.validation_losses.shape == (2, 4)
    assert (fitted.validation_losses[:, -1] < fitted.validation_losses[:, 0]).all()
    assert fitted.model is fitted.models[int(np.argmin(fitted.validation_losses.min(1)))]
    model = fitted.model
    assert model.category_names == ("series", "kind")
    assert model.time_features == ("season_5", "age")
    assert model.sizes.cardinalities == (120, 2)


def test_intervals_cover_what_they_promise_on_series_that_were_not_seen(fitted):
    new = random_panel(num=500, first=200)
    forecast = fitted.model.forecast(new, newest=new.newest - NUM_LEADS)
    truth = panel_windows(new, history_size=1, num_leads=NUM_LEADS, newest=new.newest - NUM_LEADS).targets
    for low, high, nominal in ((0, 6, 0.95), (1, 5, 0.8), (2, 4, 0.5)):
        inside = (truth >= forecast.quantiles[..., low]) & (truth <= forecast.quantiles[..., high])
        assert abs(inside.mean() - nominal) < 0.05
    plain = dataclasses.replace(fitted.model, shifts=0 * fitted.model.shifts)
    inside = truth <= plain.forecast(new, newest=new.newest - NUM_LEADS).quantiles[..., 6]
    assert abs(inside.mean() - 0.975) > 0.01  # a network that has learned so little is not calibrated by itself


def test_a_series_alone_is_forecast_as_among_others_and_later_values_change_nothing(fitted):
    panel = random_panel(num=11, first=390)
    whole = fitted.model.forecast(panel, newest=panel.newest - 4)
    in_parts = fitted.model.forecast(panel, newest=panel.newest - 4, batch_size=4)
    one = fitted.model.forecast(panel.without_last(4).select([8]))
    np.testing.assert_allclose(in_parts.quantiles, whole.quantiles, rtol=1e-5)
    np.testing.assert_allclose(one.quantiles, whole.quantiles[8:9], rtol=1e-5)
    assert (np.diff(whole.quantiles, axis=-1) >= 0).all()
    np.testing.assert_array_equal(whole.forecast, whole.quantiles[..., 3])
    np.testing.assert_array_equal(one.dates[0], panel.newest[8] - 4 + np.arange(1, 4))


def test_what_was_not_seen_in_training_is_number_0(fitted):
    panel = random_panel(num=4, first=118)  # the first two were learned from
    arranged = fitted.model.arranged(panel)
    seen = [fitted.model.category_values[0].index(f"series {number}") + 1 for number in (118, 119)]
    assert arranged.categories.tolist() == [[seen[0], 1], [seen[1], 2], [0, 1], [0, 2]]
    other = random_panel(num=2, first=400)
    assert fitted.model.arranged(other).categories.tolist() == [[0, 0], [0, 0]]
    assert np.isfinite(fitted.model.forecast(other).quantiles).all()


def test_a_series_shorter_than_the_history_is_forecast(fitted):
    panel = random_panel(num=2, first=500).select([1])
    short = panel._replace(lengths=np.asarray([1]))
    forecast = fitted.model.forecast(short, with_info=True)
    assert forecast.info["seen"].tolist() == [[0] * (HISTORY - 1) + [1]]
    assert np.isfinite(forecast.quantiles).all()


def test_a_saved_model_forecasts_the_same_bits(fitted, tmp_path):
    panel = random_panel(num=3, first=600)
    jaxcast.save_model(tmp_path / "model", fitted.model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(loaded.forecast(panel).quantiles, fitted.model.forecast(panel).quantiles)


def test_forecasts_have_the_dates_that_follow_the_newest_value_of_each_series():
    hours = np.arange("2024-01-01T00", "2024-01-02T00", dtype="datetime64[h]")
    panel = series_panel([np.ones(24), np.ones(5)], dates=[hours, hours[10:15]])
    network = Line(jaxcast.series.PanelSizes(4, 2, num_known=1), key=jax.random.key(0))
    model = jaxcast.series.PanelModel(
        network, jnp.zeros((2, 11)), jnp.zeros(0), jnp.ones(0), time_features=("hour_of_day",), step="1 hour"
    )
    dates = model.forecast(panel).dates.astype("datetime64[h]")
    np.testing.assert_array_equal(dates, hours[[23, 14]][:, None] + np.arange(1, 3))
    with pytest.raises(jaxcast.InputError, match="the panel has no dates, the model learned from a date every 1 hour"):
        model.forecast(series_panel([np.ones(5)]))
    with pytest.raises(jaxcast.InputError, match="expected newest as a list of whole numbers"):
        model.forecast(panel, newest=[2.5, 3.0])


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_bits(fitted, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(done, losses):
        if done == 2:
            raise Interrupted

    options = OPTIONS | {"checkpoint": tmp_path / "training"}
    with pytest.raises(Interrupted):
        fit(random_panel(), **options, on_progress=interrupt)
    again = fit(random_panel(), **options)
    for first, second in zip(jax.tree.leaves(fitted.models), jax.tree.leaves(again.models), strict=True):
        np.testing.assert_array_equal(first, second)


def test_training_continues_with_newer_values(fitted):
    again = fit_panel_network(
        random_panel(seed=3),
        init=fitted.model,
        num_leads=NUM_LEADS,
        history_size=HISTORY,
        num_epochs=4,
        num_batches=4,
        seeds=(0, 7),
    )
    assert again.model.category_values == fitted.model.category_values
    np.testing.assert_array_equal(again.model.covariates_mean, fitted.model.covariates_mean)
    moved = np.abs(again.model.network.kernel[...] - fitted.model.network.kernel[...]).max()
    assert 0 < moved < 0.03  # at most 16 steps of Adam


@pytest.mark.slow
def test_a_refit_learns_from_what_was_held_out_and_keeps_the_calibration(fitted):
    again = fit(random_panel(), **OPTIONS, refit=True)
    for first, second in zip(fitted.models, again.models, strict=True):
        np.testing.assert_array_equal(first.shifts, second.shifts)
        assert (first.network.kernel[...] != second.network.kernel[...]).any()


@jax.jit
def loss_of(network, windows):
    return PanelLoss(7)(network, windows)


@pytest.mark.slow
def test_the_loss_in_parts_is_that_of_all_windows_by_their_weights(fitted):
    model = fitted.model
    panel = model.arranged(random_panel(num=7, first=300))
    windows = model.windows(panel, np.arange(7), panel.newest - np.arange(7) % 4)
    assert 0 < windows.weights.mean() < 1
    whole = loss_of(model.network, windows)
    parts = jax.jit(PanelLoss(3))(model.network, windows)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    scales = np.arange(1.0, 8.0)
    by_scale = loss_of(model.network, weighted(windows, scales))
    single = [
        loss_of(model.network, windows._replace(weights=windows.weights * (np.arange(7) == k)[:, None]))
        for k in range(7)
    ]
    counts = windows.weights.sum(1)
    np.testing.assert_allclose(by_scale, np.average(single, weights=scales * counts), rtol=1e-5)


def test_shifts_are_the_quantiles_of_errors_over_spreads():
    rng = np.random.default_rng(0)
    history = rng.normal(size=(400, 2)) + 9
    targets = rng.normal(size=(400, 2)) * [1.0, 3.0]
    quantiles = np.sort(rng.normal(size=(400, 2, 3)))
    windows = PanelWindows.plain(history, np.where(rng.random((400, 2)) < 0.2, np.nan, targets))
    shifts = spread_shifts(quantiles, windows, (0.1, 0.5, 0.9))
    spread = quantiles[..., 2] - quantiles[..., 0]
    for lead in range(2):
        known = windows.weights[:, lead] > 0
        for k, level in enumerate((0.1, 0.5, 0.9)):
            errors = (targets[:, lead] - quantiles[:, lead, k]) / spread[:, lead]
            np.testing.assert_allclose(shifts[lead, k], np.quantile(errors[known], level, method="weibull"), rtol=1e-6)
    moved = recalibrated(quantiles, history, shifts, None)
    share = [(targets[:, lead, None] <= moved[:, lead])[windows.weights[:, lead] > 0].mean(0) for lead in range(2)]
    np.testing.assert_allclose(share, [[0.1, 0.5, 0.9]] * 2, atol=0.02)
    few = jax.tree.map(lambda a: a[:60], windows)
    known = few.weights > 0
    assert 40 <= known.sum() < 200
    errors = ((targets[:60] - quantiles[:60, :, 2]) / spread[:60])[known]  # of both leads
    shared = spread_shifts(quantiles[:60], few, (0.1, 0.5, 0.9))
    np.testing.assert_array_equal(shared[0], shared[1])
    np.testing.assert_allclose(shared[0, 2], np.quantile(errors, 0.9, method="weibull"), rtol=1e-6)
    fewer = few._replace(weights=np.where(np.cumsum(known).reshape(known.shape) <= 39, few.weights, 0))
    np.testing.assert_array_equal(spread_shifts(quantiles[:60], fewer, (0.1, 0.5, 0.9)), 0)
    assert (spread_of(np.zeros((400, 2, 3)), history) > 0).all()


def test_paths_are_moved_to_the_quantiles_that_are_recalibrated():
    rng = np.random.default_rng(0)
    paths = rng.normal(size=(4000, 2, 3))
    before = np.quantile(paths, LEVELS, axis=0).transpose(1, 2, 0)
    after = 3 + 2 * before
    moved = np.asarray(moved_paths(paths, before, after))
    np.testing.assert_allclose(np.quantile(moved, LEVELS, axis=0).transpose(1, 2, 0), after, atol=0.02)
    assert (np.argsort(moved, 0) == np.argsort(paths, 0)).all()


def test_the_scale_of_covariates_is_that_of_the_training_rows():
    panel = random_panel(num=9)
    train, (series, newest) = held_out_windows(panel, NUM_LEADS, 2)
    mean, std = training_scale(panel, train.lengths)
    rows = np.concatenate([np.arange(o, o + n - 6) for o, n in zip(panel.offsets, panel.lengths, strict=True)])
    columns = [panel.past_covariates[rows, 0], panel.future_covariates[rows, 0], panel.static_covariates[:, 0]]
    np.testing.assert_allclose(mean, [one.mean() for one in columns])
    np.testing.assert_allclose(std, [one.std() for one in columns])
    assert [*zip(series[:2], newest[:2] - panel.lengths[0] + 1, strict=True)] == [(0, -6), (0, -3)]
    assert len(series) == 18


def without(panel, **changed):
    return panel._replace(covariates=panel.covariates._replace(**changed))


BAD = {
    "fractions": (
        lambda model: fit(series_panel([np.arange(20.0), np.arange(20) / 2]), count_line),
        "expected counts in series '2', whole numbers from 0 on, got 0.5",
    ),
    "too short": (lambda model: fit(series_panel([np.ones(3)])), "too short to hold out 3 values"),
    "seeds": (lambda model: fit(random_panel(), seeds=(1, 1)), "different ones, got"),
    "not known ahead": (
        lambda model: model.forecast(random_panel(num=2, ahead=1)),
        "the covariate 'future 1' has no value on 31 for series 'series 0', which the forecast needs",
    ),
    "no value": (
        lambda model: model.forecast(random_panel(num=2).without_last(40)),
        "series 'series 0' of the panel has no value in the 6 steps",
    ),
    "other covariates": (
        lambda model: model.forecast(without(random_panel(num=2), past_covariates=("rain",))),
        r"the panel has the past_covariates \('rain',\), expected \('past 1',\)",
    ),
    "no category": (
        lambda model: model.forecast(random_panel(num=2)._replace(category_names=("colour",))),
        "the panel has no category 'kind'",
    ),
    "dates": (
        lambda model: fit(series_panel([np.ones(9)] * 3), time_features=["hour_of_day"]),
        "needs dates, which the panel has not",
    ),
    "other sizes": (lambda model: fit(random_panel(), init=model, num_leads=2), "got 6 and 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(fitted, case):
    call, message = BAD[case]
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call(fitted.model)
    assert "\n" not in str(error.value)
