"""Vectors of words that were learned elsewhere, such as GloVe's."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_seed
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import check_is_file, read_archive
from jaxcast.text.vocabulary import PADDING, Vocabulary

UNKNOWN_SCALE = 0.4
"""Standard deviation of the vector of a word without one, over that of all vectors."""


class WordEmbeddings(NamedTuple):
    """Words and their vectors.

    Args:
        words: different words.
        vectors: one for each.

    Example:
        >>> import jaxcast, numpy as np
        >>> embeddings = jaxcast.text.WordEmbeddings(("good", "bad"), np.asarray([[1.0, 0.0], [-1.0, 0.0]]))
        >>> embeddings.vectors.shape
        (2, 2)
    """

    words: tuple[str, ...]
    vectors: Float[np.ndarray, "word size"]


@checked
def read_embeddings(path: str | Path) -> WordEmbeddings:
    """Reads vectors of words.

    Args:
        path: an .npz with `words` (one text, a word a line, or an array of texts) and `vectors`
            (word, size); or a text file as GloVe and word2vec write it, a word and its numbers a
            line, perhaps under a line with the two sizes.

    Returns:
        The vectors in single precision; of a word that comes twice, the first.

    Raises:
        InputError: for a file that cannot be read, or that holds other things.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "vectors.txt"
        >>> _ = file.write_text("good 1.0 0.5\\nbad -1.0 0.5\\n")
        >>> jaxcast.text.read_embeddings(file).words
        ('good', 'bad')
    """
    path = Path(path)
    check_is_file(path, "vectors of words")
    words, vectors = _of_archive(path) if path.suffix == ".npz" else _of_text(path)
    if vectors.ndim != 2 or len(vectors) != len(words) or not vectors.size or not np.isfinite(vectors).all():
        raise InputError(
            f"{shown(path)} must hold a finite vector for each word, got {len(words)} words and vectors of shape "
            f"{vectors.shape}"
        )
    first = {word: number for number, word in reversed([*enumerate(words)])}
    numbers = sorted(first.values())
    return WordEmbeddings(tuple(words[n] for n in numbers), vectors[numbers])


def _of_archive(path: Path) -> tuple[list[str], np.ndarray]:
    kept = read_archive(path).arrays
    if not {"words", "vectors"} <= kept.keys():
        raise InputError(f"{shown(path)} must hold the arrays words and vectors, got {shown(', '.join(kept))}")
    words, vectors = kept["words"], kept["vectors"]
    listed = str(words[()]).split("\n") if words.ndim == 0 else [str(word) for word in words]
    if words.dtype.kind != "U" or vectors.dtype.kind != "f":
        raise InputError(f"{shown(path)} must hold words as text and vectors as numbers, got {words.dtype}")
    return listed, vectors.astype(np.float32)


def _of_text(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise InputError(f"cannot read {shown(path)} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{shown(path)} is not UTF-8 text; give word vectors as GloVe's text or an .npz") from None
    rows = [line.rstrip().split(" ") for line in lines if line.strip()]
    if len(rows) > 1 and len(rows[0]) == 2 and len(rows[1]) > 2:  # word2vec's line of sizes
        rows = rows[1:]
    if not rows or len(rows[0]) < 2:
        first = shown(repr(" ".join(rows[0]))) if rows else "an empty file"
        raise InputError(f"{shown(path)} must hold a word and its numbers in each line, got {first}")
    size = len(rows[0]) - 1
    words, numbers = [], []
    for row in rows:
        words.append(" ".join(row[:-size]))  # a few of GloVe's words hold spaces
        try:
            numbers.append(np.asarray(row[-size:], np.float32))
        except ValueError:
            raise InputError(
                f"{shown(path)} must hold a word and {size} numbers in each line, got {shown(' '.join(row))}"
            ) from None
    if len({len(one) for one in numbers}) != 1:
        raise InputError(f"{shown(path)} must hold equally many numbers in each line")
    return words, np.stack(numbers)


@checked
def embedding_table(
    words: Sequence[str], embeddings: WordEmbeddings | None, *, embedding_size: int = 100, seed: int = 0
) -> Float[np.ndarray, "number size"]:
    """Returns the vector of each number of a vocabulary.

    Padding has zeros. Words without a vector, and unknown ones, get one at random, normal with 0.4
    of the standard deviation of the given vectors.

    Args:
        words: of the vocabulary.
        embeddings: vectors that were learned elsewhere; None for none, all are then random and
            uniform within 0.25.
        embedding_size: components of a vector where there are no embeddings.
        seed: of the random vectors.

    Example:
        >>> import jaxcast, numpy as np
        >>> embeddings = jaxcast.text.WordEmbeddings(("good", "bad"), np.asarray([[1.0, 0.0], [-1.0, 0.0]]))
        >>> table = jaxcast.text.embedding_table(("bad", "new"), embeddings)
        >>> table[0].tolist(), table[2].tolist(), table.shape
        ([0.0, 0.0], [-1.0, 0.0], (4, 2))
    """
    check_seed(seed)
    vocabulary = Vocabulary(words)
    rng = np.random.default_rng(seed)
    if embeddings is None:
        table = rng.uniform(-0.25, 0.25, (len(vocabulary), embedding_size))
    else:
        size, scale = embeddings.vectors.shape[1], float(embeddings.vectors.std())
        table = rng.normal(0, UNKNOWN_SCALE * scale, (len(vocabulary), size))
        found = {word: row for row, word in enumerate(embeddings.words)}
        pairs = [(number, found[word]) for word, number in vocabulary.numbers.items() if word in found]
        rows, sources = np.asarray(pairs, int).reshape(-1, 2).T
        table[rows] = embeddings.vectors[sources]
    table[PADDING] = 0
    return table.astype(np.float32)
