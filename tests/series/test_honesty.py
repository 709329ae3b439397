"""Forecasters of series learn from nothing that has no weight and nothing that comes later."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.rollout import Output
from jaxcast.series.calibration import shifted
from jaxcast.series.fit import search
from jaxcast.series.methods import fit_method
from jaxcast.series.problem import part_until, series_problem, with_targets, within

NAN = np.nan
LEVELS = (0.1, 0.5, 0.9)
FIRST, SECOND, LENGTH = 48, 64, 80


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(size=(LENGTH, 3)), 0) * [1, 5, 20] + [3, 50, 400]


@pytest.fixture(scope="module")
def samples(values):
    gaps = np.array(values)
    gaps[20:23, 1] = NAN
    return jaxcast.series.series_windows(gaps, history_size=5, leads=(1, 3))


def garbled(samples):
    """The same samples with other numbers where a weight is 0."""
    assert (np.asarray(samples.weights) == 0).any()
    return samples._replace(targets=jnp.where(samples.weights > 0, samples.targets, -7777.0))


def network(samples, levels):
    return jaxcast.series.GlobalNetwork(
        samples, hidden_size=3, kind="gru", levels=levels, key=jax.random.key(0), dtype=jnp.float64
    )


@pytest.mark.slow
@pytest.mark.parametrize("levels", [(), LEVELS])
def test_the_loss_is_the_mean_over_what_has_a_weight(samples, levels):
    """And its gradient does not see what has none."""
    model = network(samples, levels)
    output = model(samples.history)
    weights, std = np.asarray(samples.weights), np.asarray(model.std[...])
    off = (np.asarray(samples.targets) - output.forecast) / std
    errors = off**2
    if levels:
        off = (np.asarray(samples.targets)[..., None] - output.info["quantiles"]) / std[:, None]
        errors = np.maximum(np.asarray(levels) * off, (np.asarray(levels) - 1) * off).mean(-1)
    run = jax.jit(jax.value_and_grad(jaxcast.series.WindowLoss(), allow_int=True))
    loss, gradient = run(model, samples)
    assert loss == pytest.approx(np.asarray(errors)[weights > 0].mean(), rel=1e-12)
    other, other_gradient = run(model, garbled(samples))
    assert other == loss
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(other_gradient), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("each_region", [False, True])
def test_fits_and_scores_do_not_see_targets_without_weight(samples, each_region):
    found = []
    for some in (samples, garbled(samples)):
        inputs = jaxcast.series.lag_inputs(some, lags=(0, 2))
        model = jaxcast.series.fit_lag_regression(
            some, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-3, each_region=each_region
        )
        forecast = model(some.history).forecast
        shifts = jaxcast.series.conformal_shifts(forecast[..., None], some, levels=LEVELS, std=np.ones(3))
        found.append((model.weights, model.bias, *jaxcast.series.errors_by_lead(forecast, some), shifts))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_training_does_not_see_targets_without_weight(samples):
    def losses(some):
        return jaxcast.fit(
            some, init=lambda key: network(some, ()), keys=jax.random.key(0)[None], optimizer=jaxcast.training.make_optimizer(1e-2),
            num_epochs=3, batch_size=8, loss=jaxcast.series.WindowLoss(),
        ).losses  # fmt: skip

    np.testing.assert_array_equal(losses(samples), losses(garbled(samples)))


def problem_of(values, extra):
    """A problem with a covariate up to now and one known in advance."""
    dates = np.datetime64("2021-01-03") + 7 * np.arange(LENGTH)
    past, future = (np.repeat(column[:, None, None], values.shape[1], 1) for column in extra.T)
    table = jaxcast.series.series_table(values, dates, past_covariates=past, future_covariates=future)
    return series_problem(table, leads=(1, 2), history_size=3, season=5, levels=LEVELS)


@pytest.mark.slow
@pytest.mark.parametrize("end", [FIRST, SECOND])
@pytest.mark.parametrize(
    "method", ["ridge", "seasonal_last_value", pytest.param("kernel_ridge", marks=pytest.mark.slow)]
)
def test_what_comes_after_a_part_changes_nothing_learned_from_it(values, method, end):
    """Values, covariates and what is known ahead are others from the end of the part on, by orders of magnitude.

    The sample of the part's last target knows ahead of one date more, that of its second lead.
    """
    rng = np.random.default_rng(1)
    extra = rng.normal(size=(LENGTH, 2)) + 5
    later = np.arange(LENGTH)[:, None] >= end
    later_extra = np.arange(LENGTH)[:, None] >= [end, end + 1]
    one, other = (
        problem_of(np.where(later, a * values, values), np.where(later_extra, a * extra, extra)) for a in (1, 1000)
    )
    found = []
    for problem in (one, other):
        part = part_until(problem, end)
        learned = fit_method(method, problem, part, None, 1)
        rows = np.asarray(problem.windows.rows).max(1) < end
        found.append(
            (part.covariates_mean, part.covariates_std, *(learned.base(k)[rows] for k in range(len(learned.names))))
        )
        assert rows.sum() > 20
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.slow
def test_what_comes_last_changes_no_choice_and_no_score_before(values):
    """The validation part chooses; the test part scores, by quantiles of the validation part."""
    rng = np.random.default_rng(1)
    extra = rng.normal(size=(LENGTH, 2)) + 5
    later = np.arange(LENGTH)[:, None] >= SECOND
    later_extra = np.arange(LENGTH)[:, None] >= [SECOND, SECOND + 1]
    methods = ("last_value", "ridge")
    rows = []
    for a in (1, 3):
        changed = problem_of(np.where(later, a * values, values), np.where(later_extra, -a * extra, extra))
        rows.append({row.method: row for row in search(methods, changed).scores})
        assert list(rows[-1]) == list(rows[0])
    for method in methods:
        one, other = (each[method] for each in rows)
        assert one.setting == other.setting
        for name in ("validation_mae", "width_power"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9)
        assert one.test.mae != pytest.approx(other.test.mae, rel=1e-3)


def test_of_nine_errors_the_kth_is_that_of_k_tenths(values):
    """k / (n + 1), exactly; and each region's errors count in its own size."""
    samples = jaxcast.series.series_windows(np.zeros((10, 1)), history_size=1, leads=(1,))
    errors = np.asarray([5.0, -3, 8, 1, -9, 2, 13, -1, 4])
    levels = tuple(k / 10 for k in range(1, 10))
    some = samples._replace(targets=jnp.asarray(errors)[:, None, None])
    shifts = jaxcast.series.conformal_shifts(np.zeros((9, 1, 1, 1)), some, levels=levels, std=np.ones(1))
    np.testing.assert_allclose(shifts[0, 0], np.sort(errors), rtol=1e-12)
    two = jax.tree.map(lambda a: jnp.repeat(a, 2, -1), some._replace(rows=some.rows[..., None]))._replace(
        rows=some.rows
    )
    two = two._replace(targets=two.targets * jnp.asarray([1.0, 100.0]))
    wide = jaxcast.series.conformal_shifts(np.zeros((9, 1, 2, 1)), two, levels=levels, std=np.asarray([1.0, 100.0]))
    np.testing.assert_allclose(wide[0, 1], 100 * wide[0, 0], rtol=1e-12)


class Skewed(jaxcast.series.WindowForecaster, jaxcast.FrozenPytree):
    """A skewed forecast of one step: its quantiles are unequally far apart."""

    levels = (0.1, 0.3, 0.5, 0.9)
    quantiles = (-40.0, 0.0, 1.0, 10.0)
    lower: float | None = jaxcast.static(default=None)

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(1, levels=self.levels, lower=self.lower)

    def __call__(self, history, covariates=None):
        levels = jnp.broadcast_to(jnp.asarray(self.quantiles), (1, history.shape[-1], 4))
        return Output(levels[..., 2], {"quantiles": levels})


@pytest.mark.slow
@pytest.mark.parametrize("lower", [None, -35.0])
def test_a_draw_lies_between_its_own_two_quantiles(lower):
    """By the normal distribution through them, and beyond the outermost that of the outermost two."""
    cell = jaxcast.series.WindowCell(Skewed(lower), 2)
    output = Output(jnp.ones(2000), {"quantiles": jnp.broadcast_to(jnp.asarray(Skewed.quantiles), (2000, 4))})
    key = jax.random.key(3)
    draws = np.asarray(cell.feedback(output, key))
    normal = np.asarray(jax.random.normal(key, (2000,), draws.dtype))
    scores = np.asarray(jax.scipy.special.ndtri(jnp.asarray(Skewed.levels)))
    slopes = np.diff(Skewed.quantiles) / np.diff(scores)
    expected = np.interp(normal, scores, Skewed.quantiles)
    expected = np.where(normal < scores[0], -40 + slopes[0] * (normal - scores[0]), expected)
    expected = np.where(normal > scores[-1], 10 + slopes[-1] * (normal - scores[-1]), expected)
    expected = expected if lower is None else np.maximum(expected, lower)
    np.testing.assert_allclose(draws, expected, rtol=1e-9, atol=1e-9)
    assert (normal < scores[0]).any()
    assert (normal > scores[-1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("centred", [False, True])
def test_a_series_unknown_in_the_whole_window_is_its_mean(samples, centred):
    inputs = jaxcast.series.lag_inputs(
        samples, lags=(0, 2), neighbour_weights=jaxcast.series.neighbour_weights(3, everyone=True), centred=centred
    )
    regression = jaxcast.series.fit_lag_regression(
        samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-2, predict_change=True
    )
    mean = np.nanmean(np.asarray(samples.history).reshape(-1, 3), 0)
    assert (np.abs(mean) > 1).all()
    unknown = samples.history[40].at[:, 1].set(NAN)
    known = samples.history[40].at[:, 1].set(mean[1])
    np.testing.assert_allclose(regression(unknown).forecast, regression(known).forecast, rtol=1e-9)
    model = network(samples, ())
    flags = jnp.ones((5, 3)).at[:, 1].set(0.0)
    z = (known - model.mean[...]) / model.std[...]
    states, _ = model.encode(jnp.stack([z, flags], -1), None)
    expected = model.mean[...] + model.std[...] * (z[-1] + model.read_out(states).T)
    np.testing.assert_allclose(model(unknown).forecast, expected, rtol=1e-9)


@pytest.mark.slow
def test_windows_in_which_a_series_is_unknown_are_not_learned_from(values):
    gaps = np.array(values)
    gaps[30:36, 1] = NAN
    problem = problem_of(gaps, np.ones((LENGTH, 2)) + np.arange(LENGTH)[:, None])
    history, weights = (np.asarray(a) for a in (problem.windows.history, problem.windows.weights))
    unknown = ~np.isfinite(history).any(1)
    assert (weights.transpose(0, 2, 1)[unknown] == 0).all()
    part = within(problem.windows, FIRST, SECOND)
    rows, counted = np.asarray(part.rows), np.asarray(part.weights).any(-1)
    assert ((rows >= FIRST) & (rows < SECOND))[counted].all()
    assert len(with_targets(part).rows) == counted.any(1).sum()


def test_shifted_quantiles_rise_and_stay_above_the_bound():
    base = np.zeros((1, 1, 2, 1))
    shifts = jnp.asarray([[[3.0, -1.0, 2.0], [1.0, 2.0, 3.0]]])
    np.testing.assert_array_equal(shifted(base, shifts, jnp.asarray([[2.0, 1.0]]), 0.0)[0, 0], [[0, 4, 6], [1, 2, 3]])
