import jax
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

import jaxcast
from jaxcast.neuro import (
    KernelMethod,
    MajorityMethod,
    RidgeMethod,
    correlations,
    cross_validate,
    fit_subject_classifier,
    leave_one_site_out,
    simulate_subjects,
    subject_series,
)
from jaxcast.neuro.classifiers import kernel_choice
from jaxcast.neuro.classifiers.networks import validation_split
from jaxcast.training import stratified_folds

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def data():
    return simulate_subjects(40, num_regions=7, num_scans=60, planted=(1, 4), key=jax.random.key(3))


@pytest.fixture(scope="module")
def subjects(data):
    return data.subjects._replace(site=np.tile(["a", "b", "c", "d", "e"], 8), age=np.linspace(10.0, 50, 40))


def upper(matrices):
    return matrices[:, *np.triu_indices(matrices.shape[1], 1)].astype(float)


def test_ridge_is_that_of_scikit_learn(subjects):
    classifier = fit_subject_classifier(subjects, method=RidgeMethod(features=("correlation",)), key=KEY)
    x = upper(correlations(subjects))
    x = (x - x.mean(0)) / np.sqrt(np.square(x - x.mean(0)).sum(1).mean())
    expected = Ridge(alpha=1.0).fit(x, 2.0 * subjects.labels - 1).predict(x)
    scores = classifier.scores(subjects)
    np.testing.assert_allclose(scores[:, 1], expected, atol=1e-5)
    np.testing.assert_allclose(scores[:, 0], -expected, atol=1e-5)


def test_kernel_ridge_is_that_of_scikit_learn(subjects):
    method = KernelMethod(features="correlation", widths=(0.7,), penalties=(0.2,))
    train, test = subjects.subset(np.arange(30)), subjects.subset(np.arange(30, 40))
    x, new = upper(correlations(train)), upper(correlations(test))
    squares = np.square(x[:, None] - x).sum(-1)
    gamma = 1 / (2 * 0.7**2 * squares.sum() / (30 * 29))
    target = 2.0 * train.labels - 1
    model = KernelRidge(alpha=0.2, kernel="rbf", gamma=gamma).fit(x, target - target.mean())
    found = fit_subject_classifier(train, method=method, key=KEY).scores(test)[:, 1]
    np.testing.assert_allclose(found, model.predict(new) + target.mean(), atol=1e-5)


def test_regressed_out_confounds_leave_no_difference_between_sites(subjects):
    """Shifting a site's features changes nothing, in training and for its new subjects."""
    method = RidgeMethod(features=("fisher_z", "logarithm"), confounds=("site", "age"))
    train, test = np.arange(30), np.arange(30, 40)
    inputs = method.inputs(subjects)
    shifted = dict(inputs)
    for kind in method.features:
        shift = np.random.default_rng(0).normal(size=inputs[kind].shape[1]).astype(np.float32)
        shifted[kind] = inputs[kind] + (inputs["site"] == "b")[:, None] * shift + inputs["age"][:, None] * shift / 30
    for found in (inputs, shifted):
        part = {name: array[train] for name, array in found.items()}
        fitted = method.fit(part, subjects.labels[train], num_classes=2, key=KEY)
        found["scores"] = fitted.class_scores({name: array[test] for name, array in found.items()})
    np.testing.assert_allclose(inputs["scores"], shifted["scores"], atol=1e-4)


def test_a_new_site_counts_as_the_mean_of_all(subjects):
    classifier = fit_subject_classifier(subjects, method=RidgeMethod(confounds=("site",)), key=KEY)
    one = subjects.subset([0])
    at_sites = [classifier.scores(one._replace(site=np.array([site])))[0] for site in "abcde"]
    at_a_new_site = classifier.scores(one._replace(site=np.array(["elsewhere"])))[0]
    np.testing.assert_allclose(at_a_new_site, np.mean(at_sites, 0), atol=1e-6)


def test_the_pattern_finds_the_planted_edge(data):
    classifier = fit_subject_classifier(data.subjects, method="ridge", key=KEY)
    found = classifier.explain(classifier.inputs(data.subjects))
    assert np.unravel_index(found["edges"].argmax(), (7, 7)) == (1, 4)
    assert set(np.argsort(-found["regions"])[:2].tolist()) == {1, 4}


def test_settings_are_chosen_on_training_subjects_alone(subjects):
    method = RidgeMethod(features=("lagged", "correlation"), penalties=(1e3, 1.0), combination="best")
    train = subjects.subset(np.arange(30))
    fitted = fit_subject_classifier(train, method=method, key=KEY)
    assert fitted.features == ("correlation",)
    found = cross_validate(subjects, method, folds=[(np.arange(30), np.arange(30, 40))], key=KEY)
    expected = fitted.scores(subjects.subset(np.arange(30, 40)))
    np.testing.assert_allclose(found.scores[30:], expected, atol=1e-5)
    assert np.isnan(found.scores[:30]).all()
    folds = [(np.arange(30), np.arange(30, 40))]
    prepared = cross_validate(subjects, method, folds=folds, inputs=[method.inputs(subjects)], key=KEY)
    assert (prepared.scores[30:] == found.scores[30:]).all()
    # Other labels of the tested subjects change nothing.
    other = subjects._replace(labels=np.r_[subjects.labels[:30], 1 - subjects.labels[30:]])
    again = cross_validate(other, method, folds=[(np.arange(30), np.arange(30, 40))], key=KEY)
    assert (again.scores[30:] == found.scores[30:]).all()
    assert again.accuracy == pytest.approx(1 - found.accuracy)


def test_the_better_method_is_chosen_in_every_fold(subjects):
    folds = stratified_folds(subjects.labels, 4, seed=0)
    found = cross_validate(
        subjects, [MajorityMethod(), RidgeMethod()], folds=folds, inner_groups=subjects.site, key=KEY
    )
    assert found.chosen.tolist() == [1, 1, 1, 1]
    assert found.accuracy > 0.9
    assert sorted(found.fold.tolist()) == sorted(list(range(4)) * 10)


@pytest.mark.parametrize("method", [RidgeMethod(penalties=(0.1, 1.0)), KernelMethod(penalties=(0.1, 1.0))])
def test_what_one_method_chooses_keeps_sites_together(method, subjects, monkeypatch):
    seen = []

    def folds_of(labels, num_folds, *, seed, groups=None):
        seen.append(groups)
        return stratified_folds(labels, num_folds, seed=seed, groups=groups)

    monkeypatch.setattr(kernel_choice, "stratified_folds", folds_of)
    folds = leave_one_site_out(subjects)[:1]
    cross_validate(subjects, method, folds=folds, inner_groups=subjects.site, key=KEY)
    assert seen[0].tolist() == subjects.site[folds[0][0]].tolist()


def test_a_validation_part_takes_whole_groups():
    labels, groups = np.arange(40) % 2, np.arange(40) // 5
    train, validation = validation_split(labels, 0.25, 8, groups)
    assert not set(groups[train]) & set(groups[validation])
    assert len(train) + len(validation) == 40
    few = [set(groups[part] % 3) for part in validation_split(labels, 0.1, 8, groups % 3)]
    assert few[0] | few[1] == {0, 1, 2}
    assert len(few[1]) == 1  # fewer groups than parts: one of them validates
    assert not few[0] & few[1]
    alone = validation_split(labels, 0.1, 8, np.zeros(40, int))
    np.testing.assert_array_equal(alone[1], validation_split(labels, 0.1, 8)[1])


def test_a_validation_part_has_all_classes_in_whatever_order_and_however_few():
    labels = np.repeat([0, 1], [80, 75])
    train, validation = validation_split(labels, 0.1, 8)
    assert (len(train) % 8, len(validation)) == (0, 16)
    assert np.bincount(labels[validation]).tolist() == [9, 7]  # the last 8 subjects would be of class 1 alone
    assert not set(train) & set(validation)
    assert len(validation_split(labels, 0.1, 100)[0]) > 130  # 39 too many for a minibatch still learn
    few = np.asarray([0, 0, 0, 0, 0, 0, 1, 1])
    train, validation = validation_split(few, 0.1, 64)
    assert {0, 1} == set(few[train]) == set(few[validation])


def test_settings_are_chosen_where_all_are_of_one_group():
    labels = np.arange(20) % 2
    kernels = {"useless": np.eye(20), "useful": np.eye(20) + (labels[:, None] == labels)}
    settings = {"num_classes": 2, "penalties": (1.0,), "sets": (("useless",), ("useful",))}
    for groups in (None, np.zeros(20, int)):
        assert kernel_choice.choose_kernel(kernels, labels, groups=groups, **settings).kernels == ("useful",)


def test_a_category_is_the_same_as_a_whole_number_and_with_a_point(subjects):
    method = RidgeMethod(confounds=("sex",))
    numbers = np.arange(40) % 3 == 0
    classifier = fit_subject_classifier(subjects._replace(sex=numbers.astype(int)), method=method, key=KEY)
    expected = classifier.scores(subjects._replace(sex=numbers.astype(int)))
    for other in (numbers.astype(float), numbers):
        assert (classifier.scores(subjects._replace(sex=other)) == expected).all()


def test_a_site_left_out_is_only_tested(subjects):
    folds = leave_one_site_out(subjects)
    assert [set(subjects.site[test]) for _, test in folds] == [{site} for site in "abcde"]
    assert all(not set(subjects.site[train]) & set(subjects.site[test]) for train, test in folds)


@pytest.mark.parametrize("method", [MajorityMethod(), RidgeMethod(confounds=("site",)), KernelMethod()])
def test_a_saved_classifier_gives_the_same_scores(method, subjects, tmp_path):
    classifier = fit_subject_classifier(subjects, method=method, key=KEY)
    jaxcast.save_model(tmp_path / "model", classifier)
    again = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_allclose(again.scores(subjects), classifier.scores(subjects), atol=1e-6)


def test_three_classes_are_told_apart():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(45, 50, 4))
    labels = np.arange(45) % 3
    series[labels == 1, :, 0] += series[labels == 1, :, 1]
    series[labels == 2, :, 2] += series[labels == 2, :, 3]
    found = cross_validate(
        subject_series(series, labels), RidgeMethod(), folds=stratified_folds(labels, 3, seed=0), key=KEY
    )
    assert found.scores.shape == (45, 3)
    assert found.balanced_accuracy > 0.9


def test_what_cannot_be_used_is_refused_in_one_line(data, subjects):
    plain = data.subjects
    folds = stratified_folds(plain.labels, 2, seed=0)
    cases = [
        (lambda: fit_subject_classifier(plain, method="ridges", key=KEY), "unknown method"),
        (lambda: fit_subject_classifier(plain, method=RidgeMethod(features=("z",)), key=KEY), "kind of features"),
        (lambda: fit_subject_classifier(plain, method=RidgeMethod(penalties=(0.0,)), key=KEY), "penalty"),
        (lambda: fit_subject_classifier(plain, method=RidgeMethod(confounds=("site",)), key=KEY), "have no site"),
        (lambda: leave_one_site_out(plain), "must have sites"),
        (lambda: cross_validate(plain, RidgeMethod(), folds=[], key=KEY), "at least one fold"),
        (lambda: cross_validate(plain, [], folds=folds, key=KEY), "at least one method"),
        (lambda: cross_validate(plain, RidgeMethod(), folds=[(np.arange(5), np.arange(4, 9))], key=KEY), "trains on"),
        (lambda: cross_validate(plain, RidgeMethod(), folds=[(np.arange(1), np.arange(4, 9))], key=KEY), "lack the"),
        (lambda: cross_validate(plain, RidgeMethod(), folds=[(np.arange(40), np.arange(0))], key=KEY), "numbers of"),
        (lambda: cross_validate(plain, RidgeMethod(), folds=[(np.arange(2, 41), np.arange(2))], key=KEY), "0 on"),
        (lambda: cross_validate(plain, RidgeMethod(), folds=[(np.arange(30), np.arange(30, 40))],
                                inner_groups=["a"] * 3, key=KEY), "a group for each of the 40"),
        (lambda: stratified_folds(plain.labels, 2, seed=0, groups=[1, 2]), "a group for each of the 40"),
        (lambda: leave_one_site_out(plain._replace(site=np.array([None, "a"] * 20, object))), "site of subject 0"),
        (lambda: leave_one_site_out(plain._replace(site=np.array([1.0, np.nan] * 20))), "site of subject 1"),
        (lambda: stratified_folds(plain.labels, 21, seed=0), "at least 21 samples of every class"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(jaxcast.InputError, match=message) as found:
            call()
        assert "\n" not in str(found.value)
    other = simulate_subjects(4, num_regions=5, num_scans=20, key=KEY).subjects
    for name in ("ridge", "kernel"):
        with pytest.raises(jaxcast.InputError, match="with the regions"):
            fit_subject_classifier(plain, method=name, key=KEY).scores(other)
