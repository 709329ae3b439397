"""Noise of values and of steps: as strong as it was made, whatever the parameter does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.assimilation import parameter_map
from jaxcast.selection.noise import estimate_noise

MODEL = parameter_map(jaxcast.Lorenz63(), ["rho"], h=0.02)


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


def test_noise_needs_values_in_a_row():
    states = jnp.ones((90, 3)).at[::2, 0].set(jnp.nan)
    with pytest.raises(jaxcast.InputError, match="two components or more, each known three times in a row"):
        estimate_noise(states, MODEL, np.ones(2), jnp.ones(3))
