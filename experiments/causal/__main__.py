"""Causal effects: estimates whose true or published value is known, part by part."""

import dataclasses
import time
from pathlib import Path

from experiments.causal import city, oracles
from experiments.causal.city_networks import NETWORKS
from experiments.datasets import find_folder
from experiments.frame import Settings, check_settings, open_folder, start
from experiments.part import Part, run_parts
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console

PAGE = "experiments/causal/README.md"
PARTS: dict[str, Part] = {"oracles": oracles.PART, "city": city.PART}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Estimate effects of treatments by double machine learning, beside plain regressions and published estimates.
    Presets: smoke, generated tables and few repeats; quick, a few minutes; paper, everything with five seeds."""

    data: Path | None = None
    """Folder of the data of the one part that is named; by default each part's own in the folder
    that JAXCAST_DATA names, or in shared/data beside the checkout."""
    parts: tuple[str, ...] = ("oracles",)
    """Parts to run."""
    num_seeds: int = 1
    """Times that the estimates from tables are repeated with other folds, and that CausalTrans is trained."""
    num_repeats: int = 200
    """Simulated data sets, each with folds of its own, for the coverage of intervals."""
    num_samples: tuple[int, ...] = (2000,)
    """Sizes of the simulated data sets."""
    num_surfaces: int = 20
    """Simulated outcomes of the children of IHDP, for each surface."""
    num_trees: int = 40
    """Trees of a forest, as a nuisance."""
    num_city_epochs: int = 6
    """Passes of the networks over the trips of a city."""
    city_networks: tuple[str, ...] = tuple(NETWORKS)
    """Networks of single series, beside CausalTrans."""
    num_rival_seeds: int = 1
    """Repetitions of each of them."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        parts=tuple(PARTS),
        num_repeats=4,
        num_samples=(200,),
        num_surfaces=2,
        num_trees=5,
        num_city_epochs=1,
        city_networks=("MQRNN",),
    ),
    "quick": Config(),
    "paper": Config(
        preset="paper",
        num_seeds=5,
        num_rival_seeds=5,
        num_repeats=500,
        num_surfaces=100,
        num_trees=60,
    ),
}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config)
    check_names("part", config.parts, PARTS)
    check_names("network", config.city_networks, NETWORKS)
    if config.data is not None and len(config.parts) > 1:
        raise InputError("--data is the folder of one part; name it with --parts")
    data = {name: data_of(config, PARTS[name]) for name in config.parts}
    folder = open_folder(
        config,
        f"runs/causal-{'-'.join(config.parts)}-{config.preset}",
        [picture for name in config.parts for picture in PARTS[name].pictures],
    )
    run_parts(PARTS, config, data, folder, console)
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def data_of(config: Config, part: Part) -> Path | None:
    """Returns the folder of a part's data; the smoke preset makes its own where none is given.

    Args:
        config: the settings.
        part: the part.

    Raises:
        InputError: if there is no such folder.
    """
    if config.data is None and config.preset == "smoke":
        return None
    return find_folder(config.data, part.data, PAGE)


if __name__ == "__main__":
    start(main, Config, PRESETS)
