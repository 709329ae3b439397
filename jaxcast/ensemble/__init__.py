"""Point forecasts of many models at several leads: pools from a rolling origin, and their spread."""

from jaxcast.ensemble.adaptive import AdaptiveEnsemble as AdaptiveEnsemble
from jaxcast.ensemble.adaptive import pool_with_experts as pool_with_experts
from jaxcast.ensemble.arrays import EnsembleForecasts as EnsembleForecasts
from jaxcast.ensemble.attention import EnsembleSamples as EnsembleSamples
from jaxcast.ensemble.attention import ensemble_samples as ensemble_samples
from jaxcast.ensemble.attention import pool_with_attention as pool_with_attention
from jaxcast.ensemble.carried import CarriedForecasts as CarriedForecasts
from jaxcast.ensemble.carried import carry_leads as carry_leads
from jaxcast.ensemble.correction import correct_newest_errors as correct_newest_errors
from jaxcast.ensemble.pool import EnsemblePool as EnsemblePool
from jaxcast.ensemble.pool import pool_ensemble as pool_ensemble
from jaxcast.ensemble.pools import EnsembleMean as EnsembleMean
from jaxcast.ensemble.pools import EnsembleMedian as EnsembleMedian
from jaxcast.ensemble.pools import EnsembleTrimmedMean as EnsembleTrimmedMean
from jaxcast.ensemble.pools import GroupMean as GroupMean
from jaxcast.ensemble.pools import RidgeToMean as RidgeToMean
from jaxcast.ensemble.pools import SkillWeights as SkillWeights
from jaxcast.ensemble.report import score_categories as score_categories
from jaxcast.ensemble.report import score_ensemble as score_ensemble
from jaxcast.ensemble.spread import categories_of as categories_of
from jaxcast.ensemble.spread import category_probabilities as category_probabilities
from jaxcast.ensemble.spread import error_spread as error_spread
from jaxcast.ensemble.tables import Ensemble as Ensemble
from jaxcast.ensemble.tables import read_ensemble as read_ensemble
