"""CausalTrans against its equations in NumPy, and what it may and may not see."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast
from jaxcast import InputError
from jaxcast.series import CausalTrans, WindowLoss
from jaxcast.series.causal_trans.attention import EffectAttention
from jaxcast.series.causal_trans.fusion import LEAST_SHARE, SLOPE, SpatialFusion
from jaxcast.series.causal_trans.inputs import lead_rows

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
DAY, NODES, LEADS = 4, 3, (1, 2)
WEEK = 7 * DAY
STEPS = np.arange(60)
VALUES = 3 + np.sin(np.pi * STEPS / 2)[:, None, None] + 0.3 * RNG.normal(size=(60, NODES, 2))
HOLIDAY = (STEPS // DAY % 5 == 2).astype(float)[:, None]
EFFECTS = [0.3 * RNG.normal(size=(WEEK, NODES, 2)), RNG.normal(size=(2, NODES, 2))]
GRAPH = np.asarray([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])
LAGS = (0, 1, *(DAY - lead for lead in LEADS), *(2 * DAY - lead for lead in LEADS))


def windows(values=VALUES, **options):
    known = {"past_covariates": HOLIDAY, "newest_covariates": STEPS[:, None] % WEEK, "future_covariates": HOLIDAY}
    return jaxcast.series.series_windows(
        values, **({"lags": LAGS, "leads": LEADS, "targets": (0, 1)} | known | options)
    )


def network(samples=None, **options):
    sizes = {"hidden_size": 4, "num_heads": 2, "num_clusters": 2, "dtype": jnp.float64}
    known = {"treatments": (2,), "slots_per_day": DAY, "demand": (0,), "supply": (1,)}
    samples = windows() if samples is None else samples
    return CausalTrans(
        samples, **({"graphs": GRAPH, "effects": EFFECTS} | sizes | known | options), key=jax.random.key(1)
    )


@pytest.fixture(scope="module")
def model():
    return network()


@jax.jit
def outputs(model, history, covariates):
    return model(history, covariates, lags=windows().lags)


def quantiles(*args):
    return outputs(*args).info["quantiles"]


@jax.jit
def loss_and_slopes(model, samples, key=None):
    return jax.value_and_grad(WindowLoss(teacher_forcing=True))(model, samples, key)


def softmax(x, axis=-1):
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def linear(layer, x):
    bias = 0 if layer.bias is None else np.asarray(layer.bias[...])
    return x @ np.asarray(layer.kernel[...]) + bias


def test_spatial_fusion_is_its_equations_by_loops():
    fusion = SpatialFusion(size=4, num_clusters=3, key=jax.random.key(0), dtype=jnp.float64)
    xs, means = RNG.normal(size=(1, 2, NODES, 4)), RNG.normal(size=(1, NODES, 4))
    neighbours = np.asarray(GRAPH > 0) | np.eye(NODES, dtype=bool)
    found, info = jax.jit(lambda *args: fusion(*args))(xs, means, neighbours)
    clusters, inner = softmax(linear(fusion.clusters, means[0])), linear(fusion.values, means[0])
    weights = np.zeros((NODES, NODES))
    for v in range(NODES):
        near = np.flatnonzero(neighbours[v])
        pair = [np.asarray(fusion.pairs.kernel[...])[:, k] for k in range(2)]
        scores = np.asarray([inner[v] @ pair[0] + inner[u] @ pair[1] for u in near])
        scores = np.where(scores > 0, scores, SLOPE * scores)
        weights[v, near] = softmax(scores + np.log(clusters[near] @ clusters[v] + LEAST_SHARE))
    for t in range(2):
        heard = weights @ linear(fusion.values, xs[0, t])
        near = linear(fusion.of_graph, np.where(heard > 0, heard, np.expm1(heard)))
        queries, keys, values = np.split(linear(fusion.heads, xs[0, t] + near), 3, -1)
        queries, keys = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (queries, keys))
        taylor = 1 + queries @ keys.T
        far = linear(fusion.of_all, taylor @ values / taylor.sum(-1, keepdims=True))
        np.testing.assert_allclose(found[0, t], near + far, atol=1e-5)  # norms are off by 1e-6
    np.testing.assert_allclose(info["clusters"][0], clusters, atol=1e-12)
    np.testing.assert_allclose(info["weights"][0], weights, atol=1e-12)


def test_attention_over_time_has_a_bias_of_effects():
    attention = EffectAttention(size=4, num_heads=2, kernel_size=3, key=jax.random.key(0), dtype=jnp.float64)
    np.testing.assert_array_equal(attention.effect_weights[...], 1)
    attention.effect_weights[...] = jnp.asarray([0.7, -1.3])
    xs, effects = RNG.normal(size=(1, 6, NODES, 4)), RNG.normal(size=(1, 6, NODES))
    found, mean = jax.jit(lambda *args: attention(*args, 2))(xs, effects)
    kernel, bias = (np.asarray(a[...]) for a in (attention.pairs.kernel, attention.pairs.bias))
    weights = np.zeros((NODES, 2, 2, 6))
    for n in range(NODES):
        padded = np.concatenate([np.zeros((2, 4)), xs[0, :, n]])
        pairs = np.stack([sum(padded[t + k] @ kernel[k] for k in range(3)) + bias for t in range(6)])
        values, theta = linear(attention.values, xs[0, :, n]), effects[0, :, n]
        for row, t in enumerate((4, 5)):
            seen = []
            for head, w in enumerate((0.7, -1.3)):
                part = slice(2 * head, 2 * head + 2)
                q, k = pairs[t, :4][part], pairs[: t + 1, 4:][:, part]
                weights[n, head, row, : t + 1] = softmax(k @ q / np.sqrt(2) + w * (theta[t] - theta[: t + 1]))
                seen.append(weights[n, head, row, : t + 1] @ values[: t + 1, part])
            expected = linear(attention.output, np.concatenate(seen))
            np.testing.assert_allclose(found[0, row, n], expected, atol=1e-12)
    np.testing.assert_allclose(mean[0], weights.mean(0), atol=1e-12)


def test_rows_are_recent_or_whole_days_before_a_lead():
    rows = lead_rows((7, 6, 3, 2, 1, 0), (1, 2), 4)
    assert rows.recent == (2, 3, 4, 5)
    assert rows.of_lead.tolist() == [[0, 2], [1, 3]]
    assert lead_rows((2, 1, 0), (1, 2), 0).of_lead.shape == (2, 0)
    assert lead_rows((3, 2, 1, 0), (1, 5, 6), 8).of_lead.tolist() == [[-1], [0], [1]]
    for lags, message in (((2, 1), "the newest step"), ((5, 1, 0), r"without a gap.* got \[5\]")):
        with pytest.raises(InputError, match=message):
            lead_rows(lags, (1, 2), 4)


def test_shapes_levels_and_what_is_told_of_a_forecast(model):
    samples = windows()
    output = outputs(model, samples.history, samples.covariates)
    count = len(samples.history)
    assert output.forecast.shape == (count, 2, NODES, 2)
    assert (np.diff(output.info["quantiles"], axis=-1) > 0).all()
    for kind in ("demand", "supply"):
        info = output.info[kind]
        np.testing.assert_allclose(info["clusters"].sum(-1), 1, rtol=1e-9)
        assert info["attention"].shape == (count, 2, 2, 6)
        assert (info["attention"][:, :, 0, 5] == 0).all()  # the first lead does not see the second
        assert (np.asarray(info["weights"])[:, 2, :2] == 0).all()  # a node without neighbours


def test_demand_comes_before_supply(model):
    samples = windows()
    found = quantiles(model, samples.history, samples.covariates)
    supply = samples.history.at[..., 1].add(1.0)
    other = quantiles(model, supply, samples.covariates)
    np.testing.assert_array_equal(other[..., 0, :], found[..., 0, :])
    assert (np.abs(other - found)[..., 1, :] > 1e-6).all()
    demand = quantiles(model, samples.history.at[..., 0].add(1.0), samples.covariates)
    assert (np.abs(demand - found) > 1e-6).all((1, 2, 4)).all()


def test_the_loss_of_supply_changes_no_weight_of_demand(model):
    samples = windows()
    only = samples._replace(weights=samples.weights.at[..., 0].set(0))
    _, slopes = loss_and_slopes(model, only)
    of_demand, of_supply = (nnx.state(stage, nnx.Param) for stage in (slopes.of_demand, slopes.of_supply))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(of_demand))
    assert sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(of_supply)) > 0.01


@pytest.mark.slow
def test_the_true_demand_is_seen_in_training_by_teacher_forcing_only(model):
    samples, key = windows(), jax.random.key(0)
    forced = samples._replace(weights=samples.weights.at[..., 0].set(1e-9))
    unknown = samples._replace(weights=samples.weights.at[..., 0].set(0))
    without = loss_and_slopes(model, forced)[0]  # without a key, as in validation
    np.testing.assert_allclose(WindowLoss()(model, forced), without, rtol=1e-9)
    assert abs(float(loss_and_slopes(model, forced, key)[0] - without)) > 1e-6
    np.testing.assert_allclose(loss_and_slopes(model, unknown, key)[0], without, rtol=1e-6)


def test_treatments_that_are_planned_change_forecasts(model):
    samples = windows()
    planned = samples.covariates.at[..., 1:].set(1 - samples.covariates[..., 1:])
    apart = quantiles(model, samples.history, planned) - quantiles(model, samples.history, samples.covariates)
    assert (np.abs(apart) > 1e-6).all()


@pytest.mark.slow
def test_training_lowers_the_loss_and_leaves_effects_as_they_are(model):
    samples = windows()
    fit = jaxcast.fit(
        samples, init=lambda key: network(samples), loss=WindowLoss(), keys=jax.random.key(0)[None],
        optimizer=optax.adam(1e-2), num_epochs=6, batch_size=16,
    )  # fmt: skip
    assert fit.losses[0, -1] < 0.8 * fit.losses[0, 0]
    np.testing.assert_array_equal(fit.models.of_demand.effects[0][0], model.of_demand.effects[0][...])
    assert (np.asarray(fit.models.of_demand.attentions[0].effect_weights[0]) != 1).all()


def test_adjusted_forecasts_follow_what_is_usual():
    """What is usual of each slot comes off the history and back onto the forecast, whatever it is."""
    samples = windows()
    usual = RNG.normal(size=(WEEK, NODES, 2))
    one, other = network(samples), network(samples, effects=[EFFECTS[0] + usual, EFFECTS[1]])
    for model in (one, other):
        for stage in (model.of_demand, model.of_supply):  # no other way for effects to be seen
            stage.attentions[0].effect_weights[...] = jnp.zeros(2)
            stage.embeddings[0][...] = jnp.zeros_like(stage.embeddings[0][...])
    newest = np.asarray(samples.rows)[:, :1] - 1
    history = samples.history.at[..., :2].add(usual[(newest - np.asarray(samples.lags.steps)) % WEEK])
    found, moved = quantiles(one, samples.history, samples.covariates), quantiles(other, history, samples.covariates)
    np.testing.assert_allclose(moved, found + usual[np.asarray(samples.rows) % WEEK][..., None], atol=1e-9)


def test_missing_values_are_masked_and_give_finite_forecasts(model):
    samples = windows()
    holes = RNG.random(samples.history.shape) < 0.3
    holes[..., 2] = False
    history = jnp.where(holes, jnp.nan, samples.history)
    assert np.isfinite(quantiles(model, history, samples.covariates)).all()
    _, slopes = loss_and_slopes(model, samples._replace(history=history))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_a_saved_network_gives_the_same_bits(model, tmp_path):
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    samples = windows()
    one, other = (quantiles(m, samples.history, samples.covariates) for m in (model, loaded))
    np.testing.assert_array_equal(one, other)
    assert loaded.config == model.config


def test_demand_alone_without_a_feature_axis():
    samples = jaxcast.series.series_windows(
        VALUES[..., 0], history_size=3, leads=LEADS, newest_covariates=STEPS[:, None] % WEEK
    )
    alone = CausalTrans(
        samples, graphs=GRAPH, effects=[EFFECTS[0][..., 0]], slots_per_day=DAY, hidden_size=4, num_heads=1,
        levels=(), start="mean", num_layers=2, key=jax.random.key(0),
    )  # fmt: skip
    output = jax.jit(lambda history, covariates: alone(history, covariates))(samples.history[3], samples.covariates[3])
    assert output.forecast.shape == (2, NODES)
    assert set(output.info) == {"demand"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"demand": (0, 1)}, "each of the targets"),
        ({"supply": (2,)}, "each of the targets"),
        ({"effects": EFFECTS[:1]}, "got 1 arrays"),
        ({"effects": [EFFECTS[0][:5], EFFECTS[1]]}, "28 slots of a week, got 5"),
        ({"effects": [EFFECTS[0] * np.nan, EFFECTS[1]]}, "finite effects"),
        ({"effects": [EFFECTS[0], EFFECTS[1][:, :2]]}, r"effects \(level, 3, 2\)"),
        ({"treatments": (1,)}, "among the features"),
        ({"level": "window"}, "give adjusted=False"),
        ({"num_heads": 3}, "num_heads must divide"),
        ({"dropout": 1.0}, "dropout must be a share"),
        ({"leads": (1, 2, 3)}, "the 2 leads"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        network(**change)


def test_treatments_need_levels_at_the_leads():
    with pytest.raises(InputError, match="give them as future_covariates"):
        network(windows(future_covariates=None))
