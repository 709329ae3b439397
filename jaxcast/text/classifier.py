"""Classifiers of texts: tokenizer, vocabulary, model and the names of classes in one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcast.checks import Checked, check_texts
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.text.models import TextModel
from jaxcast.text.words import WordTokenizer


class WordSaliency(NamedTuple):
    """Contribution of each word of a text to its classification.

    Attention has no sign: it is how much a word counts, for whichever class. The other measures are
    above zero for words that speak for the predicted class, and below for those against it.

    Args:
        words: the tokens of the text.
        values: of each token.
        measure: what the values are: "attention", the share of a word in the read-out; "gradient x
            vector", by how much the log-probability falls, to first order, as the vector of the
            word goes to zero; or "share of the linear score".
        predicted: name of the predicted class.
        probability: of this class.
    """

    words: tuple[str, ...]
    values: Float[np.ndarray, " word"]
    measure: str
    predicted: str
    probability: float

    @property
    def has_sign(self) -> bool:
        """Whether values above and below zero speak for and against the predicted class."""
        return self.measure != "attention"


class TextClassifier(Checked, FrozenPytree, name="text_classifier"):
    """A classifier of texts, with all that it needs; `fit_text_classifier` makes it.

    `save_model` keeps it in one folder, and `load_model` returns it as `pool`; it then gives the
    same probabilities, to the bit. A text without any known word has nothing that can be judged: it
    gets the shares of the classes in training, and with them the commonest class.

    Args:
        tokenizer: splits texts into words.
        model: turns words into probabilities.
        shares: of the classes, in training.
        classes: their names.

    Raises:
        InputError: when saved or loaded, for parts that do not fit.

    Example:
        >>> import jaxcast
        >>> texts = ["good fun", "a good film", "bad , dull", "a bad film"] * 3
        >>> classifier = jaxcast.text.fit_text_classifier(texts, ["pos", "pos", "neg", "neg"] * 3, method="tfidf")
        >>> classifier.predict(["really good", "so bad"])
        ['pos', 'neg']
    """

    tokenizer: WordTokenizer
    model: TextModel
    shares: Float[Array, " class"]
    classes: tuple[str, ...] = static(default=())

    def check(self) -> None:
        """Raises InputError unless the parts fit each other."""
        self.tokenizer.check()
        check_texts("classes", self.classes, least=2)
        if isinstance(self.model, Checked):
            self.model.check()
        if self.shares.shape != (len(self.classes),) or self.model.num_classes != len(self.classes):
            raise InputError(
                f"expected a model and shares of {len(self.classes)} classes, got {self.model.num_classes} and "
                f"{self.shares.shape}"
            )

    def is_known(self, texts: Sequence[str]) -> Bool[np.ndarray, " text"]:
        """Returns which texts hold a word that the model knows; the others cannot be judged.

        Args:
            texts: to look at.
        """
        return self._known(self.tokenizer.documents(texts))

    def _known(self, documents: Sequence[Sequence[str]]) -> Bool[np.ndarray, " text"]:
        numbers = self.model.numbers
        return np.asarray([any(word in numbers for word in words) for words in documents], bool)

    def predict_probabilities(self, texts: Sequence[str]) -> Float[np.ndarray, "text class"]:
        """Returns the probability of each class.

        Args:
            texts: to classify.

        Raises:
            InputError: for no texts, or a single one instead of a list.
        """
        documents = self.tokenizer.documents(texts)
        if not documents:
            raise InputError("expected at least one text, got none")
        found = np.tile(np.asarray(self.shares, float), (len(documents), 1))
        known = np.flatnonzero(self._known(documents))
        if len(known):
            found[known] = self.model.probabilities([documents[k] for k in known])
        return found

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Returns the most probable class of each text.

        Args:
            texts: to classify.

        Raises:
            InputError: for no texts, or a single one instead of a list.
        """
        return [self.classes[number] for number in self.predict_probabilities(texts).argmax(-1)]

    def saliency(self, text: str) -> WordSaliency:
        """Returns how much each word of a text says in its classification.

        Args:
            text: to classify.

        Raises:
            InputError: for a text without any known word.
        """
        words = self.tokenizer(text)
        if not self._known([words])[0]:
            raise InputError("the text has no word that the classifier knows, so that none can be salient")
        shares = self.model.probabilities([words])[0]
        best = int(shares.argmax())
        measure, values = self.model.relevance(words, best)
        return WordSaliency(tuple(words), values, measure, self.classes[best], float(shares[best]))
