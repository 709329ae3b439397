"""Linear classification of texts by the words and pairs of words that they hold."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_choice, check_number, check_texts
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.text.models import TextModel

Weighting = Literal["tfidf", "naive_bayes"]


class BagOfWords(Checked, FrozenPytree, TextModel, name="bag_of_words"):
    """A linear softmax of the words and pairs of neighbouring words of a text.

        tfidf:        x_j = n_j idf_j / |n idf|,    idf_j = log((1 + N) / (1 + N_j)) + 1
        naive_bayes:  x_j = 1 where term j occurs, in which each class k weighs it by
                      r_jk = log((1 + f_jk) / |1 + f_k|) - log((1 + g_jk) / |1 + g_k|)

    with n_j the occurrences of term j in the text, N texts, N_j of them with term j, f_jk of these
    in class k and g_jk outside. The weights of naive Bayes hold the factors r.

    Args:
        scales: idf of each term; 1 for naive Bayes.
        weights: of each term for each class.
        bias: of each class.
        terms: words, and pairs joined by a space.
        weighting: "tfidf" or "naive_bayes".
        inverse_penalty: C of scikit-learn's logistic regression that gave the weights.
    """

    scales: Float[Array, " term"]
    weights: Float[Array, "term class"]
    bias: Float[Array, " class"]
    terms: tuple[str, ...] = static(default=())
    weighting: Weighting = static(default="tfidf")
    inverse_penalty: float = static(default=1.0)

    def check(self) -> None:
        """Raises InputError unless the terms are those of the weights."""
        check_texts("terms", self.terms)
        check_choice("weighting", self.weighting, ("tfidf", "naive_bayes"))
        check_number("inverse_penalty", self.inverse_penalty, above=0)
        if self.weights.shape != (len(self.terms), len(self.bias)) or self.scales.shape != (len(self.terms),):
            raise InputError(f"expected weights of {len(self.terms)} terms, got shape {self.weights.shape}")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.bias)

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each term."""
        return numbers_of(self.terms)

    def probabilities(self, documents: Sequence[Sequence[str]]) -> Float[np.ndarray, "text class"]:
        counts = self._features(documents)
        logits = np.tile(np.asarray(self.bias, float), (len(documents), 1))
        np.add.at(logits, counts.rows, counts.values[:, None] * np.asarray(self.weights, float)[counts.columns])
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        return shares / shares.sum(-1, keepdims=True)

    def relevance(self, document: Sequence[str], number: int) -> tuple[str, Float[np.ndarray, " token"]]:
        found_terms = self._features([document])
        columns, values = found_terms.columns, found_terms.values
        weights = np.asarray(self.weights, float)[columns]
        # What a term adds to this class over the mean of the others.
        added = values * (weights[:, number] - np.delete(weights, number, 1).mean(1))
        of_term = {self.terms[column]: value for column, value in zip(columns, added, strict=True)}
        counts, found = Counter(terms_of(document)), np.zeros(len(document))
        for k, word in enumerate(document):
            found[k] += of_term.get(word, 0) / counts[word]
        for k, pair in enumerate(pairwise(document)):
            term = " ".join(pair)
            found[k : k + 2] += of_term.get(term, 0) / counts[term] / 2
        return "share of the linear score", found

    def _features(self, documents: Sequence[Sequence[str]]) -> "Counts":
        """Returns the values of the terms of texts."""
        counts = counts_of(documents, self.terms)
        if self.weighting == "naive_bayes":
            return counts._replace(values=np.ones(len(counts.values)))
        return normalised(counts, np.asarray(self.scales, float))


class Counts(NamedTuple):
    """The occurrences of terms in texts, as the entries of a sparse matrix.

    Args:
        rows: number of the text.
        columns: number of the term.
        values: how often it occurs.
        num_texts: number of texts.
    """

    rows: np.ndarray
    columns: np.ndarray
    values: Float[np.ndarray, " entry"]
    num_texts: int


def terms_of(document: Sequence[str]) -> list[str]:
    """Returns the words of a text and its pairs of neighbouring words.

    Args:
        document: tokens.
    """
    return [*document, *(" ".join(pair) for pair in pairwise(document))]


def normalised(counts: Counts, scales: Float[np.ndarray, " term"]) -> Counts:
    """Scales the counts of terms, and then those of each text to a norm of 1.

    Args:
        counts: of terms.
        scales: of each term.
    """
    values = counts.values * scales[counts.columns]
    norms = np.sqrt(np.bincount(counts.rows, weights=values**2, minlength=counts.num_texts))
    return counts._replace(values=values / norms[counts.rows])


@lru_cache(1)
def numbers_of(terms: tuple[str, ...]) -> dict[str, int]:
    """Returns the number of each term; that of the newest terms is kept.

    Args:
        terms: different ones.
    """
    return {term: number for number, term in enumerate(terms)}


def counts_of(documents: Sequence[Sequence[str]], terms: tuple[str, ...]) -> Counts:
    """Counts terms in texts; others are left out.

    Args:
        documents: the tokens of each text.
        terms: to count.
    """
    numbers = numbers_of(terms)
    entries = [
        (row, numbers[term], count)
        for row, document in enumerate(documents)
        for term, count in Counter(terms_of(document)).items()
        if term in numbers
    ]
    rows, columns, values = np.asarray(entries, int).reshape(-1, 3).T
    return Counts(rows, columns, values.astype(float), len(documents))


def naive_bayes_ratios(counts: Counts, labels: np.ndarray, num_classes: int, num_terms: int) -> np.ndarray:
    """Returns the log-ratios r of `BagOfWords`, (term, class).

    Args:
        counts: of the texts that are trained on.
        labels: of the texts.
        num_classes: number of classes.
        num_terms: number of terms.
    """
    in_class = np.ones((num_terms, num_classes))
    np.add.at(in_class, (counts.columns, labels[counts.rows]), 1.0)
    outside = in_class.sum(1, keepdims=True) - in_class - (num_classes - 2)
    return np.log(in_class / in_class.sum(0)) - np.log(outside / outside.sum(0))


def fit_bags_of_words(
    documents: Sequence[Sequence[str]],
    labels: np.ndarray,
    *,
    num_classes: int,
    weighting: Weighting = "tfidf",
    inverse_penalties: Sequence[float] = (1.0,),
) -> list[BagOfWords]:
    """Fits linear classifiers of words and pairs of words by logistic regression.

    More than two classes are fitted one against the rest.

    Args:
        documents: the tokens of each text.
        labels: class of each text.
        num_classes: number of classes.
        weighting: see `BagOfWords`.
        inverse_penalties: C of scikit-learn's logistic regression, of each classifier.

    Raises:
        InputError: where scikit-learn is not installed.
    """
    terms = tuple(sorted({term for document in documents for term in terms_of(document)}))
    counts = counts_of(documents, terms)
    scales = np.ones(len(terms))
    ratios = np.ones((len(terms), num_classes))
    if weighting == "tfidf":
        containing = np.bincount(counts.columns, minlength=len(terms))
        scales = np.log((1 + counts.num_texts) / (1 + containing)) + 1
        values = normalised(counts, scales).values
    else:
        values = np.ones(len(counts.values))
        ratios = naive_bayes_ratios(counts, labels, num_classes, len(terms))
    shape = (len(inverse_penalties), len(terms), num_classes)
    weights, bias = np.zeros(shape, np.float32), np.zeros((len(inverse_penalties), num_classes))
    for number in range(1, 2) if num_classes == 2 else range(num_classes):
        matrix = _sparse(values * ratios[counts.columns, number], counts, len(terms))
        for k, strength in enumerate(inverse_penalties):
            own, bias[k, number] = _logistic(matrix, labels == number, strength)
            weights[k, :, number] = own * ratios[:, number]
    return [
        BagOfWords(
            jnp.asarray(scales, jnp.float32),
            jnp.asarray(weights[k], jnp.float32),
            jnp.asarray(bias[k], jnp.float32),
            terms,
            weighting,
            strength,
        )
        for k, strength in enumerate(inverse_penalties)
    ]


def _sparse(values: np.ndarray, counts: Counts, num_terms: int) -> Any:
    try:
        import scipy.sparse
    except ImportError:
        raise InputError(
            "bags of words need scikit-learn; install it: pip install 'jaxcast[text]', or train a network"
        ) from None
    return scipy.sparse.csr_matrix((values, (counts.rows, counts.columns)), (counts.num_texts, num_terms))


def _logistic(matrix: Any, is_one: np.ndarray, inverse_penalty: float) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=inverse_penalty, max_iter=500, tol=1e-3).fit(matrix, is_one)
    return fitted.coef_[0], float(fitted.intercept_[0])
