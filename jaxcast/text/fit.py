"""Trains classifiers of texts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_seed
from jaxcast.errors import InputError, shown
from jaxcast.text.bag_of_words import BagOfWords, Weighting, fit_bags_of_words
from jaxcast.text.batches import BUCKETS
from jaxcast.text.classifier import TextClassifier
from jaxcast.text.embeddings import WordEmbeddings
from jaxcast.text.learning import text_optimizer
from jaxcast.text.network_fit import Options, Part, fit_networks, maker
from jaxcast.text.networks import TextNetwork
from jaxcast.text.words import WordTokenizer
from jaxcast.training.folds import checked_labels, stratified_split
from jaxcast.training.optimizers import average_parameters

LINEAR: tuple[Weighting, ...] = ("tfidf", "naive_bayes")
INVERSE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
AVERAGING = 0.995


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
    averaging: float | None = AVERAGING,
    inverse_penalties: Sequence[float | int] = INVERSE_PENALTIES,
    seeds: Sequence[int] = (0,),
    on_progress: Callable[[int, Any], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
) -> TextClassifier:
    """Trains a classifier of texts, and stops by texts that are held out.

    The vocabulary is that of the texts that are trained on, and of all words with a given vector.
    Texts without any word are left out; `WordTokenizer` says what a word is. A network keeps the
    moving average of its parameters at the best epoch on the validation texts. A bag of words takes
    the penalty that is best there, by accuracy and then by cross-entropy, and is then fitted to all
    of `texts`; it does not learn from texts that are given as `validation`.

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
        min_count: how often a word of a network's vocabulary occurs at least, unless it has a
            vector.
        embedding_size: components of a vector that is trained from scratch.
        validation: texts that stop the training; by default a share of `texts`.
        validation_share: this share, of every class. A class of very few texts keeps them all to
            learn from.
        num_epochs: most passes over the texts.
        patience: epochs without a better validation loss after which training stops.
        batch_size: texts of a minibatch.
        learning_rate: of Adam.
        tuning_factor: by which the learning rate of given vectors is smaller.
        weight_decay: decoupled weight decay.
        max_norm: largest norm of the weights of the read-out to one class; None for any.
        smoothing: share of each label that is spread over all classes in training.
        averaging: decay of the moving average of a network's parameters, which is validated and
            kept; None to keep the parameters themselves. See `training.average_parameters`.
        inverse_penalties: of bags of words, of which the best is taken (C of scikit-learn); one
            alone is taken as it is, and nothing is held out.
        seeds: of the networks; the probabilities of several are averaged. The first also draws the
            validation texts and the order of the others.
        on_progress: called with the number of finished epochs and the newest loss of each seed.
        num_reports: how often, about, it is called and the checkpoint replaced.
        checkpoint: a file from which an interrupted training continues.

    Returns:
        The classifier.

    Raises:
        InputError: for texts of one class, other numbers of labels than of texts, or missing ones;
            a class without a text with a word; one text of each class, so that none is left to
            validate on; validation texts of other classes; settings that the method does not have;
            numbers out of range; or bags of words without scikit-learn.

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
    is_linear = isinstance(method, str) and method in LINEAR
    if is_linear and (embeddings is not None or settings or tune or min_count != 1):
        raise InputError(f"method={method!r} is a bag of words; leave embeddings, settings, tune and min_count out")
    _check_choices(seeds, inverse_penalties)
    documents, numbers, classes = _read(tokenizer, texts, labels, None)
    train: Part
    held_out: Part
    if is_linear and len(inverse_penalties) == 1:
        train, held_out = (documents, numbers), ([], numbers[:0])
    elif validation is None:
        train, held_out = _split(documents, numbers, validation_share, seeds[0])
    else:
        found = _read(tokenizer, *validation, classes)
        train, held_out = (documents, numbers), (found[0], found[1])
    shares = np.bincount(numbers, minlength=len(classes)) / len(numbers)
    if is_linear:
        model: Any = _bag_of_words(train, held_out, len(classes), method, inverse_penalties, validation is None)
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
        if averaging is not None:
            optimizer = average_parameters(optimizer, float(averaging))
        make = maker(method, settings or {})
        model = fit_networks(
            train, held_out, len(classes), make, embeddings, options,
            optimizer=optimizer, on_progress=on_progress, num_reports=num_reports, checkpoint=checkpoint,
        )  # fmt: skip
    return TextClassifier(tokenizer, model, jnp.asarray(shares, jnp.float32), tuple(classes))


def _read(
    tokenizer: WordTokenizer, texts: Any, labels: Any, classes: Sequence[str] | None
) -> tuple[list[list[str]], Int[np.ndarray, " text"], list[str]]:
    """Returns the tokens and class numbers of texts with a word, and the names of the classes."""
    if isinstance(texts, str):
        raise InputError("expected a label, text or whole number, for each text, got a single text; put it into a list")
    names = checked_labels("labels", labels)
    if len(names) != len(texts) or names.dtype.kind not in "biuU":
        raise InputError(
            f"expected a label, text or whole number, for each text, got {len(texts)} texts and {len(names)} labels of "
            f"{names.dtype}"
        )
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
    kept_numbers = np.asarray([number[str(names[k])] for k in kept])
    counts = np.bincount(kept_numbers, minlength=len(found))
    if classes is None and not counts.all():
        name = shown(repr(found[int(counts.argmin())]))
        raise InputError(f"expected texts with words of every class, got only empty ones of {name}; leave it out")
    return [documents[k] for k in kept], kept_numbers, found


def _check_choices(seeds: Sequence[int], inverse_penalties: Sequence[float | int]) -> None:
    if not len(seeds) or not len(inverse_penalties):
        raise InputError("seeds and inverse_penalties must hold at least one")
    for seed in seeds:
        check_seed(seed)
    for strength in inverse_penalties:
        check_number("inverse_penalties", strength, above=0)


def _split(documents: Sequence[Sequence[str]], numbers: np.ndarray, share: float, seed: int) -> tuple[Part, Part]:
    check_number("validation_share", share, above=0, most=0.5)
    if np.bincount(numbers).max() < 2:
        raise InputError("expected at least two texts with words of some class, to validate on one of them")
    train, held_out = stratified_split(numbers, share, seed=seed)
    return ([documents[k] for k in train], numbers[train]), ([documents[k] for k in held_out], numbers[held_out])


def _bag_of_words(
    train: Part,
    held_out: Part,
    num_classes: int,
    weighting: Any,
    inverse_penalties: Sequence[float | int],
    refit: bool,
) -> BagOfWords:
    def fitted(part: Part, strengths: Sequence[float]) -> list[BagOfWords]:
        return fit_bags_of_words(*part, num_classes=num_classes, weighting=weighting, inverse_penalties=strengths)

    models = fitted(train, [float(strength) for strength in inverse_penalties])
    if len(models) == 1:
        return models[0]
    best = min(models, key=lambda model: _errors_of(model, *held_out))
    if not refit:
        return best
    both = ([*train[0], *held_out[0]], np.concatenate([train[1], held_out[1]]))
    return fitted(both, [best.inverse_penalty])[0]


def _errors_of(model: BagOfWords, documents: Sequence[Sequence[str]], numbers: np.ndarray) -> tuple[float, float]:
    """Returns the share of wrong classes, and the cross-entropy, which tells models with equal shares apart."""
    shares = model.probabilities(documents)
    of_true = np.maximum(shares[np.arange(len(numbers)), numbers], 1e-300)
    return float((shares.argmax(-1) != numbers).mean()), -float(np.log(of_true).mean())
