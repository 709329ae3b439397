"""Importance of the inputs of panels: what the loss reads matters, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.series import PanelWindows, panel_importance


def windows(count=30):
    rng = np.random.default_rng(0)
    level = 10.0 ** rng.integers(0, 4, size=(count, 1))
    history = rng.uniform(1, 2, size=(count, 5)) * level
    return PanelWindows(
        jnp.asarray(history),
        jnp.asarray(rng.uniform(1, 2, size=(count, 2)) * level),
        jnp.ones((count, 2)),
        jnp.asarray(rng.normal(size=(count, 5, 1))),
        jnp.asarray(rng.normal(size=(count, 7, 2))),
        jnp.asarray(rng.normal(size=(count, 1))),
        jnp.asarray(rng.integers(1, 4, size=(count, 1))),
    )


@pytest.mark.slow
def test_the_rise_of_the_loss_is_that_of_windows_permuted_by_hand():
    own = windows()
    network = jaxcast.series.MQRNN(own.sizes((3,)), hidden_size=4, key=jax.random.key(1))
    found = panel_importance(network, own, known=("hour", "price"), categories=("place",), num_repeats=2, seed=3)
    assert found.kinds == ("lag",) * 5 + ("past", "known", "known", "static", "category")
    assert found.names[5:] == ("past 1", "hour", "price", "static 1", "place")
    loss = jax.jit(lambda one: network.loss(one))
    assert found.loss == pytest.approx(float(loss(own)))
    rng = np.random.default_rng(3)
    orders = [rng.permutation(30) for _ in range(2)]
    history = np.asarray(own.history)
    relative = history / np.abs(history).mean(1, keepdims=True)

    def rise(change):
        losses = [float(loss(change(order))) for order in orders]
        return np.mean(losses) - float(loss(own)), np.std(losses)

    def newest(order):
        changed = history.copy()
        changed[:, -1] = relative[order, -1] * np.abs(history).mean(1)
        return own._replace(history=jnp.asarray(changed))

    def price(order):
        return own._replace(known=jnp.asarray(own.known).at[..., 1].set(own.known[order][..., 1]))

    for number, change in ((0, newest), (7, price)):
        np.testing.assert_allclose((found.mean[number], found.spread[number]), rise(change), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_wrong_windows_and_names_are_refused():
    own = windows()
    network = jaxcast.series.MQRNN(own.sizes((3,)), hidden_size=4, key=jax.random.key(1))
    for options, message in (({"past": ("a", "b")}, "expected names of 1 past"), ({"block_size": 16}, "block_size")):
        with pytest.raises(jaxcast.InputError, match=message):
            panel_importance(network, own, **options)
    with pytest.raises(jaxcast.InputError, match="at least 4 held-out windows"):
        panel_importance(network, jax.tree.map(lambda a: a[:3], own))
