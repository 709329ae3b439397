"""Classifiers of subjects by dynamic graphs: random stretches of segments, saving, and a planted change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.neuro import DynamicGraphMethod, DynamicGraphs, fit_subject_classifier, simulate_dynamic_subjects
from jaxcast.neuro.dynamic_graphs.loss import random_stretch

SMALL = {"segment_size": 10, "segment_step": 10, "num_modules": 3, "hidden_size": 4, "num_heads": 1, "num_epochs": 2}


@pytest.mark.slow
def test_a_stretch_is_consecutive_and_within_what_a_subject_has():
    numbers = np.arange(6.0)
    present = np.stack([numbers < 6, numbers < 4, numbers < 2] * 40)
    graphs = DynamicGraphs(
        jnp.broadcast_to(numbers[:, None, None], (120, 6, 1, 1)), jnp.broadcast_to(numbers, (120, 6)), present
    )
    found = random_stretch(graphs, 3, jax.random.key(0))
    starts = np.asarray(found.thresholds[:, 0])
    np.testing.assert_array_equal(found.thresholds, starts[:, None] + np.arange(3))
    np.testing.assert_array_equal(found.scans[..., 0, 0], found.thresholds)
    assert [sorted(set(starts[k::3])) for k in range(3)] == [[0, 1, 2, 3], [0, 1], [0]]
    assert found.present[0::3].all()
    assert found.present[1::3].all()
    np.testing.assert_array_equal(found.present[2::3], [[True, True, False]] * 40)


@pytest.mark.slow
def test_a_saved_classifier_scores_to_the_same_bits_and_explains_itself(tmp_path):
    data = simulate_dynamic_subjects(40, num_regions=6, num_scans=45, module_size=2, key=jax.random.key(0))
    method = DynamicGraphMethod(**SMALL, num_train_segments=2, num_seeds=2)
    classifier = fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
    jaxcast.save_model(tmp_path, classifier)
    loaded = jaxcast.load_model(tmp_path).pool
    assert loaded.method == method
    inputs = loaded.inputs(data.subjects)
    np.testing.assert_array_equal(loaded.class_scores(inputs), classifier.scores(data.subjects))
    found = classifier.explain(inputs)
    np.testing.assert_allclose(found["regions"].mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(found["weights"]["segments"].sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found["weights"]["modules"].sum(-1), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("over_segments", ["gru", "transformer"])
def test_a_change_of_connections_is_classified_that_correlations_do_not_show(over_segments):
    data = simulate_dynamic_subjects(160, num_regions=12, num_scans=80, key=jax.random.key(0))
    train, test = data.subjects.subset(np.arange(120)), data.subjects.subset(np.arange(120, 160))
    method = DynamicGraphMethod(
        segment_size=20,
        segment_step=20,
        edge_share=0.2,
        num_modules=3,
        hidden_size=16,
        num_heads=1,
        over_segments=over_segments,
        dropout=0.2,
        learning_rate=3e-3,
        validation_share=0.2,
        patience=20,
    )

    def accuracy(method):
        classifier = fit_subject_classifier(train, method=method, key=jax.random.key(1))
        return (classifier.predict(test) == test.labels).mean()

    assert accuracy(method) >= 0.9
    assert accuracy("ridge") <= 0.7


def test_segments_of_activity_cover_each_recording_once():
    subjects = simulate_dynamic_subjects(2, num_regions=6, num_scans=64, module_size=2, key=jax.random.key(0)).subjects
    method = DynamicGraphMethod(segments="activity", num_modules=3, min_size=10, max_size=30)
    inputs = method.inputs(subjects)
    lengths = (np.abs(inputs["scans"]).max(-1) > 0).sum(-1)
    assert (lengths.sum(1) == 64).all()
    np.testing.assert_array_equal(inputs["present"], lengths > 0)
    with pytest.raises(jaxcast.InputError, match="'uniform' or 'activity'"):
        DynamicGraphMethod(segments="none").inputs(subjects)
