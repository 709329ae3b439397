"""What a network of a panel learns from, and by."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panels.cutting import drawn
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork

DRAWS = 0
"""Seed of the windows; that of a network changes its weights only."""


@dataclasses.dataclass(frozen=True)
class PanelLoss:
    """The loss of a network of a panel, in parts where there are many windows.

    Args:
        batch_size: the most windows whose loss is computed at once.
    """

    batch_size: int

    def __call__(self, network: PanelNetwork, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Returns the mean loss over all known targets.

        Args:
            network: of the windows.
            windows: with their targets.
            key: switches dropout on.
        """
        num = len(windows.targets)
        if num <= self.batch_size:
            return network.loss(windows, key)
        num_parts = -(-num // self.batch_size)
        index = np.arange(num_parts * self.batch_size).reshape(num_parts, -1)
        parts = jax.tree.map(lambda a: a[np.minimum(index, num - 1)], windows)
        parts = parts._replace(weights=parts.weights * (index < num)[..., None])
        counts = parts.weights.sum((1, 2))
        losses = jax.lax.map(lambda part: network.loss(part, key), parts)
        return jnp.sum(losses * counts) / jnp.maximum(counts.sum(), 1)


@dataclasses.dataclass(frozen=True)
class EpochDraw:
    """Draws the windows of an epoch.

    Args:
        model: that takes them.
        panel: whose windows are drawn.
        num: how many.
        frequencies: how often each series is drawn; see `drawn`.
    """

    model: PanelModel
    panel: SeriesPanel
    num: int
    frequencies: Float[np.ndarray, " series"] | None

    def __call__(self, epoch: int) -> PanelWindows:
        """Returns the windows of an epoch.

        Args:
            epoch: its number.
        """
        sizes = self.model.sizes
        generator = np.random.default_rng((DRAWS, epoch))
        series, newest = drawn(
            self.panel.lengths,
            generator,
            self.num,
            num_leads=sizes.num_leads,
            frequencies=self.frequencies,
            least=min(sizes.history_size, sizes.num_leads),
        )
        return self.model.windows(self.panel, series, newest)
