"""The methods: bags of words, means of vectors, convolutional and recurrent networks, and their average."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.sentiment.data import Part
from jaxcast.text import TextClassifier, WordEmbeddings, WordTokenizer, fit_text_classifier
from jaxcast.text.bag_of_words import BagOfWords
from jaxcast.training import select_average

MAJORITY, AVERAGE = "commonest class", "average chosen on validation"

METHODS: dict[str, dict[str, Any]] = {
    "bigrams, tf-idf": {"method": "tfidf"},
    "bigrams, tf-idf, without stop words": {"method": "tfidf", "stop_words": "english"},
    "bigrams, naive Bayes": {"method": "naive_bayes"},
    "mean of GloVe": {"method": "mean", "vectors": "fixed", "learning_rate": 0.03, "max_norm": None},
    "CNN, GloVe fixed": {"method": "cnn", "vectors": "fixed"},
    "BiLSTM, max": {"method": "lstm", "vectors": "fixed", "settings": {"readout": "max"}},
    "CNN, GloVe tuned": {"method": "cnn", "vectors": "tuned"},
    "BiLSTM, max, GloVe tuned": {"method": "lstm", "vectors": "tuned", "settings": {"readout": "max"}},
    "BiGRU, attention": {"method": "gru", "vectors": "fixed", "settings": {"readout": "attention"}},
    "BiLSTM, last": {"method": "lstm", "vectors": "fixed", "settings": {"readout": "last"}},
    "CNN, learned vectors": {"method": "cnn", "vectors": "learned"},
    "CNN, GloVe fixed, without stop words": {"method": "cnn", "vectors": "fixed", "stop_words": "english"},
    "BiLSTM, max, without stop words": {
        "method": "lstm",
        "vectors": "fixed",
        "settings": {"readout": "max"},
        "stop_words": "english",
    },
}
"""Arguments of `fit_text_classifier` for each method; "vectors" says what becomes of GloVe's, and
"stop_words" is for the tokenizer."""
PLAIN = tuple(name for name, options in METHODS.items() if "vectors" not in options)
NETWORKS = tuple(name for name, options in METHODS.items() if options["method"] in ("cnn", "lstm", "gru"))
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "Kim's CNN, learned vectors": {"mr": (75.9,), "subj": (89.2,), "trec": (88.2,)},
    "Kim's CNN, word2vec fixed": {"mr": (80.5,), "subj": (93.0,), "trec": (91.8,)},
    "Kim's CNN, word2vec tuned": {"mr": (81.3,), "subj": (93.4,), "trec": (92.8,)},
    "Kim's CNN, word2vec tuned, trained on phrases too": {"sst2": (87.0,), "sst5": (46.7,)},
}
"""Accuracies of harvardnlp/sent-conv-torch, as SOURCE.md of the data has them, in percent."""


def fitted(name: str, part: Part, vectors: WordEmbeddings, config: Any, checkpoint: Path | None) -> TextClassifier:
    """Trains a method on a part.

    Args:
        name: of the method.
        part: what it learns from, and is stopped by.
        vectors: of words.
        config: settings of the experiment.
        checkpoint: a file from which an interrupted training continues.
    """
    options = _options(name, part)
    kind = options.pop("vectors", None)
    if kind is not None:
        settings = dict(options.pop("settings", {}))
        if options["method"] in ("lstm", "gru"):
            settings["hidden_size"] = config.hidden_size
            options["learning_rate"] = config.recurrent_rate
        if options["method"] == "cnn":
            settings |= {"num_maps": config.num_maps, "vector_dropout": config.vector_dropout}
        options |= {
            "embeddings": None if kind == "learned" else vectors,
            "tune": kind == "tuned",
            "settings": settings,
            "num_epochs": config.num_epochs,
            "patience": config.patience,
            "batch_size": config.batch_size,
            "tuning_factor": config.tuning_factor,
            "seeds": (part.seed,),
            "checkpoint": checkpoint,
        }
    return fit_text_classifier(*part.train, validation=part.validation, **options)


def _options(name: str, part: Part) -> dict[str, Any]:
    options = dict(METHODS[name])
    tokenizer = WordTokenizer(stop_words=options.pop("stop_words", "none"), split=part.split)
    return options | {"tokenizer": tokenizer}


def probabilities(
    name: str, part: Part, vectors: WordEmbeddings, config: Any, checkpoint: Path | None
) -> dict[str, np.ndarray]:
    """Returns what a method says of the validation and test sentences.

    Args:
        name: of the method.
        part: what it learns from.
        vectors: of words.
        config: settings of the experiment.
        checkpoint: a file from which an interrupted training continues.
    """
    classifier = fitted(name, part, vectors, config, checkpoint)
    found = classifier.predict_probabilities(part.validation.texts).astype(np.float32)
    if isinstance(classifier.model, BagOfWords):  # with its penalty chosen, it learns from these sentences too
        texts = [*part.train.texts, *part.validation.texts]
        labels = np.concatenate([part.train.labels, part.validation.labels])
        chosen = (classifier.model.inverse_penalty,)
        classifier = fit_text_classifier(texts, labels, inverse_penalties=chosen, **_options(name, part))
    return {"validation": found, "test": classifier.predict_probabilities(part.test.texts).astype(np.float32)}


def average(members: dict[str, dict[str, np.ndarray]], part: Part) -> tuple[np.ndarray, list[str]]:
    """Averages the methods that are best together on the validation sentences, by the Brier score.

    Args:
        members: the probabilities of each method.
        part: with the labels of its validation sentences.

    Returns:
        The probabilities of the test sentences, and the names of the chosen methods.
    """
    names = list(members)
    # Shuffled, as its blocks of consecutive samples must hold all classes.
    order = np.random.default_rng(0).permutation(len(part.validation.labels))
    candidates = np.stack([members[name]["validation"][order] for name in names])
    truth = np.eye(candidates.shape[-1])[part.validation.labels[order]]
    sizes, num_blocks = range(1, len(names) + 1), min(3, len(order))
    chosen = np.arange(len(names))
    if num_blocks > 1:  # of a single sentence nothing can be chosen
        chosen = select_average(candidates.astype(float), truth, sizes=sizes, num_blocks=num_blocks)
    return np.mean([members[names[k]]["test"] for k in chosen], 0), [names[k] for k in chosen]


def majority(part: Part, num_classes: int) -> np.ndarray:
    """Returns the shares of the classes in training as probabilities of each test sentence.

    Args:
        part: what is learned from.
        num_classes: number of classes.
    """
    counts = np.bincount(part.train.labels, minlength=num_classes)
    return np.tile(counts / counts.sum(), (len(part.test.labels), 1))
