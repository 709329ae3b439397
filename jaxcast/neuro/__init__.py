"""Brain signals: series of regions of many subjects, their correlations and their classification."""

from jaxcast.neuro.connectivity import correlations as correlations
from jaxcast.neuro.connectivity import partial_correlations as partial_correlations
from jaxcast.neuro.dynamic_graphs.change_points import change_points as change_points
from jaxcast.neuro.dynamic_graphs.graphs import DynamicGraphs as DynamicGraphs
from jaxcast.neuro.dynamic_graphs.graphs import correlation_graphs as correlation_graphs
from jaxcast.neuro.dynamic_graphs.network import DynamicGraphNetwork as DynamicGraphNetwork
from jaxcast.neuro.dynamic_graphs.segments import Segments as Segments
from jaxcast.neuro.dynamic_graphs.segments import change_point_segments as change_point_segments
from jaxcast.neuro.dynamic_graphs.segments import uniform_segments as uniform_segments
from jaxcast.neuro.modules import region_modules as region_modules
from jaxcast.neuro.subjects import SubjectSeries as SubjectSeries
from jaxcast.neuro.subjects import constant_regions as constant_regions
from jaxcast.neuro.subjects import subject_series as subject_series
