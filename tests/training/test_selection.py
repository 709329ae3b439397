import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast


def wave(num_samples):
    times = 0.1 * jnp.arange(num_samples)
    return jaxcast.Trajectory(times, jnp.stack([jnp.sin(3 * times), jnp.cos(3 * times)], 1))


@pytest.mark.slow
def test_the_setting_that_stays_valid_longest_is_fitted_on_all():
    fitted = []

    def fit(train, penalty):
        fitted.append((len(train.states), penalty))
        return jaxcast.forecasters.fit_nvar(train.states, num_delays=1, degree=1, penalty=penalty)

    choice = jaxcast.training.grid_search(
        wave(400), fit=fit, grid={"penalty": (1e9, 1e-9, 10.0)}, dt=0.1, threshold=0.01, num_leads=30, history_size=4
    )
    assert choice.setting == {"penalty": 1e-9}
    assert choice.scores[0] == ({"penalty": 1e-9}, pytest.approx(3.0))
    assert [score for _, score in choice.scores] == sorted((score for _, score in choice.scores), reverse=True)
    assert fitted == [(300, 1e9), (300, 1e-9), (300, 10.0), (400, 1e-9)]
    assert len(choice.cell.standardizer.mean) == 2


@pytest.mark.slow
def test_scores_see_the_validation_part_alone():
    """A cell that persists is scored on values that change only in the last part."""
    states = jnp.where(jnp.arange(100) < 80, 0.0, jnp.arange(100) * 10.0)[:, None]
    course = jaxcast.Trajectory(jnp.arange(100.0), states)
    settings = dict(dt=1.0, threshold=1.0, num_leads=5, history_size=2)
    persist = lambda train: jaxcast.Forecaster(jaxcast.pooling.Persistence())  # noqa: E731
    late = jaxcast.training.grid_search(course, fit=persist, grid={}, validation_share=0.19, **settings)
    assert late.scores == [({}, 0.0)]
    early = jaxcast.training.grid_search(course, fit=persist, grid={}, validation_share=0.5, **settings)
    assert early.scores[0][1] > 2


def test_what_cannot_be_validated_is_refused():
    with pytest.raises(jaxcast.InputError, match="at least 4 \\+ 30 samples, got 1 settings and 10 of 40"):
        jaxcast.training.grid_search(
            wave(40), fit=lambda train: None, grid={}, dt=0.1, threshold=1.0, num_leads=30, history_size=4
        )
    with pytest.raises(jaxcast.InputError, match="got 0 settings"):
        jaxcast.training.grid_search(
            wave(400), fit=lambda train: None, grid={"a": ()}, dt=0.1, threshold=1.0, num_leads=30, history_size=4
        )


def test_a_score_is_the_mean_valid_time_of_windows_spread_evenly_over_the_last_part():
    """The first begins where the fitted part ends, the last ends with the course; each has its own history."""
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.normal(size=(60, 2)), 0)
    course = jaxcast.Trajectory(0.5 * jnp.arange(60.0), jnp.asarray(states))
    choice = jaxcast.training.grid_search(
        course, fit=lambda train: jaxcast.Forecaster(jaxcast.pooling.Persistence()), grid={}, dt=0.5, threshold=0.3, num_leads=6,
        history_size=2, num_windows=4, validation_share=0.5, scale=2.0,
    )  # fmt: skip
    times = []
    for start in (30, 37, 44, 52):
        newest, truth = states[start + 1], states[start + 2 : start + 8]
        valid = (((newest - truth) / 2) ** 2).mean(1) < 0.3
        times.append(0.5 * (6 if valid.all() else int(valid.argmin())))
    assert len(set(times)) > 2
    assert np.mean(times) != np.median(times)
    assert choice.scores == [({}, pytest.approx(np.mean(times)))]


def test_weights_count_by_their_size_where_candidates_are_averaged():
    """Both where candidates are put in order and where sizes are judged, against loops over the blocks."""
    rng = np.random.default_rng(3)
    differ = 0
    for _ in range(20):
        truth, forecasts = rng.normal(size=(12, 2)), rng.normal(size=(6, 12, 2))
        weights = rng.uniform(size=(12, 2)) ** 8
        chosen = {}
        for name, judged in (("weighted", weights), ("plain", np.ones(weights.shape))):
            errors = np.zeros(3)
            for block in np.array_split(np.arange(12), 3):
                rows = np.setdiff1d(np.arange(12), block)
                order = np.argsort((weights * (forecasts - truth) ** 2)[:, rows].sum((1, 2)), kind="stable")
                for k, size in enumerate((1, 2, 4)):
                    errors[k] += (judged * (forecasts[order[:size]].mean(0) - truth) ** 2)[block].sum()
            best = np.argsort((weights * (forecasts - truth) ** 2).sum((1, 2)), kind="stable")
            chosen[name] = best[: (1, 2, 4)[int(np.argmin(errors))]].tolist()
        assert (
            jaxcast.training.select_average(forecasts, truth, weights, sizes=(1, 2, 4)).tolist() == chosen["weighted"]
        )
        differ += chosen["weighted"] != chosen["plain"]
    assert differ > 2
