"""Point forecasts of many models at several leads, as arrays, and what was known at each issue."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static


class EnsembleForecasts(FrozenPytree):
    """Point forecasts of many models, issue by issue, and what was known at each issue.

    Issues are a step apart: a month, a quarter, a year. At an issue that nobody forecast, no model
    is present. Make it with `EnsembleForecasts.of`, or read it with `read_ensemble`.

    Args:
        values: Forecast of each model, zero where it is absent.
        present: Whether a model forecast.
        truth: Value of the target of each issue and lead, NaN where it is not known.
        known_from: First issue at which both the forecast and that value are known; the number of
            issues for none.
        newest: Issue whose forecast at this lead was of the newest target known; -1 for none.
        latest: Issue whose forecast at this lead was of the target about the date of the last
            observation; -1 for none.
        last: The last observation before each issue, NaN for none.
        season: Season of the target, from 0.
        groups: Group of each model, from 0.
        steps_ahead: Steps from the date before the issue to the target, lead + 1, but at least 1.
            That date is the newest that can be known where a value is known one step later; targets
            whose values wait longer are further from the newest known one.
        num_seasons: Seasons of a year: 1 where there are none.
        num_groups: Groups of models.

    Raises:
        InputError: by `of`, for leads that do not rise, and arrays that do not fit.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.ones((6, 4, 2))
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(values, np.arange(8.0), leads=(0, 1))
        >>> forecasts.truth[2].tolist(), np.asarray(forecasts.is_verified(2)).sum(0).tolist()
        ([2.0, 3.0], [2, 1])
    """

    values: Float[Array, "issue model lead"]
    present: Bool[Array, "issue model lead"]
    truth: Float[Array, "issue lead"]
    known_from: Int[Array, "issue lead"]
    newest: Int[Array, "issue lead"]
    latest: Int[Array, "issue lead"]
    last: Float[Array, " issue"]
    season: Int[Array, "issue lead"]
    groups: Int[Array, " model"]
    steps_ahead: Float[Array, " lead"]
    num_seasons: int = static(default=1)
    num_groups: int = static(default=1)

    @classmethod
    @checked
    def of(
        cls,
        values: Shaped[ArrayLike, "issue model lead"],
        observations: Shaped[ArrayLike, " step"],
        *,
        leads: Sequence[int],
        verified: int = 1,
        known_at: Shaped[ArrayLike, " step"] | None = None,
        last: Shaped[ArrayLike, " issue"] | None = None,
        last_age: int = 1,
        seasons: Shaped[ArrayLike, " step"] | None = None,
        num_seasons: int = 1,
        groups: Sequence[int] | None = None,
    ) -> "EnsembleForecasts":
        """Makes it from arrays over steps, of which the first is the date of the first issue.

        Args:
            values: Forecasts, NaN where a model is absent.
            observations: Value of each date from the first issue's on, NaN where it is not known.
            leads: Steps from the issue to the date of the target, rising.
            verified: Steps after its date that a value is known: 1 for one of the step before, 3
                for a mean of three months that is dated by its first.
            known_at: Step at which each value is known, where that is irregular; by default the
                step of its date plus `verified`.
            last: Last observation before each issue, where it is newer than the newest target that
                is known, such as last month beside seasons.
            last_age: Steps from its date to the issue.
            seasons: Season of each date, from 0.
            num_seasons: Seasons of a year.
            groups: Group of each model, from 0; by default all are of one.

        Returns:
            The forecasts.

        Raises:
            InputError: for leads that do not rise, arrays that do not fit, and bad numbers.
        """
        values = np.asarray(values, float)
        num_issues, num_models, num_leads = values.shape
        steps = _checked_leads(leads, num_leads)
        check_whole("verified", verified, least=0)
        check_whole("last_age", last_age, least=0)
        check_whole("num_seasons", num_seasons)
        of_issue = np.arange(num_issues)[:, None]  # no error is known before the forecast is made
        target = of_issue + steps
        num_steps = int(target.max()) + 1
        observed = _of_steps(observations, num_steps, np.nan)
        known = np.arange(num_steps) + verified if known_at is None else _of_steps(known_at, num_steps, num_issues)
        known = np.where(np.isfinite(observed), np.minimum(known, num_issues), num_issues).astype(int)
        has_target = target >= 0
        place = np.maximum(target, 0)
        newest = _newest(known, num_issues)
        groups = _checked_groups(groups, num_models)
        if last is None:  # then there is nothing newer than the newest target
            about = np.full(num_issues, -1)
            last = np.where(newest >= 0, observed[np.maximum(newest, 0)], np.nan)
        else:
            about = np.arange(num_issues) - last_age - (verified - 1) // 2
        last = _checked_last(last, num_issues)
        about = np.where(np.isfinite(last), about, -1)
        present = np.isfinite(values)
        of_step = np.zeros(num_steps) if seasons is None else _checked_seasons(seasons, num_steps)
        return cls(
            values=jnp.asarray(np.where(present, values, 0)),
            present=jnp.asarray(present),
            truth=jnp.asarray(np.where(has_target, observed[place], np.nan)),
            known_from=jnp.asarray(np.where(has_target, np.maximum(known[place], of_issue), num_issues)),
            newest=jnp.asarray(_issue_of(newest, steps, num_issues)),
            latest=jnp.asarray(_issue_of(about, steps, num_issues)),
            last=jnp.asarray(last),
            season=jnp.asarray(of_step[place].astype(int) % num_seasons),
            groups=jnp.asarray(np.asarray(groups, int)),
            steps_ahead=jnp.asarray(np.maximum(steps + 1.0, 1.0)),
            num_seasons=num_seasons,
            num_groups=max(groups) + 1,
        )

    def is_verified(self, issue: int | Int[Array, ""]) -> Bool[Array, "issue lead"]:
        """Returns which issues and leads are verified at an issue: their truth is known by then.

        Args:
            issue: The issue.
        """
        return (self.known_from <= issue) & jnp.isfinite(self.truth)

    @property
    def is_forecast(self) -> Bool[Array, "issue lead"]:
        """Whether any model forecast."""
        return self.present.any(1)


def _checked_leads(leads: Sequence[int], num_leads: int) -> np.ndarray:
    """Returns the leads in steps.

    Raises:
        InputError: where they do not rise, or are not as many as the forecasts have.
    """
    steps = np.asarray(list(leads))
    if steps.shape != (num_leads,) or not np.issubdtype(steps.dtype, np.integer) or (np.diff(steps) <= 0).any():
        raise InputError(f"expected {num_leads} whole leads that rise, got {list(leads)}")
    return steps


def _checked_groups(groups: Sequence[int] | None, num_models: int) -> list[int]:
    """Returns the group of each model.

    Raises:
        InputError: where they are not as many as the models.
    """
    found = [0] * num_models if groups is None else list(groups)
    if len(found) != num_models:
        raise InputError(f"expected a group for each of {num_models} models, got {len(found)}")
    return found


def _checked_last(last: ArrayLike, num_issues: int) -> np.ndarray:
    """Returns the last observation before each issue.

    Raises:
        InputError: where they are not as many as the issues.
    """
    found = np.asarray(last, float)
    if found.shape != (num_issues,):
        raise InputError(f"expected a last observation for each of {num_issues} issues, got shape {found.shape}")
    return found


def _checked_seasons(seasons: ArrayLike, num_steps: int) -> np.ndarray:
    """Returns the season of each step.

    Raises:
        InputError: where they end before the last target.
    """
    found = _of_steps(seasons, num_steps, np.nan)
    if np.isnan(found).any():
        raise InputError(f"expected a season for each of {num_steps} steps up to the last target; give them all")
    return found


def _of_steps(given: ArrayLike, num_steps: int, missing: float | int) -> np.ndarray:
    """Returns an array over the steps, filled where it ends before the last target."""
    values = np.asarray(given, float)[:num_steps]
    return np.concatenate([values, np.full(num_steps - len(values), missing, float)])


def _newest(known: np.ndarray, num_issues: int) -> np.ndarray:
    """Returns the newest date known at each issue; -1 for none."""
    newest = np.full(num_issues + 1, -1)
    np.maximum.at(newest, np.maximum(known, 0), np.arange(len(known)))
    return np.maximum.accumulate(newest[:-1])


def _issue_of(target: np.ndarray, steps: np.ndarray, num_issues: int) -> np.ndarray:
    """Returns the issue that forecast a target at each lead; -1 where there is none."""
    issue = target[:, None] - steps
    # A forecast of later issues cannot be used, even if its target is known already.
    is_past = (target[:, None] >= 0) & (issue >= 0) & (issue <= np.arange(num_issues)[:, None])
    return np.where(is_past, issue, -1)
