"""`jaxcast ensemble forecast`: pools the newest issue of an ensemble."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxcast.cli.arguments import Names
from jaxcast.cli.command import make_console
from jaxcast.cli.ensemble.output import LEVELS, forecast_table, plume_figure
from jaxcast.cli.ensemble.tables import EnsembleTables
from jaxcast.cli.figures import figure_of
from jaxcast.ensemble.pool import EnsemblePool, pool_ensemble
from jaxcast.ensemble.spread import error_spread
from jaxcast.errors import InputError, shown
from jaxcast.io.files import save_figure, whole_file
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.progress import doing
from jaxcast.registry import names_of

NAMES = Names(
    (
        "ensemble_adaptive",
        "ensemble_mean",
        "ensemble_median",
        "ensemble_trimmed_mean",
        "ensemble_group_mean",
        "ensemble_skill",
        "ensemble_ridge",
    ),
    (EnsemblePool,),
)
Method = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(NAMES.own)}}}"), NAMES]


@dataclasses.dataclass(frozen=True)
class ForecastEnsemble(EnsembleTables):
    """Pool the newest issue of an ensemble, with calibrated quantiles.

    Writes a table of issue, lead, target, mean, spread, quantiles and, with --thresholds,
    probabilities of categories.

    Example: jaxcast ensemble forecast --forecasts forecasts.csv --observations truth.csv --out pool.csv
    """

    out: Path = Path("ensemble-forecast.csv")
    """The table to write (.csv)."""
    issue: str | None = None
    """Issue to forecast; by default the newest. An older one is replayed from what was known then."""
    method: Method = "ensemble_adaptive"
    """Pool of the models. A pool of your own is named with --import."""
    levels: tuple[float, ...] = LEVELS
    """Levels of the quantiles, rising."""
    plot: Path | None = None
    """Also draw the models and the pool with its band into this .png."""
    overwrite: bool = False
    """Replace the table and the picture, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise InputError(f"levels must lie within 0 and 1, got {' '.join(f'{each:g}' for each in self.levels)}")
        if list(self.levels) != sorted(set(self.levels)):
            raise InputError(f"levels must rise, got {' '.join(f'{each:g}' for each in self.levels)}")
        if self.plot is not None:
            figure_of()
        inputs = {f"--forecasts {path}": path for path in self.forecasts}
        inputs |= {f"--observations {path}": path for path in self.observations}
        with Outputs(
            vars(self),
            {"--out": (self.out, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs=inputs,
            overwrite=self.overwrite,
        ):
            self.write()

    def write(self) -> None:
        """Pools the issue, writes the table and draws it."""
        ensemble = self.load()
        issue = len(ensemble.issues) - 1
        if self.issue is not None:
            if self.issue not in ensemble.issues:
                raise InputError(
                    f"issue must be one from {ensemble.issues[0]} to {ensemble.issues[-1]}, got {shown(self.issue)}"
                )
            issue = ensemble.issues.index(self.issue)
        doing("pooling")
        pooled = pool_ensemble(self.pool(), ensemble.forecasts).forecast
        spread = np.asarray(jax.jit(error_spread)(jnp.asarray(pooled), ensemble.forecasts))
        table = forecast_table(
            ensemble, np.asarray(pooled), spread, [issue], levels=self.levels, thresholds=self.thresholds
        )
        if table.count("\n") < 2:
            raise InputError(f"no model has a forecast of the issue {ensemble.issues[issue]}; choose another --issue")
        with whole_file(self.out) as unfinished:
            unfinished.write_text(table, encoding="utf-8")
        if self.plot is not None:
            save_figure(self.plot, plume_figure(ensemble, np.asarray(pooled), spread, issue))
        make_console().print(table, highlight=False, markup=False, soft_wrap=True)

    def pool(self) -> EnsemblePool:
        """Makes the pool that --method names.

        Raises:
            InputError: for one that needs arguments.
        """
        pools: dict[str, Any] = names_of(EnsemblePool)
        try:
            pool: EnsemblePool = pools[self.method]()
        except TypeError as error:
            raise InputError(
                f"the pool {shown(self.method)} cannot be made without arguments ({shown(error)}); give its fields "
                "defaults"
            ) from None
        return pool
