"""ConvTrans: masks by hand, the equations in numpy, causality, and paths that go on where training ended."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast import InputError
from jaxcast.nn.dropout import NO_DROPOUT
from jaxcast.series import ConvTrans, PanelWindows
from jaxcast.series.probabilistic_networks.conv_trans_layers import ConvTransLayer, log_sparse_mask

KEY = jax.random.key(0)
NUM, HISTORY, LEADS = 3, 5, 4
OPTIONS = {"hidden_size": 6, "num_heads": 2, "num_layers": 2, "kernel_size": 3, "dtype": "float64"}


def windows(**changes):
    rng = np.random.default_rng(1)
    arrays = {
        "history": rng.normal(size=(NUM, HISTORY)) + 3,
        "targets": rng.normal(size=(NUM, LEADS)) + 3,
        "weights": np.ones((NUM, LEADS)),
        "past": rng.normal(size=(NUM, HISTORY, 1)),
        "known": rng.normal(size=(NUM, HISTORY + LEADS, 2)),
        "static": rng.normal(size=(NUM, 1)),
        "categories": np.asarray([[1], [2], [0]]),
    }
    return PanelWindows(**(arrays | changes))


@functools.cache
def conv_trans():
    return ConvTrans(windows().sizes((2,)), key=KEY, log_sparse=True, **OPTIONS)


@nnx.jit
def raw(network, windows):
    """Numbers of the head at all steps."""
    inputs = network._flat(windows)
    whole = jnp.concatenate([windows.history, windows.targets], -1) / inputs.scale[:, None]
    return network._raw(inputs, whole[:, :-1], None)


paths = nnx.jit(lambda network, windows, key: network.paths(windows, 2, key))


def test_the_log_sparse_mask_is_that_by_hand():
    expected = ["100000", "110000", "111000", "011100", "101110", "010111"]
    np.testing.assert_array_equal(log_sparse_mask(6), [[c == "1" for c in row] for row in expected])
    assert log_sparse_mask(9)[8].nonzero()[0].tolist() == [0, 4, 6, 7, 8]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), ("float32", 3e-6)])
def test_a_layer_is_that_of_the_equations(dtype, close):
    rng = np.random.default_rng(0)
    layer = ConvTransLayer(size=4, num_heads=2, kernel_size=3, key=KEY, dtype=dtype)
    xs, exists = rng.normal(size=(2, 5, 4)), np.arange(5) >= np.asarray([[0], [1]])
    xs = np.where(exists[..., None], xs, 0)
    visible = np.tri(5, dtype=bool)

    def linear(one, xs):
        return xs @ np.asarray(one.kernel[...], float) + np.asarray(one.bias[...], float)

    def norm(xs):
        return (xs - xs.mean(-1, keepdims=True)) / np.sqrt(xs.var(-1, keepdims=True) + 1e-5)

    expected = np.zeros_like(xs)
    for window in range(2):
        padded = np.concatenate([np.zeros((2, 4)), xs[window]])
        asked = np.stack([linear(layer.asking, padded[t : t + 3].ravel()) for t in range(5)])
        values = linear(layer.value, xs[window])
        for t in range(5):
            seen = [u for u in range(t + 1) if exists[window, u] or u == t]
            parts = []
            for head in (slice(0, 2), slice(2, 4)):
                scores = asked[seen, 4:][:, head] @ asked[t, :4][head] / np.sqrt(2)
                shares = np.exp(scores - scores.max())
                parts.append(shares / shares.sum() @ values[seen][:, head])
            y = norm(xs[window, t] + linear(layer.out, np.concatenate(parts)))
            z = norm(y + linear(layer.last, np.maximum(linear(layer.hidden, y), 0)))
            expected[window, t] = z * exists[window, t]
    found, _ = layer(jnp.asarray(xs, dtype), jnp.asarray(exists), jnp.asarray(visible), NO_DROPOUT)
    np.testing.assert_allclose(found, expected, rtol=0, atol=close)


@pytest.mark.slow
@pytest.mark.slow
def test_a_step_sees_no_later_value_nor_covariate():
    """Number n of the head forecasts step n + 1, from the values up to n and the covariates up to n + 1."""
    first = raw(conv_trans(), windows())
    scale = abs(windows().history).mean(-1)
    for lead in range(LEADS - 1):
        targets = windows().targets.copy()
        targets[:, lead] += scale
        changed = abs(raw(conv_trans(), windows(targets=targets)) - first).max((0, 2)) > 0
        own = HISTORY + lead
        assert not changed[:own].any()
        assert changed[own]
    known = windows().known.copy()
    known[:, HISTORY + 1] += 1
    changed = abs(raw(conv_trans(), windows(known=known)) - first).max((0, 2)) > 0
    assert not changed[:HISTORY].any()
    assert changed[HISTORY]


@pytest.mark.slow
def test_paths_are_drawn_from_the_distributions_of_training():
    """A path taken as the true values has the distributions that it was drawn from; targets are not seen."""
    history = windows().history.copy()
    history[1, :2], history[2, -1], history[0, 2] = np.nan, np.nan, np.nan
    unseen = windows(history=history, targets=np.full((NUM, LEADS), 1e6))
    drawn = paths(conv_trans(), unseen, KEY)
    keys = jax.random.split(KEY, LEADS)
    for number, path in enumerate(drawn):
        seen = raw(conv_trans(), unseen._replace(targets=np.asarray(path)))[:, HISTORY - 1 :]
        scale = np.nanmean(abs(history), -1)
        for lead in range(LEADS):
            noise = jax.random.normal(keys[lead], (1, 2, NUM), "float64")[0, number]
            own = conv_trans().distribution(seen[:, lead], jnp.asarray(scale))
            np.testing.assert_allclose(path[:, lead], own.loc + own.scale * noise, rtol=1e-9)


@pytest.mark.slow
def test_the_loss_counts_known_values_and_without_a_key_the_leads_alone():
    weights = np.ones((NUM, LEADS))
    weights[0, 1:] = 0
    own = windows(weights=weights)
    distribution = conv_trans().distribution(
        raw(conv_trans(), windows()), jnp.asarray(abs(own.history).mean(-1))[:, None]
    )
    whole = np.concatenate([own.history, own.targets], -1)[:, 1:]
    losses = np.asarray(distribution.loss(jnp.asarray(whole)))
    # Gaps after the first lead of a window change what later steps see: only the others are compared.
    np.testing.assert_allclose(conv_trans().loss(windows()), losses[:, HISTORY - 1 :].mean(), rtol=1e-10)
    still = ConvTrans(windows().sizes((2,)), key=KEY, log_sparse=True, dropout=0, **OPTIONS)
    np.testing.assert_allclose(still.loss(windows(), KEY), losses.mean(), rtol=1e-10)
    changed = own.targets.copy()
    changed[0, 1:] = 1e6
    np.testing.assert_allclose(conv_trans().loss(own), conv_trans().loss(own._replace(targets=changed)), rtol=1e-12)


@pytest.mark.slow
def test_a_saved_network_is_the_same_to_the_bit(tmp_path):
    jaxcast.save_model(tmp_path / "network", conv_trans())
    loaded = jaxcast.load_model(tmp_path / "network").pool
    assert loaded.config == conv_trans().config
    np.testing.assert_array_equal(paths(loaded, windows(), KEY), paths(conv_trans(), windows(), KEY))


@pytest.mark.slow
def test_quantiles_and_odd_sizes():
    plain = PanelWindows.plain(np.ones((2, 2, 1)), np.ones((2, 2, 2)))
    network = ConvTrans(
        plain.sizes(), hidden_size=2, num_heads=1, num_layers=1, kernel_size=1, head="quantiles", key=KEY
    )
    found = network(plain, key=KEY).info["quantiles"]
    assert found.shape == (2, 2, 2, 11)
    assert (jnp.diff(found, axis=-1) >= 0).all()
    assert network.paths(plain, 3, KEY).shape == (3, 2, 2, 2)
    for message, options in (
        ("num_heads must divide the hidden size 6, got 4", {"hidden_size": 6, "num_heads": 4}),
        ("kernel_size must be at least 1", {"kernel_size": 0}),
    ):
        with pytest.raises(InputError, match=message):
            ConvTrans(plain.sizes(), key=KEY, **options)
