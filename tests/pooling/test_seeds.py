import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast


def candidates(value, time):
    return jnp.stack([0.9 * value, value + 0.1 * jnp.sin(time), jnp.roll(value, 1)])


def make(num_seeds):
    def init(key):
        return jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=5, key=key, dtype=jnp.float64)

    pools = jax.vmap(init)(jax.random.split(jax.random.key(0), num_seeds))
    pools.score.kernel[...] *= 30
    return pools


VALUES, TIMES = np.random.default_rng(0).normal(size=(12, 3)), 0.1 * np.arange(12)


@pytest.mark.slow
def test_it_is_the_mean_of_closed_loops_and_their_spread(count_compilations):
    pools = make(4)
    known = (np.arange(12)[:, None] < 6) | (np.arange(12)[:, None] > 9) & np.asarray([True, False, True])
    xs = jaxcast.Input(jnp.asarray(VALUES), jnp.asarray(known), jnp.asarray(TIMES))
    alone = [
        jaxcast.roll(jaxcast.Forecaster(jax.tree.map(lambda a, s=s: a[s], pools), candidates), xs)[1] for s in range(4)
    ]
    _, ours = jaxcast.roll(jaxcast.pooling.SeedEnsemble(pools, candidates), xs)
    forecasts = np.stack([outputs.forecast for outputs in alone])
    np.testing.assert_allclose(ours.forecast, forecasts.mean(0), rtol=1e-10)
    np.testing.assert_allclose(ours.info["spread"], forecasts.std(0, ddof=1), rtol=1e-8)
    weights = np.mean([outputs.info["weights"] for outputs in alone], axis=0)
    np.testing.assert_allclose(ours.info["weights"], weights, rtol=1e-9)
    assert ours.info["spread"][5:].min() > 1e-3
    count_compilations()
    jaxcast.roll(jaxcast.pooling.SeedEnsemble(jax.tree.map(np.negative, pools), candidates), xs)
    assert count_compilations() == 0


def test_one_seed_has_no_spread(without_type_checks):
    with pytest.raises(jaxcast.InputError, match=r"at least 2 seeds on every array, got \[\(1,\)\]"):
        jaxcast.forecast(
            jaxcast.pooling.SeedEnsemble(make(1), candidates), jnp.asarray(VALUES[:11]), 2, jnp.asarray(TIMES)
        )
