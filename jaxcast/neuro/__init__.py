"""Brain signals: series of regions of many subjects, their correlations and their classification."""

from jaxcast.neuro.connectivity import correlations as correlations
from jaxcast.neuro.connectivity import partial_correlations as partial_correlations
from jaxcast.neuro.modules import region_modules as region_modules
from jaxcast.neuro.subjects import SubjectSeries as SubjectSeries
from jaxcast.neuro.subjects import constant_regions as constant_regions
from jaxcast.neuro.subjects import subject_series as subject_series
