"""Effects of treatments from observed data, by double machine learning."""

from jaxcast.causal.bases import Basis as Basis
from jaxcast.causal.bases import LinearBasis as LinearBasis
from jaxcast.causal.bases import Places as Places
from jaxcast.causal.bases import PolynomialBasis as PolynomialBasis
from jaxcast.causal.bases import SplineBasis as SplineBasis
from jaxcast.causal.designs import ConfoundedSamples as ConfoundedSamples
from jaxcast.causal.designs import simulate_confounded as simulate_confounded
from jaxcast.causal.designs import simulate_confounded_series as simulate_confounded_series
from jaxcast.causal.estimates import CausalEffect as CausalEffect
from jaxcast.causal.estimates import Interval as Interval
from jaxcast.causal.heterogeneous import LinearEffect as LinearEffect
from jaxcast.causal.heterogeneous import NetworkEffect as NetworkEffect
from jaxcast.causal.heterogeneous import fit_r_learner as fit_r_learner
from jaxcast.causal.heterogeneous import fit_r_learner_network as fit_r_learner_network
from jaxcast.causal.interactive import fit_interactive as fit_interactive
from jaxcast.causal.logistic import LogisticNuisance as LogisticNuisance
from jaxcast.causal.network import NetworkNuisance as NetworkNuisance
from jaxcast.causal.nuisance import Nuisance as Nuisance
from jaxcast.causal.partially_linear import fit_partially_linear as fit_partially_linear
from jaxcast.causal.ridge import RidgeNuisance as RidgeNuisance
from jaxcast.causal.splits import Splits as Splits
from jaxcast.causal.splits import block_splits as block_splits
from jaxcast.causal.splits import random_splits as random_splits
from jaxcast.causal.treatments import TreatmentIndicators as TreatmentIndicators
from jaxcast.causal.treatments import treatment_indicators as treatment_indicators
