"""Data assimilation: filters and smoothers of a model's state and parameters, as cells."""

from jaxcast.assimilation.analyses import EnsembleAnalysis as EnsembleAnalysis
from jaxcast.assimilation.analyses import EnsembleTransform as EnsembleTransform
from jaxcast.assimilation.analyses import LocalEnsembleTransform as LocalEnsembleTransform
from jaxcast.assimilation.analyses import PerturbedObservations as PerturbedObservations
from jaxcast.assimilation.ensemble_filter import EnsembleCarry as EnsembleCarry
from jaxcast.assimilation.ensemble_kalman import EnsembleKalmanFilter as EnsembleKalmanFilter
from jaxcast.assimilation.localisation import Localisation as Localisation
from jaxcast.assimilation.localisation import gaspari_cohn as gaspari_cohn
from jaxcast.assimilation.localisation import localise as localise
from jaxcast.assimilation.localisation import localise_ring as localise_ring
from jaxcast.assimilation.observation import ObservationMatrix as ObservationMatrix
from jaxcast.assimilation.observation import ObservedComponents as ObservedComponents
from jaxcast.assimilation.observation import WholeState as WholeState
from jaxcast.assimilation.parameters import ConstantParameter as ConstantParameter
from jaxcast.assimilation.parameters import HarmonicParameter as HarmonicParameter
from jaxcast.assimilation.parameters import ParameterDynamics as ParameterDynamics
from jaxcast.assimilation.parameters import ParameterMap as ParameterMap
from jaxcast.assimilation.parameters import RandomWalk as RandomWalk
from jaxcast.assimilation.parameters import parameter_map as parameter_map
