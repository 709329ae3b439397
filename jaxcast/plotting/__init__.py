"""Pictures of trajectories, quantile forecasts and graphs; matplotlib is imported when one is drawn."""

from jaxcast.plotting.calibration import plot_coverage_by_horizon as plot_coverage_by_horizon
from jaxcast.plotting.calibration import plot_pit_histogram as plot_pit_histogram
from jaxcast.plotting.calibration import plot_quantile_coverage as plot_quantile_coverage
from jaxcast.plotting.classes import plot_confusion as plot_confusion
from jaxcast.plotting.classes import plot_word_saliency as plot_word_saliency
from jaxcast.plotting.graphs import plot_graph as plot_graph
from jaxcast.plotting.graphs import plot_node_values as plot_node_values
from jaxcast.plotting.importance import plot_attention_by_lag as plot_attention_by_lag
from jaxcast.plotting.importance import plot_importance as plot_importance
from jaxcast.plotting.leads import plot_errors_by_lead as plot_errors_by_lead
from jaxcast.plotting.quantiles import plot_coverage as plot_coverage
from jaxcast.plotting.quantiles import plot_fan as plot_fan
from jaxcast.plotting.quantiles import plot_model_weights as plot_model_weights
from jaxcast.plotting.quantiles import plot_relative_scores as plot_relative_scores
from jaxcast.plotting.quantiles import plot_scores_by_week as plot_scores_by_week
from jaxcast.plotting.quantiles import plot_submissions as plot_submissions
from jaxcast.plotting.revisions import plot_revisions as plot_revisions
from jaxcast.plotting.segments import plot_segments as plot_segments
from jaxcast.plotting.trajectories import plot_band as plot_band
from jaxcast.plotting.trajectories import plot_forecast as plot_forecast
from jaxcast.plotting.trajectories import plot_losses as plot_losses
from jaxcast.plotting.trajectories import plot_phase_portrait as plot_phase_portrait
from jaxcast.plotting.trajectories import plot_regime as plot_regime
from jaxcast.plotting.trajectories import plot_series as plot_series
from jaxcast.plotting.trajectories import plot_valid_times as plot_valid_times
from jaxcast.plotting.trajectories import plot_weights as plot_weights
