"""The experiment on brain signals: subjects, rows, data of one's own."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.neuro import __main__ as neuro
from experiments.neuro import classification
from experiments.neuro.classification_rows import cells, published_rows, row_of, spread_of
from experiments.neuro.methods import METHODS
from experiments.neuro.subjects import read_abide, read_archive
from jaxcast import InputError
from jaxcast.neuro import class_balance, constant_regions, subject_series
from jaxcast.training import stratified_folds
from tests.real_data import real_data

SMOKE = neuro.PRESETS["smoke"]
PLAIN = ("majority", "confounds alone", "ridge, Fisher z")
NETWORKS = tuple(name for name, entry in METHODS.items() if entry.is_network)


def test_subjects_are_those_of_their_source():
    subjects = read_abide(real_data("abide_cc200"), "autism")
    assert class_balance(subjects)["all"] == (530, 505)
    assert len(class_balance(subjects)) == 21
    constant = constant_regions(subjects)
    assert (constant.sum(), constant.any(1).sum()) == (430, 46)
    lengths = [len(one) for one in subjects.series]
    assert (min(lengths), max(lengths), subjects.num_regions) == (78, 316, 200)
    assert (subjects.sex == "F").sum() == 157


def test_subjects_are_described_in_one_line():
    series = np.random.default_rng(0).normal(size=(4, 12, 3))
    series[1, :, 2] = np.nan
    series[3, 8:] = np.nan
    told = classification.about(subject_series(series, ["ill", "well", "ill", "well"]))
    assert told == (
        "4 subjects, 3 regions, 8 to 12 scans, classes ill 2, well 2; "
        "1 constant region in 1 subject, with correlations of 0"
    )
    series[2] = series[0]
    again = classification.about(subject_series(series, ["ill", "well", "ill", "well"]))
    assert again == told + "; 1 subject with the series of another, so that folds may share them: leave them out"


@pytest.mark.slow
def test_a_run_writes_rows_and_pictures(tmp_path):
    config = dataclasses.replace(SMOKE, parts=("classification",), methods=PLAIN, out=tmp_path / "run")
    neuro.main(config)
    results = json.loads((tmp_path / "run/results.json").read_text())
    keys = {"method", "data", "num_folds", "num_seeds", "accuracy", "accuracy_std", "balanced_accuracy", "auc",
            "published"}  # fmt: skip
    assert all(keys <= row.keys() for row in results["rows"])
    assert all(row["accuracy_std"] == row["fold_accuracy_std"] for row in results["rows"])
    assert [row["method"] for row in results["rows"]] == [*PLAIN, *PLAIN]
    ridge = results["rows"][2]
    assert ridge["accuracy"] > 0.9 > results["rows"][1]["accuracy"]
    assert results["classification_class_balance"]["simulated"]["all"] == [24, 24]
    for name in classification.PART.pictures:
        assert (tmp_path / "run" / name).stat().st_size > 0


def test_confounds_need_no_site():
    subjects = classification.read(SMOKE, None, "label")._replace(site=None)
    assert "confounds alone" in classification.applicable(SMOKE, subjects, "folds")
    assert "ridge, Fisher z, sites regressed out" not in classification.applicable(SMOKE, subjects, "folds")


def test_published_rows_hold_numbers():
    rows = published_rows("autism")
    assert (rows[0]["published"], rows[0]["published_auc"]) == (0.594, 0.624)
    assert cells(rows[0])[2:] == ("\\[59.4]", "", "\\[0.624]")
    assert spread_of([0.5, 0.7, 0.6]) == pytest.approx(0.1)
    assert spread_of([0.5]) is None


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    series = rng.normal(size=(20, 30, 4))
    series[labels == 1, :, 0] += series[labels == 1, :, 1]
    np.savez(tmp_path / "own.npz", signals=series, group=np.asarray(["well", "ill"])[labels])
    return tmp_path / "own.npz"


@pytest.mark.slow
def test_data_of_ones_own_are_classified(archive, tmp_path):
    config = dataclasses.replace(
        SMOKE,
        parts=("classification",),
        data=archive,
        series="signals",
        labels="group",
        methods=PLAIN,
        folds=5,
        out=tmp_path / "run",
    )
    neuro.main(config)
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    # Without sites, neither confounds nor the protocol of sites.
    assert [(row["method"], row["data"], row["num_folds"]) for row in rows] == [
        ("majority", "own", 5),
        ("ridge, Fisher z", "own", 5),
    ]
    assert rows[1]["accuracy"] > 0.8


def test_what_cannot_be_used_is_refused(archive, tmp_path):
    with pytest.raises(InputError, match="has no array eeg"):
        read_archive(archive, "eeg", "group")
    (tmp_path / "no.npz").write_text("text")
    with pytest.raises(InputError, match="is not a whole"):
        read_archive(tmp_path / "no.npz", "a", "b")
    np.save(tmp_path / "single.npy", np.ones(3))
    (tmp_path / "single.npy").rename(tmp_path / "renamed.npz")
    with pytest.raises(InputError, match="is not a whole"):
        read_archive(tmp_path / "renamed.npz", "a", "b")
    (tmp_path / "cut.npz").write_bytes(archive.read_bytes()[:300])
    with pytest.raises(InputError, match="is not a whole"):
        read_archive(tmp_path / "cut.npz", "a", "b")
    alone = dataclasses.replace(SMOKE, methods=("confounds alone",), series="signals", labels="group")
    with pytest.raises(InputError, match="none of the methods"):
        classification.applicable(alone, read_archive(archive, "signals", "group"), "folds")
    with pytest.raises(InputError, match="lacks timeseries"):
        read_abide(tmp_path, "autism")
    with pytest.raises(InputError, match="together"):
        neuro.main(dataclasses.replace(SMOKE, parts=("classification",), data=archive, out=tmp_path / "run"))
    with pytest.raises(InputError, match="did you mean"):
        neuro.main(dataclasses.replace(SMOKE, parts=("classification",), methods=("rigde",), out=tmp_path / "run"))
    many = dataclasses.replace(SMOKE, parts=("classification",), methods=PLAIN, folds=40, out=tmp_path / "run")
    with pytest.raises(InputError, match="at least 40 samples of every class for 40 folds, got 24 of '0'"):
        neuro.main(many)
    assert not (tmp_path / "run").exists()


def own(archive, tmp_path, **settings):
    """The results of a run on an archive of one's own."""
    given = {"series": "signals", "labels": "group", "methods": PLAIN, "folds": 4, "out": tmp_path / "run"}
    neuro.main(dataclasses.replace(SMOKE, data=archive, **(given | settings)))
    return json.loads((tmp_path / "run/results.json").read_text())


@pytest.mark.slow
def test_an_archive_needs_no_part_and_what_cannot_use_it_is_left_out(archive, tmp_path, capsys):
    methods = ("ridge, Fisher z", "dynamic graphs, GRU, segments of activity")
    with np.load(archive) as arrays:
        series = np.array(arrays["signals"])
        series[:, 18:] = np.nan  # too short for a segment of activity
        np.savez(archive, signals=series, group=arrays["group"][:, None])
    results = own(archive, tmp_path, methods=methods)
    assert [row["method"] for row in results["rows"]] == ["ridge, Fisher z"]
    assert "fewer than a segment of 20" in results["classification_left_out"]["own, folds"][methods[1]]
    assert results["classification_classes"] == {"own": ["ill", "well"]}
    shown = capsys.readouterr().out
    assert "20 subjects, 4 regions, 18 to 18 scans, classes ill 10, well 10" in shown
    assert "left out" in shown


def test_the_majority_is_the_share_of_the_larger_class():
    subjects = classification.read(SMOKE, None, "label").subset(np.r_[0:30])
    folds = stratified_folds(subjects.labels, 10, seed=0)
    row = row_of([classification.majority_of(subjects, folds)], "x", "majority", "folds")
    assert (row["accuracy"], row["balanced_accuracy"], row["auc"], row["num_folds"]) == (0.5, 0.5, 0.5, 10)
    shares = [(subjects.labels[test] == 0).mean() for _, test in folds]
    assert row["accuracy_std"] == pytest.approx(np.std(shares, ddof=1))


def test_stages_of_other_subjects_are_not_read():
    subjects = classification.read(SMOKE, None, "label")
    names = []

    class Folder:
        def stage(self, name, compute):
            names.append(name)
            return compute(None)

    flipped = subjects._replace(labels=subjects.labels[::-1])
    moved = subjects._replace(site=subjects.site[::-1])
    for some in (subjects, subjects, flipped, moved):
        classification.validated(SMOKE, Folder(), some, "own", "ridge, Fisher z", "folds")
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_sites_are_left_out_where_each_class_is_at_two():
    subjects = classification.read(SMOKE, None, "label")
    assert classification.protocols(subjects) == ["folds", "sites"]
    assert classification.protocols(subjects._replace(site=None)) == ["folds"]
    assert classification.protocols(subjects._replace(site=subjects.labels)) == ["folds"]
    networks = dataclasses.replace(SMOKE, network_sites=True)
    assert set(classification.applicable(SMOKE, subjects, "sites")).isdisjoint(NETWORKS)
    assert set(NETWORKS) <= set(classification.applicable(networks, subjects, "sites"))


@pytest.mark.slow
def test_networks_have_rows_too(tmp_path):
    config = dataclasses.replace(SMOKE, parts=("classification",), methods=NETWORKS, out=tmp_path / "run")
    neuro.main(config)
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert [row["method"] for row in rows] == list(NETWORKS)
    assert all(row["num_folds"] == 2 and row["num_seeds"] == 1 for row in rows)
    with np.load(next((tmp_path / "run").rglob("*BrainGNN*.npz"))) as stage:
        tested = stage["fold"] >= 0
        assert np.isfinite(stage["region_scores"][tested]).all()
        assert np.isnan(stage["region_scores"][~tested]).all()


@pytest.mark.slow
def test_changes_of_connections_have_rows_and_a_picture(tmp_path):
    neuro.main(dataclasses.replace(SMOKE, parts=("dynamics",), out=tmp_path / "run"))
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert [row["method"] for row in rows] == [
        "majority",
        "ridge, Fisher z",
        "dynamic graphs, GRU",
        "dynamic graphs, transformer",
    ]
    assert rows[1]["accuracy"] < 0.75
    assert (tmp_path / "run/segments.png").stat().st_size > 0
