"""Trains the networks of a classifier of texts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.text.batches import GroupDraw, buckets_for, padded
from jaxcast.text.convolutional_network import ConvolutionalTextNetwork
from jaxcast.text.embeddings import WordEmbeddings, embedding_table
from jaxcast.text.learning import TextLoss
from jaxcast.text.models import NetworkTextModel
from jaxcast.text.networks import MeanTextNetwork, TextNetwork
from jaxcast.text.recurrent_network import RecurrentTextNetwork
from jaxcast.text.vocabulary import NUM_SPECIAL, Vocabulary
from jaxcast.training.fitting import FitResult
from jaxcast.training.streaming import fit_stream

Part = tuple[Sequence[Sequence[str]], Int[np.ndarray, " _"]]
"""The tokens and class numbers of some texts."""
Maker = Callable[..., TextNetwork]
NETWORKS: dict[str, tuple[type[TextNetwork], dict[str, Any]]] = {
    "lstm": (RecurrentTextNetwork, {"kind": "lstm"}),
    "gru": (RecurrentTextNetwork, {"kind": "gru"}),
    "rnn": (RecurrentTextNetwork, {"kind": "rnn"}),
    "cnn": (ConvolutionalTextNetwork, {}),
    "mean": (MeanTextNetwork, {}),
}
"""Networks by the name of their method, with settings that the name decides."""
ROWS = 1024
"""The vectors of a vocabulary are as many as a multiple of this, so that few shapes are compiled."""
GROUP = 200
"""Validation texts whose loss is computed at once."""


class Options(NamedTuple):
    """Options for training networks of texts.

    Args:
        batch_size: texts of a minibatch.
        num_epochs: most passes over the texts.
        patience: epochs without a better validation loss after which training stops.
        seeds: of the networks, and of the vectors that are drawn for words; the first is also that
            of the order of the texts.
        min_count: how often a word of the vocabulary occurs at least.
        embedding_size: components of a vector that is trained from scratch.
        tune: whether to train given vectors on.
        smoothing: share of each label that is spread over all classes.
        buckets: lengths to which texts are padded.
    """

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
        """Refuses numbers out of range.

        Raises:
            InputError: for the first of them.
        """
        for name in ("batch_size", "num_epochs", "patience", "min_count", "embedding_size"):
            check_whole(name, self._asdict()[name])


def maker(method: Any, settings: Mapping[str, Any]) -> Maker:
    """Returns what makes a network from its sizes and a key.

    Args:
        method: name of a method, or class of a network.
        settings: of the network.

    Raises:
        InputError: for a setting that the method decides; what is made refuses others.
    """
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


def fit_networks(
    train: Part,
    held_out: Part,
    num_classes: int,
    make: Maker,
    embeddings: WordEmbeddings | None,
    options: Options,
    **running: Any,
) -> NetworkTextModel:
    """Trains networks of all seeds.

    Args:
        train: texts to learn from.
        held_out: texts that stop the training.
        num_classes: number of classes.
        make: what `maker` returned.
        embeddings: given vectors, or None.
        options: of the training.
        **running: options of `fit_stream`.

    Returns:
        The networks with their vocabulary.
    """
    also = () if embeddings is None else embeddings.words
    vocabulary = Vocabulary.of(train[0], min_count=options.min_count, also=also)
    tables = [
        _filled_up(embedding_table(vocabulary.words, embeddings, embedding_size=options.embedding_size, seed=seed))
        for seed in options.seeds
    ]
    num_rows, embedding_size = tables[0].shape
    num_trained = num_rows
    if embeddings is not None:
        own = len({word for words in train[0] for word in words} & vocabulary.numbers.keys()) + NUM_SPECIAL
        num_trained = -(-own // ROWS) * ROWS if options.tune else 0
    sizes = {
        "num_classes": num_classes,
        "num_trained": num_trained,
        "num_fixed": num_rows - num_trained,
        "embedding_size": embedding_size,
    }
    keys = jnp.stack([jax.random.key(seed) for seed in options.seeds])
    models = _started(make, sizes, keys, tables)
    encoded = [[vocabulary.encode(words) for words in part[0]] for part in (train, held_out)]
    lengths = np.asarray([len(numbers) for part in encoded for numbers in part])
    buckets = buckets_for(lengths, options.buckets)
    draws = [
        GroupDraw(padded(numbers, buckets[-1]), part[1], buckets, size, options.seeds[0])
        for numbers, part, size in zip(encoded, (train, held_out), (options.batch_size, GROUP), strict=True)
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


def _filled_up(table: Float[np.ndarray, "number size"]) -> Float[np.ndarray, "row size"]:
    return np.concatenate([table, np.zeros((-len(table) % ROWS, table.shape[1]), np.float32)])


def _started(make: Maker, sizes: Mapping[str, Any], keys: Any, tables: Sequence[np.ndarray]) -> TextNetwork:
    """Makes the networks of all seeds, each with its vectors of words."""
    made = []
    for key, table in zip(keys, tables, strict=True):
        network = make(**sizes, key=key)
        network.vectors.filled(jnp.asarray(table))
        made.append(network)
    stacked: TextNetwork = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)
    return stacked
