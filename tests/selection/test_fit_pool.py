"""`fit_pool`: takes the method with the longest valid times on held-out windows, and says what it compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wilcoxon

import jaxcast
from jaxcast.scores.valid_times import usual_threshold
from jaxcast.selection.comparison import Comparison
from jaxcast.selection.filters import fit_filter
from jaxcast.selection.kept import KeptTrials
from jaxcast.selection.methods import METHODS, Method, PoolData
from jaxcast.selection.trials import BestSetting, Times, time_of_last_value, trial_of, valid_times
from jaxcast.windows import late_windows

CHEAP = ("persistence", "equal_weights", "best_single", "ridge")
SIZES = {"history_size": 4, "num_leads": 20, "num_windows": 20}
CANDIDATES = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 28.0, 34.0)]), h=0.02)


def trajectory_of(rho, num_samples=300):
    return jaxcast.simulate(
        jaxcast.Lorenz63(rho=rho), [1.0, 1.0, 20.0], num_samples=num_samples, h=0.02, transient=10.0
    )


@pytest.mark.slow
def test_a_candidate_that_is_the_truth_is_chosen_and_what_follows_is_not_tried():
    choice = jaxcast.fit_pool(trajectory_of(28.0), CANDIDATES, methods=CHEAP, **SIZES)
    assert choice.method == "best_single"
    assert choice.setting == {"candidate": 1}
    first, *others = choice.trials
    assert first.median == pytest.approx(2.0)
    assert first.difference == 0
    assert [trial.method for trial in others if trial.reason] == ["ridge"]
    assert all("best_single has next to no error to the end" in trial.reason for trial in others if trial.reason)
    text = str(choice)
    assert text.startswith("chosen: best_single (candidate 1); valid times on")
    assert all(name in text for name in CHEAP)


@pytest.mark.slow
def test_the_best_of_a_trial_is_refitted_to_everything():
    truth = trajectory_of(30.5)
    choice = jaxcast.fit_pool(truth, CANDIDATES, methods=("equal_weights", "ridge"), **SIZES)
    assert choice.method == "ridge"
    samples = jaxcast.one_step_samples(truth, 1, CANDIDATES)
    penalty = choice.setting["penalty"] * samples.targets.var() * len(samples.targets)
    pool = jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=penalty)
    expected = jaxcast.forecast(jaxcast.Forecaster(pool, CANDIDATES), truth.states[:4], 5)
    found = jaxcast.forecast(choice.cell, truth.states[:4], 5)
    np.testing.assert_allclose(found.forecast, expected.forecast, rtol=1e-6)
    assert choice.trials[0].mean > choice.trials[1].mean
    assert choice.window == pytest.approx(2.0)


@pytest.mark.slow
def test_windows_that_decide_begin_after_all_that_was_fitted():
    truth = jaxcast.Trajectory(jnp.arange(100.0), jnp.arange(100.0)[:, None])
    windows = late_windows(truth, 75, history_size=10, num_leads=5, num_windows=8)
    assert windows.truth.min() == 75
    assert windows.truth.max() == 99
    np.testing.assert_array_equal(windows.history[..., -1, 0] + 1, windows.truth[:, 0, 0])
    with pytest.raises(jaxcast.InputError, match="expected at least 30 samples after the first 75"):
        late_windows(truth, 75, history_size=10, num_leads=30, num_windows=8)
    with pytest.raises(jaxcast.InputError, match="history_size must be at most 95"):
        late_windows(truth, 75, history_size=1000, num_leads=5, num_windows=8)
    assert len(late_windows(truth, 75, history_size=10, num_leads=5, num_windows=10**12).truth) == 21


def test_a_trial_is_the_paired_test_of_scipy():
    rng = np.random.default_rng(0)
    own, best = (Times(rng.uniform(1, 3, 40) + shift, np.zeros(40, bool), 1.0) for shift in (0.0, 0.4))
    trial = trial_of("nvar", BestSetting({}, own, 1.0), best)
    assert trial.p == pytest.approx(wilcoxon(own.times, best.times, method="approx").pvalue, rel=1e-6)
    assert trial.difference == pytest.approx(np.median(own.times) - np.median(best.times))
    assert best.rank > own.rank
    assert Times(own.times, own.censored, 0.5).rank > own.rank


def test_a_trial_tests_no_more_windows_than_sixty():
    rng = np.random.default_rng(0)
    own, best = (Times(rng.uniform(1, 3, 200) + shift, np.zeros(200, bool), 1.0) for shift in (0.0, 0.4))
    trial = trial_of("nvar", BestSetting({}, own, 1.0), best)
    evenly = [round(k * 199 / 59) for k in range(60)]
    tested = wilcoxon(own.times[evenly], best.times[evenly], method="approx").pvalue
    assert trial.p == pytest.approx(tested, rel=1e-6)
    assert trial.difference == pytest.approx(np.median(own.times) - np.median(best.times))
    assert trial.mean == pytest.approx(own.times.mean())


@pytest.mark.slow
def test_valid_times_of_persistence_are_those_of_the_definition():
    states = jnp.asarray(np.random.default_rng(1).normal(size=(60, 2)))
    truth = jaxcast.Trajectory(jnp.arange(60.0), states)
    windows = late_windows(truth, 30, history_size=2, num_leads=6, num_windows=10)
    times = valid_times(jaxcast.Forecaster(jaxcast.pooling.Persistence()), windows, dt=0.5, threshold=1.5)
    errors = ((np.asarray(windows.history[:, -1:]) - np.asarray(windows.truth)) ** 2).mean(-1)
    expected = [0.5 * next((k for k, error in enumerate(row) if error >= 1.5), 6) for row in errors]
    np.testing.assert_allclose(times.times, expected)
    np.testing.assert_array_equal(times.censored, (errors < 1.5).all(1))
    lost = np.mean(errors / (errors + 1.5))
    assert times.error == pytest.approx(lost)
    assert usual_threshold(states) == pytest.approx(0.175 * np.mean(2 * np.var(states, axis=0)))


@pytest.mark.slow
def test_candidates_may_be_a_function_of_the_value_alone():
    truth = trajectory_of(30.5, 120)
    own = [
        jaxcast.fit_pool(truth, candidates, methods=("equal_weights",), history_size=4, num_leads=5, num_windows=3)
        for candidates in (CANDIDATES, lambda value: CANDIDATES(value, 0.0))
    ]
    assert own[0].trials[0].mean == own[1].trials[0].mean
    value = truth.states[-1:]
    np.testing.assert_allclose(*(jaxcast.forecast(choice.cell, value, 3).forecast for choice in own), rtol=1e-9)


def test_a_record_may_have_gaps_in_the_part_that_chooses_alone():
    truth = trajectory_of(30.5, 120)
    sizes = dict(methods=("persistence", "equal_weights"), history_size=4, num_leads=5, num_windows=9)

    def own(value):
        return CANDIDATES(value, 0.0)

    gappy = truth._replace(states=truth.states.at[100:108].set(jnp.nan))
    choice = jaxcast.fit_pool(gappy, own, **sizes)
    assert choice.method == "equal_weights"
    assert choice.setting == {"gaps": "left out"}
    assert choice.num_windows == 8  # in one of nine nothing is known
    with pytest.raises(jaxcast.InputError, match="expected numbers in the last 30 samples"):
        jaxcast.fit_pool(truth._replace(states=truth.states.at[90:].set(jnp.nan)), own, **sizes)


@pytest.mark.slow
def test_methods_that_cannot_be_tried_say_why():
    truth = trajectory_of(30.5)
    choice = jaxcast.fit_pool(truth, methods=("ridge", "persistence"), **SIZES)
    assert choice.method == "persistence"
    assert next(trial.reason for trial in choice.trials if trial.method == "ridge") == "it needs candidates"
    choice = jaxcast.fit_pool(truth, CANDIDATES, methods=("equal_weights", "persistence", "ridge"), budget=0, **SIZES)
    assert [trial.reason for trial in choice.trials[1:]] == ["the budget of 0 s was spent"] * 2
    with pytest.raises(jaxcast.InputError, match="expected a method that can be tried, got none"):
        jaxcast.fit_pool(truth, methods=("ridge",))
    with pytest.raises(jaxcast.InputError, match="expected methods to try, got none"):
        jaxcast.fit_pool(truth, methods=())
    with pytest.raises(jaxcast.InputError, match="budget must be a finite number and at least 0"):
        jaxcast.fit_pool(truth, budget=-1)
    with pytest.raises(jaxcast.InputError, match="expected a trajectory that varies"):
        jaxcast.fit_pool(truth._replace(states=jnp.full_like(truth.states, 0.1)), methods=("persistence",), **SIZES)
    with pytest.raises(jaxcast.InputError, match="unknown method 'nvr'; did you mean nvar"):
        jaxcast.fit_pool(truth, methods=("nvr",))
    with pytest.raises(jaxcast.InputError, match="expected at least 48 samples, with 12 to try methods on, got 4"):
        jaxcast.fit_pool(jax.tree.map(lambda a: a[:4], truth))
    with pytest.raises(jaxcast.InputError, match="history_size must be at least 1"):
        jaxcast.fit_pool(truth, CANDIDATES, history_size=0)


@pytest.mark.slow
def test_a_setting_that_cannot_be_fitted_leaves_the_others(monkeypatch):
    def picky(data, *, most):
        if len(data.trajectory.states) > most:
            raise jaxcast.InputError("too large")
        return jaxcast.Forecaster(jaxcast.pooling.single_candidate(1, 3), CANDIDATES)

    settings = [{"most": 10}, {"most": 250}, {"most": 20}]  # 225 of the 300 samples are for fitting
    monkeypatch.setitem(METHODS, "picky", Method(picky, lambda data: settings))
    truth = trajectory_of(28.0)
    choice = jaxcast.fit_pool(truth, CANDIDATES, methods=("persistence", "equal_weights", "picky"), **SIZES)
    assert choice.method == "equal_weights"  # the best of those that can be fitted to everything
    assert choice.trials[0].difference == 0
    assert [trial.method for trial in choice.trials] == ["equal_weights", "persistence", "picky"]
    assert choice.trials[2].reason == "it cannot be fitted to the whole trajectory: too large"
    settings[1] = {"most": 300}
    choice = jaxcast.fit_pool(truth, CANDIDATES, methods=("persistence", "equal_weights", "picky"), **SIZES)
    assert (choice.method, choice.setting) == ("picky", {"most": 300})


@pytest.mark.slow
def test_the_choice_is_not_below_the_best_by_more_than_noise_on_later_windows():
    later = trajectory_of(jaxcast.Cosine(mean=30.0, amplitude=3.0, period=1.6), 720)
    train = jax.tree.map(lambda a: a[:300], later)
    rest = jax.tree.map(lambda a: a[300:], later)
    windows = jaxcast.cut_windows(rest, num_windows=20, num_leads=20, history_size=4)
    times = {}
    for methods in (CHEAP, *((name,) for name in CHEAP)):
        choice = jaxcast.fit_pool(train, CANDIDATES, methods=methods, **SIZES)
        own = valid_times(choice.cell, windows, dt=0.1, threshold=choice.threshold).times
        times["choice" if methods == CHEAP else choice.method] = own
    means = {name: own.mean() for name, own in times.items()}
    assert means["ridge"] > 2 * means["persistence"]  # so that there is something to choose
    for name in CHEAP:
        difference = times["choice"] - times[name]
        assert difference.mean() > -2 * difference.std() / np.sqrt(len(difference)) - 1e-9


@pytest.mark.slow
def test_on_noisy_data_the_best_is_chosen_and_can_be_saved(tmp_path):
    methods = (*CHEAP, "nvar", "corrected_interpolation", "attention")
    truth = trajectory_of(jaxcast.Cosine(mean=30.0, amplitude=3.0, period=1.6), 300)
    noise = 0.2 * jax.random.normal(jax.random.key(0), truth.states.shape)
    noisy = truth._replace(states=truth.states + noise)
    choice = jaxcast.fit_pool(noisy, CANDIDATES, methods=methods, num_leads=30, num_windows=12)
    tried = {trial.method: trial.mean for trial in choice.trials if not trial.reason}
    assert tried.keys() == set(methods)
    assert tried[choice.method] == max(tried.values())
    jaxcast.save_model(tmp_path / "model", choice.cell)
    again = jaxcast.load_model(tmp_path / "model").cell
    history, times = truth.states[:100], truth.times[:109]
    own, other = (jaxcast.forecast(cell, history, 10, times).forecast for cell in (choice.cell, again))
    np.testing.assert_array_equal(own, other)


@pytest.mark.slow
def test_windows_that_all_methods_last_are_judged_by_the_errors_in_them():
    """Of a finely sampled short record every method's windows stay valid, and the least error is chosen."""
    truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=200, dt=0.02, h=0.02, transient=10.0)
    models = [jaxcast.Lorenz63(rho=rho) for rho in (27.0, 28.2, 31.0)]
    candidates = jaxcast.flow_map(jaxcast.stack_systems(models), dt=0.02, h=0.02)
    choice = jaxcast.fit_pool(truth, candidates, methods=CHEAP, history_size=10, num_leads=10, num_windows=10)
    assert choice.method == "ridge"
    assert all(trial.median == pytest.approx(0.2) for trial in choice.trials if trial.method != "persistence")


def with_gaps(truth, share, seed=0):
    gaps = np.random.default_rng(seed).random(truth.states.shape) < share
    return truth._replace(states=jnp.where(gaps, jnp.nan, truth.states))


@pytest.mark.slow
def test_a_record_with_gaps_is_fitted_to_what_is_known_and_judged_where_it_is():
    truth = with_gaps(trajectory_of(30.5), 0.03)
    choice = jaxcast.fit_pool(truth, methods=("persistence", "nvar"), **SIZES)
    assert choice.method == "nvar"
    assert choice.setting["gaps"] == "left out"
    known = np.isfinite(truth.states)
    setting = {name: value for name, value in choice.setting.items() if name != "gaps"}
    cell = jaxcast.forecasters.fit_nvar(jnp.nan_to_num(truth.states), known=known, **setting)
    history = trajectory_of(30.5).states[:8]
    expected = jaxcast.forecast(cell, history, 5).forecast
    np.testing.assert_allclose(jaxcast.forecast(choice.cell, history, 5).forecast, expected, rtol=1e-9)
    ahead = jaxcast.forecast(choice.cell, history.at[4, 0].set(jnp.nan), 5).forecast
    np.testing.assert_allclose(ahead, expected, rtol=0.1)
    with pytest.raises(jaxcast.InputError, match="got infinity in 1 sample, first in 7 "):
        jaxcast.fit_pool(truth._replace(states=truth.states.at[7, 0].set(jnp.inf)))
    with pytest.raises(jaxcast.InputError, match="must hold numbers, got NaN in all of 300 samples"):
        jaxcast.fit_pool(truth._replace(states=jnp.full_like(truth.states, jnp.nan)))


def test_unknown_truth_is_not_judged():
    rng = np.random.default_rng(1)
    history, truth = jnp.asarray(rng.normal(size=(10, 2, 3))), jnp.asarray(rng.normal(size=(10, 6, 3)))
    windows = jaxcast.Windows(
        history, truth.at[:, 1].set(jnp.nan).at[:, :, 2].set(jnp.nan), jnp.tile(jnp.arange(8.0), (10, 1))
    )
    times = valid_times(jaxcast.Forecaster(jaxcast.pooling.Persistence()), windows, dt=0.5, threshold=1.5)
    errors = ((np.asarray(history[:, -1:, :2]) - np.asarray(truth[..., :2])) ** 2).mean(-1)
    errors[:, 1] = 0
    expected = [0.5 * next((k for k, error in enumerate(row) if error >= 1.5), 6) for row in errors]
    np.testing.assert_allclose(times.times, expected)
    assert times.error == pytest.approx(np.mean(errors / (errors + 1.5)))


def test_kept_trials_are_read_as_they_were(tmp_path):
    for name, factors in (("nvar", None), ("regime", np.asarray([1.0, 0.5]))):
        kept = KeptTrials(tmp_path / "trials.npz", {})
        kept.add(name, BestSetting({"a": 1}, Times(np.asarray([1.0]), np.asarray([True]), 0.2, factors), 3.0))
    read = KeptTrials(tmp_path / "trials.npz", {}).best
    assert read["nvar"].times.spread_factors is None
    np.testing.assert_array_equal(read["regime"].times.spread_factors, [1.0, 0.5])
    assert read["regime"].setting == {"a": 1}


@pytest.mark.slow
def test_the_spread_of_the_chosen_cell_matches_the_errors_of_held_out_windows():
    truth = trajectory_of(30.5)
    seen = truth._replace(states=truth.states + jax.random.normal(jax.random.key(0), truth.states.shape))
    choice = jaxcast.fit_pool(seen, CANDIDATES, methods=("ensemble_kalman_filter",), **SIZES)
    num_fit = len(truth.states) - round(0.25 * len(truth.states))
    windows = late_windows(seen, num_fit, **SIZES)
    output = jaxcast.forecast_windows(choice.cell, windows)
    errors = np.sqrt(((np.asarray(output.forecast) - np.asarray(windows.truth)) ** 2).mean((0, 2)))
    spread = np.sqrt((np.asarray(output.info["spread"]) ** 2).mean((0, 2)))
    ratios = [np.log(given / errors) for given in (spread, spread * choice.spread_factors)]
    assert np.abs(ratios[1]).mean() < 0.5 * np.abs(ratios[0]).mean()
    assert jaxcast.fit_pool(seen, CANDIDATES, methods=("persistence",), **SIZES).spread_factors is None


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_stopped(tmp_path, monkeypatch):
    path, truth = tmp_path / "trials.npz", trajectory_of(30.5)
    first = jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, max_methods=2, checkpoint=path, **SIZES)
    reasons = {trial.method: trial.reason for trial in first.trials if trial.reason}
    assert reasons == dict.fromkeys(CHEAP[2:], "2 methods were tried, no more are allowed")
    tried = []
    for name in CHEAP:
        method = METHODS[name]

        def fit(data, method=method, name=name, **setting):
            tried.append(name)
            return method.fit(data, **setting)

        monkeypatch.setitem(METHODS, name, method._replace(fit=fit))
    again = jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, checkpoint=path, **SIZES)
    assert set(tried[:-1]) == {"best_single", "ridge"}
    whole = jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, **SIZES)
    assert [(t.method, t.setting, t.mean, t.p) for t in again.trials] == [
        (t.method, t.setting, t.mean, t.p) for t in whole.trials
    ]
    monkeypatch.setitem(METHODS, "ridge", METHODS["ridge"]._replace(settings=lambda data: [{"penalty": 1.0}]))
    with pytest.raises(jaxcast.InputError, match="another comparison, with other settings of methods"):
        jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, checkpoint=path, **SIZES)
    monkeypatch.undo()
    monkeypatch.setattr("jaxcast.selection.comparison.environment", lambda: {"versions": {"jax": "0.0"}})
    with pytest.raises(jaxcast.InputError, match="another comparison, with other versions"):
        jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, checkpoint=path, **SIZES)
    monkeypatch.undo()
    with pytest.raises(jaxcast.InputError, match="another comparison, with other seed"):
        jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, checkpoint=path, seed=1, **SIZES)
    np.savez(path, states=np.zeros(3))
    with pytest.raises(jaxcast.InputError, match="is not a checkpoint of fit_pool"):
        jaxcast.fit_pool(truth, CANDIDATES, methods=CHEAP, checkpoint=path, **SIZES)


def test_methods_that_fail_and_those_that_are_kept_count_as_tried(tmp_path, monkeypatch):
    def failing(data):
        raise jaxcast.InputError("too large")

    monkeypatch.setitem(METHODS, "failing", Method(failing, lambda data: [{}]))
    names, path, truth = ("failing", "persistence", "equal_weights"), tmp_path / "trials.npz", trajectory_of(30.5)
    for _ in range(2):  # the second time, both are kept
        choice = jaxcast.fit_pool(truth, CANDIDATES, methods=names, max_methods=2, checkpoint=path, **SIZES)
        reasons = {trial.method: trial.reason for trial in choice.trials}
        assert reasons["persistence"] == ""
        assert reasons["failing"] == "too large"
        assert reasons["equal_weights"] == "2 methods were tried, no more are allowed"
    choice = jaxcast.fit_pool(truth, CANDIDATES, methods=names[1:], max_methods=1, checkpoint=path, **SIZES)
    assert choice.trials[1].reason == "1 method was tried, no more are allowed"


@pytest.mark.parametrize(
    ("components", "reason"),
    [
        (("sigma", "rho"), "the candidates do not differ in one parameter alone"),
        (None, "a filter needs candidates"),
        (20, "a filter of 30 members takes states of at most 16 components, got 20"),
    ],
)
def test_a_component_that_nothing_can_fill_is_refused_with_the_reason(components, reason):
    systems, dim = [jaxcast.Lorenz63(), jaxcast.Lorenz63(sigma=11.0, rho=30.0)], 3
    if components == 20:
        systems, dim = [jaxcast.Lorenz96(dim=20, forcing=forcing) for forcing in (8.0, 9.0)], 20
    candidates = None if components is None else jaxcast.flow_map(jaxcast.stack_systems(systems))
    states = np.random.default_rng(0).normal(size=(60, dim))
    states[:, 1] = np.nan
    gappy = jaxcast.Trajectory(0.1 * jnp.arange(60.0), jnp.asarray(states))
    with pytest.raises(jaxcast.InputError, match=f"component 1 is never known, and no filter can fill that: {reason}"):
        jaxcast.fit_pool(gappy, candidates, methods=("persistence",), history_size=2)


def test_the_usual_threshold_is_of_what_is_known():
    states = np.random.default_rng(0).normal(size=(50, 3))
    states[::3, 0], states[:, 1] = np.nan, np.nan
    expected = 0.35 * (np.nanvar(states[:, 0]) + np.var(states[:, 2])) / 2
    assert usual_threshold(states) == pytest.approx(expected)
    assert usual_threshold(np.full((7, 2), 0.1)) == 0


def test_a_method_without_its_candidates_is_refused():
    data = PoolData(trajectory_of(30.5), None, 0, 4, 0)
    for name, method in METHODS.items():
        if method.with_candidates:
            with pytest.raises(jaxcast.InputError, match="it needs candidates"):
                Comparison(data).best_setting(name)


def test_a_filter_refuses_a_component_that_is_constant():
    truth = trajectory_of(30.5)
    flat = truth._replace(states=truth.states.at[:, 1].set(0.1))
    with pytest.raises(jaxcast.InputError, match="takes components that vary, component 1 is constant"):
        fit_filter(flat, CANDIDATES, observation_noise="estimated", deviation=0.1, is_harmonic=False, seed=0)


def test_a_budget_ends_the_settings_of_a_method(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("jaxcast.selection.comparison.time.perf_counter", lambda: float(next(clock)))
    choice = jaxcast.fit_pool(trajectory_of(30.5), CANDIDATES, methods=("best_single", "ridge"), budget=2, **SIZES)
    assert (choice.method, choice.trials[0].num_untried) == ("best_single", 1)
    assert choice.setting["candidate"] < 2
    assert "budget spent, 1 settings not tried" in str(choice)
    assert choice.trials[1].reason == "the budget of 2 s was spent"


@pytest.mark.slow
def test_gaps_are_filled_by_a_filter_where_that_is_better():
    """x alone is known, with noise: no method can be fitted to it but after assimilation."""
    truth = trajectory_of(jaxcast.Cosine(mean=30.0, amplitude=3.0, period=1.6))
    states = truth.states + 0.2 * jax.random.normal(jax.random.key(0), truth.states.shape)
    partial = truth._replace(states=states.at[:, 1:].set(jnp.nan))
    names = ("persistence", "equal_weights", "ensemble_kalman_filter")
    choice = jaxcast.fit_pool(partial, CANDIDATES, methods=names, history_size=20, num_leads=20, num_windows=20)
    assert not any(trial.reason for trial in choice.trials)
    assert next(trial.setting["gaps"] for trial in choice.trials if trial.method == "equal_weights") == "assimilated"
    forecast = jaxcast.forecast(choice.cell, partial.states[:40], 5, truth.times[:44]).forecast
    assert float(jnp.abs(forecast - truth.states[40:45]).mean()) < 3.0


def test_candidates_that_return_nan_are_named():
    truth = trajectory_of(28.0, num_samples=30)

    def broken(value, exogenous):
        forecasts = CANDIDATES(value, exogenous)
        return forecasts.at[2].set(jnp.where(value[0] > truth.states[:, 0].mean(), jnp.nan, forecasts[2]))

    num_bad = int((truth.states[1:-1, 0] > truth.states[:, 0].mean()).sum())
    message = rf"NaN or infinity from candidate 2 \(counted from 0\) in {num_bad} of 28 samples; leave out such"
    with pytest.raises(jaxcast.InputError, match=message):
        PoolData(truth, broken, 3, 4, 0).samples(1)
    with pytest.raises(jaxcast.InputError, match="NaN or infinity from candidate 2"):
        jaxcast.pooling.fit_hybrid(truth, broken, penalties=(1e-6,))


def test_only_windows_that_are_long_end_a_comparison():
    data = PoolData(trajectory_of(28.0), CANDIDATES, 3, 4, 0)
    for num_leads, ends in ((20, True), (3, False)):
        comparison = Comparison(data, num_leads=num_leads, num_windows=20)
        size = len(comparison.windows.truth)
        perfect = Times(np.full(size, 0.1 * num_leads), np.ones(size, bool), 1e-9)
        comparison.best["best_single"] = BestSetting({}, perfect, 0.0)
        assert comparison.always_valid() == ("best_single" if ends else None)


def test_a_value_lasts_until_the_truth_has_left_it():
    """The truth rises by one in each step: its square exceeds 6 after three leads, one of two components known."""
    truth = np.stack([np.arange(8.0), np.full(8, np.nan)], 1)[None]
    windows = jaxcast.Windows(truth[:, :1], truth, np.arange(9.0)[None])
    assert time_of_last_value(windows, dt=0.5, threshold=6.0) == 1.5
