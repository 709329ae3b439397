import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.neuro import BrainGNN, BrainGNNLoss, BrainGNNMethod, fit_subject_classifier, simulate_subjects
from jaxcast.neuro.classifiers import networks
from jaxcast.neuro.classifiers.abstract import rows_of
from jaxcast.neuro.classifiers.brain_gnn_layers import Pooled, RegionConvolution, TopKPool, augmented, num_kept
from jaxcast.neuro.classifiers.brain_gnn_method import strongest
from jaxcast.neuro.classifiers.networks import validation_split
from jaxcast.training.fitting import FitResult

KEY = jax.random.key(0)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


@pytest.fixture(scope="module")
def graph():
    rng = np.random.default_rng(0)
    edges = rng.uniform(size=(3, 5, 5)) * (rng.uniform(size=(3, 5, 5)) < 0.5)
    edges = edges + np.swapaxes(edges, 1, 2)
    edges[:, np.arange(5), np.arange(5)] = 0
    return jnp.asarray(rng.normal(size=(3, 5, 4)), jnp.float32), jnp.asarray(edges, jnp.float32)


def convolution(aggregation="sum"):
    return RegionConvolution(
        num_regions=5,
        num_communities=3,
        input_size=4,
        output_size=2,
        aggregation=aggregation,
        key=KEY,
        dtype=jnp.float32,
    )


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_convolution_is_that_of_its_equation(aggregation, graph):
    inputs, edges = (np.asarray(each) for each in graph)
    layer = convolution(aggregation)
    basis, shared = np.asarray(layer.basis[...]), np.asarray(layer.shared[...])
    memberships = np.maximum(np.asarray(layer.memberships[...]), 0)
    expected = np.zeros((3, 5, 2))
    for b, i in np.ndindex(3, 5):
        seen = [j for j in range(5) if edges[b, i, j] != 0 or j == i]
        weights = np.exp([1.0 if j == i else edges[b, i, j] for j in seen])
        weights /= weights.sum()
        for j, weight in zip(seen, weights, strict=True):
            kernel = sum(memberships[j, k] * basis[k] for k in range(3)) + shared
            expected[b, i] += weight * inputs[b, j] @ kernel
        if aggregation == "mean":
            expected[b, i] /= len(seen)
    np.testing.assert_allclose(layer.of_all(*graph), expected, atol=1e-5)
    order = np.asarray([3, 0, 4, 1, 2])
    some = layer.of_some(graph[0][:, order], graph[1][:, order][:, :, order], jnp.tile(order, (3, 1)))
    np.testing.assert_allclose(some, expected[:, order], atol=1e-5)


def test_each_region_begins_in_the_community_of_its_module():
    layer, modules = convolution(), np.asarray([0, 0, 1, 2, 2])
    before, random = layer._kernels(), np.asarray(layer.memberships[...])
    layer.begin_as(modules)
    found = np.asarray(layer.communities)
    assert (found.argmax(1) == modules).all()
    np.testing.assert_allclose(found - np.eye(3)[modules], random / 3, atol=1e-6)  # (3 / 3)^(1/2) is 1
    assert 0.5 < float(layer._kernels().std() / before.std()) < 2


@pytest.mark.slow
def test_pooling_keeps_the_best_nodes_and_joins_neighbours_of_neighbours(graph):
    states, edges = (np.asarray(each) for each in graph)
    pool = TopKPool(size=4, ratio=0.5, standardize=True, key=KEY, dtype=jnp.float32)
    found = pool(*graph)
    direction = np.asarray(pool.direction[...])
    projected = states @ direction / np.linalg.norm(direction)
    projected = (projected - projected.mean(1, keepdims=True)) / projected.std(1, keepdims=True)
    np.testing.assert_allclose(found.logits, projected, atol=1e-4)
    kept = np.argsort(-projected, 1)[:, :3]
    assert (np.asarray(found.kept) == kept).all()
    for b in range(3):
        expected = states[b, kept[b]] * sigmoid(projected[b, kept[b]])[:, None]
        np.testing.assert_allclose(found.states[b], expected, atol=1e-4)
        inner = edges[b][np.ix_(kept[b], kept[b])] + np.eye(3)
        squared = inner @ inner
        np.testing.assert_allclose(found.edges[b], squared - np.diag(np.diag(squared)), atol=1e-5)
    assert not np.diagonal(augmented(graph[1]), axis1=1, axis2=2).any()
    assert [num_kept(5, 0.5), num_kept(100, 0.5), num_kept(3, 0.1)] == [3, 50, 1]


@pytest.fixture(scope="module")
def pooled():
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(5, 6)), jnp.float32)
    kept = jnp.argsort(-logits, 1)[:, :3]
    return Pooled(jnp.zeros((5, 3, 1)), jnp.zeros((5, 3, 3)), kept, logits)


def pairs(scores, labels):
    """The consistency term as a sum over pairs."""
    total = 0.0
    for label in set(labels.tolist()):
        own = scores[labels == label]
        between = [np.square(a - b).sum() for n, a in enumerate(own) for b in own[:n]]
        total += sum(between) / len(own) ** 2
    return total


@pytest.mark.slow
def test_the_clean_loss_scores_all_regions_in_their_order(pooled):
    scores, labels = sigmoid(np.asarray(pooled.logits)), np.asarray([0, 1, 1, 0, 1])
    ranked = np.sort(scores, 1)
    expected = -np.log(ranked[:, 3:]).mean() - np.log(1 - ranked[:, :3]).mean()
    loss = BrainGNNLoss()
    assert float(loss.top_k(pooled, 0.5)) == pytest.approx(expected, rel=1e-5)
    found = loss.consistency(pooled, jnp.asarray(labels), num_classes=2)
    assert float(found) == pytest.approx(pairs(scores, labels), rel=1e-4)


@pytest.mark.slow
def test_the_slips_of_the_published_code_are_options(pooled):
    labels = np.asarray([0, 1, 1, 0, 1])
    once = sigmoid(np.sort(np.asarray(pooled.logits), 1)[:, 3:][:, ::-1])
    twice, thrice = sigmoid(once), sigmoid(sigmoid(once))
    slip = BrainGNNLoss(scored_nodes="kept", sigmoid="again")
    ranked = np.sort(twice, 1)
    expected = -np.log(ranked[:, -1:]).mean() - np.log(1 - ranked[:, :1]).mean()
    assert float(slip.top_k(pooled, 0.5)) == pytest.approx(expected, rel=1e-5)
    found = slip.consistency(pooled, jnp.asarray(labels), num_classes=2)
    assert float(found) == pytest.approx(pairs(thrice, labels), rel=1e-3)
    again = BrainGNNLoss(sigmoid="again")
    everywhere = sigmoid(sigmoid(np.sort(np.asarray(pooled.logits), 1)))
    expected = -np.log(everywhere[:, 3:]).mean() - np.log(1 - everywhere[:, :3]).mean()
    assert float(again.top_k(pooled, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_edges_are_the_strongest_positive_pairs():
    weights = np.asarray([[[1, 0.5, -0.9, 0.1], [0.5, 1, 0.3, 0.2], [-0.9, 0.3, 1, -0.1], [0.1, 0.2, -0.1, 1]]])
    found = strongest(weights, 1 / 3)[0]
    assert {tuple(pair) for pair in np.argwhere(found).tolist()} == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert (strongest(-np.abs(weights), 1.0) == 0).all()


def test_folds_of_nearly_one_size_are_trained_alike():
    sizes = set()
    for size in (931, 932):
        train, validation = validation_split(np.arange(size) % 2, 0.1, 64)
        assert not set(train) & set(validation)
        sizes.add((len(train), len(validation)))
    assert sizes == {(832, 96)}


@pytest.mark.parametrize(("share", "num_train", "num_held_out"), [(0.0, 100, None), (0.25, 72, 24)])
def test_without_a_validation_share_all_subjects_are_learned_from(share, num_train, num_held_out, monkeypatch):
    seen = {}

    def fit(data, *, validation, patience, **_):
        seen.update(train=len(data["label"]), held_out=None if validation is None else len(validation["label"]))
        assert (patience is None) == (validation is None)
        return FitResult(None, jnp.zeros((1, 1)))

    monkeypatch.setattr(networks, "fit", fit)
    method = BrainGNNMethod(validation_share=share, batch_size=8)
    networks.train_networks(lambda key: None, lambda *_: 0.0, {}, np.arange(100) % 2, method, key=KEY)
    assert seen == {"train": num_train, "held_out": num_held_out}


@pytest.fixture(scope="module")
def trained():
    """Subjects that the classifier has not seen, and the classifier."""
    data = simulate_subjects(104, num_regions=6, num_scans=60, planted=(1, 4), strength=2.0, key=jax.random.key(3))
    seen, unseen = data.subjects.subset(range(64)), data.subjects.subset(range(64, 104))
    method = BrainGNNMethod(
        hidden_size=4, num_epochs=30, batch_size=16, learning_rate=1e-2, dropout=0.1, edge_share=0.3, num_seeds=2
    )
    return unseen, fit_subject_classifier(seen, method=method, key=KEY)


@pytest.mark.slow
def test_a_trained_network_tells_classes_of_unseen_subjects_apart(trained):
    subjects, classifier = trained
    probabilities = classifier.scores(subjects)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == subjects.labels).mean() > 0.85


@pytest.mark.slow
def test_one_subject_is_scored_as_among_others(trained):
    """Statistics of batch norms are those of the training, whoever else is scored."""
    subjects, classifier = trained
    alone = classifier.scores(subjects.subset([5]))
    np.testing.assert_allclose(alone, classifier.scores(subjects)[5:6], atol=1e-5)


@pytest.mark.slow
def test_a_saved_network_scores_to_the_bit(trained, tmp_path):
    subjects, classifier = trained
    jaxcast.save_model(tmp_path / "model", classifier)
    again = jaxcast.load_model(tmp_path / "model").pool
    inputs = classifier.inputs(subjects)
    assert (again.class_scores(inputs) == classifier.class_scores(inputs)).all()
    assert (again.explain(inputs)["communities"] == classifier.explain(inputs)["communities"]).all()


@pytest.mark.slow
def test_what_does_not_fit_is_refused(trained):
    network = BrainGNN(num_regions=4, hidden_size=2, key=KEY)
    with pytest.raises(jaxcast.InputError, match="features and edges"):
        network(jnp.ones((2, 5, 5)), jnp.ones((2, 5, 5)))
    with pytest.raises(jaxcast.InputError, match="unit_penalty"):
        BrainGNNLoss(unit_penalty=-1.0)
    few = simulate_subjects(3, num_regions=4, num_scans=20, key=KEY).subjects
    with pytest.raises(jaxcast.InputError, match="validation part"):
        fit_subject_classifier(few, method="brain_gnn", key=KEY)
    with pytest.raises(jaxcast.InputError, match="num_epochs"):
        fit_subject_classifier(few, method=BrainGNNMethod(num_epochs=0), key=KEY)
    with pytest.raises(jaxcast.InputError, match="communities"):
        fit_subject_classifier(few, method=BrainGNNMethod(communities="planted"), key=KEY)


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("seed", [20, 21, 22])
def test_planted_regions_have_the_highest_scores_of_a_class(seed):
    """By the mean of three networks, over subjects that they have not seen. One alone may not have learned."""
    data = simulate_subjects(400, num_regions=100, num_scans=120, planted=10, key=jax.random.key(seed))
    seen, unseen = data.subjects.subset(range(300)), data.subjects.subset(range(300, 400))
    classifier = fit_subject_classifier(seen, method=BrainGNNMethod(num_seeds=3), key=KEY)
    inputs = classifier.inputs(unseen)
    # A region may matter in one class alone: its scores are low in the other, and even in the mean.
    of_classes = [classifier.explain(rows_of(inputs, unseen.labels == label))["regions"] for label in (0, 1)]
    best = np.argsort(-np.maximum(*of_classes))[:10]
    assert len(set(best.tolist()) & set(data.regions.tolist())) >= 9
