import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.neuro import BrainSTGCN, BrainSTGCNMethod, fit_subject_classifier, simulate_subjects
from jaxcast.neuro.classifiers.brain_stgcn_method import mean_correlation, module_series

KEY = jax.random.key(0)


def normed(norm, values):
    axes = tuple(range(values.ndim - 1))
    scale = np.asarray(norm.factor[...]) / np.sqrt(values.var(axes) + 1e-5)
    return (values - values.mean(axes)) * scale + np.asarray(norm.offset[...])


@pytest.mark.slow
def test_the_network_is_that_of_its_equations():
    rng = np.random.default_rng(0)
    graph = rng.uniform(size=(4, 4)).astype(np.float32)
    network = BrainSTGCN(
        num_regions=4, graph=graph + graph.T, hidden_size=3, num_layers=2, kernel_size=3, dropout=0.0, key=KEY
    )
    network.importance[...] = jnp.asarray(rng.normal(size=(4, 4)), jnp.float32)
    for block in network.blocks:
        block.bias[...] = jnp.asarray(rng.normal(size=3), jnp.float32)
    windows = rng.normal(size=(2, 6, 4)).astype(np.float32)
    importance = np.asarray(network.importance[...])
    adjacency = (graph + graph.T) * (importance**2 + (importance**2).T)
    h = normed(network.norm, windows)[..., None]
    for block in network.blocks:
        weights, bias = np.asarray(block.layer.kernel[...]), np.asarray(block.bias[...])
        h = np.einsum("rs,btsc->btrc", adjacency, h @ weights + bias)
        h = np.maximum(normed(block.of_graph, h), 0)
        kernel = np.asarray(block.convolution.kernel[...])
        padded = np.pad(h, ((0, 0), (1, 1), (0, 0), (0, 0)))
        h = sum(padded[:, k : k + 6] @ kernel[k] for k in range(3)) + np.asarray(block.convolution.bias[...])
        h = np.maximum(normed(block.of_time, h), 0)
    read_out = network.read_out
    expected = h.mean((1, 2)) @ np.asarray(read_out.kernel[...]) + np.asarray(read_out.bias[...])
    found = network(jnp.asarray(windows), of_batch=True)
    np.testing.assert_allclose(found.logits, expected, atol=1e-4)
    for norm, statistics in zip(network.norms, found.statistics, strict=True):
        norm.keep(statistics)
    np.testing.assert_allclose(network(jnp.asarray(windows)).logits, expected, atol=1e-4)


def test_modules_are_means_of_their_regions():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(2, 9, 3)).astype(np.float32)
    series[1, 6:] = 0
    found = module_series({"series": series, "length": np.asarray([9, 6])}, np.asarray([0, 1, 0]))
    mean = (series[1, :6, 0] + series[1, :6, 2]) / 2
    np.testing.assert_allclose(found["series"][1, :6, 0], (mean - mean.mean()) / mean.std(), atol=1e-5)
    assert (found["series"][1, 6:] == 0).all()


SETTINGS = {
    "num_modules": 0,
    "window_size": 32,
    "hidden_size": 6,
    "num_layers": 1,
    "kernel_size": 5,
    "learning_rate": 2e-2,
    "patience": 60,
}


@pytest.fixture(scope="module")
def data():
    return simulate_subjects(104, num_regions=5, num_scans=50, planted=(1, 3), strength=2.0, key=KEY).subjects


@pytest.fixture(scope="module")
def subjects(data):
    return data.subset(range(64))


@pytest.fixture(scope="module")
def unseen(data):
    return data.subset(range(64, 104))


@pytest.fixture(scope="module")
def classifier(subjects):
    method = BrainSTGCNMethod(**SETTINGS, num_epochs=60, batch_size=16, num_seeds=2)
    return fit_subject_classifier(subjects, method=method, key=KEY)


@pytest.mark.slow
def test_mean_correlation_is_that_of_numpy(subjects, classifier):
    expected = np.mean([np.corrcoef(one.T) for one in subjects.series], 0)
    np.testing.assert_allclose(mean_correlation(classifier.inputs(subjects)), expected, atol=1e-5)


@pytest.mark.slow
def test_a_trained_network_tells_classes_of_unseen_subjects_apart(unseen, classifier):
    probabilities = classifier.scores(unseen)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == unseen.labels).mean() > 0.8


@pytest.mark.slow
def test_edges_are_the_graph_times_the_importance(subjects, classifier):
    found = classifier.explain(classifier.inputs(subjects))
    graph = np.abs(np.mean([np.corrcoef(one.T) for one in subjects.series], 0))
    graph = graph / np.sqrt(graph.sum(0) * graph.sum(1)[:, None])
    importance = found["weights"]["importance"]
    np.testing.assert_allclose(importance, importance.T, atol=1e-6)
    np.testing.assert_allclose(found["edges"], graph * importance * (1 - np.eye(5)), atol=1e-5)
    np.testing.assert_allclose(found["regions"], found["edges"].mean(1), atol=1e-6)


def learned_importance(subjects):
    """The learned importance of all pairs of regions."""
    method = BrainSTGCNMethod(**SETTINGS, num_epochs=40, batch_size=32, num_seeds=4)
    classifier = fit_subject_classifier(subjects, method=method, key=KEY)
    return classifier.explain(classifier.inputs(subjects))["weights"]["importance"][np.triu_indices(5, 1)]


@pytest.mark.slow
def test_training_raises_the_planted_edge():
    """The importance of all edges is 1 before training; with shuffled labels there is nothing to learn."""
    pairs = list(zip(*np.triu_indices(5, 1), strict=True))
    raised, by_chance, is_first = [], [], []
    for seed, planted in enumerate([(1, 3), (0, 2), (2, 3), (0, 4)]):
        data = simulate_subjects(
            256, num_regions=5, num_scans=50, planted=planted, strength=2.0, key=jax.random.key(500 + seed)
        )
        at = pairs.index(planted)
        importance = learned_importance(data.subjects)
        raised.append(importance[at])
        is_first.append(importance.argmax() == at)
        if seed < 2:
            shuffled = np.random.default_rng(seed).permutation(data.subjects.labels)
            by_chance.append(learned_importance(data.subjects._replace(labels=shuffled))[at])
    assert min(raised) > 1.5
    assert np.mean(raised) > 1.5 * np.mean(by_chance)
    # Not in all: edges whose mean correlation is near 0 hardly count, and may get any importance.
    assert np.sum(is_first) >= 2


@pytest.mark.slow
def test_longer_recordings_of_others_change_nothing(subjects, classifier):
    """Series are filled up to the longest; what is filled in must not be looked at."""
    short = subjects.subset([0, 1])
    longer = short._replace(series=(short.series[0], np.concatenate([short.series[1]] * 2)))
    np.testing.assert_allclose(classifier.scores(longer)[0], classifier.scores(short)[0], atol=1e-6)


@pytest.mark.slow
def test_a_saved_network_scores_to_the_bit(subjects, classifier, tmp_path):
    jaxcast.save_model(tmp_path / "model", classifier)
    again = jaxcast.load_model(tmp_path / "model").pool
    assert (again.scores(subjects) == classifier.scores(subjects)).all()


@pytest.mark.slow
def test_what_does_not_fit_is_refused(subjects, classifier):
    other = simulate_subjects(4, num_regions=6, num_scans=50, key=KEY).subjects
    cases = [
        (lambda: BrainSTGCN(num_regions=3, kernel_size=4, key=KEY), "odd"),
        (lambda: BrainSTGCN(num_regions=3, graph=jnp.ones((2, 2)), key=KEY), "expected a graph"),
        (lambda: BrainSTGCN(num_regions=3, key=KEY)(jnp.ones((2, 9, 4))), "expected windows"),
        (lambda: fit_subject_classifier(subjects, method=BrainSTGCNMethod(window_size=51), key=KEY), "at least 51"),
        (lambda: classifier.scores(other), "with the regions"),
    ]
    for call, message in cases:
        with pytest.raises(jaxcast.InputError, match=message) as found:
            call()
        assert "\n" not in str(found.value)
