"""Hidden regimes: an emulator of the ensemble, the regime's schedule, and a filter over both."""

from jaxcast.regime.emulator import Emulator as Emulator
from jaxcast.regime.emulator import PolynomialSystem as PolynomialSystem
from jaxcast.regime.emulator import fit_emulator as fit_emulator
from jaxcast.regime.fit import fit_regime as fit_regime
from jaxcast.regime.forecaster import RegimeForecaster as RegimeForecaster
from jaxcast.regime.harmonic_search import fit_harmonics as fit_harmonics
from jaxcast.regime.harmonics import HarmonicSchedule as HarmonicSchedule
from jaxcast.regime.learned import LearnedRegimeForecaster as LearnedRegimeForecaster
