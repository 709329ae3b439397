"""Forecast hubs: tables of submitted quantile forecasts, their scores, and pools of them."""

from jaxcast.hub.adaptive_pool import AdaptivePool as AdaptivePool
from jaxcast.hub.arrays import Hub as Hub
from jaxcast.hub.arrays import load_hub as load_hub
from jaxcast.hub.blocked import BlockedForecast as BlockedForecast
from jaxcast.hub.blocked import QuantileRegression as QuantileRegression
from jaxcast.hub.blocked import QuantileSamples as QuantileSamples
from jaxcast.hub.blocked import blocked_windows as blocked_windows
from jaxcast.hub.blocked import quantile_samples as quantile_samples
from jaxcast.hub.blocked import scaled_wis as scaled_wis
from jaxcast.hub.forecasts import HubForecasts as HubForecasts
from jaxcast.hub.gap_filling import fill_gaps as fill_gaps
from jaxcast.hub.pools import InverseScoreWeights as InverseScoreWeights
from jaxcast.hub.pools import LinearOpinionPool as LinearOpinionPool
from jaxcast.hub.pools import QuantileMean as QuantileMean
from jaxcast.hub.pools import QuantileMedian as QuantileMedian
from jaxcast.hub.pools import QuantilePool as QuantilePool
from jaxcast.hub.pools import TrainedQuantileAverage as TrainedQuantileAverage
from jaxcast.hub.pools import TrimmedMean as TrimmedMean
from jaxcast.hub.pools import pool_forecasts as pool_forecasts
from jaxcast.hub.report import compare_forecasters as compare_forecasters
from jaxcast.hub.report import score_forecasters as score_forecasters
from jaxcast.hub.rolling import adaptive_origin as adaptive_origin
from jaxcast.hub.rolling import follow_leader as follow_leader
from jaxcast.hub.rolling import rolling_origin as rolling_origin
from jaxcast.hub.rolling import track_coverage as track_coverage
from jaxcast.hub.submission import write_submission as write_submission
