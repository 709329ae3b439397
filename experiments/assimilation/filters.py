"""Analysis errors of every method over many truths, as a table of rows."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.assimilation.settings import METHODS, SETTINGS, Method, Setting

NUM_CLIMATOLOGY = 2000


def truths_of(setting: Setting, num_truths: int, num_cycles: int, seed: int) -> Any:
    """Simulates truths, (truth, cycle, dim)."""
    noise = jax.random.normal(jax.random.key(seed), (num_truths, len(setting.start)))
    starts = jnp.asarray(setting.start) + setting.variance**0.5 * noise
    simulate = partial(jaxcast.simulate, setting.system, num_samples=num_cycles, dt=setting.dt, h=setting.h)
    return jax.vmap(lambda start: simulate(start).states)(starts)


def climatology_of(setting: Setting) -> tuple[Any, Any]:
    """Computes mean and covariance of the states on the attractor."""
    states = jaxcast.simulate(
        setting.system,
        setting.start,
        num_samples=NUM_CLIMATOLOGY,
        dt=setting.dt,
        h=setting.h,
        transient=100 * setting.dt,
    ).states
    return states.mean(0), jnp.cov(states.T)


@partial(jax.jit, static_argnames=("method", "setting_name"))
def _errors(method: int, setting_name: str, truths: Any, climatology: Any, keys: Any) -> Any:
    """Returns RMSE over components and mean variance of the analyses, (truth, cycle) each."""
    setting = SETTINGS[setting_name]

    def one(truth: Any, key: Any) -> tuple[Any, Any]:
        seen, own = jax.random.split(key)
        values = truth + setting.noise * jax.random.normal(seen, truth.shape)
        info = jaxcast.open_loop(METHODS[method].make(setting, climatology, own), values).info
        missed = jnp.sqrt(((info["analysis"] - truth) ** 2).mean(-1))
        return missed, (info["analysis_spread"] ** 2).mean(-1)

    return jax.vmap(one)(truths, keys)


def score(method: Method, truths: Any, climatology: Any, seed: int) -> dict[str, np.ndarray]:
    """Runs a method on all truths.

    Args:
        method: of `METHODS`.
        truths: (truth, cycle, dim).
        climatology: mean and covariance of the system.
        seed: of observations and ensembles.

    Returns:
        RMSE of the analyses, mean square error and variance of each truth, and RMSE by cycle.
    """
    setting = SETTINGS[method.setting]
    keys = jax.random.split(jax.random.key(seed), len(truths))
    number = METHODS.index(method)
    missed, variance = (
        np.asarray(a)[:, setting.num_burned :] for a in _errors(number, method.setting, truths, climatology, keys)
    )
    return {
        "rmse": missed.mean(1),
        "square": (missed**2).mean(1),
        "variance": variance.mean(1),
        "by_cycle": missed.mean(0),
    }


def row_of(method: Method, scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """Makes the row of a method: means over truths, with their standard error."""
    rmse = scores["rmse"]
    # As jaxcast.scores.spread_and_error counts it: fair for any number of members.
    fair = 1 + 1 / method.num_members if method.num_members else 1.0
    return {
        "part": "filters",
        "setting": method.setting,
        "method": method.name,
        "num_truths": len(rmse),
        "rmse": float(rmse.mean()),
        "rmse_error": float(rmse.std(ddof=1) / len(rmse) ** 0.5) if len(rmse) > 1 else None,
        "rmse_worst": float(rmse.max()),
        "spread_to_error": float(np.sqrt(fair * scores["variance"].mean() / scores["square"].mean())),
        "published": method.published,
    }
