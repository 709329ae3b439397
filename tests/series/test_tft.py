"""The temporal fusion transformer: causality, weights, masks, saving, and the same in PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from matplotlib.figure import Figure

import jaxcast
from jaxcast import InputError, plotting
from jaxcast.nn.layers import chosen_heads
from jaxcast.series import TFT, ConvTrans, PanelWindows

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
NUM, HISTORY, LEADS = 4, 6, 3


def windows(**changes):
    """Windows with covariates and categories of all kinds."""
    rng = np.random.default_rng(1)
    arrays = {
        "history": rng.normal(size=(NUM, HISTORY)) + 3,
        "targets": rng.normal(size=(NUM, LEADS)) + 3,
        "weights": np.ones((NUM, LEADS)),
        "past": rng.normal(size=(NUM, HISTORY, 1)),
        "known": rng.normal(size=(NUM, HISTORY + LEADS, 2)),
        "static": rng.normal(size=(NUM, 1)),
        "categories": np.asarray([[1, 0], [2, 1], [3, 2], [1, 2]]),
    }
    return PanelWindows(**(arrays | changes))


@functools.cache
def tft():
    return TFT(windows().sizes((3, 2)), hidden_size=8, num_heads=2, key=KEY, dtype="float64")


@nnx.jit
def forward(network, windows):
    return network(windows)


@functools.cache
def output():
    return forward(tft(), windows())


@pytest.mark.slow
def test_weights_sum_to_one_and_have_names():
    names, info = tft().variable_names(past=["price"], known=["hour", "day"], static=["area"]), output().info
    assert names.static == ("area", "log scale", "category 1", "category 2")
    assert names.past == ("value", "is known", "price", "hour", "day")
    assert names.future == ("hour", "day")
    for kind, shape, own in zip(
        ("static", "past", "future"), ((NUM,), (NUM, HISTORY), (NUM, LEADS)), names, strict=True
    ):
        weights = info[f"{kind}_weights"]
        assert weights.shape == (*shape, len(own))
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(info["attention"].sum(-1), 1, rtol=0, atol=1e-12)
    assert info["attention"].shape == (NUM, LEADS, HISTORY + LEADS)
    assert not info["attention"][:, 0, HISTORY + 1 :].any()


@pytest.mark.slow
def test_it_sees_neither_targets_nor_later_covariates():
    unseen = windows(targets=np.full((NUM, LEADS), 1e6), weights=np.zeros((NUM, LEADS)))
    np.testing.assert_array_equal(forward(tft(), unseen).info["quantiles"], output().info["quantiles"])
    for lead in range(LEADS):
        known = windows().known.copy()
        known[:, HISTORY + lead] += 1
        changed = abs(forward(tft(), windows(known=known)).info["quantiles"] - output().info["quantiles"]).max((0, 2))
        assert not changed[:lead].any()
        assert changed[lead:].all()


@pytest.mark.slow
def test_steps_before_a_series_begins_do_not_count():
    """A history that begins with gaps is that of a network of a shorter history, with the same weights."""
    first, short = 2, HISTORY - 2
    gaps = windows().history.copy()
    gaps[:, :first] = np.nan
    own = windows()
    cut = own._replace(history=own.history[:, first:], past=own.past[:, first:], known=own.known[:, first:])
    smaller = TFT(cut.sizes((3, 2)), hidden_size=8, num_heads=2, key=KEY, dtype="float64")
    assert smaller.sizes.history_size == short
    ours, theirs = forward(tft(), windows(history=gaps)), forward(smaller, cut)
    np.testing.assert_allclose(ours.info["quantiles"], theirs.info["quantiles"], rtol=1e-12)
    assert not ours.info["attention"][..., :first].any()
    nothing = forward(tft(), windows(history=np.full((NUM, HISTORY), np.nan)))
    assert np.isfinite(nothing.info["quantiles"]).all()


@pytest.mark.slow
def test_forecasts_have_the_unit_of_the_history():
    """All but the logarithm of the scale is the same; that variable is switched off."""
    network = nnx.clone(tft())
    network.of_static.kernel[...] = network.of_static.kernel[...].at[1].set(0)
    found = [forward(network, windows(history=factor * windows().history)).forecast for factor in (1, 100)]
    np.testing.assert_allclose(100 * found[0], found[1], rtol=1e-10)


@pytest.mark.slow
def test_it_learns_with_dropout():
    data, keys = jax.tree.map(jnp.asarray, windows()), KEY[None]

    def init(key):
        return TFT(windows().sizes((3, 2)), hidden_size=4, num_heads=1, key=key)

    fit = jaxcast.fit(
        data,
        init=init,
        loss=lambda network, batch, key=None: network.loss(batch, key),
        keys=keys,
        optimizer=jaxcast.training.make_optimizer(1e-2),
        num_epochs=30,
        batch_size=NUM,
        with_key=True,
    )
    assert float(fit.losses[0, -1]) < 0.7 * float(fit.losses[0, 0])


@pytest.mark.slow
def test_without_covariates_the_lead_is_known():
    plain = PanelWindows.plain(windows().history, windows().targets)
    network = TFT(plain.sizes(), hidden_size=4, num_heads=1, head="normal", key=KEY)
    assert network.variable_names() == (("log scale",), ("value", "is known"), ("lead",))
    found = jax.eval_shape(network, plain)
    assert found.info["quantiles"].shape == (NUM, LEADS, 11)
    assert found.info["future_weights"].shape == (NUM, LEADS, 1)


@pytest.mark.slow
def test_windows_have_any_batch_axes():
    found = forward(tft(), jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), windows()))
    np.testing.assert_allclose(found.forecast.reshape(NUM, LEADS), output().forecast, rtol=1e-12)
    assert found.info["attention"].shape == (2, 2, LEADS, HISTORY + LEADS)


@pytest.mark.slow
def test_a_saved_network_is_the_same_to_the_bit(tmp_path):
    path = tmp_path / "network"
    jaxcast.save_model(path, tft())
    loaded = jaxcast.load_model(path).pool
    assert loaded.config == tft().config
    np.testing.assert_array_equal(forward(loaded, windows()).info["quantiles"], output().info["quantiles"])


@pytest.mark.parametrize(("size", "heads"), [(2, 2), (5, 1), (6, 3), (7, 1), (9, 3), (12, 4), (40, 4)])
def test_heads_are_by_default_the_most_up_to_four_that_divide_the_size(size, heads):
    assert chosen_heads(size, None) == heads
    assert chosen_heads(size, 2) == 2


@pytest.mark.parametrize("network", [TFT, ConvTrans])
def test_a_hidden_size_alone_makes_a_network(network):
    made = nnx.eval_shape(lambda: network(windows().sizes((3, 2)), hidden_size=6, key=KEY))
    assert made.own_config["num_heads"] == 3


@pytest.mark.slow
def test_bad_settings_and_windows_are_refused():
    sizes = windows().sizes((3, 2))
    for message, call in (
        ("hidden_size must be at least 2, got 1", lambda: TFT(sizes, hidden_size=1, key=KEY)),
        ("num_heads must divide the size 8, got 3", lambda: TFT(sizes, hidden_size=8, num_heads=3, key=KEY)),
        ("dropout must be a finite number", lambda: TFT(sizes, dropout=1.5, key=KEY)),
        ("expected 1 names of past variables", lambda: tft().variable_names(past=["a", "b"])),
        ("it was made for windows of", lambda: tft()(windows(past=np.ones((NUM, HISTORY, 2))))),
    ):
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.slow
def test_importance_is_data_and_a_picture():
    found = jaxcast.series.variable_importance(tft(), windows())
    np.testing.assert_allclose(found.past.mean, np.asarray(output().info["past_weights"]).mean((0, 1)), rtol=1e-6)
    ax = plotting.plot_importance(Figure().subplots(), found.names.past, *found.past, label="weight")
    largest = ax.get_yticklabels()[0].get_text()
    assert largest == found.names.past[int(np.argmax(found.past.mean))]
    attention = jaxcast.series.attention_by_lag(tft(), windows())
    by_hand = np.zeros(HISTORY + LEADS)
    for lead in range(LEADS):
        for step in range(HISTORY + lead + 1):
            by_hand[HISTORY + lead - step] += output().info["attention"][:, lead, step].mean() / LEADS
    np.testing.assert_allclose(attention.weights.mean, by_hand, rtol=1e-6)
    ax = plotting.plot_attention_by_lag(Figure().subplots(), attention.lags, *attention.weights, season=3)
    assert len(ax.lines) == 3  # the attention, and two whole seasons
    with pytest.raises(InputError, match="expected names of"):
        jaxcast.series.variable_importance(tft(), windows(), names=found.names._replace(past=("a",)))
