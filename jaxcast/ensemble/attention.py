"""The paper's attention as a pool of point forecasts, trained again and again from a rolling origin."""

from operator import itemgetter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.errors import InputError
from jaxcast.pooling.attention import AdditiveAttention
from jaxcast.pooling.memory import Memory
from jaxcast.rollout import Output
from jaxcast.training.fitting import fit

QUERY_SIZE = 4
BATCHES = 4
"""Minibatches of which an epoch has a whole multiple: so trainings on ever more cases share programs."""


class EnsembleSamples(NamedTuple):
    """What attention sees of each issue and lead.

    Args:
        memory: `states` are the last observation, the lead and the season of the target, with
            those of earlier issues; `errors` the newest known errors of each model at this lead,
            zero where it has none.
        forecasts: Forecasts of the models.
        present: Whether a model forecast.
        target: Truth, zero where it is not known.
        weight: 1 where there are a forecast and a truth, else 0.
    """

    memory: Memory
    forecasts: Float[Array, "*batch model 1"]
    present: Bool[Array, "*batch model"]
    target: Float[Array, "*batch"]
    weight: Float[Array, "*batch"]


@checked
def ensemble_samples(forecasts: EnsembleForecasts, *, num_delays: int) -> EnsembleSamples:
    """Gathers what attention sees of each issue and lead, with leading axes (issue, lead).

    Args:
        forecasts: Forecasts of the models, and what was known at each issue.
        num_delays: Observations and errors that it sees.

    Returns:
        The samples.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(np.ones((6, 4, 2)), np.ones(8), leads=(0, 1))
        >>> samples = jaxcast.ensemble.ensemble_samples(forecasts, num_delays=3)
        >>> samples.memory.states.shape, samples.memory.errors.shape
        ((6, 2, 3, 4), (6, 2, 3, 4, 1))
    """
    check_whole("num_delays", num_delays)
    num_issues, num_leads = forecasts.truth.shape
    truth = jnp.where(jnp.isfinite(forecasts.truth), forecasts.truth, 0)
    errors = jnp.where(forecasts.present, forecasts.values - truth[:, None], 0)
    delays = jnp.arange(num_delays)
    issue = forecasts.newest[..., None] - delays
    is_known = (issue >= 0) & (forecasts.newest >= 0)[..., None]
    leads = jnp.arange(num_leads)[:, None]
    past = jnp.moveaxis(errors, 1, 2)[jnp.maximum(issue, 0), leads]
    # An earlier target can be known later than the newest, where tables say so.
    known_from = forecasts.known_from[jnp.maximum(issue, 0), leads]
    is_known &= known_from <= jnp.arange(num_issues)[:, None, None]
    past = jnp.where(is_known[..., None], past, 0)
    back = jnp.arange(num_issues)[:, None] - delays
    last = jnp.where((back >= 0) & jnp.isfinite(forecasts.last[jnp.maximum(back, 0)]), forecasts.last[back], 0)
    phase = 2 * jnp.pi * forecasts.season / forecasts.num_seasons
    lead = jnp.broadcast_to(forecasts.steps_ahead / forecasts.steps_ahead.max(), phase.shape)
    about = jnp.stack([lead, jnp.cos(phase), jnp.sin(phase)], -1)[:, :, None]
    shape = (num_issues, num_leads, num_delays)
    states = jnp.concatenate(
        [jnp.broadcast_to(last[:, None], shape)[..., None], jnp.broadcast_to(about, (*shape, 3))], -1
    )
    return EnsembleSamples(
        memory=Memory(states, past[..., None]),
        forecasts=jnp.moveaxis(forecasts.values, 1, 2)[..., None],
        present=jnp.moveaxis(forecasts.present, 1, 2),
        target=truth,
        weight=(forecasts.is_forecast & jnp.isfinite(forecasts.truth)).astype(truth.dtype),
    )


def attention_loss(model: AdditiveAttention, samples: EnsembleSamples) -> Float[Array, ""]:
    """Computes the mean squared error of the samples that count, with one leading axis."""
    pooled = model(samples.memory, samples.forecasts, present=samples.present).forecast[..., 0]
    return jnp.sum(samples.weight * (pooled - samples.target) ** 2) / jnp.maximum(samples.weight.sum(), 1)


@checked
def pool_with_attention(
    forecasts: EnsembleForecasts,
    *,
    first: int,
    every: int = 12,
    num_delays: int = 4,
    hidden_size: int = 16,
    num_epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float | int = 1e-3,
    keys: Key[Array, " seed"],
) -> Output:
    """Pools with the paper's additive attention, masked, with lead and season in its query.

    Every `every` issues it is trained anew on all that is verified by then, and forecasts the
    issues up to the next training with what it sees at each. The mean over seeds is the forecast.
    No later issue changes it: an epoch passes over the verified cases alone, filled up with empty
    ones to a multiple of four minibatches.

    Args:
        forecasts: Forecasts of the models, and what was known at each issue.
        first: First issue to forecast, from 1; earlier ones are only learned from.
        every: Issues between two trainings.
        num_delays: Observations and errors that it sees.
        hidden_size: Rows of its matrices.
        num_epochs: Passes over the verified cases.
        batch_size: Cases of a minibatch, each of an issue and a lead.
        learning_rate: Learning rate of Adam.
        keys: Random keys, one a seed.

    Returns:
        The forecast (issue, lead), NaN before `first` and where no model forecast, and the weights
        (issue, model, lead).

    Raises:
        InputError: where nothing is verified at the first issue, and for numbers out of range.

    Source:
        Patel and Wikner (2023), eq. 1, 2, 4 and 8.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> values = np.random.default_rng(0).normal(size=(24, 3, 2))
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(values, np.zeros(26), leads=(0, 1))
        >>> output = jaxcast.ensemble.pool_with_attention(
        ...     forecasts, first=12, num_epochs=1, num_delays=2, hidden_size=3, keys=jax.random.key(0)[None]
        ... )
        >>> output.forecast.shape, bool(jax.numpy.isnan(output.forecast[11]).all())
        ((24, 2), True)
    """
    for name, value in (("first", first), ("every", every), ("batch_size", batch_size)):
        check_whole(name, value)
    num_issues, dtype = len(forecasts.values), forecasts.values.dtype
    if first >= num_issues:
        raise InputError(f"first must be below the number of issues, {num_issues}, got {first}")
    samples = ensemble_samples(forecasts, num_delays=num_delays)
    optimizer = optax.adam(learning_rate)

    def init(key: Key[Array, ""]) -> AdditiveAttention:
        return AdditiveAttention(
            dim=1, query_dim=QUERY_SIZE, num_delays=num_delays, hidden_size=hidden_size, key=key, dtype=dtype
        )

    found = []
    for start in range(first, num_issues, every):
        trained = fit(
            _verified_cases(samples, forecasts, start, multiple=BATCHES * batch_size),
            init=init,
            loss=attention_loss,
            keys=keys,
            optimizer=optimizer,
            num_epochs=num_epochs,
            batch_size=batch_size,
        )
        found.append(_mean_over_seeds(trained.models, jax.tree.map(itemgetter(slice(start, start + every)), samples)))
    pooled, weights = (jnp.concatenate(parts) for parts in zip(*found, strict=True))
    pooled = jnp.concatenate([jnp.full((first, *pooled.shape[1:]), jnp.nan, dtype), pooled])
    weights = jnp.concatenate([jnp.zeros((first, *weights.shape[1:]), dtype), weights])
    return Output(jnp.where(forecasts.is_forecast, pooled, jnp.nan), {"weights": weights})


def _verified_cases(
    samples: EnsembleSamples, forecasts: EnsembleForecasts, issue: int, *, multiple: int
) -> EnsembleSamples:
    """Returns the cases that are verified at an issue, with one leading axis.

    Nothing else may be among them, not even cleared: their number sets the minibatches and the
    steps of the training. Empty cases round that number up, so that few programs are compiled.

    Raises:
        InputError: where nothing is verified.
    """
    places = np.flatnonzero(np.asarray(forecasts.is_verified(issue) & forecasts.is_forecast))
    if not len(places):
        raise InputError(f"nothing is verified at issue {issue} to learn from; begin with a later one")
    num_empty = -len(places) % multiple

    def cases_of(leaf: Array) -> Array:
        flat = np.asarray(leaf).reshape(-1, *leaf.shape[2:])
        return jnp.asarray(np.concatenate([flat[places], np.zeros((num_empty, *flat.shape[1:]), flat.dtype)]))

    return jax.tree.map(cases_of, samples)


@jax.jit
def _mean_over_seeds(models: AdditiveAttention, samples: EnsembleSamples) -> tuple[Array, Array]:
    """Returns the forecast (issue, lead) and the weights (issue, model, lead), averaged over seeds."""

    def of_seed(model: AdditiveAttention) -> tuple[Array, Array]:
        output = model(samples.memory, samples.forecasts, present=samples.present)
        return output.forecast[..., 0], output.info["weights"]

    pooled, weights = jax.lax.map(of_seed, models)
    return pooled.mean(0), jnp.swapaxes(weights.mean(0), 1, 2)
