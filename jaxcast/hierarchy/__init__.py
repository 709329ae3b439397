"""Forecasts that add up over hierarchies and groups of series: points, quantiles and paths."""

from jaxcast.hierarchy.covariance import ShrunkCovariance as ShrunkCovariance
from jaxcast.hierarchy.covariance import shrunk_covariance as shrunk_covariance
from jaxcast.hierarchy.files import read_hierarchy as read_hierarchy
from jaxcast.hierarchy.paths import ReconciledForecast as ReconciledForecast
from jaxcast.hierarchy.paths import reconcile_quantiles as reconcile_quantiles
from jaxcast.hierarchy.paths import shuffled_paths as shuffled_paths
from jaxcast.hierarchy.reconciliation import Reconciliation as Reconciliation
from jaxcast.hierarchy.reconciliation import fit_reconciliation as fit_reconciliation
from jaxcast.hierarchy.structure import Hierarchy as Hierarchy
from jaxcast.hierarchy.structure import hierarchy_from_groups as hierarchy_from_groups
from jaxcast.hierarchy.structure import hierarchy_from_parents as hierarchy_from_parents
from jaxcast.hierarchy.structure import hierarchy_of_total as hierarchy_of_total
