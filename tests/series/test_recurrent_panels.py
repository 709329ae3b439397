from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxcast
from jaxcast.series import MQRNN, DeepAR, PanelSizes, PanelWindows, Seq2Seq
from tests.series import recurrent_panels as plain
from tests.series.recurrent_panels import BATCH, HISTORY, NUM_LEADS, SIZES, random_windows, scrambled

LEVELS = (0.1, 0.5, 0.9)
WINDOWS = random_windows()
SMALL = {
    DeepAR: {"lags": (2, 5), "hidden_size": 3, "num_paths": 7},
    Seq2Seq: {"hidden_size": 3},
    MQRNN: {"hidden_size": 3, "context_size": 2},
}


def make(kind, sizes=SIZES, *, dtype=jnp.float64, **options):
    return scrambled(kind(sizes, levels=LEVELS, key=jax.random.key(0), dtype=dtype, **SMALL[kind] | options))


@pytest.fixture(scope="module")
def networks():
    return {kind: make(kind) for kind in SMALL}


@jax.jit
def forecast(network, windows):
    return network(windows).info["quantiles"]


@jax.jit
def loss(network, windows, key=None):
    return network.loss(windows, key)


@partial(jax.jit, static_argnums=2)
def draw(network, windows, num_paths):
    return network.paths(windows, num_paths, jax.random.key(1))


def without_dropout(kind, **options):
    return make(kind, dropout=0.0, **options)


def student_t(raw, scale):
    return scipy.stats.t(2 + plain.softplus(raw[:, 2]), scale * raw[:, 0], scale * plain.softplus(raw[:, 1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "precision", "skip_inputs"),
    [(jnp.float64, 1e-12, False), (jnp.float64, 1e-12, True), (jnp.float32, 1e-6, False)],
)
def test_likelihoods_of_deepar_are_those_of_equations_step_by_step(dtype, precision, skip_inputs):
    network = without_dropout(DeepAR, dtype=dtype, skip_inputs=skip_inputs)
    context = network.context_size
    of_leads, of_all, num_leads, num_all = 0.0, 0.0, 0.0, 0.0
    for n in range(BATCH):
        raw, scale = plain.deepar_raw(network, WINDOWS, n)
        truth = np.concatenate([WINDOWS.history[n, -context:], WINDOWS.targets[n]])
        weights = np.concatenate([np.isfinite(truth[:context]), WINDOWS.weights[n]])
        own = -weights * student_t(raw, scale).logpdf(np.nan_to_num(truth))
        of_all, num_all = of_all + own.sum(), num_all + weights.sum()
        of_leads, num_leads = of_leads + own[context:].sum(), num_leads + weights[context:].sum()
    assert abs(float(loss(network, WINDOWS, jax.random.key(0))) - of_all / num_all) < precision * abs(of_all / num_all)
    assert abs(float(loss(network, WINDOWS)) - of_leads / num_leads) < precision * abs(of_leads / num_leads)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "precision"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)])
def test_quantiles_of_seq2seq_and_mqrnn_are_those_of_equations_step_by_step(dtype, precision):
    direct, forking = make(Seq2Seq, dtype=dtype), without_dropout(MQRNN, dtype=dtype)
    ours, theirs = np.asarray(forecast(direct, WINDOWS)), np.asarray(forecast(forking, WINDOWS))
    total, count = 0.0, 0.0
    for n in range(BATCH):
        np.testing.assert_allclose(
            ours[n], plain.seq2seq_quantiles(direct, WINDOWS, n, 1), rtol=precision, atol=40 * precision
        )
        of_steps, scale = plain.mqrnn_quantiles(forking, WINDOWS, n, 1)
        np.testing.assert_allclose(theirs[n], of_steps[-1], rtol=precision, atol=40 * precision)  # of scales
        truth = np.concatenate([WINDOWS.history[n], WINDOWS.targets[n]])
        weights = np.concatenate([np.isfinite(WINDOWS.history[n]), WINDOWS.weights[n]])
        begun = np.flatnonzero(np.isfinite(WINDOWS.history[n]))[0]
        for t in range(begun, HISTORY):
            ahead = slice(t + 1, t + 1 + NUM_LEADS)
            errors = np.nan_to_num(truth[ahead])[:, None] - of_steps[t]
            pinball = np.maximum(errors * LEVELS, errors * (np.asarray(LEVELS) - 1)).mean(-1) / scale
            total, count = total + (weights[ahead] * pinball).sum(), count + weights[ahead].sum()
    assert abs(float(loss(forking, WINDOWS, jax.random.key(0))) - total / count) < precision * total / count


@pytest.mark.slow
def test_paths_continue_the_context_value_by_value():
    """Paths whose distributions are points follow the equations; so does the second half of one path."""
    network = without_dropout(DeepAR, head="normal", skip_inputs=True)
    bias = network.out.bias[...]
    network.out.kernel[...] = network.out.kernel[...].at[:, 1].set(0)
    network.out.bias[...] = bias.at[1].set(-40.0)  # the spread is 1e-6 of the scale
    paths = np.asarray(network.paths(WINDOWS, 2, jax.random.key(0)))
    for n in range(BATCH):
        own = WINDOWS._replace(targets=WINDOWS.targets.copy(), weights=np.ones_like(WINDOWS.weights))
        for lead in range(NUM_LEADS):
            raw, scale = plain.deepar_raw(network, own, n)
            own.targets[n, lead] = scale * raw[network.context_size + lead, 0]
        np.testing.assert_allclose(paths[:, n], np.stack([own.targets[n]] * 2), rtol=1e-4)


@pytest.mark.slow
def test_paths_have_the_moments_of_the_first_lead():
    network = without_dropout(DeepAR, head="normal", lags=(1,))
    paths = np.asarray(draw(network, WINDOWS, 4000))
    for n in range(BATCH):
        raw, scale = plain.deepar_raw(network, WINDOWS, n)
        mean, std = scale * raw[network.context_size, 0], scale * plain.softplus(raw[network.context_size, 1])
        assert abs(paths[:, n, 0].mean() - mean) < 4 * std / 4000**0.5
        assert abs(paths[:, n, 0].std() / std - 1) < 0.05


@pytest.mark.slow
def test_quantiles_of_deepar_are_those_of_its_paths(networks):
    network = networks[DeepAR]
    paths = network.paths(WINDOWS, 7, jax.random.key(0))
    np.testing.assert_allclose(forecast(network, WINDOWS), np.quantile(paths, LEVELS, 0).transpose(1, 2, 0))
    other = network(WINDOWS, key=jax.random.key(5)).info["quantiles"]
    assert (np.asarray(other) != np.asarray(forecast(network, WINDOWS))).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_targets_and_what_is_hidden_by_gaps_change_no_forecast(networks, kind):
    network, first = networks[kind], forecast(networks[kind], WINDOWS)
    other = WINDOWS._replace(targets=WINDOWS.targets + 100, weights=1 - WINDOWS.weights)
    assert (forecast(network, other) == first).all()
    changed = WINDOWS.history.copy()
    changed[:, 2] = np.nan
    assert (forecast(network, WINDOWS._replace(history=changed)) != first).any()
    assert np.isfinite(first).all()
    assert (np.diff(first, axis=-1) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_a_target_of_no_weight_is_not_learned_from(networks, kind):
    hidden = WINDOWS.targets + 50 * (WINDOWS.weights == 0)
    for key in (None, jax.random.key(0)):
        assert loss(networks[kind], WINDOWS._replace(targets=hidden), key) == loss(networks[kind], WINDOWS, key)
    none = WINDOWS._replace(weights=np.zeros_like(WINDOWS.weights))
    assert loss(networks[kind], none) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_further_axes_of_a_batch_forecast_the_same(networks, kind):
    """DeepAR draws other numbers in other batches, so its spread is taken away."""
    network = networks[kind]
    if kind is DeepAR:
        network = make(kind, head="normal")
        network.out.kernel[...] = network.out.kernel[...].at[:, 1].set(0)
        network.out.bias[...] = network.out.bias[...].at[1].set(-40.0)
    first = np.asarray(forecast(network, WINDOWS))
    square = jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), WINDOWS)
    np.testing.assert_allclose(forecast(network, square).reshape(first.shape), first, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_gradients_are_those_of_differences(networks, kind):
    network, key = networks[kind], jax.random.key(3)  # with dropout, the same for all

    def along(step):
        rng = np.random.default_rng(0)
        return jax.tree.map(lambda a: a + step * rng.normal(size=a.shape), network)

    direction = jax.tree.map(lambda new, old: new - old, along(1.0), network)
    gradient = jax.grad(loss)(network, WINDOWS, key)
    slope = sum(jnp.sum(a * b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    difference = (loss(along(1e-5), WINDOWS, key) - loss(along(-1e-5), WINDOWS, key)) / 2e-5
    assert abs(float(slope - difference)) < 1e-6 * abs(float(slope))
    assert loss(network, WINDOWS, key) != loss(network, WINDOWS, jax.random.key(4)) or kind is MQRNN


@pytest.mark.parametrize("kind", SMALL)
def test_a_network_made_of_its_settings_and_arrays_forecasts_the_same_bits(networks, kind):
    network = networks[kind]
    again = kind.from_config(network.config, jaxcast.pytrees.named_leaves(network))
    assert again.config == network.config
    assert (forecast(again, WINDOWS) == forecast(network, WINDOWS)).all()


def test_a_saved_deepar_forecasts_the_same_bits(networks, tmp_path):
    network = networks[DeepAR]
    jaxcast.save_model(tmp_path / "model", network)
    again = jaxcast.load_model(tmp_path / "model").pool
    assert (forecast(again, WINDOWS) == forecast(network, WINDOWS)).all()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["poisson", "mixture", "negative_binomial"])
def test_deepar_draws_what_its_head_is_of(head):
    network = make(DeepAR, head=head)
    counts = WINDOWS._replace(history=np.round(WINDOWS.history), targets=np.round(WINDOWS.targets))
    quantiles = np.asarray(forecast(network, counts))
    assert np.isfinite(loss(network, counts))
    is_whole = (quantiles == np.round(quantiles)).all() and (quantiles >= 0).all()
    assert is_whole == network.head.is_count


@pytest.mark.slow
def test_deepar_learns_the_noise_of_an_autoregression():
    """x_t = 10 + 0.8 (x_(t-1) - 10) + noise of deviation 1: the spread of two leads is known."""
    rng = np.random.default_rng(0)
    values = np.zeros((256, 42))
    for t in range(1, 42):
        values[:, t] = 0.8 * values[:, t - 1] + rng.normal(size=256)
    values = (10 + values[:, 20:]).astype("float32")
    windows = PanelWindows.plain(values[:, :20], values[:, 20:])
    windows = jax.tree.map(lambda a: a.astype("float32") if a.dtype.kind == "f" else a, windows)
    fit = jaxcast.fit(
        windows,
        init=lambda key: DeepAR(windows.sizes(), hidden_size=8, num_layers=1, dropout=0.0, head="normal", key=key),
        loss=lambda network, batch, key: network.loss(batch, key),
        keys=jax.random.key(0)[None],
        optimizer=jaxcast.training.make_optimizer(2e-2),
        num_epochs=30,
        batch_size=64,
        with_key=True,
    )
    network = jax.tree.map(lambda a: a[0], fit.models)
    paths = np.asarray(draw(network, windows, 200))
    errors = paths - (10 + 0.8 ** np.arange(1, 3) * (values[:, 19:20] - 10))
    assert abs(errors.std((0, 1)) - [1, 1.64**0.5]).max() < 0.15
    assert abs(np.corrcoef(errors.reshape(-1, 2).T)[0, 1] - 0.8 / 1.64**0.5) < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lags": (9,)}, "a lag of 9 needs a history of more than 9 steps, got 9"),
        ({"lags": (0,)}, "every lag must be at least 1, got 0"),
        ({"lags": (4,), "context_size": 6}, "context_size must be at most 5, got 6"),
        ({"num_paths": 0}, "num_paths must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout"),
        ({"head": "gamma"}, "head must be one of"),
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(jaxcast.InputError, match=message) as refused:
        DeepAR(SIZES, key=jax.random.key(0), **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", SMALL)
def test_windows_of_other_sizes_are_refused(networks, kind):
    other = WINDOWS._replace(history=WINDOWS.history[:, 1:])
    with pytest.raises(jaxcast.InputError, match="it was made for windows of"):
        networks[kind](other)
    assert networks[kind].sizes == PanelSizes(HISTORY, NUM_LEADS, 1, 2, 1, (3,))
