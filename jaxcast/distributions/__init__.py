"""Distributions of forecasts, and heads that make them of the numbers of a network."""

from jaxcast.distributions.abstract import Distribution as Distribution
from jaxcast.distributions.abstract import Head as Head
from jaxcast.distributions.abstract import Likelihood as Likelihood
from jaxcast.distributions.counts import check_counts as check_counts
from jaxcast.distributions.heads import MixtureHead as MixtureHead
from jaxcast.distributions.heads import NegativeBinomialHead as NegativeBinomialHead
from jaxcast.distributions.heads import NormalHead as NormalHead
from jaxcast.distributions.heads import PoissonHead as PoissonHead
from jaxcast.distributions.heads import QuantileHead as QuantileHead
from jaxcast.distributions.heads import StudentTHead as StudentTHead
from jaxcast.distributions.heads import make_head as make_head
from jaxcast.distributions.mixture import Mixture as Mixture
from jaxcast.distributions.negative_binomial import NegativeBinomial as NegativeBinomial
from jaxcast.distributions.normal import Normal as Normal
from jaxcast.distributions.poisson import Poisson as Poisson
from jaxcast.distributions.quantiles import Quantiles as Quantiles
from jaxcast.distributions.student_t import StudentT as StudentT
