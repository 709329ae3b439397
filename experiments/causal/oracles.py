"""The part "oracles": simulated designs, 401(k), the Pennsylvania bonus and IHDP."""

from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table as RichTable

from experiments.causal import children, oracle_pictures, simulations
from experiments.causal.estimators import METHODS, by_income
from experiments.causal.oracle_data import Table, read_tables
from experiments.part import Part

PUBLISHED = {"401(k)": (8900.0, 9600.0, 1300.0), "bonus": (-0.08, -0.07, 0.035)}
"""Least and largest published estimate and their standard error, as SOURCE.md of the data has them."""


def run(config: Any, data: Path | None, folder: Any, console: Any) -> dict[str, Any]:
    """Runs the part.

    Args:
        config: the settings.
        data: folder of the tables; None for made ones.
        folder: of the output.
        console: to print on.

    Returns:
        What goes into results.json.
    """
    tables = read_tables(data, config.seed)
    simulated = simulate(config, folder, console)
    rows = [coverage_row(*names, found) for names, found in simulated.items()]
    for name in ("401k", "bonus"):
        for method, estimate in METHODS.items():
            stage = f"{name} {method}".replace(" ", "_").replace(",", "")
            found = folder.stage(stage, lambda _, e=estimate, t=tables[name]: e(t, config.seed, config))
            rows.append(estimate_row(tables[name], method, found))
            console.print(
                f"{name}, {method}: {rows[-1]['effect']:.5g} ({rows[-1]['standard_error']:.3g})", highlight=False
            )
        rows += published_rows(tables[name])
    surfaces = {}
    for surface in children.SURFACES:
        for method in children.METHODS:
            stage = f"ihdp {surface} {method}".replace(" ", "_")

            def compute(_: Path, surface: str = surface, method: str = method) -> simulations.Arrays:
                return children.estimates(tables["ihdp"], surface, method, config.num_surfaces, config.seed)

            found = folder.stage(stage, compute)
            surfaces[surface, method] = found
            rows.append(surface_row(surface, method, found))
            console.print(f"IHDP {surface}, {method}: RMSE {rows[-1]['rmse']:.3f}", highlight=False)
    income = folder.stage("401k_by_income", lambda _: by_income(tables["401k"], config))
    folder.save_figure("coverage.png", oracle_pictures.coverage(simulated, rows))
    folder.save_figure("effects.png", oracle_pictures.effects(rows, PUBLISHED))
    folder.save_figure("children.png", oracle_pictures.children(surfaces))
    folder.save_figure("income.png", oracle_pictures.income(income, tables["401k"]))
    return {"rows": rows}


def simulate(config: Any, folder: Any, console: Any) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
    """Returns the estimates of all methods on all designs, by design, method and size.

    Args:
        config: the settings.
        folder: of the output.
        console: to print on.
    """
    found = {}
    for design, (_, methods) in simulations.DESIGNS.items():
        for size in config.num_samples:
            for method in methods:

                def compute(
                    _: Path, design: str = design, method: str = method, size: int = size
                ) -> simulations.Arrays:
                    return simulations.estimates(design, method, size, config.num_repeats, config.seed)

                stage = f"{design} {size} {method}".replace(" ", "_").replace(",", "")
                found[design, method, size] = folder.stage(stage, compute)
                share = simulations.covered(found[design, method, size], simulations.EFFECT).mean()
                console.print(f"{design}, n = {size}, {method}: coverage {share:.3f}", highlight=False)
    return found


def coverage_row(design: str, method: str, size: int, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Makes the row of a method on a simulated design.

    Args:
        design: name of the design.
        method: name of the method.
        size: of a data set.
        found: effects and standard errors of all data sets.
    """
    return {
        "data": design,
        "method": method,
        "num_samples": size,
        "num_data_sets": len(found["effects"]),
        "num_seeds": 1,
        "truth": simulations.EFFECT,
        "mean": float(found["effects"].mean()),
        "deviation": float(found["effects"].std()),
        "standard_error": float(np.median(found["standard_errors"])),
        "coverage": float(simulations.covered(found, simulations.EFFECT).mean()),
        "published": 0.67 if (design, method) == ("CCDDHNR2018", "regression on the treatment") else None,
    }


def estimate_row(table: Table, method: str, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Makes the row of a method on a real table.

    Args:
        table: the data.
        method: name of the method.
        found: its estimate.
    """
    effect, error = float(found["effect"]), float(found["standard_error"])
    row = {
        "data": table.name,
        "method": method,
        "unit": table.unit,
        "num_samples": len(table.outcome),
        "num_seeds": len(found["effects"]),
        "effect": effect,
        "standard_error": error,
        "low": effect - 1.959964 * error,
        "high": effect + 1.959964 * error,
        "effect_per_seed": found["effects"].tolist(),
        "standard_error_per_seed": found["standard_errors"].tolist(),
        "published": None,
    }
    for name in ("outcome_r2", "treatment_r2", "clipped_share"):
        row[name] = float(found[name]) if name in found else None
    low, high, published_error = PUBLISHED.get(table.name, (0.0, 0.0, 1.0))
    outside = max(low - effect, effect - high, 0.0)
    return row | {"standard_errors_from_published": outside / published_error}


def published_rows(table: Table) -> list[dict[str, Any]]:
    """Makes the row of the published estimates of a real table.

    Args:
        table: the data.
    """
    if table.name not in PUBLISHED:
        return []
    low, high, error = PUBLISHED[table.name]
    return [
        {
            "data": table.name,
            "method": "published",
            "unit": table.unit,
            "num_seeds": 0,
            "effect": None,
            "published": [low, high],
            "standard_error": error,
        }
    ]


def surface_row(surface: str, method: str, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Makes the row of a method on a surface of IHDP.

    Args:
        surface: "A" or "B".
        method: name of the method.
        found: effects and standard errors of all simulated outcomes.
    """
    errors = found["effects"] - children.EFFECT
    return {
        "data": f"IHDP {surface}",
        "method": method,
        "num_data_sets": len(errors),
        "num_seeds": 1,
        "truth": children.EFFECT,
        "mean": float(found["effects"].mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "mae": float(np.abs(errors).mean()),
        "standard_error": float(np.median(found["standard_errors"])),
        "coverage": float(simulations.covered(found, children.EFFECT).mean()),
        "published": None,
    }


def table(rows: list[dict[str, Any]]) -> RichTable:
    """Returns all rows for a terminal.

    Args:
        rows: of results.json.
    """
    result = RichTable(title="effects: estimated, true, published", box=box.SIMPLE)
    for name in ("data", "n", "method"):
        result.add_column(name, no_wrap=name != "method")
    for name in ("estimate", "standard error", "true or published", "coverage"):
        result.add_column(name, justify="right")
    for row in rows:
        estimate = row.get("mean", row.get("effect"))
        known = row.get("truth", row["published"])
        known = " to ".join(f"{a:g}" for a in known) if isinstance(known, list) else known
        cells = (estimate, row["standard_error"], known, row.get("coverage"))
        size = row.get("num_samples", "")
        result.add_row(row["data"], str(size), row["method"], *(_cell(value) for value in cells))
    return result


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


PART = Part(run, "dml_oracles", ("coverage.png", "effects.png", "children.png", "income.png"), table)
