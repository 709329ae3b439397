"""Cells that forecast a series from its own past."""

from jaxcast.forecasters.kernel_ridge import DelayKernelRidge as DelayKernelRidge
from jaxcast.forecasters.kernel_ridge import fit_delay_kernel_ridge as fit_delay_kernel_ridge
from jaxcast.forecasters.nvar import NVAR as NVAR
from jaxcast.forecasters.nvar import fit_nvar as fit_nvar
from jaxcast.forecasters.recurrent import RecurrentForecaster as RecurrentForecaster
from jaxcast.forecasters.recurrent import fit_recurrent_forecaster as fit_recurrent_forecaster
from jaxcast.forecasters.recurrent import fit_recurrent_readout as fit_recurrent_readout
from jaxcast.forecasters.reservoir import Reservoir as Reservoir
from jaxcast.forecasters.reservoir import fit_reservoir as fit_reservoir
