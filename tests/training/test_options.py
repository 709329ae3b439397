"""The training options of commands: one dataclass whose fields are flat flags and flat settings."""

import dataclasses

import pytest

import jaxcast
from jaxcast.cli.arguments import check_options, parse_arguments
from jaxcast.cli.command import values_of
from jaxcast.training import TrainingOptions, make_optimizer


@dataclasses.dataclass(frozen=True)
class Command:
    """A command with training options."""

    name: str = "one"
    """Name of the run."""
    training: TrainingOptions = TrainingOptions(num_epochs=3)  # noqa: RUF009
    """Training of the run."""


def test_training_options_are_flags_of_their_own():
    args = ["--batch-size", "8", "--schedule", "cosine", "--clip-norm", "None", "--name", "two"]
    check_options(Command, args, "run", has_defaults=True)
    command = parse_arguments(Command, args, prog="run")
    assert command == Command("two", TrainingOptions(num_epochs=3, batch_size=8, schedule="cosine"))
    assert values_of(command) == {"name": "two"} | dataclasses.asdict(command.training)
    with pytest.raises(jaxcast.InputError, match=r"no option --num-epoch \(did you mean --num-epochs\?\)"):
        check_options(Command, ["--num-epoch", "3"], "run", has_defaults=True)


def test_the_optimizer_spans_all_epochs():
    options = TrainingOptions(num_epochs=4, schedule="linear", warmup_steps=2, weight_decay=0.1, clip_norm=0.5)
    same = dict(schedule="linear", num_optimizer_steps=40, warmup_steps=2, weight_decay=0.1, clip_norm=0.5)
    assert options.optimizer(num_batches=10) is make_optimizer(1e-3, **same)
    with pytest.raises(jaxcast.InputError, match="above the 2 of warm-up, got 2"):
        dataclasses.replace(options, num_epochs=1).optimizer(num_batches=2)


@pytest.mark.parametrize("name", ["num_epochs", "batch_size", "num_seeds"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(jaxcast.InputError, match=f"{name} must be at least 1, got 0"):
        TrainingOptions(**{name: 0}).check()
