"""`jaxcast benchmark`: what it writes, what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxcast.benchmark import find_case
from jaxcast.benchmark.scoring import score_forecasts
from jaxcast.benchmark.sealed import sealed, unsealed
from jaxcast.cli.main import parse
from jaxcast.errors import InputError
from jaxcast.io.files import write_arrays


@pytest.mark.slow
def test_a_case_is_exported_and_forecasts_of_it_are_scored(tmp_path, capsys, monkeypatch):
    size = ["--num-truths", "1", "--num-windows", "2", "--num-train", "30", "--seed", "5"]
    parse(["benchmark", "export", "paper", "--out", str(tmp_path / "data"), *size]).run()
    assert "forecasts of shape (1, 2, 128, 3)" in capsys.readouterr().out
    assert "case paper" in (tmp_path / "data/README.md").read_text().lower()
    with np.load(tmp_path / "data/data.npz") as data:
        held = np.repeat(data["history"][:, :, -1:], 128, axis=2)
    np.savez(tmp_path / "held.npz", forecasts=held, other=np.zeros((1, 2, 3)))
    np.savez(tmp_path / "zero.npz", 0 * held)
    files = [str(tmp_path / name) for name in ("held.npz", "zero.npz")]
    out = tmp_path / "scores"
    command = ["benchmark", "score", "paper", files[0], "--against", files[1], "--seed", "5", "--out", str(out)]
    with monkeypatch.context() as other:  # another machine, whose truths part from those of the export
        other.setattr("jaxcast.benchmark.scoring.make_task", None)
        parse([*command, "--exported", str(tmp_path / "data")]).run()
    rows = json.loads((out / "results.json").read_text())["rows"]
    score = score_forecasts(find_case("paper"), held, seed=5)
    assert rows[0]["valid_time_median"] == score.median
    assert rows[1]["first_minus_this"]["difference"] == rows[0]["valid_time_median"] - rows[1]["valid_time_median"]
    assert f"{score.median:.2f}" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"the truths in .* are not those of paper with seed 6"):
        parse(["benchmark", "score", "paper", files[0], "--seed", "6", "--exported", str(tmp_path / "data")]).run()
    np.savez(tmp_path / "fewer.npz", held[:, :1])
    with pytest.raises(InputError, match="expected forecasts of the same windows in all files"):
        parse(["benchmark", "score", "paper", files[0], "--against", str(tmp_path / "fewer.npz")]).run()
    with pytest.raises(InputError, match="there is no file"):
        parse(["benchmark", "score", "paper", str(tmp_path / "none.npz")]).run()
    with pytest.raises(InputError, match="num_windows must be"):
        parse(["benchmark", "export", "paper", "--out", str(tmp_path / "x"), "--num-windows", "201"]).run()
    whole = np.zeros((1, 3, 128, 3))
    np.savez(tmp_path / "more.npz", whole)
    more = ["benchmark", "score", "paper", str(tmp_path / "more.npz"), "--seed", "5", "--exported"]
    with pytest.raises(InputError, match=r"at most the \(1, 2\) truths and windows in .*, got \(1, 3\)"):
        parse([*more, str(tmp_path / "data")]).run()


def test_sealed_truths_are_the_same_bits_everywhere():
    """The bytes are written down: an export of today must be read by every later version."""
    truths = np.asarray([[[[1.5, -2.0, np.pi]]]])
    arrays = sealed(find_case("paper"), truths, {"history": np.ones(2)}, seed=7)
    assert [hex(int(bits)) for bits in arrays["sealed"].ravel()] == [
        "0xe5b4284d53727006",
        "0x366b059a084e3ea3",
        "0x8191d61a26220aa5",
    ]
    assert str(arrays["data"]).startswith("c550f1a52ec07eca")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("truth.npz", lambda arrays: arrays | {"sealed": arrays["sealed"].view(float)}, "holds no sealed truths"),
        ("truth.npz", lambda arrays: arrays | {"sealed": arrays["sealed"][0]}, "holds no sealed truths"),
        ("truth.npz", lambda arrays: {"sealed": arrays["sealed"]}, "holds no sealed truths"),
        ("data.npz", lambda arrays: arrays | {"history": 2 * arrays["history"]}, "is not of the same export as"),
    ],
)
def test_files_of_an_export_that_were_changed_or_mixed_up_are_refused(tmp_path, name, change, message):
    case, data = find_case("paper"), {"history": np.ones((1, 1, 6, 3))}
    files = {"truth.npz": sealed(case, np.ones((1, 1, 128, 3)), data, seed=7), "data.npz": data}
    for file, arrays in files.items():
        write_arrays(tmp_path / file, change(arrays) if file == name else arrays)
    with pytest.raises(InputError, match=f"{message}.*export the case again"):
        unsealed(case, tmp_path, seed=7)


def test_all_cases_are_listed(capsys):
    parse(["benchmark", "list"]).run()
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("paper", "hidden_chaos_100", "three_parameters"))


@pytest.mark.slow
def test_a_wrong_file_is_one_line_and_exit_code_2(tmp_path):
    np.savez(tmp_path / "bad.npz", np.zeros((1, 2, 3, 3)))
    command = [sys.executable, "-m", "jaxcast.cli.main", "benchmark", "score", "paper", str(tmp_path / "bad.npz")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: case paper expects forecasts of shape")
    assert ended.stderr.count("\n") == 1
