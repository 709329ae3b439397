"""Trains classifiers of texts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_seed, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.text.bag_of_words import BagOfWords, Weighting, fit_bag_of_words
from jaxcast.text.batches import BUCKETS, GroupDraw, buckets_for, padded
from jaxcast.text.classifier import TextClassifier
from jaxcast.text.convolutional_network import ConvolutionalTextNetwork
from jaxcast.text.embeddings import WordEmbeddings, embedding_table
from jaxcast.text.learning import TextLoss, text_optimizer
from jaxcast.text.models import NetworkTextModel
from jaxcast.text.networks import MeanTextNetwork, TextNetwork
from jaxcast.text.recurrent_network import RecurrentTextNetwork
from jaxcast.text.vocabulary import Vocabulary
from jaxcast.text.words import WordTokenizer
from jaxcast.training.fitting import FitResult
from jaxcast.training.folds import stratified_folds
from jaxcast.training.streaming import fit_stream

Texts = Sequence[str]
Documents = Sequence[Sequence[str]]
NETWORKS: dict[str, tuple[type[TextNetwork], dict[str, Any]]] = {
    "lstm": (RecurrentTextNetwork, {"kind": "lstm"}),
    "gru": (RecurrentTextNetwork, {"kind": "gru"}),
    "rnn": (RecurrentTextNetwork, {"kind": "rnn"}),
    "cnn": (ConvolutionalTextNetwork, {}),
    "mean": (MeanTextNetwork, {}),
}
"""Networks by the name of their method, with settings that the name decides."""
LINEAR: tuple[Weighting, ...] = ("tfidf", "naive_bayes")
INVERSE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
ROWS = 1024
"""The vectors of a vocabulary are as many as a multiple of this, so that few shapes are compiled."""


class LabelledTexts(NamedTuple):
    """Texts and their classes.

    Args:
        texts: to learn from.
        labels: class of each text, texts or whole numbers.

    Example:
        >>> import jaxcast
        >>> jaxcast.text.LabelledTexts(["good", "bad"], ["pos", "neg"]).labels
        ['pos', 'neg']
    """

    texts: Any
    labels: Any


@checked
def fit_text_classifier(
    texts: Any,
    labels: Any,
    *,
    method: Literal["lstm", "gru", "rnn", "cnn", "mean", "tfidf", "naive_bayes"] | type[TextNetwork] = "lstm",
    embeddings: WordEmbeddings | None = None,
    tune: bool = False,
    settings: Mapping[str, Any] | None = None,
    tokenizer: WordTokenizer | None = None,
    min_count: int = 1,
    embedding_size: int = 100,
    validation: LabelledTexts | None = None,
    validation_share: float = 0.1,
    num_epochs: int = 30,
    patience: int = 5,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    tuning_factor: float = 0.1,
    weight_decay: float = 0.0,
    max_norm: float | None = 3.0,
    smoothing: float = 0.0,
    seeds: Sequence[int] = (0,),
    on_progress: Callable[[int, Any], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
) -> TextClassifier:
    """Trains a classifier of texts, and stops by texts that are held out.

    The vocabulary is that of the texts that are trained on, and of all words with a given vector.
    Texts without any word are left out; `WordTokenizer` says what a word is. A network keeps the
    parameters of its best epoch on the validation texts. A bag of words takes the penalty that is
    best there, and is then fitted to all of `texts`.

    Args:
        texts: to learn from.
        labels: class of each text: texts or whole numbers.
        method: "lstm", "gru" or "rnn", recurrent layers; "cnn", convolutions; "mean", the mean of
            the words' vectors; "tfidf" or "naive_bayes", a bag of words and pairs of words; or a
            `TextNetwork` of your own.
        embeddings: vectors of words for a network; by default they are learned.
        tune: whether to train given vectors on.
        settings: of the network, such as {"readout": "attention"}; see `RecurrentTextNetwork`,
            `ConvolutionalTextNetwork` and `MeanTextNetwork`.
        tokenizer: splits texts into words; by default `WordTokenizer()`.
        min_count: how often a word of the vocabulary occurs at least, unless it has a vector.
        embedding_size: components of a vector that is learned from nothing.
        validation: texts that stop the training; by default a share of `texts`.
        validation_share: this share, of every class.
        num_epochs: most passes over the texts.
        patience: epochs without a better validation loss after which training stops.
        batch_size: texts of a minibatch.
        learning_rate: of Adam.
        tuning_factor: by which the learning rate of given vectors is smaller.
        weight_decay: decoupled weight decay.
        max_norm: largest norm of the weights of the read-out to one class; None for any.
        smoothing: share of each label that is spread over all classes in training.
        seeds: of the networks; the probabilities of several are averaged.
        on_progress: called with the number of finished epochs and the newest loss of each seed.
        num_reports: how often, about, it is called and the checkpoint replaced.
        checkpoint: a file from which an interrupted training continues.

    Returns:
        The classifier.

    Raises:
        InputError: for texts of one class, or other numbers of labels than of texts; no text with a
            word; a class of which too few texts are left to validate on; validation texts of other
            classes; settings that the network does not have; numbers out of range; or bags of words
            without scikit-learn.

    Example:
        >>> import jaxcast
        >>> texts = ["good fun", "a good film", "bad , dull", "a bad film"] * 6
        >>> classifier = jaxcast.text.fit_text_classifier(
        ...     texts, [1, 1, 0, 0] * 6, method="mean", embedding_size=8, learning_rate=0.1, num_epochs=5, batch_size=8
        ... )
        >>> classifier.predict(["good", "bad"]), classifier.classes
        (['1', '0'], ('0', '1'))
    """
    tokenizer = WordTokenizer() if tokenizer is None else tokenizer
    documents, numbers, classes = _read(tokenizer, texts, labels, None)
    if validation is None:
        train, held_out = _split(documents, numbers, classes, validation_share)
    else:
        found = _read(tokenizer, *validation, classes)
        train, held_out = (documents, numbers), (found[0], found[1])
    shares = np.bincount(numbers, minlength=len(classes)) / len(numbers)
    if isinstance(method, str) and method in LINEAR:
        if embeddings is not None or settings:
            raise InputError(f"method={method!r} is a bag of words; leave embeddings and settings out")
        model: Any = _bag_of_words(train, held_out, len(classes), method, validation is None)
    else:
        options = Options(batch_size, num_epochs, patience, seeds, min_count, embedding_size, tune, smoothing, BUCKETS)
        options.check()
        if tune and embeddings is None:
            raise InputError("tune is for given vectors; leave it out, vectors that are learned are always trained")
        for name, value in (("weight_decay", weight_decay), ("smoothing", smoothing), ("tuning_factor", tuning_factor)):
            check_number(name, value, least=0)
        optimizer = text_optimizer(
            float(learning_rate), tuning=float(tuning_factor if embeddings is not None else 1.0),
            weight_decay=float(weight_decay), max_norm=max_norm,
        )  # fmt: skip
        make = _maker(method, settings or {})
        model = _fit_networks(
            train, held_out, len(classes), make, embeddings, options,
            optimizer=optimizer, on_progress=on_progress, num_reports=num_reports, checkpoint=checkpoint,
        )  # fmt: skip
    return TextClassifier(tokenizer, model, jnp.asarray(shares, jnp.float32), tuple(classes))


class Options(NamedTuple):
    """How networks of texts are trained; see `fit_text_classifier`."""

    batch_size: int
    num_epochs: int
    patience: int
    seeds: Sequence[int]
    min_count: int
    embedding_size: int
    tune: bool
    smoothing: float
    buckets: tuple[int, ...]

    def check(self) -> None:
        """Raises InputError for numbers out of range."""
        for name in ("batch_size", "num_epochs", "patience", "min_count", "embedding_size"):
            check_whole(name, getattr(self, name))
        if not self.seeds:
            raise InputError("seeds must hold at least one")
        for seed in self.seeds:
            check_seed(seed)


Part = tuple[Documents, Int[np.ndarray, " _"]]
Maker = Callable[..., TextNetwork]


def _read(
    tokenizer: WordTokenizer, texts: Any, labels: Any, classes: Sequence[str] | None
) -> tuple[list[list[str]], Int[np.ndarray, " text"], list[str]]:
    """Returns the tokens and class numbers of texts with a word, and the names of the classes."""
    names = np.asarray(labels)
    if isinstance(texts, str) or names.shape != (len(texts),) or names.dtype.kind not in "biuUS":
        count = "a single text" if isinstance(texts, str) else f"{len(texts)} texts"
        raise InputError(f"expected a label, text or whole number, for each text, got {count} and labels {names.shape}")
    found = [str(name) for name in np.unique(names)] if classes is None else list(classes)
    if len(found) < 2:
        raise InputError(f"expected texts of at least two classes, got only {shown(', '.join(found) or 'none')}")
    number = {name: k for k, name in enumerate(found)}
    if others := sorted({str(name) for name in names} - number.keys()):
        raise InputError(f"validation has the class {shown(repr(others[0]))}, of which there is no text to learn from")
    documents = tokenizer.documents(list(texts))
    kept = [k for k, words in enumerate(documents) if words]
    if not kept:
        raise InputError("expected texts with words, got only empty ones")
    return [documents[k] for k in kept], np.asarray([number[str(names[k])] for k in kept]), found


def _split(documents: Documents, numbers: np.ndarray, classes: Sequence[str], share: float) -> tuple[Part, Part]:
    check_number("validation_share", share, above=0, most=0.5)
    counts = np.bincount(numbers, minlength=len(classes))
    num_folds = max(2, round(1 / share))
    if counts.min() < 2:
        name = classes[int(counts.argmin())]
        raise InputError(f"expected at least two texts with words of every class, got {counts.min()} of {shown(name)}")
    train, held_out = stratified_folds(numbers, int(min(num_folds, counts.min())), seed=0)[0]
    return ([documents[k] for k in train], numbers[train]), ([documents[k] for k in held_out], numbers[held_out])


def _bag_of_words(train: Part, held_out: Part, num_classes: int, weighting: Any, refit: bool) -> BagOfWords:
    losses = []
    for strength in INVERSE_PENALTIES:
        model = fit_bag_of_words(*train, num_classes=num_classes, weighting=weighting, inverse_penalty=strength)
        wrong = model.probabilities(held_out[0]).argmax(-1) != held_out[1]
        losses.append(float(wrong.mean()))
    best = INVERSE_PENALTIES[int(np.argmin(losses))]
    both = ([*train[0], *held_out[0]], np.concatenate([train[1], held_out[1]])) if refit else train
    return fit_bag_of_words(*both, num_classes=num_classes, weighting=weighting, inverse_penalty=best)


def _maker(method: Any, settings: Mapping[str, Any]) -> Maker:
    """Returns what makes a network from its sizes and a key."""
    cls, own = NETWORKS[method] if isinstance(method, str) else (method, {})
    if taken := settings.keys() & own.keys():
        raise InputError(f"method={method!r} decides {', '.join(sorted(taken))}; leave it out of settings")

    def make(**given: Any) -> TextNetwork:
        made: Any = cls
        try:
            network: TextNetwork = made(**given, **own, **settings)
        except TypeError as error:
            raise InputError(f"settings {shown(dict(settings))} do not fit a {cls.__name__}: {shown(error)}") from None
        return network

    return make


def _fit_networks(
    train: Part,
    held_out: Part,
    num_classes: int,
    make: Maker,
    embeddings: WordEmbeddings | None,
    options: Options,
    **running: Any,
) -> NetworkTextModel:
    also = () if embeddings is None else embeddings.words
    vocabulary = Vocabulary.of(train[0], min_count=options.min_count, also=also)
    table = embedding_table(vocabulary.words, embeddings, embedding_size=options.embedding_size)
    table = np.concatenate([table, np.zeros((-len(table) % ROWS, table.shape[1]), np.float32)])
    num_trained = len(table)
    if embeddings is not None:
        own = len({word for words in train[0] for word in words} & vocabulary.numbers.keys()) + 2
        num_trained = -(-own // ROWS) * ROWS if options.tune else 0
    sizes = {
        "num_classes": num_classes,
        "num_trained": num_trained,
        "num_fixed": len(table) - num_trained,
        "embedding_size": table.shape[1],
    }
    keys = jnp.stack([jax.random.key(seed) for seed in options.seeds])
    models = _started(make, sizes, keys, table)
    encoded = [[vocabulary.encode(words) for words in part[0]] for part in (train, held_out)]
    lengths = np.asarray([len(numbers) for part in encoded for numbers in part])
    buckets = buckets_for(lengths, options.buckets)
    draws = [
        GroupDraw(padded(numbers, buckets[-1]), part[1], buckets, size)
        for numbers, part, size in zip(encoded, (train, held_out), (options.batch_size, 200), strict=True)
    ]
    fitted = fit_stream(
        draws[0],
        init=FitResult(models, jnp.zeros((len(keys), 1))),
        loss=TextLoss(buckets, float(options.smoothing)),
        keys=keys,
        num_epochs=options.num_epochs,
        batch_size=1,
        with_key=True,
        validation=draws[1](0),
        patience=options.patience,
        **running,
    )
    return NetworkTextModel(fitted.models, vocabulary.words, options.buckets)


def _started(make: Maker, sizes: Mapping[str, Any], keys: Any, table: Float[np.ndarray, "number size"]) -> TextNetwork:
    """Makes the networks of all seeds, with these vectors of words."""
    made = []
    for key in keys:
        network = make(**sizes, key=key)
        network.vectors.filled(jnp.asarray(table))
        made.append(network)
    stacked: TextNetwork = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)
    return stacked
