import jax.numpy as jnp
import pytest

import jaxcast


def wave(num_samples):
    times = 0.1 * jnp.arange(num_samples)
    return jaxcast.Trajectory(times, jnp.stack([jnp.sin(3 * times), jnp.cos(3 * times)], 1))


def test_the_setting_that_stays_valid_longest_is_fitted_on_all():
    fitted = []

    def fit(train, penalty):
        fitted.append((len(train.states), penalty))
        return jaxcast.fit_nvar(train.states, num_delays=1, degree=1, penalty=penalty)

    choice = jaxcast.choose_setting(
        fit, {"penalty": (1e9, 1e-9, 10.0)}, wave(400), dt=0.1, threshold=0.01, window_size=30, history_size=4
    )
    assert choice.setting == {"penalty": 1e-9}
    assert choice.scores[0] == ({"penalty": 1e-9}, pytest.approx(3.0))
    assert [score for _, score in choice.scores] == sorted((score for _, score in choice.scores), reverse=True)
    assert fitted == [(300, 1e9), (300, 1e-9), (300, 10.0), (400, 1e-9)]
    assert len(choice.cell.scaler.mean) == 2


def test_scores_see_the_validation_part_alone():
    """A cell that persists is scored on values that change only in the last part."""
    states = jnp.where(jnp.arange(100) < 80, 0.0, jnp.arange(100) * 10.0)[:, None]
    course = jaxcast.Trajectory(jnp.arange(100.0), states)
    settings = dict(dt=1.0, threshold=1.0, window_size=5, history_size=2)
    persist = lambda train: jaxcast.Forecaster(jaxcast.Persistence())  # noqa: E731
    late = jaxcast.choose_setting(persist, {}, course, validation_share=0.19, **settings)
    assert late.scores == [({}, 0.0)]
    early = jaxcast.choose_setting(persist, {}, course, validation_share=0.5, **settings)
    assert early.scores[0][1] > 2


def test_what_cannot_be_validated_is_refused():
    with pytest.raises(jaxcast.InputError, match="at least 4 \\+ 30 samples, got 1 settings and 10 of 40"):
        jaxcast.choose_setting(lambda train: None, {}, wave(40), dt=0.1, threshold=1.0, window_size=30, history_size=4)
    with pytest.raises(jaxcast.InputError, match="got 0 settings"):
        jaxcast.choose_setting(
            lambda train: None, {"a": ()}, wave(400), dt=0.1, threshold=1.0, window_size=30, history_size=4
        )
