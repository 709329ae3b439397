"""A default that chooses: methods compared on held-out windows, and the best fitted."""

from jaxcast.selection.fit import PoolChoice as PoolChoice
from jaxcast.selection.fit import fit_pool as fit_pool
from jaxcast.selection.trials import Trial as Trial
