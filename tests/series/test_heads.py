"""Networks of windows with the heads of distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import jaxcast
from jaxcast.pytrees import named_leaves

RNG = np.random.default_rng(1)
COUNTS = RNG.poisson([[3.0, 40.0]], (40, 2)).astype(float)
LEVELS = (0.1, 0.5, 0.9)
HEADS = ("normal", "student_t", "negative_binomial", "poisson", "mixture")


def samples_of(values=COUNTS):
    return jaxcast.series.series_windows(values, history_size=4, leads=(1, 2))


def make(head, levels=LEVELS, samples=None, **options):
    samples = samples_of() if samples is None else samples
    options = {"hidden_size": 3, "kind": "rnn", "dtype": jnp.float64, "key": jax.random.key(0)} | options
    return jaxcast.series.GlobalNetwork(samples, head=head, levels=levels, **options)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_quantiles_and_the_loss_are_those_of_the_distribution(head, tmp_path):
    network, samples = make(head), samples_of()
    output = network(samples.history)
    quantiles = np.asarray(output.info["quantiles"])
    assert quantiles.shape == (*samples.targets.shape, 3)
    assert (np.diff(quantiles) >= 0).all()
    np.testing.assert_array_equal(output.forecast, quantiles[..., 1])
    distribution, _ = network.distribution(samples.history)
    weights = np.ones(samples.targets.shape)
    weights[0] = 0
    unknown = samples._replace(weights=weights, targets=samples.targets.at[0].set(np.nan))
    loss = jaxcast.series.WindowLoss()(network, unknown)
    np.testing.assert_allclose(loss, -np.asarray(distribution.log_prob(samples.targets))[1:].mean(), rtol=1e-12)
    jaxcast.save_model(tmp_path / "network", network)
    loaded = jaxcast.load_model(tmp_path / "network").pool
    np.testing.assert_array_equal(loaded(samples.history).info["quantiles"], quantiles)


@pytest.mark.slow
def test_parameters_are_relative_to_the_newest_value():
    network, samples = make("normal"), samples_of()
    zeros = jax.tree.map(jnp.zeros_like, network.read_out)
    network.read_out = zeros
    distribution, _ = network.distribution(samples.history)
    newest = np.broadcast_to(samples.history[:, -1:], samples.targets.shape)
    expected = scipy.stats.norm.logpdf(samples.targets, newest, np.asarray(network.std[...]) * np.log(2))
    np.testing.assert_allclose(distribution.log_prob(samples.targets), expected, rtol=1e-10)
    network = make("poisson", levels=())
    network.read_out = zeros = jax.tree.map(jnp.zeros_like, network.read_out)
    std = np.asarray(network.std[...])
    np.testing.assert_allclose(network(samples.history).forecast, std * np.log1p(np.exp(newest / std)), rtol=1e-10)


@pytest.mark.slow
def test_a_distribution_is_learned():
    # Noise of standard deviation 2 around 5: forecasts can know no more than that.
    values = 5 + 2 * RNG.normal(size=(400, 1))
    samples = samples_of(values)
    run = jaxcast.fit(
        samples,
        init=lambda key: make("normal", samples=samples, key=key),
        keys=jax.random.key(0)[None],
        optimizer=optax.adam(0.03),
        num_epochs=15,
        batch_size=64,
        loss=jaxcast.series.WindowLoss(),
    )
    best = float(scipy.stats.norm(values.mean(), values.std()).logpdf(values).mean())
    assert abs(run.losses[0, -1] + best) < 0.05
    assert run.losses[0, 0] > 0.2 - best


@pytest.mark.slow
def test_targets_of_counts_must_be_counts():
    values = COUNTS.copy()
    values[30, 1] = 0.5
    for head in ("poisson", "negative_binomial"):
        with pytest.raises(jaxcast.InputError, match=r"expected counts in the targets, .* got 0.5 at index"):
            make(head, samples=samples_of(values))
    values[30, 1] = np.nan
    make("poisson", samples=samples_of(values))


def test_heads_are_named_or_refused():
    with pytest.raises(jaxcast.InputError, match="head must be one of"):
        make("gaussian")
    with pytest.raises(jaxcast.InputError, match="makes point forecasts"):
        make("quantiles", levels=()).distribution(samples_of().history)
    assert "head" not in make("quantiles").config
    assert make("normal").config["head"] == "normal"


@pytest.mark.slow
def test_every_network_takes_a_head():
    samples = samples_of(RNG.poisson(3.0, (30, 4)).astype(float))
    options = {"key": jax.random.key(0), "levels": LEVELS, "head": "student_t"}
    graphs, series = np.ones((4, 4)) - np.eye(4), jaxcast.series
    makers = [
        lambda: series.IndependentNetwork(samples, hidden_size=2, **options),
        lambda: series.HierarchicalNetwork(samples, hidden_size=2, **options),
        lambda: series.AttentionNetwork(samples, hidden_size=4, **options),
        lambda: series.STGCN(samples, graphs=graphs, channels=((2, 2),), kernel_size=2, order=1, **options),
        lambda: series.GraphWaveNet(samples, graphs=graphs, hidden_size=2, skip_size=2, output_size=2, **options),
        lambda: series.DCRNN(samples, graphs=graphs, hidden_size=2, num_layers=1, **options),
        lambda: series.D2STGNN(samples, graphs=graphs, hidden_size=4, num_layers=1, **options),
        lambda: series.STMGCN(samples, graphs=graphs, hidden_size=2, output_size=2, num_layers=1, **options),
        lambda: series.DMVSTNet(samples, rows=2, graphs=graphs, num_eigenvectors=2, **options),
        lambda: series.STResNet(samples, rows=2, branches=(4,), **options),
        lambda: series.CSTN(samples, rows=2, hidden_size=2, **options),
        lambda: series.MRSTN(samples, num_filters=2, hidden_size=2, **options),
    ]
    for make_network in makers:
        network = jax.eval_shape(make_network)
        assert network.head == jaxcast.distributions.StudentTHead()
        found = jax.eval_shape(lambda network: network(samples.history), network)
        assert found.info["quantiles"].shape == (*samples.targets.shape, 3), type(network)
        assert type(network).from_config(network.config, named_leaves(network)).head_name == "student_t"
