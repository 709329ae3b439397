"""Brain signals: activity recovered from them, and subjects classified by them."""

import dataclasses
import time
from pathlib import Path

from experiments.datasets import find_folder
from experiments.frame import Settings, check_settings, open_folder, start
from experiments.neuro import activity, classification, dynamics
from experiments.neuro.methods import METHODS
from experiments.part import Part, run_parts
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.errors import shown

PAGE = "experiments/neuro/README.md"
PARTS: dict[str, Part] = {
    "classification": classification.PART,
    "dynamics": dynamics.PART,
    "activity": activity.PART,
}
TASKS = ("autism", "sex")
PLAIN = tuple(name for name, entry in METHODS.items() if not entry.is_network)


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Classify subjects by the series of their regions, beside plain and published results.
    Presets: smoke, simulated subjects; quick, plain methods on ABIDE in a few minutes; paper, everything."""

    data: Path | None = None
    """Folder of the data of the one part that is named, by default each part's own in the folder that JAXCAST_DATA
    names, or in shared/data beside the checkout. For classification also an archive of your own (.npz)."""
    parts: tuple[str, ...] = ("classification",)
    """Parts to run."""
    series: str | None = None
    """Name of the array (subject, time, region) in an archive of your own."""
    labels: str | None = None
    """Name of the labels in an archive of your own, whole numbers or texts."""
    folds: int = 10
    """Folds of the cross-validation."""
    tasks: tuple[str, ...] = ("autism",)
    """What to predict on ABIDE: autism, sex."""
    methods: tuple[str, ...] = PLAIN
    """Methods of the part classification."""
    num_fold_seeds: int = 1
    """Times that plain methods are repeated with other folds."""
    num_network_seeds: int = 1
    """Times that networks are repeated with other folds."""
    network_sites: bool = False
    """Train networks with one site left out too, which takes them as many fits as there are sites."""
    num_networks: int = 1
    """Networks of each fold whose probabilities are averaged."""
    num_epochs: int = 60
    """Most passes of networks over the training subjects."""
    batch_size: int = 64
    """Subjects of a minibatch of networks."""
    hidden_size: int = 32
    """Features of a node in networks."""
    num_volumes: int = 1
    """Simulated volumes of the part activity, at each ratio of signal to noise."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        parts=tuple(PARTS),
        folds=2,
        methods=tuple(METHODS),
        num_epochs=2,
        batch_size=8,
        hidden_size=4,
    ),
    "quick": Config(),
    "paper": Config(preset="paper", methods=tuple(METHODS), tasks=TASKS, num_fold_seeds=3, num_volumes=5),
}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    config = with_archive(config)
    check_settings(config)
    check_names("part", config.parts, PARTS)
    check_names("task", config.tasks, TASKS)
    check_names("method", config.methods, METHODS)
    data = {name: data_of(config, name) for name in config.parts}
    name = "-".join(config.parts) if config.data is None or config.series is None else config.data.stem
    folder = open_folder(
        config,
        f"runs/neuro-{name}-{config.preset}",
        [picture for name in config.parts for picture in PARTS[name].pictures],
    )
    run_parts(PARTS, config, data, folder, console)
    console.print(
        f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False, markup=False
    )


def with_archive(config: Config) -> Config:
    """Returns the settings; with an archive of one's own, those of the part that takes one.

    Args:
        config: the settings.

    Raises:
        InputError: for an archive without the names of its arrays, or names without an archive.
    """
    is_archive = config.data is not None and config.data.suffix.lower() == ".npz"
    if is_archive != (config.series is not None) or is_archive != (config.labels is not None):
        raise InputError(
            "an archive of your own needs --data FILE.npz, --series and --labels together, got "
            f"{shown((str(config.data), config.series, config.labels))}"
        )
    if is_archive and "classification" not in config.parts:
        raise InputError(f"an archive of your own is for the part classification, got {', '.join(config.parts)}")
    return dataclasses.replace(config, parts=("classification",)) if is_archive else config


def data_of(config: Config, part: str) -> Path | None:
    """Returns the data of a part; the smoke preset makes its own where none are given.

    Args:
        config: the settings.
        part: name of the part.

    Raises:
        InputError: if there are none, or for one folder and several parts.
    """
    if config.data is not None and len(config.parts) > 1:
        raise InputError("--data is of one part; name it with --parts")
    if config.series is not None:
        return config.data
    if not PARTS[part].data or (config.data is None and config.preset == "smoke"):
        return None
    return find_folder(config.data, PARTS[part].data, PAGE)


if __name__ == "__main__":
    start(main, Config, PRESETS)
