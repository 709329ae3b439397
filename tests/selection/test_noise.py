"""Noise of values and of steps: as strong as it was made, whatever the parameter does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.assimilation import parameter_map
from jaxcast.selection.noise import estimate_noise

MODEL = parameter_map(jaxcast.Lorenz63(), ["rho"], h=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("value", "step"), [(0.0, 0.05), (0.1, 0.0), (0.05, 0.03)])
def test_noise_is_found_as_it_was_made(value, step):
    """Steps of random parameters, each disturbed once; values are disturbed when they are seen."""
    rng = np.random.default_rng(0)
    states, scale = [np.asarray([1.0, 1.0, 20.0])], np.asarray([8.0, 9.0, 8.5])
    forecast = jax.jit(MODEL)
    for disturbance in rng.normal(size=(1500, 3)):
        next_state = np.asarray(forecast(states[-1], jnp.asarray([rng.uniform(28.0, 40.0)])))
        states.append(next_state + step * scale * disturbance)
    seen = np.asarray(states)[50:]
    seen = seen + value * scale * rng.normal(size=seen.shape)
    seen[::40, 1] = np.nan
    found = estimate_noise(jnp.asarray(seen), MODEL, np.asarray([28.0, 40.0]), jnp.asarray(scale))
    np.testing.assert_allclose(found, (value, step), atol=0.012)


@pytest.mark.slow
def test_noise_needs_values_in_a_row():
    states = jnp.ones((90, 3)).at[::2, 0].set(jnp.nan)
    with pytest.raises(jaxcast.InputError, match=r"at least 20 runs of three samples that are known in whole .* got 0"):
        estimate_noise(states, MODEL, np.ones(2), jnp.ones(3))
    with pytest.raises(jaxcast.InputError, match="of two components or more, got 1"):
        estimate_noise(states[:, :1], MODEL, np.ones(2), jnp.ones(1))


@pytest.mark.slow
def test_samples_whose_forecasts_the_parameter_does_not_move_are_left_out():
    """x = 0 hides rho; such a sample counts as little as one that is not known."""
    states = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=60, transient=5.0).states
    ends, scale = np.asarray([26.0, 30.0]), jnp.asarray([8.0, 9.0, 8.5])
    at = [10, 11, 30]
    found = estimate_noise(states.at[jnp.asarray(at)].set(jnp.asarray([0.0, 0.0, 5.0])), MODEL, ends, scale)
    assert np.isfinite(found).all()
    with pytest.raises(
        jaxcast.InputError, match=r"whose forecasts the parameter moves, got 0; give a longer trajectory"
    ):
        estimate_noise(states * jnp.asarray([0.0, 0.0, 1.0]), MODEL, ends, scale)
