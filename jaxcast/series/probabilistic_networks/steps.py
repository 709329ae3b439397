"""What recurrent networks of panels are given at each step."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.series.panels.windows import PanelSizes
from jaxcast.series.probabilistic_networks.abstract import PanelInputs


def joined(
    of_steps: Sequence[Float[Array, "*batch time _"]], of_series: Sequence[Float[Array, "*batch _"]]
) -> Float[Array, "*batch time feature"]:
    """Joins what changes from step to step with what a series has once.

    Args:
        of_steps: arrays with an axis of time.
        of_series: arrays without; they are repeated at each step.

    Returns:
        The features of each step, in this order.
    """
    first = of_steps[0].shape[:-1]
    repeated = [jnp.broadcast_to(a[..., None, :], (*first, a.shape[-1])) for a in of_series]
    return jnp.concatenate([*of_steps, *repeated], -1)


def history_steps(inputs: PanelInputs) -> Float[Array, "*batch time feature"]:
    """Returns what is known at each step of a history.

    Args:
        inputs: of the windows.

    Returns:
        The value and whether it is known, the covariates, and what the series has once.
    """
    values = jnp.stack([inputs.values, inputs.is_known], -1)
    known = inputs.known[..., : inputs.values.shape[-1], :]
    return joined([values, inputs.past, known], [inputs.static, inputs.embedded])


def history_step_size(sizes: PanelSizes, static_size: int) -> int:
    """Returns how many numbers `history_steps` has at each step.

    Args:
        sizes: of the windows.
        static_size: numbers that a series has once.
    """
    return 2 + sizes.num_past + sizes.num_known + static_size
