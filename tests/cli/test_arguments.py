"""What the command line says about its arguments, and while it works."""

import dataclasses
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest

import jaxcast
from benchmarks.frame import Options
from experiments import frame
from experiments.lorenz.setup import PRESETS, Config
from jaxcast import progress
from jaxcast.cli.arguments import check_options, options_of, parse_arguments
from jaxcast.cli.command import as_typed, ending_well, take_flags
from jaxcast.cli.main import COMMANDS, GROUPS, Simulate, parse
from jaxcast.training import TrainingOptions

ROOT = Path(__file__).parents[2]
OUT = ["--out", "x.npz"]


def run_apart(*args, **kwargs):
    """As a user does: another process."""
    command = [sys.executable, "-m", "jaxcast.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


WRONG = [
    ([], "jaxcast needs a command: there are simulate, pool, series, panel, text, ensemble, hub, benchmark; see jaxcast --help"),
    (["simulat"], "jaxcast has no command 'simulat' (did you mean simulate?); there are"),
    (["hub"], "jaxcast hub needs a command: there are score, pool, forecast, baseline, importance, validate; see jaxcast hub --help"),
    (["hub", "scre"], "jaxcast hub has no command 'scre' (did you mean score?)"),
    (["simulate"], "jaxcast simulate needs --out; see jaxcast simulate --help"),
    (["train"], "jaxcast has no command 'train' (did you mean pool train, series train, panel train or text train?); there are simulate, pool,"),
    (["evaluate", "--pool", "p"], "jaxcast has no command 'evaluate' (did you mean pool evaluate, series evaluate or text evaluate?)"),
    (["forecast", "--help"], "(did you mean pool forecast, series forecast, panel forecast, ensemble forecast or hub forecast?)"),
    (["trian"], "jaxcast has no command 'trian' (did you mean pool train, series train, panel train or text train?)"),
    (["pol"], "jaxcast has no command 'pol' (did you mean pool?)"),
    (["pool"], "jaxcast pool needs a command: there are train, forecast, evaluate; see jaxcast pool --help"),
    (["pool", "evalute"], "jaxcast pool has no command 'evalute' (did you mean evaluate?)"),
    (["pool", "train"], "jaxcast pool train needs --out and --trajectory; see jaxcast pool train --help"),
    (["series", "train", "--data", "t.csv"], "jaxcast series train needs --out; see"),
    (["hub", "validate", "f.csv"], "jaxcast hub validate needs --hub; see jaxcast hub validate --help"),
    (["simulate", *OUT, "--num-sample", "3"], "simulate has no option --num-sample (did you mean --num-samples?)"),
    (["hub", "pool", "--num_model=3"], "hub pool has no option --num_model (did you mean --num-models?)"),
    (["simulate", *OUT, "--num-samples", "many"], "--num-samples must be a whole number, got 'many'"),
    (["simulate", *OUT, "--num-samples", "1_000"], "--num-samples must be a whole number, got '1_000'"),
    (["simulate", *OUT, "--num-samples=4.0"], "--num-samples must be a whole number, got '4.0'"),
    (["simulate", *OUT, "--num-samples", "9" * 5000], "--num-samples must have at most 30 digits, got 5000"),
    (["simulate", *OUT, "--num-samples", "٣"], "--num-samples must be a whole number, got '٣'"),
    (["simulate", *OUT, "--dt", "fast"], "--dt must be a number, got 'fast'"),
    (["simulate", *OUT, "--start", "1", "x", "2"], "--start must be a number, got 'x'"),
    (["simulate", *OUT, "--dtype", "float46"], "must be one of float64, float32, got 'float46' (did you mean float64?)"),
    (["simulate", *OUT, "--dt", "--h", "0.1"], "--dt of jaxcast simulate needs a value, a number; see"),
    (["simulate", "--out"], "--out of jaxcast simulate needs a value, a path; see"),
    (["simulate", "x.npz"], "simulate expects options such as --out, got 'x.npz' alone"),
    (["simulate", *OUT, "--system", "lorenz63", "(rho=28)"], "got '(rho=28)' alone; text with spaces needs quotation"),
    (["simulate", *OUT, "--overwrite=yes"], "--overwrite takes no value, got 'yes'"),
    (["simulate", "--out", "a\0b.npz"], "--out must not contain the character NUL, got 'a\\x00b.npz'"),
    (["simulate", "--" + 500 * "x"], "(302 more characters); see jaxcast simulate --help"),
    (["pool", "train", "--trajectory", "t", "--out", "x", "--pool", "regmie"], "got 'regmie' (did you mean regime?)"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "message"), WRONG)
def test_wrong_arguments_are_reported_in_one_line_as_they_are_typed(args, message):
    with pytest.raises(jaxcast.InputError) as caught:
        parse(args)
    said = str(caught.value)
    assert message in said
    assert said.isprintable()
    assert len(said) < 500


def test_what_is_right_is_taken_as_it_is_meant():
    command = parse(["simulate", "--out=a.npz", "--start", "-1", "2e0", "-.5", "--no-overwrite", "--num_samples", "7"])
    assert command == Simulate(Path("a.npz"), start=(-1.0, 2.0, -0.5), num_samples=7)
    assert parse(["simulate", "--out", "a", "--batch-size", "None"]).batch_size is None
    assert parse(["simulate", "--out", "-"]).out == Path("-")
    assert parse(["series", "train", "t.csv", "--out", "m", "--levels", "0.1", "0.9"]).levels == (0.1, 0.9)


def option_names(kind):
    """The fields of a command; training stands for those of `TrainingOptions`."""
    names = {field.name for field in dataclasses.fields(kind)}
    nested = {field.name for field in dataclasses.fields(TrainingOptions)}
    return names - {"training"} | nested if "training" in names else names


@pytest.mark.parametrize("kind", [*COMMANDS.values(), Options, Config])
def test_every_option_is_known_under_its_name(kind):
    """What `check_options` lets through, the parser takes; a field of another type than it knows would be let through."""
    options = options_of(kind)
    assert option_names(kind) == {o.text[2:].replace("-", "_") for o in options.values()}


@pytest.mark.slow
def test_experiments_and_benchmarks_refuse_arguments_alike():
    with pytest.raises(jaxcast.InputError, match=r" has no option --num-epoch \(did you mean --num-epochs\?\)"):
        frame.parse(Config, PRESETS, ["--num-epoch", "3"])
    with pytest.raises(jaxcast.InputError, match=r"^--preset must be one of smoke, quick, paper, got 'quik' \(did"):
        frame.parse(Config, PRESETS, ["--preset", "quik"])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.single", "--thread", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: python -m benchmarks.single has no option --thread (did you mean --threads?); "
        "see python -m benchmarks.single --help\n"
    )


def help_of(*args, capsys):
    with pytest.raises(SystemExit) as caught:
        parse([*args, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_shows_the_commands_of_every_group(capsys):
    lines = help_of(capsys=capsys).splitlines()
    for name in COMMANDS:
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith("."), line
    for name, about in GROUPS.items():
        shown = help_of(name, capsys=capsys)
        assert about in lines[[line.split()[:1] for line in lines].index([name])]
        assert about in shown
        found = [line.strip().partition("  ")[0] for line in shown.splitlines() if line.startswith("  ")]
        assert found == [command for command in COMMANDS if command.startswith(f"{name} ")]
    for shown in (lines, help_of("hub", "pool", capsys=capsys).splitlines()):
        assert [word for word in ("--quiet", "--verbose", "--version", "--import") if word not in " ".join(shown)] == []


def test_completions_for_shells_know_every_command(capsys):
    with pytest.raises(SystemExit):
        parse(["--tyro-print-completion", "bash"])
    text = capsys.readouterr().out
    for name, option in [("evaluate", "--against"), ("series", "--season"), ("score", "--first-horizon")]:
        assert f"'{name}'" in text
        assert f"'{option}'" in text


def test_what_only_the_parser_finds_is_one_line_too():
    @dataclasses.dataclass(frozen=True)
    class Nested:
        pair: tuple[int, Literal["a", "b"]]

    with pytest.raises(jaxcast.InputError, match=r"^error parsing --pair: .*'c'.*; see it --help$") as caught:
        parse_arguments(Nested, ["--pair", "1", "c"], prog="it")
    assert str(caught.value).isprintable()


def test_flags_of_every_command_may_stand_anywhere(capsys):
    assert take_flags(["--quiet", "simulate", "--out", "x"]) == (["simulate", "--out", "x"], "quiet")
    assert take_flags(["simulate", "--verbose"]) == (["simulate"], "verbose")
    assert take_flags(["simulate"]) == (["simulate"], "normal")
    with pytest.raises(jaxcast.InputError, match="--quiet or --verbose, not both"):
        take_flags(["--quiet", "--verbose"])
    for args in (["--version"], ["simulate", "--version"]):
        with pytest.raises(SystemExit) as caught:
            take_flags(args)
        assert caught.value.code == 0
        assert re.fullmatch(r"jaxcast \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.slow
def test_quiet_and_verbose(tmp_path, capsys):
    args = ["simulate", "--num-samples", "5", "--transient", "1", "--dt", "0.01", "--out"]
    with progress.reporting("normal"):
        parse([*args, str(tmp_path / "normal.npz")]).run()
    normal = capsys.readouterr()
    assert normal.out == f"1 x 5 samples of Lorenz63 in {tmp_path / 'normal.npz'}\n"
    assert normal.err == "1 x 5 samples, 104 steps each: about 160 bytes on disk, 400 bytes in memory, 1 at a time\n"
    quiet = run_apart(*args, tmp_path / "quiet.npz", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = run_apart("--verbose", *args, tmp_path / "verbose.npz")
    assert verbose.stderr.startswith(normal.err + "integrating: ")
    assert re.search(r"\nfinished in \S+ s; \d+ programs compiled or read from the cache in \S+ s\n$", verbose.stderr)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--num-samples", 10**15], r"1 x 1000000000000000 samples of 3 components, .* would need 80 PB of memory"),
        (["--num-samples", 10**29], r"would need 8e\+12 EB of memory"),
        (["--out", "x.zarr", "--num-trajectories", 10**11], r"would need 9\.6 PB of disk, x\.zarr has .* left"),
        (["--out", "x.zarr", "--num-trajectories", 10**11, "--batch-size", 10**11], "would need 28.8 PB of memory"),
        (["--system", "lorenz96(dim=1000000)", "--num-samples", 10**6], "would need 24 TB of memory"),
    ],
)
def test_sizes_beyond_memory_and_disk_are_refused_with_their_estimate(refused_in_one_line, tmp_path, args, message):
    with refused_in_one_line(tmp_path, message):
        parse(["simulate", "--out", "x.npz", *map(str, args)]).run()


def test_messages_name_options_as_they_are_typed():
    settings = parse(["simulate", *OUT])
    for message, expected in [
        ("num_samples must be at least 2, got 0", "--num-samples must be at least 2, got 0"),
        ("dt must be a whole multiple of h, got dt=0.1, h=0.03", "--dt must be a whole multiple of --h, got --dt=0.1, --h=0.03"),
        ("seed must be at least 0", "--seed must be at least 0"),
        ("the start of this system", "the start of this system"),
        ("unknown 'h' in 'my(num_samples=3, h=2)'", "unknown 'h' in 'my(num_samples=3, h=2)'"),
        ("leave out --num-samples, got a/num_samples.csv", "leave out --num-samples, got a/num_samples.csv"),
        ("my_num_samples and num_samples.npz", "my_num_samples and num_samples.npz"),
    ]:  # fmt: skip
        assert as_typed(message, settings) == expected
    hub = parse(["hub", "score", "--forecasts", "f", "--truth", "t"])
    assert as_typed("step_days must be at least 1", hub) == "--step-days must be at least 1"
    assert as_typed("num_samples must be 1", None) == "num_samples must be 1"
    train = parse(["series", "train", "--data", "a.npz", "--out", "model"])
    told = "leave them out with others=True, or name it with missing=; others=True"
    assert as_typed(told, train) == "leave them out with --others, or name it with --missing; others=True"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (jaxcast.InputError("a\nb\x1b[31m"), 2, r"error: a\nb\x1b[31m"),
        (jaxcast.InputError(3000 * "x"), 2, "error: " + 1000 * "x" + "... (2000 more characters)"),
        (KeyboardInterrupt(), 130, "interrupted: finished work is saved; run the same command to resume"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "error: this needs more memory than there is; ask for less (Unable to allocate 9 TiB)"),
    ],
)  # fmt: skip
def test_every_end_is_one_line(capsys, error, code, line):
    with pytest.raises(SystemExit) as caught, ending_well():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == line + "\n"


def test_sigterm_ends_as_ctrl_c_does(capsys):
    before = signal.getsignal(signal.SIGTERM)

    def wait():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    with pytest.raises(SystemExit) as caught, ending_well():
        wait()
    assert caught.value.code == 143
    assert capsys.readouterr().err == "interrupted: finished work is saved; run the same command to resume\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_faults_of_ours_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), ending_well():
        raise ZeroDivisionError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_progress_is_reported_now_and_then_without_a_terminal(monkeypatch):
    clock, said = Clock(), io.StringIO()
    reporter = progress.Reporter("normal", said, clock)
    monkeypatch.setattr(progress, "_reporter", reporter)
    with progress.phase("training, epochs", 200) as update:
        for done in range(1, 101):
            clock.now += 1
            update(done, "loss 0.5")
    lines = said.getvalue().splitlines()
    assert lines[0] == "training, epochs: 20 of 200, loss 0.5, 20 s so far"
    assert [line.split()[2] for line in lines] == ["20", "40", "60", "80", "100"]
    reporter.doing = "finding the regime"
    for _ in range(60):
        clock.now += 1
        reporter.beat()
    assert said.getvalue().splitlines()[5:] == ["finding the regime, 130 s so far", "finding the regime, 160 s so far"]
    reporter.level = "quiet"
    clock.now += 100
    reporter.beat()
    reporter.note("nothing")
    reporter.advance("x", 1, 1)
    assert len(said.getvalue().splitlines()) == 7


@pytest.mark.slow
def test_a_part_that_takes_no_count_is_reported_by_the_clock(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY_S", 0.5)
    with progress.reporting("normal"), progress.phase("finding the regime"):
        time.sleep(1.5)
    assert re.match(r"finding the regime, \d s so far\n", capsys.readouterr().err)


def test_random_argument_vectors_are_taken_or_refused_in_one_line():
    """A seeded part of the fuzz runs."""
    draw = random.Random(0)
    pieces = [
        "simulate", "pool", "series", "hub", "train", "score", "--out", "--data", "--num-samples", "--system", "--pool",
        "--levels", "--seed=1", "--overwrite", "--overwrite=1", "--h", "-1", "1e400", "nan", "", "-", "--", "---", "-h1", "a b", "=", "--=",
        "x.csv", "\0", "\x1b[2J", "é" * 300, "\ud800", "9" * 400, "[1,2]", "--no-out", "--out=", "None", "regime", "--trajectory", "--candidates",
    ]  # fmt: skip
    said = []
    for _ in range(400):
        args = [
            draw.choice(pieces[:5] if n == 0 and draw.random() < 0.8 else pieces) for n in range(draw.randint(0, 6))
        ]
        try:
            parse(args)
        except jaxcast.InputError as error:
            said.append(str(error))
    assert len(said) > 300
    assert all(line.isprintable() and len(line) < 700 for line in said)


def test_check_options_leaves_help_alone():
    check_options(Simulate, ["--nothing", "--help"], "it")
