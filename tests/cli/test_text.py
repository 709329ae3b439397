"""`jaxcast text train | predict | evaluate` on tables of texts, as a user meets them."""

import csv
import io
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.text.data import confusion
from jaxcast.cli.text.train import TrainText
from jaxcast.text import LabelledTexts, TextNetwork, TextOutput, TextSizes, TextTable

GOOD = ["good fun", "a good film, really", "really good", "fun and good", "so good"]
BAD = ["bad, dull", "a bad film", "really bad", "dull and bad", "so bad"]
FAST = ["--num-epochs", 8, "--batch-size", 8, "--learning-rate", 0.1, "--dropout", 0.1]


class Blank(TextNetwork, name="blank_of_the_command_line"):
    """A network that says the first class, "neg", of every text."""

    own_config = {}  # noqa: RUF012

    def __init__(self, *, num_classes, num_trained, num_fixed, embedding_size, key):
        sizes = TextSizes(num_classes, num_trained, num_fixed, embedding_size)
        super().__init__(sizes, num_features=embedding_size, key=key, dropout=0.0)

    def classify(self, vectors, mask, key):
        return TextOutput(self.read_out(0 * vectors.sum(-2), key).logits * 0 + jnp.asarray([1.0, 0.0]))


class Sum(TextNetwork, name="sum_of_the_command_line"):
    """The sum of the vectors of the words."""

    own_config = {}  # noqa: RUF012

    def __init__(self, *, num_classes, num_trained, num_fixed, embedding_size, key):
        sizes = TextSizes(num_classes, num_trained, num_fixed, embedding_size)
        super().__init__(sizes, num_features=embedding_size, key=key, dropout=0.0)

    def classify(self, vectors, mask, key):
        return self.read_out(jnp.tanh(vectors.sum(-2)), key)


def run(*args):
    parse([str(arg) for arg in args]).run()


def write(path, rows, header=("text", "label"), **options):
    with path.open("w", newline="", **options) as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts")
    rows = [(text, "pos") for text in GOOD * 4] + [(text, "neg") for text in BAD * 4]
    write(path / "train.csv", [*rows, ("", "pos"), (" ", "neg")])
    run("text", "train", "--data", path / "train.csv", "--method", "tfidf", "cnn", "sum_of_the_command_line",
        "--out", path / "model", *FAST)  # fmt: skip
    return path


@pytest.mark.slow
def test_methods_are_compared_and_the_best_is_kept(folder):
    record = json.loads((folder / "model/results.json").read_text())
    assert [row["method"] for row in record["rows"]] == ["commonest class", "tfidf", "cnn", "sum_of_the_command_line"]
    assert record["rows"][0]["accuracy"] == 0.5
    assert record["rows"][0]["auc"] == 0.5
    best = next(row for row in record["rows"] if row["method"] == record["method"])
    assert best["accuracy"] == 1.0
    assert best["validation_accuracy"] == max(row["validation_accuracy"] for row in record["rows"])
    model = jaxcast.load_model(folder / "model")
    assert model.pool.classes == ("neg", "pos")
    assert model.attributes["method"] == record["method"]


def test_training_again_reads_what_is_there(folder, capsys):
    before = (folder / "model/arrays.npz").stat().st_mtime_ns
    run("text", "train", "--data", folder / "train.csv", "--method", "tfidf", "cnn", "sum_of_the_command_line",
        "--out", folder / "model", *FAST)  # fmt: skip
    assert (folder / "model/arrays.npz").stat().st_mtime_ns == before
    assert "2 of 42 texts" in capsys.readouterr().err  # have no word


@pytest.mark.slow
def test_the_kept_method_is_chosen_by_the_validation_texts_alone(tmp_path):
    right, wrong = LabelledTexts(GOOD + BAD, ["pos"] * 5 + ["neg"] * 5), LabelledTexts(GOOD + BAD, ["neg"] * 10)
    data = write(tmp_path / "data.csv", [("good", "pos"), ("bad", "neg")])
    command = TrainText(data, tmp_path / "model", method=("blank_of_the_command_line", "tfidf"), num_epochs=1)
    folder = command.folder(TextTable(("good", "bad"), ("pos", "neg")), None)
    command.train(folder, (right, right, wrong), None)
    record = json.loads((tmp_path / "model/results.json").read_text())
    by_name = {row["method"]: row for row in record["rows"]}
    assert by_name["tfidf"]["validation_accuracy"] == 1.0
    assert by_name["tfidf"]["accuracy"] == 0.5
    assert by_name["blank_of_the_command_line"]["validation_accuracy"] == 0.5
    assert by_name["blank_of_the_command_line"]["accuracy"] == 1.0
    assert record["method"] == "tfidf"


def test_shares_are_kept_and_a_rare_class_is_trained_on(tmp_path):
    rows = [("good", "pos")] * 30 + [("bad", "neg")] * 19 + [("so", "odd")]
    table = TextTable(*map(tuple, zip(*rows, strict=True)))
    train, stop, test = TrainText(Path("a.csv"), Path("m"), test_share=0.4, validation_share=0.3).parts(table)
    assert [len(part.texts) for part in (train, stop, test)] == [21, 9, 20]
    assert "odd" in train.labels


def test_predictions_are_those_of_the_model(folder, tmp_path, capsys):
    texts = ["good film", "so dull", "", "zzz", "a bad, bad film"]
    data = write(tmp_path / "new.csv", [(text,) for text in texts], header=("review",))
    out, plot = tmp_path / "classes.csv", tmp_path / "words.png"
    args = ("text", "predict", "--model", folder / "model", "--data", data, "--text-column", "review", "--out", out)
    run(*args, "--plot", plot)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    model = jaxcast.load_model(folder / "model").pool
    assert [row["text"] for row in rows] == texts
    assert [row["known"] for row in rows] == ["1", "1", "0", "0", "1"]
    assert [row["predicted"] for row in rows] == model.predict(texts)
    found = [float(row["probability of pos"]) for row in rows]
    np.testing.assert_allclose(found, model.predict_probabilities(texts)[:, 1], rtol=1e-5)
    assert plot.stat().st_size > 5000
    assert "2 of 5 texts" in capsys.readouterr().err
    with pytest.raises(jaxcast.InputError, match="exists"):
        run(*args)
    run(*args, "--overwrite")


def test_an_evaluation_shows_scores_and_the_confusion_table(folder, tmp_path, capsys):
    data = write(tmp_path / "test.csv", [("good", "pos"), ("bad", "neg"), ("so bad", "pos")])
    run("text", "evaluate", "--model", folder / "model", "--data", data, "--plot", tmp_path / "confusion.png")
    shown = capsys.readouterr().out
    assert "0.6667" in shown
    assert re.search(r"pos +1 +1", shown)
    assert (tmp_path / "confusion.png").stat().st_size > 5000


def test_names_of_classes_are_shown_as_they_are():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(confusion(np.asarray([[3, 1], [0, 2]]), ["[/y]", "[b]x :smile:"]))
    shown = console.export_text()
    assert re.search(r"\[b\]x :smile: +0 +2", shown)
    assert "[/y]" in shown


@pytest.mark.parametrize(
    ("rows", "args", "message"),
    [
        ([("good", "pos")] * 5, (), "only one class, 'pos'"),
        ([("", "pos"), (" ", "neg")], (), "only texts without a word"),
        ([("good", "pos"), ("bad", "neg")], (), "at least two samples"),
        ([("good", "pos")] * 3, ("--min-count", 2, "--method", "tfidf"), "--min-count is for networks"),
        ([("good", "pos")] * 3, ("--label-column", "stars"), "no column 'stars'"),
        ([("good", "pos")] * 3, ("--embeddings", "v.txt", "--method", "tfidf"), "--embeddings is for networks"),
        ([("good", "pos")] * 3, ("--readout", "last", "--method", "cnn"), "--readout is for lstm, gru, rnn"),
        ([("good", "pos")] * 3, ("--tune",), "--tune is for the vectors"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, rows, args, message):
    data = write(tmp_path / "bad.csv", rows)
    with pytest.raises(jaxcast.InputError, match=message) as error:
        run("text", "train", "--data", data, "--out", tmp_path / "model", *args)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_other_models_classes_and_encodings_are_refused(folder, tmp_path):
    jaxcast.save_model(tmp_path / "pool", jaxcast.equal_weights(2))
    data = write(tmp_path / "new.csv", [("good", "other")])
    out = ("--data", data, "--out", tmp_path / "o.csv")
    with pytest.raises(jaxcast.InputError, match="holds no classifier of texts"):
        run("text", "predict", "--model", tmp_path / "pool", *out)
    with pytest.raises(jaxcast.InputError, match="the class 'other', the model knows neg, pos"):
        run("text", "evaluate", "--model", folder / "model", "--data", data)
    latin = write(tmp_path / "latin.csv", [("café good",)], header=("text",), encoding="latin-1")
    args = ("text", "predict", "--model", folder / "model", "--data", latin, "--out", tmp_path / "o.csv")
    with pytest.raises(jaxcast.InputError, match="name it by --encoding"):
        run(*args)
    assert not (tmp_path / "o.csv").exists()
    run(*args, "--encoding", "latin-1")
    assert "café good" in (tmp_path / "o.csv").read_text(encoding="utf-8")
