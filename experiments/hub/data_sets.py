"""The hubs that `experiments.hub` knows, and the names of its methods."""

import dataclasses

NINE = (
    "BPagano-RtDriven",
    "CU-select",
    "GT-DeepCOVID",
    "Karlen-pypm",
    "MOBS-GLEAM_COVID",
    "PSI-DRAFT",
    "RobertWalraven-ESG",
    "UCSD_NEU-DeepGLEAM",
    "USC-SI_kJalpha",
)
WEIGHT_DECAY = {"linear_regression": 0.0, "additive_attention": 1e-4, "multi_head_attention": 1e-5}
LABELS = {
    "equal_mean": "equal-weight mean",
    "equal_median": "equal-weight median",
    "trimmed_mean": "trimmed mean",
    "linear_opinion_pool": "linear opinion pool",
    "inverse_score": "inverse-score weights by location",
    "inverse_score_pooled": "inverse-score weights over all locations",
    "trained_average": "linear pool, trained weights",
    "adaptive_newest": "adaptive pool, following the newest values",
    "adaptive": "adaptive pool",
    "linear_regression": "linear regression",
    "additive_attention": "additive attention",
    "multi_head_attention": "multi-head attention",
}
# The 50 states, the District of Columbia and Puerto Rico, by FIPS code.
JURISDICTIONS = (*(f"{code:02d}" for code in range(1, 57) if code not in (3, 7, 14, 43, 52)), "72")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A hub whose data the experiment knows, and the settings that go with them.

    Args:
        folder: Name of the folder.
        models: Candidates; all where empty.
        exclude: Models that are not candidates.
        baseline: Forecaster that is scored beside.
        ensemble: The hub's own ensemble.
        truth_source: Source of the target data.
        locations: Locations; all where empty.
        windows: Windows to score.
        counted: What the target counts.
    """

    folder: str
    models: tuple[str, ...]
    exclude: tuple[str, ...]
    baseline: str
    ensemble: str | None
    truth_source: str | None
    locations: tuple[str, ...]
    windows: tuple[str, ...]
    counted: str


# What `write_synthetic_hub` makes.
SYNTHETIC = DataSet(
    folder="",
    models=(),
    exclude=(),
    baseline="baseline",
    ensemble=None,
    truth_source=None,
    locations=(),
    windows=("A:2021-01-16:2021-02-27", "B:2021-03-20:2021-05-01"),
    counted="synthetic counts",
)
DATA_SETS = {
    "deaths": DataSet(
        folder="us-covid19-forecast-hub",
        models=NINE,
        exclude=(),
        baseline="COVIDhub-baseline",
        ensemble=None,
        truth_source="final",
        locations=(),
        windows=(
            "W1*:2020-11-07:2021-02-20",
            "W2:2021-06-05:2021-10-30",
            "W3:2021-12-18:2022-06-18",
            "W4:2022-07-09:2022-11-05",
        ),
        counted="deaths per week",
    ),
    "admissions": DataSet(
        folder="us-covid-admissions-hub",
        models=(),
        exclude=("CMU-climate_baseline",),
        baseline="CovidHub-baseline",
        ensemble="CovidHub-ensemble",
        truth_source=None,
        locations=JURISDICTIONS,
        windows=("V1:2024-11-01:2025-05-31", "V2:2025-06-01:2025-11-30", "V3:2025-12-01:2026-08-31"),
        counted="admissions per week",
    ),
}
