"""El Niño: pools of the forecasts of many models as they were issued, beside the official probabilities."""

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from experiments.datasets import find_folder
from experiments.enso import pictures
from experiments.enso.data import NAME, PAGE, load, load_official, make_folder
from experiments.enso.methods import ATTENTION, BEST, EQUAL, run
from experiments.enso.rows import make_rows, table
from experiments.frame import Settings, check_settings, commit_of, start
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.cli.ensemble.output import interval_of
from jaxcast.errors import InputError
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce
from jaxcast.pytrees import fingerprint


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Pool forecasts of El Niño from a rolling origin: every issue uses what was known by then.
    Presets: smoke, made data; quick, all pools and two networks of the paper's attention; paper,
    four networks of each of its three variants."""

    data: tuple[Path, ...] = ()
    """Folders of the form of iri_enso_plume, joined; by default that one, in the folder that
    JAXCAST_DATA names or in shared/data beside the checkout."""
    first: str = "2008-01"
    """First issue that is scored; earlier ones are only learned from."""
    last: str | None = None
    """Last issue that is read and scored; by default the newest. Targets that are not observed by
    then do not count."""
    attention: tuple[str, ...] = ()
    """Variants of the paper's attention to train: attention, attention_100_epochs, attention_8_delays."""
    num_epochs: int = 30
    """Passes of a training of attention, where its variant does not say."""
    num_seeds: int = 4
    """Trained networks of attention whose forecasts are averaged."""


PRESETS = {
    "smoke": Config(preset="smoke", first="2008-01", attention=("attention",), num_epochs=1, num_seeds=1),
    "quick": Config(attention=("attention",), num_seeds=2),
    "paper": Config(preset="paper", attention=tuple(ATTENTION)),
}


def main(config: Config) -> None:
    """Runs the experiment.

    Args:
        config: Settings.
    """
    check_settings(dataclasses.replace(config, data=(Path(),), attention=config.attention or tuple(ATTENTION)))
    check_names("attention", config.attention, ATTENTION)
    if not config.data and config.preset == "smoke":
        with tempfile.TemporaryDirectory(prefix="jaxcast-") as made:
            pool(config, (make_folder(Path(made)),))
        return
    given = config.data or (None,)
    pool(config, tuple(find_folder(path, NAME, PAGE) for path in given))


def pool(config: Config, folders: tuple[Path, ...]) -> None:
    """Pools the forecasts of folders, scores them and draws the pictures.

    Args:
        config: Settings.
        folders: Folders of the data.

    Raises:
        InputError: for a first issue that the data lack, or their very first.
    """
    began, console = time.perf_counter(), make_console()
    ensemble = load(folders, config.last)
    if config.first not in ensemble.issues[1:]:
        raise InputError(
            f"first must be an issue from {ensemble.issues[1]} to {ensemble.issues[-1]}, got {config.first}"
        )
    first = ensemble.issues.index(config.first)
    is_scored = np.arange(len(ensemble.issues)) >= first
    official, repeated = load_official(folders, ensemble)
    dropped = [*ensemble.dropped, *repeated]
    for line in dropped:
        announce(f"left out: {line}")
    path = Path(__file__)
    folder = RunFolder.of(
        config,
        path=config.out or Path(f"runs/enso-{config.preset}"),
        reads=("data",),
        facts={"data": fingerprint(ensemble.forecasts)},
        outputs=("results.json", *pictures.NAMES),
        code=path.parent,
        commit=commit_of(path.parents[2]),
    )
    with folder.leaving_nothing():
        made = run(ensemble, first, config, folder)
        rows = make_rows(ensemble, made, official, is_scored)
    facts = {"issues": [config.first, ensemble.issues[-1]], "dropped": dropped}
    folder.write_json("results.json", {"rows": rows} | facts)
    for name, figure in pictures.draw(ensemble, made, rows, official, is_scored).items():
        folder.save_figure(f"{name}.png", figure)
    console.print(table(rows, f"{len(ensemble.models)} models, issues {config.first} to {ensemble.issues[-1]}"))
    best = next(row for row in rows if row["method"] == BEST)
    interval = interval_of(best)
    console.print(
        f"{BEST} / {EQUAL}: {best['ratio']:.3f}{interval and f' ({interval})'}; results and pictures in "
        f"{folder.path}/  ({time.perf_counter() - began:.0f} s)",
        highlight=False,
    )


if __name__ == "__main__":
    start(main, Config, PRESETS)
