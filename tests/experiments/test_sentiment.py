"""Parts, rows and averages of the experiment on sentences."""

import dataclasses
import gzip

import numpy as np
import pytest
from rich.console import Console

from experiments.sentiment import methods, pictures, scoring
from experiments.sentiment.__main__ import PRESETS, Run, main
from experiments.sentiment.data import SETS, Part, joined, made_set, own_set, read_labelled, read_vectors
from jaxcast import InputError
from jaxcast.text import LabelledTexts
from tests.real_data import real_data


def test_sets_are_those_of_their_source():
    real_data("sentence_sets")
    real_data("mr_polarity")
    counts = {name: read() for name, read in SETS.items()}
    assert {name: len(one.texts) for name, one in counts.items()} == {
        "mr": 10662, "trec": 5952, "sst2": 9613, "sst5": 11855, "subj": 10000
    }  # fmt: skip
    assert {name: len(one.classes) for name, one in counts.items()} == {
        "mr": 2, "trec": 6, "sst2": 2, "sst5": 5, "subj": 2
    }  # fmt: skip
    assert counts["sst2"].validation.sum() == 872
    assert counts["trec"].test.sum() == 500
    assert counts["subj"].test is None
    (part,) = counts["trec"].parts(10, 1, 0)
    found = methods.majority(part, 6).argmax(-1)
    assert (found == part.test.labels).mean() == 0.188  # the commonest class of the test part has 27.6 %


def test_folds_judge_every_sentence_once_and_learn_from_no_other():
    sentences, vectors = made_set(0)
    parts = list(sentences.parts(4, 5, 0))
    assert sorted(text for part in parts for text in part.test.texts) == sorted(sentences.texts)
    for part in parts:
        assert len(part.train.texts) + len(part.validation.texts) + len(part.test.texts) == 120
        assert abs(part.test.labels.mean() - 0.5) < 0.02
    assert set(" ".join(sentences.texts).split()) <= set(vectors.words)


def test_a_given_split_stays_and_seeds_differ(tmp_path):
    for name, lines in (("train", "1 good\n0 bad\n" * 10), ("test", "1 fine\n0 dull\n")):
        (tmp_path / f"{name}.txt.gz").write_bytes(gzip.compress(lines.encode()))
    sentences = own_set(None, tmp_path / "train.txt.gz", tmp_path / "test.txt.gz")
    parts = list(sentences.parts(10, 3, 7))
    assert [part.seed for part in parts] == [7, 8, 9]
    assert {tuple(part.test.texts) for part in parts} == {("fine", "dull")}
    assert [len(parts[0].train.texts), len(parts[0].validation.texts)] == [18, 2]


def test_own_data_run_all_folds_or_seeds_by_default():
    for config in (PRESETS["quick"], PRESETS["paper"]):
        assert (config.num_folds, config.num_seeds) == (10, 5)


def test_bags_learn_from_the_validation_sentences_with_the_penalty_chosen_by_them(monkeypatch):
    sentences, vectors = made_set(0)
    part = next(sentences.parts(4, 1, 0))
    calls, fit = [], methods.fit_text_classifier

    def recorded(texts, labels, **options):
        calls.append((len(texts), options.get("inverse_penalties"), fit(texts, labels, **options)))
        return calls[-1][-1]

    monkeypatch.setattr(methods, "fit_text_classifier", recorded)
    methods.probabilities("bigrams, tf-idf", part, vectors, PRESETS["smoke"], None)
    (_, _, first), (count, penalties, second) = calls
    assert penalties == (first.model.inverse_penalty,) == (second.model.inverse_penalty,)
    assert count == len(part.train.texts) + len(part.validation.texts)


def test_validation_parts_differ_by_seed_and_fixed_parts_run_bags_once():
    pairs = (["good"] * 30 + ["bad"] * 30, ["1"] * 30 + ["0"] * 30)
    numbered = ([f"{text} {k}" for k, text in enumerate(pairs[0])], pairs[1])
    drawn = joined("x", [numbered, (["fine", "dull"], ["1", "0"])], "rt")
    assert not drawn.has_fixed_parts
    parts = list(drawn.parts(10, 2, 0))
    assert set(parts[0].validation.texts) != set(parts[1].validation.texts)
    fixed = joined("x", [numbered, (["good", "bad"], ["1", "0"]), (["fine", "dull"], ["1", "0"])], "rvt")
    assert fixed.has_fixed_parts
    shares = np.asarray([[0.4, 0.6], [0.7, 0.3]])
    row = scoring.make_row("bag", fixed, list(fixed.parts(10, 5, 0)), [shares])
    assert (row["num_folds"], row["num_seeds"], row["accuracy_std"]) == (1, 1, None)
    keys = ["method", "data", "num_folds", "num_seeds", "accuracy", "accuracy_std", "balanced_accuracy", "auc"]
    assert list(row)[:9] == [*keys, "published"]
    assert all(list(one) == [*keys, "published"] for one in scoring.published_rows("mr"))


def test_sentences_without_a_known_word_leave_an_empty_picture():
    assert pictures.words([]).texts[0].get_text() == "no test sentence has a known word"


def test_the_picture_of_accuracies_draws_points_and_names_the_set():
    rows = [
        {"method": methods.MAJORITY, "data": "mr", "accuracy": 0.5, "accuracy_std": None, "published": None},
        {"method": "bag", "data": "mr", "accuracy": 0.8, "accuracy_std": 0.02, "published": None},
        {"method": "Kim", "data": "mr", "accuracy": None, "accuracy_std": None, "published": 0.75},
    ]
    (ax,) = pictures.accuracies(rows, ["bag"]).axes
    assert ax.get_title() == "MR: film reviews"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Kim", "bag"]
    assert [bar.lines[0].get_xdata().tolist() for bar in ax.containers] == [[75.0], [80.0]]
    (spread,) = ax.containers[1].lines[2]
    np.testing.assert_allclose(spread.get_segments()[0][:, 0], [78, 82])
    assert ax.get_xlabel() == "accuracy, % (commonest class: 50.0)"


def test_the_picture_of_words_names_the_classes():
    sentences, vectors = made_set(0)
    config = dataclasses.replace(PRESETS["smoke"], methods=("bigrams, tf-idf",))
    drawn = Run(None, sentences, vectors, config, None).words(config.methods)
    assert {label for label, _ in drawn} == {one.predicted for _, one in drawn} == {"neg", "pos"}
    titles = [ax.get_title(loc="left") for ax in pictures.words(drawn).axes]
    assert any(title.startswith("predicted pos") for title in titles)


def test_a_label_that_only_the_test_part_has_is_refused(tmp_path):
    for name, text in (("train", "1 good\n0 bad\n" * 5), ("test", "1 fine\n2 odd\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(InputError, match="no sentence to learn from has the label '2'") as error:
        own_set(None, tmp_path / "train.txt", tmp_path / "test.txt")
    assert "\n" not in str(error.value)


def test_files_that_are_none_are_refused_in_one_line(tmp_path):
    file = tmp_path / "a.txt"
    for content, message in (
        (b"1\n\nbad\n", "no sentence"),
        (b"\xff1 good\n", "text in another encoding, .*--encoding"),
        ("1 good".encode("utf-16"), "got UTF-16; name it by --encoding"),
        ("1 good".encode("utf-16-le"), "got UTF-16"),
        (b"\n", "no sentence"),
        (gzip.compress(b"1 good\n" * 99)[:20], "cannot be read"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_labelled(file)
    file.write_text("1 good\n")
    with pytest.raises(InputError, match="encoding must be one that Python knows"):
        read_labelled(file, "klingon")
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(InputError, match="jaxcast text takes a"):
        read_labelled(tmp_path / "a.csv")
    file.write_text("1 good\n1 fine\n")
    with pytest.raises(InputError, match="only the label '1'"):
        own_set(file, None, None)
    with pytest.raises(InputError, match="--train FILE and --test FILE"):
        own_set(None, file, None)
    with pytest.raises(InputError, match="there is no file"):
        own_set(tmp_path / "missing.txt", None, None)


def test_own_files_may_be_of_other_encodings_and_hold_empty_sentences(tmp_path, capsys):
    text = "\ufeffja gut\r\n\r\nnein schlecht für  mich\r\nja\r\n"
    for name, raw in (("a.txt", text.encode()), ("b.txt.gz", gzip.compress(text.encode())),
                      ("c.txt", gzip.compress(text.encode()))):  # fmt: skip
        (tmp_path / name).write_bytes(raw)
        assert read_labelled(tmp_path / name) == (["gut", "schlecht für  mich", ""], ["ja", "nein", "ja"])
    assert "1 of 3 lines" in capsys.readouterr().err
    (tmp_path / "d.txt").write_bytes("ja für\n".encode("cp1252"))
    assert read_labelled(tmp_path / "d.txt", "cp1252")[0] == ["für"]


class Folder:
    """A folder that keeps nothing."""

    def stage(self, name, compute):
        return compute(None)


def rows_of(sentences, **settings):
    """The rows of bags of words on sentences, without a file."""
    config = dataclasses.replace(PRESETS["smoke"], **settings)
    return Run(Folder(), sentences, made_set(0)[1], config, Console(quiet=True)).rows()[0]


@pytest.mark.slow
def test_few_sentences_empty_and_long_ones_are_classified_and_published_rows_are_of_the_sets_alone(tmp_path):
    file = tmp_path / "mr.txt"
    lines = [f"{('pos good', 'neg bad')[k % 2]} w{k}" for k in range(24)]
    file.write_text("\n".join([*lines, "pos", "neg bad " + "long " * 3000]))
    rows = rows_of(own_set(file, None, None), data=file, methods=methods.PLAIN[::2])
    assert [row["method"] for row in rows] == [methods.MAJORITY, *methods.PLAIN[::2], methods.AVERAGE]
    assert all(row["accuracy"] > 0.8 for row in rows[1:])
    assert all(row["published"] is None for row in rows)
    file.write_text("\n".join([*lines, "odd thing"]))
    with pytest.raises(InputError, match="at least 2 samples of every class for 2 folds, got 1 of 'odd'"):
        main(dataclasses.replace(PRESETS["smoke"], data=file, out=tmp_path / "run", methods=methods.PLAIN))
    assert not (tmp_path / "run").exists()


def test_test_sentences_that_are_also_learned_from_are_counted_and_noted(capsys):
    texts = [f"good w{k}" for k in range(10)] + [f"bad w{k}" for k in range(10)]
    labels = ["1"] * 10 + ["0"] * 10
    vectors, config = made_set(0)[1], PRESETS["smoke"]

    def repeated(sentences):
        return Run(Folder(), sentences, vectors, config, None).num_repeated()

    assert repeated(joined("x", [(texts, labels)], "a")) == 0
    assert capsys.readouterr().err == ""
    given = joined("x", [(texts, labels), (["GOOD  w3", "good"], ["1", "1"])], "rt")
    assert repeated(given) == 1
    assert "1 of 2 test sentences are also learned from" in capsys.readouterr().err
    assert repeated(joined("x", [([*texts[:10], *["bad"] * 10], labels)], "a")) == 10  # five of them in each fold


def test_vectors_may_be_missing_where_no_method_takes_them(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCAST_DATA", str(tmp_path))
    assert read_vectors(None, needed=False).words == ()
    with pytest.raises(InputError, match="give --embeddings"):
        read_vectors(None, needed=True)


def test_a_method_that_cannot_learn_from_the_sentences_is_left_out(capsys):
    sentences = joined("x", [(["good film"] * 9 + ["not"] * 9, ["1"] * 9 + ["0"] * 9)], "a")
    names = ("bigrams, tf-idf", "bigrams, tf-idf, without stop words")
    assert [row["method"] for row in rows_of(sentences, methods=names)] == [methods.MAJORITY, names[0]]
    assert "without stop words: left out: expected texts with words of every class" in capsys.readouterr().err


def test_rows_are_means_over_folds_and_an_average_leaves_bad_members_out():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    sentences = joined("x", [(["a"] * 60, list(map(str, labels)))], "a")
    part = Part(*(LabelledTexts(["a"] * 60, labels) for _ in range(3)), 0)

    def member(skill):
        logit = skill * (2 * labels - 1) + rng.normal(size=(2, 60))
        first, second = 1 / (1 + np.exp(-logit))
        return {"validation": np.stack([1 - first, first], -1), "test": np.stack([1 - second, second], -1)}

    members = {"one": member(1.5), "two": member(1.5), "noise": member(0.0)}
    shares, chosen = methods.average(members, part)
    assert sorted(chosen) == ["one", "two"]
    np.testing.assert_allclose(shares, (members["one"]["test"] + members["two"]["test"]) / 2)
    row = scoring.make_row("average", sentences, [part, part], [shares, members["one"]["test"]])
    accuracies = [(one.argmax(-1) == labels).mean() for one in (shares, members["one"]["test"])]
    assert row["accuracy"] == pytest.approx(np.mean(accuracies))
    assert row["accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (row["num_folds"], row["num_seeds"], row["published"]) == (2, 1, None)
