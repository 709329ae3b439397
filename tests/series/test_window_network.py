"""Networks of windows: lags, calendars, graphs, losses and curricula."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast
from jaxcast import InputError
from jaxcast.nn.layers import Buffer

VALUES = np.random.default_rng(0).normal(size=(40, 3)).cumsum(0)


class Listening(jaxcast.series.GraphNetwork, name="listening_of_tests"):
    """Every node adds what it hears from others, and the slot of the newest step."""

    def __init__(self, samples, *, graphs, key, **options):
        super().__init__(samples, graphs=graphs, **options)
        self.share = nnx.Param(jax.random.uniform(key, (self.num_leads, self.num_outputs)))

    def steps(self, inputs, known, key):
        heard = self.graphs[0] @ (inputs[..., -1, :, :1] - inputs[..., 0, :, :1])
        steps = heard[..., None, :, :] * self.share[:, None]
        return steps, {} if known.slots is None else {"slots": known.slots}

    @property
    def own_config(self):
        return {}


def windows(**options):
    return jaxcast.series.series_windows(VALUES, **({"lags": (0, 1, 7), "leads": (1, 2)} | options))


def listening(samples, **options):
    return Listening(samples, graphs=np.ones((3, 3)) - np.eye(3), key=jax.random.key(0), **options)


@pytest.mark.slow
def test_windows_of_lags_are_steps_of_consecutive_ones():
    lagged, full = windows(), windows(lags=(), history_size=8)
    np.testing.assert_array_equal(lagged.history, full.history[:, [0, 6, 7]])
    np.testing.assert_array_equal(lagged.targets, full.targets)
    assert lagged.lags.steps == (7, 1, 0)
    network = listening(lagged)
    np.testing.assert_array_equal(network(lagged.history, lags=lagged.lags).forecast, network(full.history).forecast)
    with pytest.raises(InputError, match="8 consecutive steps or more, got 5"):
        network(full.history[:, :5])


def test_consecutive_steps_are_never_taken_for_those_of_lags():
    """As many consecutive steps as there are lags were once read as the steps of the lags."""
    lagged = windows()
    network = listening(lagged)
    with pytest.raises(InputError, match=r"8 consecutive steps or more, got 3; .* give also lags=samples.lags"):
        network(jnp.asarray(VALUES[:3]))
    with pytest.raises(InputError, match=r"the lags \(7, 1, 0\), got 3 at \(8, 1, 0\)"):
        network(lagged.history, lags=windows(lags=(0, 1, 8)).lags)
    with pytest.raises(InputError, match=r"the lags \(7, 1, 0\), got 8 at \(7, 1, 0\)"):
        network(jnp.asarray(VALUES[:8]), lags=lagged.lags)


@pytest.mark.slow
def test_a_closed_loop_of_lags_needs_all_steps_between_them():
    """Rows at lags alone would be taken for the next step's rows too, one step off."""
    lagged = windows(leads=(1,))
    network = listening(lagged)
    history = VALUES[:8]
    found = jaxcast.series.RecursiveForecaster(network, (1, 3))(jnp.asarray(history)).forecast
    for _ in range(3):
        history = np.concatenate([history, network(jnp.asarray(history[-8:][[0, 6, 7]]), lags=lagged.lags).forecast])
    np.testing.assert_allclose(found, history[[8, 10]], rtol=1e-6)
    with pytest.raises(InputError, match=r"history of 8 consecutive steps or more, .* got 3"):
        jaxcast.series.RecursiveForecaster(network, (1, 3))(jnp.asarray(VALUES[[0, 6, 7]]))


@pytest.mark.slow
def test_one_scale_for_all_and_no_newest_value():
    samples = windows()
    network = listening(samples, start="mean", levels=(0.1, 0.5, 0.9))
    mean, std = np.mean(samples.history), np.std(samples.history)
    np.testing.assert_allclose(network.mean[...], np.full(3, mean), rtol=1e-12)
    z = (np.asarray(samples.history) - mean) / std
    raw = ((z[:, -1] - z[:, 0]) @ (np.ones((3, 3)) - np.eye(3)))[:, None, :, None] * np.asarray(network.share)[:, None]
    gaps = np.log1p(np.exp(raw))
    expected = np.stack([raw[..., 1] - gaps[..., 0], raw[..., 1], raw[..., 1] + gaps[..., 2]], -1)
    np.testing.assert_allclose(
        network(samples.history, lags=samples.lags).info["quantiles"], mean + std * expected, rtol=1e-6
    )


@pytest.mark.slow
def test_slots_of_a_week_go_back_by_the_lags():
    slots = np.arange(40) % 28
    samples = windows(newest_covariates=slots[:, None].astype(float))
    network = listening(samples, slots_per_day=4)
    found = network(samples.history, samples.covariates, lags=samples.lags).info["slots"]
    rows = np.asarray(samples.rows)[:, 0] - 1
    np.testing.assert_array_equal(found, (rows[:, None] - [7, 1, 0]) % 28)


@pytest.mark.slow
def test_a_stored_network_forecasts_the_same(tmp_path):
    samples = windows(newest_covariates=np.zeros((40, 2)))
    network = listening(samples, slots_per_day=4, levels=(0.2, 0.8))
    jaxcast.save_model(tmp_path / "model", network)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(
        loaded(samples.history, samples.covariates, lags=samples.lags).info["quantiles"],
        network(samples.history, samples.covariates, lags=samples.lags).info["quantiles"],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("squared", lambda y, f, std: ((y - f) / std) ** 2),
        ("absolute", lambda y, f, std: abs(y - f) / std),
        ("huber", lambda y, f, std: np.where(abs(y - f) < std, ((y - f) / std) ** 2 / 2, abs(y - f) / std - 0.5)),
        ("poisson", lambda y, f, std: y * np.log(np.where(y > 0, y, 1) / f) - y + f),
    ],
)
def test_losses_are_means_over_what_is_known(error, expected):
    values = np.random.default_rng(1).poisson(4, (40, 3)).astype(float)
    samples = jaxcast.series.series_windows(values, lags=(0, 1), leads=(1, 2))
    weights = samples.weights.at[::2].set(0)
    samples = samples._replace(weights=weights, targets=jnp.where(weights > 0, samples.targets, jnp.nan))
    network = listening(samples)
    network.share = nnx.Param(0.01 * network.share[...])
    forecasts = np.maximum(network(samples.history, lags=samples.lags).forecast, 1e-6)
    y, std = np.asarray(samples.targets), np.asarray(network.std[...])
    first = expected(y[1::2, :1], forecasts[1::2, :1], std)
    loss = jaxcast.series.WindowLoss(error)
    found = [float(loss(network, samples, num_leads=count)) for count in (1, 2)]
    both = expected(y[1::2], forecasts[1::2], std)
    known = np.asarray(weights)[1::2]
    np.testing.assert_allclose(found, [(first * known[:, :1]).sum() / known[:, :1].sum(), both[known > 0].mean()], 1e-6)
    nothing = samples._replace(weights=0 * weights)
    value, gradient = jax.value_and_grad(loss, allow_int=True)(network, nothing)
    assert value == 0
    assert float(jnp.abs(gradient.share[...]).max()) == 0


def test_a_curriculum_adds_one_lead_after_the_other():
    def loss(model, batch, num_leads=None):
        return 0 * model.weight[...] + (9 if num_leads is None else num_leads)

    class Model(nnx.Module):
        def __init__(self, key):
            self.weight, self.other = nnx.Param(jnp.zeros(())), Buffer(jnp.zeros(()))

    options = {"keys": jax.random.key(0)[None], "optimizer": optax.sgd(0.1), "num_epochs": 6, "batch_size": 2}
    curriculum = jaxcast.training.Curriculum(every=2, warmup=1)
    run = jaxcast.fit(jnp.ones(4), init=Model, loss=loss, curriculum=curriculum, validation=jnp.ones(4), **options)
    assert run.losses[0, 1:].tolist() == [1, 1, 2, 2, 3]
    assert float(run.losses[0, 0]) > 1e6
    assert run.validation_losses[0].tolist() == [9] * 6
    with pytest.raises(InputError, match="every of a curriculum must be"):
        jaxcast.fit(jnp.ones(4), init=Model, loss=loss, curriculum=jaxcast.training.Curriculum(0), **options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("of 3 nodes, got shape", {"graphs": np.ones((2, 2))}),
        ("not negative", {"graphs": -np.ones((3, 3))}),
        ("needs the slot of the week", {"slots_per_day": 24}),
        ("scaling .*must be", {"scaling": "none"}),
        ("start .*must be", {"start": "zero"}),
    ],
)
def test_bad_settings_are_explained(message, options):
    with pytest.raises(InputError, match=message):
        Listening(windows(), **({"graphs": np.ones((3, 3))} | options), key=jax.random.key(0))


@pytest.mark.parametrize(
    "options", [{"history_size": 3, "lags": (0,)}, {"lags": ()}, {"lags": (0, 0)}, {"lags": (-1,)}]
)
def test_a_window_is_given_in_one_way(options):
    with pytest.raises(InputError):
        windows(**options)
