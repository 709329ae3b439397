"""The part "city": demand and supply of taxis and bikes in New York, through a blizzard."""

from pathlib import Path
from typing import Any

from experiments.causal import city_pictures
from experiments.causal.city_data import read_city
from experiments.causal.city_networks import causal_trans, panel_network
from experiments.causal.city_plain import POINTS, of_points, ridge, with_quantiles
from experiments.causal.city_scores import make_row, table
from experiments.causal.city_windows import Arrays, effects_of
from experiments.part import Part

RIDGE, OURS = "ridge with quantiles of errors", "CausalTrans"


def run(config: Any, data: Path | None, folder: Any, console: Any) -> dict[str, Any]:
    """Runs the part.

    Args:
        config: the settings.
        data: folder of the trips; None for made ones.
        folder: of the output.
        console: to print on.

    Returns:
        What goes into results.json.
    """
    city, seeds = read_city(data, config.seed), range(config.seed, config.seed + config.num_seeds)
    rows, shown = [], {}

    def add(method: str, stages: list[Arrays]) -> None:
        rows.append(make_row(method, city, [stage["quantiles"] for stage in stages]))
        shown[method] = stages[0]["quantiles"]
        console.print(
            f"{method}: RMSE {rows[-1]['rmse']:.2f}, MAE {rows[-1]['mae']:.3f}, risks {rows[-1]['risk_50']:.4f} and "
            f"{rows[-1]['risk_90']:.4f}",
            highlight=False,
        )

    for name in POINTS:
        add(name, [{"quantiles": of_points(name, city)}])
    points = folder.stage("city_ridge", lambda _: dict(ridge(city)))
    add(RIDGE, [{"quantiles": with_quantiles(city, points["validation"], points["test"])}])
    effects = folder.stage("city_effects", lambda _: effects_of(city))
    stages = []
    for seed in seeds:

        def train(_: Path, seed: int = seed) -> Arrays:
            return causal_trans(city, effects, seed, config.num_city_epochs)

        stages.append(folder.stage(f"city_{OURS}_{seed}", train))
    add(OURS, stages)
    for name in config.city_networks:
        found = []
        for seed in range(config.seed, config.seed + config.num_rival_seeds):

            def compute(_: Path, name: str = name, seed: int = seed) -> Arrays:
                return panel_network(name, city, seed, config.num_city_epochs)

            found.append(folder.stage(f"city_{name}_{seed}", compute))
        add(name, found)
    folder.save_figure("city_effects.png", city_pictures.effects(city, effects))
    folder.save_figure("city_forecasts.png", city_pictures.forecasts(city, shown, (OURS, RIDGE)))
    folder.save_figure("city_attention.png", city_pictures.attention(city, stages[0]))
    facts = {"effect_weights": [stage["effect_weights"].tolist() for stage in stages]}
    return {"rows": rows} | facts


PART = Part(run, "jonas_nyc", ("city_effects.png", "city_forecasts.png", "city_attention.png"), table)
