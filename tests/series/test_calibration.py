"""Quantiles that held-out windows set right; `jaxcast series train` with them is in test_cli_series."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def test_a_share_of_held_out_values_as_large_as_the_level_lies_below(without_type_checks):
    rng = np.random.default_rng(3)
    samples = jaxcast.series.series_windows(rng.gamma(2.0, size=(400, 2)) * [1, 9], history_size=1, leads=(1, 2))
    base = rng.normal(size=(*samples.targets.shape, 1))
    shifts = jaxcast.series.conformal_shifts(base, samples, levels=LEVELS, std=np.ones(2))
    below = np.asarray(samples.targets)[..., None] <= base + shifts
    known = np.asarray(samples.weights) > 0
    for lead in range(2):
        np.testing.assert_allclose(below[:, lead][known[:, lead]].mean(0), LEVELS, atol=2 / 400)
    widths = rng.uniform(0.5, 2, size=(len(base), 2))
    wide = jaxcast.series.conformal_shifts(base, samples, levels=LEVELS, std=np.ones(2), widths=widths)
    below = np.asarray(samples.targets)[..., None] <= base + widths[:, None, :, None] * wide
    np.testing.assert_allclose(below[:, 0][known[:, 0]].mean(0), LEVELS, atol=2 / 400)
    for bad in (widths[1:], -widths):
        with pytest.raises(jaxcast.InputError, match="expected positive widths"):
            jaxcast.series.conformal_shifts(base, samples, levels=LEVELS, std=np.ones(2), widths=bad)


@pytest.mark.slow
def test_widths_are_what_moved_lately():
    history = jnp.asarray([[0.0, 1.0, 5.0], [4.0, jnp.nan, 5.0], [2.0, 1.0, 5.0]])
    np.testing.assert_allclose(
        jaxcast.series.recent_volatility(history, jnp.asarray([2.0, 2.0, 2.0])), [1.5, 1.0, 0.25]
    )
    np.testing.assert_allclose(jaxcast.series.recent_volatility(history, jnp.zeros(3)), 1)
    assert jaxcast.series.recent_volatility(history[None, :1], jnp.ones(3)).tolist() == [[1, 1, 1]]
    long = jnp.concatenate([100.0 * jnp.arange(20.0), jnp.full(9, 7.0)])[:, None]
    assert jaxcast.series.recent_volatility(long, jnp.ones(1)).tolist() == [0.25]
