"""Words, vocabularies, vectors of words and groups of texts."""

import gzip

import numpy as np
import pytest

import jaxcast
from jaxcast.text import Vocabulary, WordEmbeddings, WordTokenizer, embedding_table, read_embeddings, read_text_table
from jaxcast.text.batches import BUCKETS, GroupDraw, bucket_of, buckets_for, padded
from jaxcast.text.words import also_learned
from tests.real_data import real_data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It isn't good.", ["it", "is", "n't", "good", "."]),
        ("it is n't good .", ["it", "is", "n't", "good", "."]),
        (
            "The film\u2019s re-imagining, they've said",
            ["the", "film", "'s", "re-imagining", ",", "they", "'ve", "said"],
        ),
        ("1,000 or 3.5 -lrb- yes -rrb-", ["1,000", "or", "3.5", "(", "yes", ")"]),
        ("o'brien & co -- well ...", ["o'brien", "&", "co", "--", "well", "..."]),
        ("caf\u0065\u0301", ["café"]),
        (" \t\n", []),
        ("\u4e0d\u597d\uff0cok\u3002", ["\u4e0d", "\u597d", "\uff0c", "ok", "\u3002"]),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u0939\u0948\u0964",
            ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u0948", "\u0964"],
        ),
        ("\u0645\u064f\u0645\u062a\u0627\u0632", ["\u0645\u064f\u0645\u062a\u0627\u0632"]),
        ("\ufeffcre\u00adate\u200bit", ["create", "it"]),
    ],
)
def test_words_punctuation_and_contractions_are_tokens_of_their_own(text, words):
    assert WordTokenizer()(text) == words


@pytest.mark.parametrize(
    "line",
    [
        "a sentimental mess that never rings true .",
        "it 's a lovely film with lovely performances by buy and accorsi .",
        "mr. tsai is a very original artist in his medium , and what time is it there ?",
        "`` the ring '' is pretty much an english-language copy of the film that inspired it .",
        "a recent favourite at sundance , this white-trash satire will inspire the affection of j. k. rowling 's fans",
        "'70s do n't -lrb- really -rrb- end vs. no. 1",
    ],
)
def test_tokens_that_stand_apart_stay_where_texts_are_split_by_spaces(line):
    assert WordTokenizer(split="spaces")(line) == line.split(" ")
    assert WordTokenizer(split="spaces", stop_words="english")("The film , is n't Good") == ["film", ",", "good"]


def test_the_default_cuts_abbreviations_and_quotes():
    assert WordTokenizer()("mr. tsai") == ["mr", ".", "tsai"]
    assert WordTokenizer()("'' j. k.") == ["'", "'", "j", ".", "k", "."]


def test_the_shipped_sets_keep_their_tokens():
    folder = real_data("sentence_sets")
    lines = gzip.decompress((folder / "sst2_dev.txt.gz").read_bytes()).decode().splitlines()[:200]
    split = WordTokenizer(split="spaces")
    assert all(split(line) == line.lower().split() for line in lines)
    assert any(WordTokenizer()(line) != line.lower().split() for line in lines)


def test_stop_words_hold_the_negations():
    drop = WordTokenizer(stop_words="english")
    assert drop("This is not a good film , isn't it ?") == ["good", "film", ",", "?"]
    assert WordTokenizer(lower=False)("Don't Stop") == ["Do", "n't", "Stop"]


def test_a_vocabulary_is_sorted_by_count_and_then_by_letters():
    documents = [["b", "a", "c"], ["c", "b"], ["c", "d"]]
    assert Vocabulary.of(documents).words == ("c", "b", "a", "d")
    small = Vocabulary.of(documents, min_count=2, also=("z", "a", "c"))
    assert small.words == ("c", "b", "z", "a")
    assert small.encode(["d", "c", "a"]).tolist() == [1, 2, 5]
    assert len(small) == 6


def test_vectors_are_read_from_text_and_archives(tmp_path):
    words, vectors = ("good", "bad", "new york"), np.asarray([[1.0, 2], [3, 4], [5, 6]], np.float32)
    lines = "\n".join(f"{word} {a} {b}" for word, (a, b) in zip(words, vectors, strict=True))
    for name, text in (("glove.txt", lines), ("word2vec.txt", f"3 2\n{lines}\n")):
        (tmp_path / name).write_text(text)
        found = read_embeddings(tmp_path / name)
        assert found.words == words
        np.testing.assert_array_equal(found.vectors, vectors)
    twice = np.asarray("\n".join((*words, "good")))
    np.savez_compressed(tmp_path / "kept.npz", words=twice, vectors=np.vstack([vectors, vectors[:1] + 9]))
    found = read_embeddings(tmp_path / "kept.npz")
    assert found.words == words
    np.testing.assert_array_equal(found.vectors, vectors)


def test_words_without_a_vector_get_a_smaller_one_and_padding_none():
    rng = np.random.default_rng(0)
    embeddings = WordEmbeddings(("good", "bad"), 3 * rng.normal(size=(2, 400)))
    words = ("good", *(f"new{k}" for k in range(50)))
    table = embedding_table(words, embeddings)
    assert not table[0].any()
    np.testing.assert_allclose(table[2], embeddings.vectors[0], rtol=1e-6)
    np.testing.assert_allclose(table[3:].std(), 0.4 * embeddings.vectors.std(), rtol=0.05)
    learned = embedding_table(words, None, embedding_size=7)
    assert learned.shape == (len(words) + 2, 7)
    assert np.abs(learned).max() <= 0.25


def test_texts_come_in_groups_of_like_length_and_each_once():
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 90, 101)
    documents = [np.full(length, 2 + k, np.int32) for k, length in enumerate(lengths)]
    buckets = buckets_for(lengths)
    assert buckets == BUCKETS
    tokens = padded(documents, buckets[-1])
    draw = GroupDraw(tokens, np.arange(101) % 3, buckets, 8)
    groups, others = draw(0), draw(1)
    seen = groups.tokens[..., 0][groups.weights > 0]
    assert sorted(seen - 2) == list(range(101))
    assert groups.tokens.shape == (13, 8, 128)
    longest = (groups.tokens != 0).sum(-1).max(-1)
    assert (longest <= np.asarray(buckets)[groups.bucket]).all()
    assert (np.bincount(groups.bucket) == np.bincount(others.bucket)).all()
    assert (groups.tokens != others.tokens).any()
    np.testing.assert_array_equal(groups.labels, (groups.tokens[..., 0] - 2) % 3)
    assert bucket_of(np.asarray([1, 12, 13, 128, 999])).tolist() == [0, 0, 1, 5, 5]


CSV = 'text,label,other\n"good, ""really""\nfun",pos,1\nbad,neg,2\n'


def test_tables_hold_texts_with_commas_quotes_and_lines(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    found = read_text_table(file)
    assert found.texts == ('good, "really"\nfun', "bad")
    assert found.labels == ("pos", "neg")
    assert read_text_table(file, label_column=None).labels is None
    file.write_bytes("text,label\ncaf\u00e9,good\n".encode("latin-1"))
    assert read_text_table(file, encoding="latin-1").texts == ("café",)


def test_rows_of_one_column_keep_their_places_and_names_may_be_upper_case(tmp_path):
    (tmp_path / "X.CSV").write_text("\ntext\ngood\n\nbad\n\n")
    assert read_text_table(tmp_path / "X.CSV", label_column=None).texts == ("good", "", "bad")
    (tmp_path / "two.csv").write_text("text,label\n\ngood,pos\n\nbad,neg\n\n")
    assert read_text_table(tmp_path / "two.csv").texts == ("good", "bad")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,label\ncafé,good\n".encode("latin-1"), {}, "line 2: expected text in utf-8, got text in another"),
        (CSV.encode("utf-16"), {}, "UTF-16"),
        (CSV.encode(), {"text_column": "review"}, "no column 'review'; its columns are text, label, other"),
        (CSV.encode(), {"label_column": "stars"}, "no column 'stars'"),
        (CSV.encode(), {"encoding": "klingon"}, "one that Python knows"),
        (b"text,label\ngood,\n", {}, "line 2: the column 'label' is empty"),
        (b"text,label\ngood, but dull,pos\n", {}, "line 2: expected 2 columns, got 3"),
        (b'text,label\n"good,pos\n', {}, "a quote is not closed"),
        (b"text,label\n", {}, "no rows"),
        (b"\n\n", {}, "no rows"),
        (b"text,label,text\ngood,pos,bad\n", {}, "has 2 columns 'text'; rename"),
        (b"text;label\ngood;pos\n", {}, "separated by semicolons"),
        (b'text;label\n"good; fun";pos\n', {}, "separated by semicolons"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(tmp_path, content, options, message):
    (tmp_path / "reviews.csv").write_bytes(content)
    with pytest.raises(jaxcast.InputError, match=message) as error:
        read_text_table(tmp_path / "reviews.csv", **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", b"good 1 2\nbad 1\n", "equally many|numbers"),
        ("v.txt", b"good 1 x\n", "a word and 2 numbers"),
        ("v.txt", b"\xff\xfegood 1 2\n", "UTF-8"),
        ("v.txt", b"", "its numbers in each line, got an empty file"),
        ("v.csv", b"text\ngood\n", "its numbers in each line, got 'text'"),
    ],
)
def test_vectors_that_are_none_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(jaxcast.InputError, match=message) as error:
        read_embeddings(tmp_path / name)
    assert "\n" not in str(error.value)


def test_texts_that_are_learned_from_are_found_whatever_their_case_and_spaces():
    learned = ["A good  film", "bad", ""]
    assert also_learned(["a GOOD film ", "good film", "bad", "Bad."], learned).tolist() == [True, False, True, False]
    assert also_learned([], learned).shape == (0,)
