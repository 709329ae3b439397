"""Classifiers of texts: bags of words by hand, training, saving, words that speak for a class."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

import jaxcast
from jaxcast.plotting import plot_word_saliency
from jaxcast.text import LabelledTexts, WordEmbeddings, WordSaliency, fit_text_classifier
from jaxcast.text.bag_of_words import counts_of, fit_bags_of_words, naive_bayes_ratios, terms_of
from jaxcast.text.fit import INVERSE_PENALTIES, _split
from jaxcast.text.learning import text_optimizer

GOOD = ["good fun", "a good film", "really good , really", "fun and good"]
BAD = ["bad , dull", "a bad film", "really bad", "dull and bad"]
UNSURE = ["film", "really", "a good bad film"]
TEXTS, LABELS = (GOOD + BAD) * 4, (["pos"] * 4 + ["neg"] * 4) * 4
WORDS = ("good", "bad", "fun", "dull", "superb")
EMBEDDINGS = WordEmbeddings(WORDS, np.random.default_rng(0).normal(size=(5, 8)))
FAST = {"num_epochs": 6, "batch_size": 8, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def tuned():
    return fit_text_classifier(
        TEXTS, LABELS, method="cnn", embeddings=EMBEDDINGS, tune=True, settings={"num_maps": 4, "dropout": 0.1},
        seeds=(0, 1), **FAST,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bag():
    return fit_text_classifier(TEXTS, LABELS, method="tfidf")


@pytest.mark.slow
def test_a_network_learns_and_its_folder_predicts_the_same_bits(tuned, tmp_path):
    texts = [*GOOD, *BAD, "superb", "nothing known here"]
    found = tuned.predict_probabilities(texts)
    assert [tuned.predict([text])[0] for text in GOOD + BAD] == ["pos"] * 4 + ["neg"] * 4
    jaxcast.save_model(tmp_path, tuned)
    loaded = jaxcast.load_model(tmp_path).pool
    np.testing.assert_array_equal(loaded.predict_probabilities(texts), found)
    assert loaded.saliency("a good film").words == ("a", "good", "film")
    assert loaded.classes == ("neg", "pos")


@pytest.mark.slow
def test_the_probabilities_of_seeds_are_averaged(tuned):
    singles = []
    for k in range(2):
        model = jaxcast.text.classifier.TextClassifier(
            tuned.tokenizer,
            type(tuned.model)(jax.tree.map(lambda a, k=k: a[k : k + 1], tuned.model.networks), tuned.model.words),
            tuned.shares,
            tuned.classes,
        )
        singles.append(model.predict_probabilities(UNSURE))
    assert np.abs(singles[0] - singles[1]).max() > 1e-4
    np.testing.assert_allclose(tuned.predict_probabilities(UNSURE), np.mean(singles, 0), atol=1e-6)


@pytest.mark.slow
def test_texts_that_cannot_be_judged_get_the_shares_of_the_classes(tuned, bag):
    for classifier in (tuned, bag):
        texts = ["", "  ", "zzz qqq", "good"]
        assert classifier.is_known(texts).tolist() == [False, False, False, True]
        found = classifier.predict_probabilities(texts)
        np.testing.assert_allclose(found[:3], 0.5, atol=1e-6)
        assert found[3, 1] > 0.5
        with pytest.raises(jaxcast.InputError, match="no word"):
            classifier.saliency("zzz")


@pytest.mark.slow
def test_the_vocabulary_is_that_of_the_training_part_and_of_given_vectors():
    held_out = LabelledTexts(["good unseen", "bad unheard"], ["pos", "neg"])
    options = {"method": "mean", "validation": held_out, **FAST | {"num_epochs": 1}}
    learned = fit_text_classifier(TEXTS, LABELS, embedding_size=4, **options).model
    assert set(learned.words) == {word for text in TEXTS for word in text.split()}
    given = fit_text_classifier(TEXTS, LABELS, embeddings=EMBEDDINGS, **options).model
    assert set(given.words) - set(learned.words) == {"superb"}
    assert "unseen" not in given.numbers


@pytest.mark.slow
def test_fixed_vectors_stay_and_tuned_ones_move(tuned):
    at = tuned.model.words.index("good") + 2
    moved = np.asarray(tuned.model.networks.vectors.trained[...])[0]
    assert np.abs(moved[at] - EMBEDDINGS.vectors[0]).max() > 1e-3
    assert not moved[0].any()
    fixed = fit_text_classifier(TEXTS, LABELS, method="mean", embeddings=EMBEDDINGS, **FAST | {"num_epochs": 1})
    table = np.asarray(fixed.model.networks.vectors.fixed[...])[0]
    np.testing.assert_array_equal(table[fixed.model.words.index("good") + 2], EMBEDDINGS.vectors[0].astype(np.float32))


@pytest.mark.slow
def test_the_optimizer_slows_vectors_and_keeps_the_read_out_within_a_norm():
    params = {
        "vectors": {"trained": jnp.ones((3, 2))},
        "readout": {"kernel": jnp.full((4, 2), 10.0), "bias": jnp.ones(2)},
    }
    slopes = jax.tree.map(jnp.ones_like, params)
    optimizer = text_optimizer(0.5, tuning=0.1, weight_decay=0.0, max_norm=3.0)
    updates, _ = optimizer.update(slopes, optimizer.init(params), params)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_allclose(moved["vectors"]["trained"], 1 - 0.05, rtol=1e-5)
    np.testing.assert_allclose(moved["readout"]["bias"], 0.5, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(moved["readout"]["kernel"], axis=0), 3.0, rtol=1e-5)


@pytest.mark.slow
def test_gradient_times_vector_is_a_finite_difference(tuned):
    found = tuned.saliency("a good film")
    assert found.measure == "gradient x vector"
    assert found.values[1] == found.values.max() > 0

    def log_share(scale):
        total = []
        for k in range(2):
            network = jax.tree.map(lambda a, k=k: a[k], tuned.model.networks)
            numbers = jnp.asarray([[tuned.model.words.index(word) + 2 for word in found.words]])
            vectors = network.vectors(numbers) * jnp.asarray(scale)[None, :, None]
            logits = network.classify(vectors, numbers != 0, None).logits[0]
            total.append(float(jax.nn.log_softmax(logits)[1]))
        return np.mean(total)

    step = 1e-2
    slope = (log_share([1.0, 1 + step, 1.0]) - log_share([1.0, 1 - step, 1.0])) / (2 * step)
    assert found.values[1] == pytest.approx(slope, rel=0.05, abs=1e-3)


def test_a_tfidf_bag_is_scikit_learns():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    documents, labels = [text.split() for text in TEXTS], np.asarray([label == "pos" for label in LABELS]).astype(int)
    _, ours = fit_bags_of_words(documents, labels, num_classes=2, inverse_penalties=(0.1, 2.0))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), tokenizer=str.split, token_pattern=None, lowercase=False)
    features = vectorizer.fit_transform(TEXTS)
    assert set(ours.terms) == set(vectorizer.vocabulary_)
    theirs = LogisticRegression(C=2.0, max_iter=500, tol=1e-3).fit(features, labels)
    new = ["good and dull", "really a fun film", "bad"]
    expected = theirs.predict_proba(vectorizer.transform(new))
    np.testing.assert_allclose(ours.probabilities([text.split() for text in new]), expected, atol=2e-3)


def test_naive_bayes_weights_are_those_by_hand():
    documents, labels = [["a", "b"], ["a"], ["b", "c"]], np.asarray([0, 0, 1])
    terms = tuple(sorted({term for document in documents for term in terms_of(document)}))
    assert terms == ("a", "a b", "b", "b c", "c")
    found = naive_bayes_ratios(counts_of(documents, terms), labels, 2, len(terms))
    in_0, in_1 = np.asarray([3, 2, 2, 1, 1]), np.asarray([1, 1, 2, 2, 2])
    expected = np.log(in_1 / in_1.sum()) - np.log(in_0 / in_0.sum())
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-12)
    np.testing.assert_allclose(found[:, 0], -expected, rtol=1e-12)


def test_more_classes_and_the_words_that_speak_for_one():
    texts, labels = ["red apple", "green pear", "blue sea", "red rose", "green leaf", "blue sky"] * 3, [0, 1, 2] * 6
    bag = fit_text_classifier(texts, labels, method="naive_bayes")
    assert bag.classes == ("0", "1", "2")
    assert bag.predict(["red", "green", "blue"]) == ["0", "1", "2"]
    found = bag.saliency("blue film")
    assert found.values[0] > 0 == found.values[1]
    jaxcast_scores = bag.predict_probabilities(["red", "nothing"])
    np.testing.assert_allclose(jaxcast_scores.sum(-1), 1)


def test_a_rare_class_takes_no_text_from_the_others_and_is_learned_from():
    texts, labels = [*TEXTS, "odd thing", "odd stuff"], [*LABELS, "odd", "odd"]
    train, held_out = _split([text.split() for text in texts], np.unique(labels, return_inverse=True)[1], 0.1, 0)
    assert (len(train[0]), len(held_out[0])) == (31, 3)
    assert set(train[1]) == {0, 1, 2}
    assert fit_text_classifier(texts, labels, method="tfidf").classes == ("neg", "odd", "pos")


def test_one_penalty_is_taken_as_it_is_and_the_chosen_one_is_kept(bag):
    assert bag.model.inverse_penalty in INVERSE_PENALTIES
    again = fit_text_classifier(TEXTS, LABELS, method="tfidf", inverse_penalties=(bag.model.inverse_penalty,))
    np.testing.assert_array_equal(again.predict_probabilities(UNSURE), bag.predict_probabilities(UNSURE))
    strong = fit_text_classifier(TEXTS, LABELS, method="tfidf", inverse_penalties=(1e-4,))
    np.testing.assert_allclose(strong.predict_probabilities(UNSURE), 0.5, atol=0.01)


def test_labels_of_a_data_frame_and_bytes_are_names_of_classes():
    for labels in (np.asarray(LABELS, object), np.asarray(LABELS, "S")):
        found = fit_text_classifier(TEXTS, labels, method="tfidf", inverse_penalties=(1.0,))
        assert found.classes == ("neg", "pos")


@pytest.mark.slow
def test_every_seed_draws_its_own_vectors(tuned):
    table = np.asarray(tuned.model.networks.vectors.trained[...])
    unknown = [np.random.default_rng(seed).normal(size=(2, 8))[1] for seed in (0, 1)]  # number 1 is never trained
    scale = 0.4 * EMBEDDINGS.vectors.std()
    np.testing.assert_allclose(table[:, 1], scale * np.asarray(unknown), rtol=1e-5)


def test_attention_has_no_sign_and_is_drawn_in_grey():
    made = {measure: WordSaliency(("a", "b"), np.asarray([0.7, 0.3]), measure, "x", 0.6)
            for measure in ("attention", "gradient x vector")}  # fmt: skip
    assert [one.has_sign for one in made.values()] == [False, True]
    drawn = [
        plot_word_saliency(Figure().subplots(), one.words, one.values, has_sign=one.has_sign).texts[0]
        for one in made.values()
    ]
    grey, blue = (text.get_bbox_patch().get_facecolor() for text in drawn)
    assert grey[0] == pytest.approx(grey[1], abs=0.02) == pytest.approx(grey[2], abs=0.02)
    assert blue[2] > blue[0] + 0.2
    with pytest.raises(jaxcast.InputError, match="zero or more"):
        plot_word_saliency(Figure().subplots(), ["a"], [-1.0], has_sign=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_text_classifier(["a", "b"], ["x", "x"], method="tfidf"), "at least two classes, got only x"),
        (lambda: fit_text_classifier(["a", "b"], ["x"], method="tfidf"), "for each text, got 2 texts"),
        (lambda: fit_text_classifier(["a", "b"], ["x", None], method="tfidf"), "missing, got None"),
        (lambda: fit_text_classifier(TEXTS, LABELS, method="tfidf", min_count=2), "settings, tune and min_count out"),
        (lambda: fit_text_classifier(TEXTS, LABELS, method="tfidf", tune=True), "settings, tune and min_count out"),
        (lambda: fit_text_classifier(TEXTS, LABELS, seeds=()), "at least one"),
        (lambda: fit_text_classifier(TEXTS, LABELS, method="tfidf", inverse_penalties=(0.0,)), "above 0"),
        (lambda: fit_text_classifier(["a", ""], ["x", "y"], validation=LabelledTexts(["a"], ["x"])), "ones of 'y'"),
        (lambda: fit_text_classifier("text", ["x"], method="tfidf"), "a single text"),
        (lambda: fit_text_classifier(["", " "], ["x", "y"], method="tfidf"), "only empty ones"),
        (
            lambda: fit_text_classifier(["a", "b"], ["x", "y"], method="tfidf"),
            "at least two texts with words of some class",
        ),
        (lambda: fit_text_classifier(TEXTS, LABELS, method="tfidf", settings={"a": 1}), "bag of words"),
        (lambda: fit_text_classifier(TEXTS, LABELS, method="cnn", settings={"readout": "max"}), "do not fit"),
        (lambda: fit_text_classifier(TEXTS, LABELS, method="gru", settings={"kind": "lstm"}), "decides kind"),
        (
            lambda: fit_text_classifier(TEXTS, LABELS, method="tfidf", validation=LabelledTexts(["a"], ["new"])),
            "the class 'new'",
        ),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
