"""Effects from residuals: moments, robust standard errors, and the median over repeats."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static


class Interval(NamedTuple):
    """Confidence interval.

    Args:
        lower: lower end.
        upper: upper end.
    """

    lower: Float[Array, "*treatment"]
    upper: Float[Array, "*treatment"]


class Groups(FrozenPytree):
    """Samples whose scores depend on each other.

    Args:
        number: of each sample's group, from 0 on; None where each sample is its own.
        num_groups: number of groups.
        num_lags: groups are successive time steps whose scores are correlated up to this lag.
    """

    number: Int[Array, " sample"] | None
    num_groups: int = static()
    num_lags: int = static()


class CausalEffect(NamedTuple):
    """Effect of a treatment, estimated by double machine learning.

    Shapes are without the treatment axis where the treatment was one number a sample.

    Args:
        effect: change of the outcome for one unit more of each treatment; the median over repeats.
        standard_error: of the effect, over samples and repeats.
        covariance: of the effects of several treatments; the variance of one.
        effects: the effect of each repeat.
        standard_errors: of each repeat.
        outcome_residuals: outcome minus its held-out prediction.
        treatment_residuals: treatment minus its held-out prediction.
        outcome_r2: share of the outcome's variance that the held-out predictions explain.
        treatment_r2: the same for the treatments. Near 1 there is little left to learn from.
        clipped_share: share of samples whose probability of treatment was clipped; 0 in the
            partially linear model.
        groups: samples whose scores depend on each other: clusters, or steps of time.
    """

    effect: Float[Array, "*treatment"]
    standard_error: Float[Array, "*treatment"]
    covariance: Float[Array, "..."]
    effects: Float[Array, " repeat *treatment"]
    standard_errors: Float[Array, " repeat *treatment"]
    outcome_residuals: Float[Array, "repeat sample"]
    treatment_residuals: Float[Array, "repeat sample *treatment"]
    outcome_r2: Float[Array, ""]
    treatment_r2: Float[Array, "*treatment"]
    clipped_share: Float[Array, ""]
    groups: Groups

    @checked
    def interval(self, level: float = 0.95) -> Interval:
        """Returns the normal confidence interval of each effect, effect +- z standard errors.

        Args:
            level: probability with which the interval covers the effect.

        Raises:
            InputError: for a level outside (0, 1).
        """
        return normal_interval(self.effect, self.standard_error, level)

    def p_value(self) -> Float[Array, "*treatment"]:
        """Returns the two-sided p-value of no effect, for each treatment."""
        return 2 * norm.sf(jnp.abs(self.effect) / self.standard_error)

    def __str__(self) -> str:
        """Returns a table of the effects, a line for each treatment."""
        columns = (self.effect, self.standard_error, *self.interval(), self.p_value())
        rows = np.stack([np.atleast_1d(np.asarray(column, float)) for column in columns], 1)
        head = ("effect", "std. error", "95 % from", "to", "p-value")
        lines = ["".join(f"{name:>12}" for name in head)]
        lines += ["".join(f"{number:12.4g}" for number in row) for row in rows]
        return "\n".join(lines)


def normal_interval(effect: Array, standard_error: Array, level: float | int) -> Interval:
    """Returns effect +- z standard errors.

    Args:
        effect: estimates.
        standard_error: of each.
        level: probability with which the interval covers the effect.

    Raises:
        InputError: for a level outside (0, 1).
    """
    check_number("level", level, above=0, below=1)
    width = norm.ppf((1 + level) / 2) * standard_error
    return Interval(effect - width, effect + width)


class Regression(NamedTuple):
    """Least squares with a robust covariance.

    Args:
        coefficients: of the regressors.
        covariance: of the coefficients.
    """

    coefficients: Float[Array, " regressor"]
    covariance: Float[Array, "regressor regressor"]


@highest
def score_covariance(scores: Float[Array, "sample moment"], groups: Groups) -> Float[Array, "moment moment"]:
    """Returns the covariance of the sum of scores, with clusters or autocorrelation.

        S = G_0 + sum_(l <= L) (1 - l / (L + 1)) (G_l + G_l'),    G_l = sum_t s_t s_(t-l)'

    with s the sum of the scores of each group.

    Args:
        scores: of all samples, with mean 0.
        groups: which scores depend on each other.

    Source:
        Liang and Zeger (1986) for clusters; Newey and West, Econometrica 55, 703-708 (1987);
        Driscoll and Kraay, Rev. Econ. Stat. 80, 549-560 (1998), for several samples a time step.
    """
    sums = scores if groups.number is None else jax.ops.segment_sum(scores, groups.number, groups.num_groups)
    total = sums.T @ sums
    for lag in range(1, groups.num_lags + 1):
        lagged = sums[lag:].T @ sums[:-lag]
        total += (1 - lag / (groups.num_lags + 1)) * (lagged + lagged.T)
    return total


@highest
def regress(
    targets: Float[Array, " sample"], regressors: Float[Array, "sample regressor"], groups: Groups
) -> Regression:
    """Regresses residuals on residuals, without a constant.

        theta = (sum z z')^-1 sum z u,    Var = J^-1 S J^-1,    J = sum z z',    scores z (u - z' theta)

    Args:
        targets: u.
        regressors: z.
        groups: which scores depend on each other.
    """
    gram = regressors.T @ regressors
    coefficients = jnp.linalg.solve(gram, regressors.T @ targets)
    errors = targets - regressors @ coefficients
    middle = score_covariance(regressors * errors[:, None], groups)
    return Regression(coefficients, jnp.linalg.solve(gram, jnp.linalg.solve(gram, middle).T))


def over_repeats(each: Regression) -> Regression:
    """Returns the median coefficients, and the median covariance about them.

    A variance is the median of var + (theta - median)^2 over repeats. Of several coefficients it is
    the matrix of cov + (theta - median)(theta - median)' whose largest eigenvalue is the median,
    which keeps it a covariance.

    Args:
        each: a regression for each repeat.

    Source:
        Chernozhukov et al., Econometrics Journal 21, C1-C68 (2018), definition 3.3.
    """
    median = jnp.median(each.coefficients, 0)
    apart = each.coefficients - median
    spread = each.covariance + apart[:, :, None] * apart[:, None, :]
    if median.shape[0] == 1:
        return Regression(median, jnp.median(spread, 0))
    order = jnp.argsort(jnp.linalg.eigvalsh(spread)[:, -1])
    return Regression(median, spread[order[len(spread) // 2]])


def explained(residuals: Float[Array, "repeat sample ..."], targets: Float[Array, "sample ..."]) -> Array:
    """Returns the share of the targets' variance that held-out predictions explain, over all repeats.

    Args:
        residuals: of the predictions.
        targets: what was predicted.
    """
    return 1 - (residuals**2).mean((0, 1)) / targets.var(0)
