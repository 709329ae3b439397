"""The vocabulary of public signatures."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict

from jaxtyping import Array, ArrayLike, Float, Int, Shaped

Scalar: TypeAlias = Shaped[ArrayLike, ""]
"""One number: Python's, NumPy's, or an array without axes."""
StateLike: TypeAlias = Shaped[ArrayLike, " dim"] | Sequence[float]
"""One state, (dim,)."""


class Info(TypedDict, total=False):
    """Entries of an `Output` besides its forecast; a model fills those that it has.

    The axes are those of one step; a rollout puts time in front. Your own model may add entries,
    which are passed on as they are.

    Args:
        weights: each candidate's share in the forecast.
        component_weights: shares that differ between the components of the state.
        head_weights: shares of each attention head.
        time_weights: attention to each step of the history.
        attention: attention of each region's newest step to those of its history, or of each lead
            to the steps up to its own.
        static_weights: share of each variable that a series has once.
        past_weights: share of each variable, at each step of the history.
        future_weights: share of each variable that is known in advance, at each lead.
        graph: weight with which each region listens to each other, as a network has learned it.
        graphs: the graphs that a network was given.
        gates: shares that gates let through.
        demand: clusters and weights of the network of demand, see `series.CausalTrans`.
        supply: clusters and weights of the network of supply.
        cluster_flows: trips between clusters of zones.
        outflow: trips from each cell.
        inflow: trips to each cell.
        factors: principal components of all series, at each lead.
        factor_forecast: the forecast of these alone.
        quantiles: the forecast's quantiles, levels last.
        spread: the forecast's standard deviation over seeds, ensemble members or the filter.
        regime: the hidden parameter or coordinates, estimated at this step.
        regime_deviation: its standard deviation.
        position: the regime's position between the candidates, for each lag.
        correction: what a `CorrectedPool` added to its pool's forecast.
        analysis: the filtered state of a Kalman filter.
        analysis_spread: its standard deviation over the ensemble.
        reanalysis: the state at the start of a smoother's window, which has seen later values too.
        reanalysis_spread: its standard deviation.
        effective_size: of a particle filter's ensemble, 1 / sum of squared shares.
        token: the newest token.
        experts: weight of each expert of an `AdaptivePool` or an `AdaptiveEnsemble`, at each time.
    """

    weights: Float[Array, "*batch model"]
    component_weights: Float[Array, "*batch dim model"]
    head_weights: Float[Array, "*batch head model"]
    time_weights: Float[Array, "*batch region time"]
    attention: Float[Array, "*batch region step"]
    static_weights: Float[Array, "*batch variable"]
    past_weights: Float[Array, "*batch time variable"]
    future_weights: Float[Array, "*batch lead variable"]
    graph: Float[Array, "*batch region region"]
    graphs: Float[Array, "graph region region"]
    gates: Float[Array, "*batch number"]
    demand: Any
    supply: Any
    cluster_flows: Float[Array, "*batch cluster cluster"]
    outflow: Float[Array, "*batch cell"]
    inflow: Float[Array, "*batch cell"]
    factors: Float[Array, "*batch factor"]
    factor_forecast: Float[Array, "*batch region"]
    quantiles: Float[Array, "*batch level"]
    spread: Float[Array, "*batch dim"]
    regime: Float[Array, "*batch coordinate"]
    regime_deviation: Float[Array, "*batch coordinate"]
    position: Float[Array, "*batch coordinate"]
    correction: Float[Array, "*batch dim"]
    analysis: Float[Array, "*batch dim"]
    analysis_spread: Float[Array, "*batch dim"]
    reanalysis: Float[Array, "*batch dim"]
    reanalysis_spread: Float[Array, "*batch dim"]
    effective_size: Float[Array, "*batch"]
    token: Int[Array, "*batch"]
    experts: Float[Array, "*batch expert"]
