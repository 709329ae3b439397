"""OD-CED and its coarsening: clusters, masses, equations, permutations, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.errors import InputError
from jaxcast.pytrees import named_leaves
from jaxcast.series.od.coarsening import assignment_of
from jaxcast.series.od.usual_flows import low_rank_flows, slot_means

N, CLUSTERS, LAGS = 5, (0, 1, 0, 1, 2), (0, 1, 14)
CHAIN = np.eye(N, k=1) + np.eye(N, k=-1)


def grid(rows, columns):
    """Returns the adjacency of a grid, edges and corners."""
    at = np.stack(np.divmod(np.arange(rows * columns), columns), -1)
    return (np.abs(at[:, None] - at).max(-1) == 1).astype(float)


def random_flows(num_zones, seed=0):
    return np.random.default_rng(seed).poisson(3, (6, num_zones, num_zones)).astype(float)


def is_connected(members, edges):
    reach = np.linalg.matrix_power(np.eye(len(members)) + edges[np.ix_(members, members)], len(members))
    return (reach > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_connected_small_and_never_more_for_a_larger_size(seed):
    edges = grid(4, 6)
    edges[:, 23] = edges[23] = 0  # an island
    flows = random_flows(24, seed)
    flows[:, 3] = flows[:, :, 3] = 0  # a zone without trips
    numbers = []
    for size in range(1, 9):
        clusters = jaxcast.series.coarsen_zones(flows, edges, max_cluster_size=size, least_share=0.05, seed=seed)
        members = [np.flatnonzero(clusters == label) for label in range(clusters.max() + 1)]
        assert all(1 <= len(zones) <= size and is_connected(zones, edges) for zones in members)
        numbers.append(len(members))
    assert numbers[0] == 24
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] < 10


def test_clusters_are_the_same_for_the_same_seed_and_follow_planted_profiles():
    edges, flows = grid(4, 4), np.zeros((2, 16, 16))
    left = np.arange(16) % 4 < 2
    flows[0][np.ix_(left, left)] = flows[1][np.ix_(~left, ~left)] = 5
    flows += 0.1
    make = lambda seed: jaxcast.series.coarsen_zones(flows, edges, max_cluster_size=8, seed=seed)  # noqa: E731
    np.testing.assert_array_equal(make(0), make(0))
    for seed in range(3):
        assert all(len(set(left[make(seed) == label])) == 1 for label in set(make(seed)))


def test_merged_flows_keep_every_trip():
    flows = random_flows(24)
    clusters = jaxcast.series.coarsen_zones(flows, grid(4, 6), max_cluster_size=4)
    one_hot = assignment_of(clusters)
    expected = np.einsum("ia,tij,jb->tab", one_hot, flows, one_hot)
    merged = np.asarray(jaxcast.series.merge_flows(flows, clusters))
    np.testing.assert_array_equal(merged, expected)
    np.testing.assert_array_equal(merged.sum((1, 2)), flows.sum((1, 2)))


@pytest.fixture(scope="module")
def trips():
    rates = np.random.default_rng(1).gamma(1, 3, N * N) * np.linspace(0.5, 2, 14)[:, None]
    return np.random.default_rng(2).poisson(np.tile(rates, (5, 1))).astype(float)


def samples_of(trips, **options):
    slots = (np.arange(len(trips)) % 14).astype(float)[:, None]
    options = {"lags": LAGS, "leads": (1, 2), "newest_covariates": slots} | options
    return jaxcast.series.series_windows(trips, **options)


@pytest.fixture(scope="module")
def samples(trips):
    return samples_of(trips)


def network_of(samples, **options):
    """Returns a small network whose every parameter is random, so that each has an effect."""
    sizes = {"hidden_size": 4, "num_heads": 2, "embedding_size": 3, "residual_rank": 2, "usual_rank": 2}
    sizes["dtype"] = jnp.float64
    options = {"adjacency": CHAIN, "clusters": CLUSTERS, "slots_per_day": 2, **sizes} | options
    network = jaxcast.series.ODCED(samples, key=jax.random.key(0), **options)
    if network.decoder.rank:
        network.decoder.own[...] = jax.random.normal(jax.random.key(1), network.decoder.own.shape) / 3
        network.decoder.gate[...] = jnp.asarray([0.7, -0.2])
    return network


def forecasts(network, samples):
    return network(samples.history, samples.covariates, lags=samples.lags)


def arrays_of(module):
    return {name[1:].removesuffix(".value"): np.asarray(array) for name, array in named_leaves(module).items()}


def test_slot_means_use_each_row_of_the_training_part_once(trips):
    samples = samples_of(trips, stop=60)
    # Rows 0 to 58 are in a history; the last target, row 59, is not, nor is anything after it.
    expected = np.stack([trips[:59][np.arange(59) % 14 == slot].mean(0) for slot in range(14)])
    np.testing.assert_allclose(slot_means(samples, 14), expected, rtol=1e-12)
    assert np.isfinite(slot_means(samples._replace(history=samples.history.at[:, :, 3].set(jnp.nan)), 14)).all()


def test_low_rank_flows_keep_margins_and_reproduce_means_at_full_rank():
    means = np.random.default_rng(0).gamma(1, 2, (6, 10))
    means[:, 4] = 0
    of_slots, of_pairs = low_rank_flows(means, 6)
    np.testing.assert_allclose(of_slots @ of_pairs, means, atol=1e-12)
    for rank in (0, 2):
        of_slots, of_pairs = low_rank_flows(means, rank)
        assert of_slots.shape == (6, rank + 1)
        np.testing.assert_allclose((of_slots @ of_pairs).sum(0), means.sum(0), atol=1e-12)
        np.testing.assert_allclose((of_slots @ of_pairs).sum(1), means.sum(1), atol=1e-12)


def dense(n, name, xs):
    return xs @ n[f"{name}.kernel"] + n[f"{name}.bias"]


def relu(xs):
    return np.maximum(xs, 0)


def sigmoid(xs):
    return 1 / (1 + np.exp(-xs))


def two_layers(n, name, xs):
    return dense(n, f"{name}.second", relu(dense(n, f"{name}.first", xs)))


def attention_of(n, z):
    """Returns what two heads see, head by head."""
    joint = z @ n["encoder.attention.input_kernel"] + n["encoder.attention.input_bias"]
    seen = []
    for head in range(2):
        q, k, v = (joint[:, 4 * part + 2 * head :][:, :2] for part in range(3))
        weights = np.exp(q @ k.T / np.sqrt(2))
        seen.append(weights / weights.sum(1, keepdims=True) @ v)
    return np.concatenate(seen, 1) @ n["encoder.attention.output_kernel"] + n["encoder.attention.output_bias"]


def encoded(n, ratios, season, calendar):
    pairs = np.concatenate([ratios, season[None]])
    ends = []
    for end, matrices in (("origins", pairs), ("destinations", np.swapaxes(pairs, 1, 2))):
        zones = n[f"encoder.{end}.zones"]
        rows = [
            np.mean([two_layers(n, f"encoder.{end}.psi", np.r_[matrices[:, a, b], zones[b]]) for b in range(3)], 0)
            for a in range(3)
        ]
        ends.append(two_layers(n, f"encoder.{end}.rho", np.stack(rows)))
    z = relu(dense(n, "encoder.joint", np.concatenate([*ends, np.tile(calendar, (3, 1))], 1)))
    semantic = attention_of(n, z)
    touching = assignment_of(CLUSTERS).T @ CHAIN @ assignment_of(CLUSTERS)
    np.fill_diagonal(touching, 0)
    root = np.diag(touching.sum(1) ** -0.5)
    geographic = relu(dense(n, "encoder.geographic", root @ touching @ root @ z))
    gate = sigmoid(dense(n, "encoder.gate", np.concatenate([semantic, geographic], 1)))
    return z + gate * semantic + (1 - gate) * geographic


@pytest.mark.slow
def test_od_ced_is_the_equations(samples):
    network = network_of(samples)
    n, size, heads = arrays_of(network), 4, CLUSTERS
    output = forecasts(network, samples)
    output = output._replace(forecast=output.forecast[7], info={name: a[7] for name, a in output.info.items()})
    one_hot, slot = assignment_of(CLUSTERS), int(samples.covariates[7, 0])
    recent = np.asarray(samples.history[7], float).reshape(3, N, N)
    table = np.maximum(n["usual.of_slots"] @ n["usual.of_pairs"], n["usual.least"]).reshape(14, N, N)
    usual, expected = table[[(slot - lag) % 14 for lag in LAGS[::-1]]], table[[(slot + lead) % 14 for lead in (1, 2)]]
    mean = np.maximum(n["usual.of_slots"].mean(0) @ n["usual.of_pairs"], n["usual.least"]).reshape(N, N)
    merge = lambda matrix: one_hot.T @ matrix @ one_hot  # noqa: E731
    ratio = lambda matrix, other: np.log((matrix + 1) / (other + 1))  # noqa: E731
    calendar = n["calendar"][(slot + 1) % 14]
    z = encoded(n, ratio(merge(recent), merge(usual)), ratio(merge(expected[0]), merge(mean)), calendar)
    # Trips between clusters.
    ends = dense(n, "decoder.ends", z).reshape(3, 2, 2, size)
    product = np.einsum("akc,bkc->kab", ends[:, 0], ends[:, 1]) / 2
    merged_flows = merge(expected) * np.log1p(np.exp(product + n["decoder.start"]))
    np.testing.assert_allclose(output.info["cluster_flows"], merged_flows, rtol=1e-9)
    # Shares of zones.
    flows = [ratio(recent.sum(axis), usual.sum(axis)).T for axis in (2, 1)]
    zones = np.concatenate([*flows, n["decoder.zones"], np.tile(calendar, (N, 1))], 1)
    zones = relu(two_layers(n, "decoder.zone_state", zones))
    similarity = dense(n, "decoder.similarity", zones).reshape(N, 2, 2, size)
    logits = 5 * np.tanh((similarity * ends[list(heads)]).sum(-1) / 2 / 5)
    weights = dense(n, "decoder.factors", np.concatenate([zones, z[list(heads)]], 1)).reshape(N, 2, 2, 2)
    own = np.log1p(np.exp(n["decoder.pseudo_trips"]))[:, None, None]
    gate = sigmoid(0.7 * np.log(mean / mean.mean()) - 0.2)
    forecast = np.zeros((2, N, N))
    for lead in range(2):
        for i in range(N):
            for j in range(N):
                block = np.outer(one_hot[:, heads[i]], one_hot[:, heads[j]])
                share = expected[lead] * np.exp(logits[:, 0, lead, None] + logits[None, :, 1, lead])
                part = share[i, j] / (share * block).sum() * merged_flows[lead, heads[i], heads[j]]
                residual = weights[i, 0, lead] @ weights[j, 1, lead] / np.sqrt(2)
                pair = np.log((recent + own) / (usual + own))[:, i, j]
                forecast[lead, i, j] = part * np.exp(gate[i, j] * (residual + n["decoder.own"][lead] @ pair))
    np.testing.assert_allclose(output.forecast, forecast.reshape(2, -1), rtol=1e-9)


@pytest.mark.slow
def test_without_a_residual_zones_share_the_trips_of_super_zones_exactly(samples):
    network = network_of(samples, residual_rank=0)
    output = forecasts(network, samples)
    flows = output.forecast.reshape(*output.forecast.shape[:2], N, N)
    merged = jaxcast.series.merge_flows(flows, CLUSTERS)
    np.testing.assert_allclose(merged, output.info["cluster_flows"], rtol=1e-9)


@pytest.mark.slow
def test_permuting_zones_permutes_the_forecasts_and_changes_nothing_else(trips, samples):
    order = np.asarray([3, 0, 4, 1, 2])
    pairs = np.arange(N * N).reshape(N, N)[np.ix_(order, order)].ravel()
    network = network_of(samples)
    permuted_samples = samples_of(trips[:, pairs])
    permuted = network_of(permuted_samples, adjacency=CHAIN[np.ix_(order, order)], clusters=np.asarray(CLUSTERS)[order])
    permuted.decoder.zones[...] = network.decoder.zones[...][order]
    forecast = forecasts(network, samples).forecast[..., pairs]
    np.testing.assert_allclose(forecasts(permuted, permuted_samples).forecast, forecast, rtol=1e-9)


@pytest.mark.slow
def test_permuting_super_zones_changes_nothing(samples):
    network, order = network_of(samples), np.asarray([2, 0, 1])
    permuted = network_of(samples, clusters=tuple(int(np.argsort(order)[label]) for label in CLUSTERS))
    for end in (permuted.encoder.origins, permuted.encoder.destinations):
        end.zones[...] = end.zones[...][order]
    outputs = [forecasts(model, samples).forecast for model in (network, permuted)]
    np.testing.assert_allclose(*outputs, rtol=1e-9)


@pytest.mark.slow
def test_od_ced_is_saved_and_read_to_the_bit(samples, tmp_path):
    network = network_of(samples, levels=(0.1, 0.5, 0.7, 0.9), leads=(1, 3))
    jaxcast.save_model(tmp_path / "model", network)
    outputs = [forecasts(model, samples) for model in (network, jaxcast.load_model(tmp_path / "model").pool)]
    np.testing.assert_array_equal(outputs[0].forecast, outputs[1].forecast)
    quantiles = outputs[1].info["quantiles"]
    assert (jnp.diff(quantiles, axis=-1) > 0).all()
    assert (quantiles >= 0).all()


@pytest.mark.slow
def test_empty_zones_and_gaps_give_numbers_and_gradients(trips):
    trips = trips.copy()
    matrices = trips.reshape(-1, N, N)
    matrices[:, 1] = matrices[:, :, 2] = 0  # a zone without departures, one without arrivals
    trips[20:24] = np.nan
    trips[:, 9] = np.nan  # a pair that is never known
    samples = samples_of(trips)
    network = network_of(samples)
    loss, gradient = jax.jit(jax.value_and_grad(jaxcast.series.WindowLoss("poisson"), allow_int=True))(network, samples)
    assert np.isfinite(loss)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(gradient) if leaf.dtype == np.float64)
    forecast = np.asarray(forecasts(network, samples).forecast).reshape(-1, N, N)
    assert np.isfinite(forecast).all()
    assert (forecast >= 0).all()
    assert forecast[:, 1].max() < 0.01 * forecast.mean()


def test_od_ced_works_without_a_calendar_and_finds_clusters_itself(trips):
    samples = samples_of(trips, newest_covariates=None)
    network = network_of(samples, slots_per_day=0, clusters=(), adjacency=None, max_cluster_size=2, least_share=0.0)
    assert max(np.bincount(network.clusters)) == 2
    assert np.isfinite(forecasts(network, samples).forecast).all()


def test_od_ced_refuses_what_it_cannot_forecast(trips, samples):
    for text, make in (
        ("not negative, got -1", lambda: network_of(samples_of(np.where(trips == trips.max(), -1, trips)))),
        ("not a square number", lambda: network_of(samples_of(trips[:, :24]))),
        ("without gaps", lambda: network_of(samples, clusters=(0, 0, 2, 2, 2))),
        (
            "2 along the axis zone, where adjacency has 5|cluster of each of 5 zones",
            lambda: network_of(samples, clusters=(0, 0)),
        ),
        (
            "5 along the axis zone, where adjacency has 4|adjacency of 5 zones",
            lambda: network_of(samples, adjacency=np.ones((4, 4))),
        ),
        ("symmetric", lambda: network_of(samples, adjacency=np.triu(np.ones((N, N))))),
        ("level must be", lambda: network_of(samples, level="window")),
        ("steps ahead of 2 leads", lambda: network_of(samples, leads=(1,))),
        ("first covariate", lambda: network_of(samples_of(trips, newest_covariates=None))),
    ):
        with pytest.raises(InputError, match=text) as error:
            make()
        assert "\n" not in str(error.value)


def test_coarsening_refuses_bad_flows():
    flows = random_flows(4)
    for text, arguments in (
        ("not negative", (-flows, grid(2, 2))),
        ("adjacency of 4 zones", (flows, grid(2, 3))),
        ("symmetric", (flows, np.triu(grid(2, 2)))),
    ):
        with pytest.raises(InputError, match=text):
            jaxcast.series.coarsen_zones(*arguments, max_cluster_size=2)


def planted_trips(num_days=60, num_zones=9):
    """Returns trips and their rates: usual ones by slot, times a level of each origin that drifts by the hour."""
    random = np.random.default_rng(5)
    usual = random.gamma(0.6, 2.5, (num_zones, num_zones)) * (1.2 + np.sin(np.arange(8) * np.pi / 4))[:, None, None]
    level, rates = np.zeros(num_zones), []
    for step in range(8 * num_days):
        level = 0.95 * level + 0.15 * random.normal(size=num_zones)
        rates.append(usual[step % 8] * np.exp(level)[:, None])
    rates = np.stack(rates).reshape(len(rates), -1)
    return random.poisson(rates).astype(np.float32), rates


@pytest.mark.slow
def test_training_finds_levels_that_drift():
    trips, rates = planted_trips()
    slots = (np.arange(len(trips)) % 56).astype(np.float32)[:, None]
    cut, options = 400, {"lags": (0, 1, 2, 3), "leads": (1,), "newest_covariates": slots}
    learned = jaxcast.series.series_windows(trips, stop=cut, **options)
    held_out = jaxcast.series.series_windows(trips, start=cut, **options)
    sizes = {"max_cluster_size": 3, "hidden_size": 16, "usual_rank": 2, "slots_per_day": 8}
    fitted = jaxcast.fit(
        learned,
        init=lambda key: jaxcast.series.ODCED(learned, adjacency=grid(3, 3), key=key, **sizes),
        loss=jaxcast.series.WindowLoss("poisson"),
        keys=jax.random.key(0)[None],
        optimizer=jaxcast.training.make_optimizer(5e-3, clip_norm=1.0),
        num_epochs=30,
        batch_size=32,
    )
    network = jax.tree.map(lambda a: a[0], fitted.models)
    forecast = np.asarray(network(held_out.history, held_out.covariates, lags=held_out.lags).forecast)[:, 0]
    rows, truth = np.asarray(held_out.rows)[:, 0], np.asarray(held_out.targets)[:, 0]
    usual = np.stack([trips[:cut][np.arange(cut) % 8 == slot].mean(0) for slot in range(8)])[rows % 8]
    excess = lambda rate: ((rate - rates[rows]) ** 2).mean()  # noqa: E731
    assert excess(forecast) < 0.5 * excess(usual)
    assert ((forecast - truth) ** 2).mean() < ((usual - truth) ** 2).mean()
