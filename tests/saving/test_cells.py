"""Cells of their own and language models in folders; pools are in test_pool_folders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.nn.standardizer import Standardizer
from jaxcast.registry import name_of
from tests.saving.tampering import contents, rewrite

WAVE = jnp.sin(0.3 * jnp.arange(120.0))[:, None] * jnp.asarray([1.0, 2.0])
KEY = jax.random.key(0)


def recurrent(layers):
    """Untrained but for its numbers, in none of which it is like a new one."""
    cell = jaxcast.forecasters.RecurrentForecaster(
        layers, jnp.zeros((6, 2)), jnp.zeros(2), Standardizer(jnp.zeros(2), jnp.ones(2))
    )
    leaves, tree = jax.tree.flatten(cell)
    rng = np.random.default_rng(0)
    return tree.unflatten([jnp.asarray(rng.uniform(0.01, 0.2, size=leaf.shape), leaf.dtype) for leaf in leaves])


MAKERS = {
    "nvar": lambda: jaxcast.forecasters.fit_nvar(WAVE, num_delays=2, degree=1),
    "reservoir": lambda: jaxcast.forecasters.fit_reservoir(WAVE, num_nodes=20, key=KEY),
    "delay_kernel_ridge": lambda: jaxcast.forecasters.fit_delay_kernel_ridge(
        WAVE, lag_weights=jnp.ones(3), bandwidth=1.0, penalty=1e-5
    ),
    "recurrent lstm": lambda: recurrent(jaxcast.nn.LSTM(input_size=2, hidden_size=4, key=KEY, learn_carry=True)),
    "recurrent gru": lambda: recurrent(jaxcast.nn.GRU(input_size=2, hidden_size=4, key=KEY, reset_after=False)),
    "recurrent rnn": lambda: recurrent(jaxcast.nn.RNN(input_size=2, hidden_size=4, key=KEY, activation="relu")),
    "recurrent stack": lambda: recurrent(
        jaxcast.nn.Stack(
            "gru", input_size=2, hidden_size=4, num_layers=2, skips=True, dropout=0.1, key=KEY, dtype=jnp.float64
        )
    ),
    "recurrent seeds": lambda: jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[recurrent(jaxcast.nn.GRU(input_size=2, hidden_size=4, key=KEY))] * 3
    ),
    "language_model": lambda: language_model(KEY),
    "language_model seeds": lambda: jax.vmap(language_model)(jax.random.split(KEY, 3)),
}


def language_model(key):
    return jaxcast.text.LanguageModel(
        num_tokens=5, hidden_size=4, num_layers=2, embedding_size=3, kind="gru", dropout=0.2, key=key, dtype=jnp.float64
    )


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in MAKERS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_loaded_is_what_was_saved(name, made, tmp_path):
    jaxcast.save_model(tmp_path, made[name], attributes={"why": "a test"})
    stored = jaxcast.load_model(tmp_path)
    assert name_of(type(stored.pool)) == name.split()[0]
    assert jax.tree.structure(stored.pool) == jax.tree.structure(made[name])
    for ours, theirs in zip(jax.tree.leaves(stored.pool), jax.tree.leaves(made[name]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert jnp.asarray(ours).dtype == jnp.asarray(theirs).dtype
    assert (stored.forecast_map, stored.attributes) == (None, {"why": "a test"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reservoir", "recurrent lstm", "language_model"])
def test_what_is_loaded_rolls_alike(name, made, tmp_path):
    jaxcast.save_model(tmp_path, made[name])
    cell = jaxcast.load_model(tmp_path).cell
    given = jnp.asarray([0, 3, 1]) if name == "language_model" else WAVE[:30]
    own = jaxcast.text.TokenCell(made[name]) if name == "language_model" else made[name]
    ours, theirs = (jaxcast.forecast(each, given, num_leads=4, key=KEY).forecast for each in (cell, own))
    assert np.isfinite(ours).all()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nvar", "reservoir", "delay_kernel_ridge", "recurrent stack", "language_model"])
def test_arrays_of_other_sizes_are_refused(name, made, tmp_path, without_type_checks):
    jaxcast.save_model(tmp_path, made[name])
    config, arrays = contents(tmp_path)
    for array in arrays:
        for others in (
            {**arrays, array: np.concatenate([arrays[array]] * 2)} if arrays[array].ndim else {},
            {other: kept for other, kept in arrays.items() if other != array},
            {**arrays, f"{array}2": arrays[array]},
        ):
            rewrite(tmp_path, config, others)
            with pytest.raises(jaxcast.InputError, match="train and save it again"):
                jaxcast.load_model(tmp_path)


@pytest.mark.slow
def test_other_settings_and_own_layers_are_refused(made, tmp_path):
    jaxcast.save_model(tmp_path, made["recurrent stack"])
    config, arrays = contents(tmp_path)
    for other in ({"layers": "mine"}, {"dim": 3}, {"of_layers": {}}, {"nonsense": 1}):
        changed = config | {"arguments": config["arguments"] | other}
        rewrite(tmp_path, changed, arrays)
        with pytest.raises(jaxcast.InputError, match="train and save it again"):
            jaxcast.load_model(tmp_path)

    class Mine(jaxcast.nn.GRU):
        pass

    with pytest.raises(jaxcast.InputError, match="cannot save layers of your own class Mine"):
        jaxcast.save_model(tmp_path / "mine", recurrent(Mine(input_size=2, hidden_size=4, key=KEY)))
    assert not (tmp_path / "mine").exists()
