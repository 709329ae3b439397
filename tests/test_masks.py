"""Gaps in the data to learn from: what touches an unknown value is left out, the rest is as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

KNOWN = np.ones((30, 3), bool)
KNOWN[[4, 17], [1, 2]] = False


def gappy(trajectory):
    whole = jax.tree.map(lambda a: a[:30], trajectory)
    return whole, whole._replace(states=jnp.where(KNOWN, whole.states, jnp.nan))


@pytest.mark.slow
@pytest.mark.parametrize("with_candidates", [True, False])
def test_samples_with_an_unknown_value_are_left_out(trajectory, candidates, with_candidates):
    whole, gaps = gappy(trajectory)
    forecast_map = candidates if with_candidates else None
    ours = jaxcast.one_step_samples(gaps, 2, forecast_map, known=KNOWN)
    every = jaxcast.one_step_samples(whole, 2, forecast_map)
    rows, length = KNOWN.all(1), 4 if with_candidates else 3
    kept = [n for n in range(30 - length + 1) if rows[n : n + length].all()]
    assert len(kept) == 30 - length + 1 - 2 * length
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(every), strict=True):
        np.testing.assert_allclose(found, np.asarray(expected)[kept], rtol=1e-12)


@pytest.mark.slow
def test_chunks_and_training_windows_with_an_unknown_value_are_left_out(trajectory, candidates):
    whole, gaps = gappy(trajectory)
    rows = KNOWN.all(1)
    sizes = dict(length=3, stride=2)
    ours = jaxcast.pooling.sequence_chunks(gaps, candidates, known=rows, **sizes)
    every = jaxcast.pooling.sequence_chunks(whole, candidates, **sizes)
    kept = [n for n in range(len(every.targets)) if rows[2 * n : 2 * n + 5].all()]
    np.testing.assert_allclose(ours.errors, every.errors[np.asarray(kept)], rtol=1e-12)
    assert len(kept) < len(every.targets)
    sizes = dict(num_leads=3, history_size=2, stride=2)
    ours = jaxcast.training.training_windows(gaps, known=KNOWN, **sizes)
    every = jaxcast.training.training_windows(whole, **sizes)
    np.testing.assert_array_equal(ours.truth, every.truth[np.asarray(kept)])
    np.testing.assert_array_equal(ours.times, every.times[np.asarray(kept)])
    np.testing.assert_allclose(ours.scale[0], np.asarray(whole.states)[rows].std(0), rtol=1e-12)


def test_masks_that_do_not_fit_are_refused(trajectory, without_type_checks):
    whole, gaps = gappy(trajectory)
    with pytest.raises(jaxcast.InputError, match=r"mask of shape \(30,\) or \(30, 3\), got bool\(4,\)"):
        jaxcast.one_step_samples(whole, 2, known=np.ones(4, bool))
    with pytest.raises(jaxcast.InputError, match="a sample that is known in whole, got none"):
        jaxcast.one_step_samples(whole, 2, known=np.zeros(30, bool))
    with pytest.raises(jaxcast.InputError, match="4 consecutive samples that are known, got none"):
        jaxcast.one_step_samples(whole, 3, known=np.arange(30) % 3 > 0)
    with pytest.raises(jaxcast.InputError, match="must be finite, got NaN"):
        jaxcast.one_step_samples(gaps, 2, known=np.ones(30, bool))


def test_histories_hold_observations_and_truths_the_trajectory(trajectory):
    whole, gaps = gappy(trajectory)
    sizes = dict(num_windows=2, num_leads=10, history_size=6)
    windows = jaxcast.cut_windows(whole, observations=gaps.states[:, :2], **sizes)
    plain = jaxcast.cut_windows(whole, **sizes)
    np.testing.assert_array_equal(windows.truth, plain.truth)
    np.testing.assert_array_equal(windows.times, plain.times)
    np.testing.assert_array_equal(windows.history[0], gaps.states[:6, :2])
    assert np.isnan(windows.history[0, 4, 1])
    with pytest.raises(jaxcast.InputError, match="observations of all 30 samples, got 29"):
        jaxcast.cut_windows(whole, observations=gaps.states[:29], **sizes)
