"""The bases of networks of panels that forecast all leads at once, and of those that sample paths."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.numerics.levels import middle_of
from jaxcast.rollout import Output
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.abstract import PanelInputs, PanelNetwork
from jaxcast.types import Info


class MarginalNetwork(PanelNetwork):
    """Abstract base of networks of a panel that forecast the distribution of each lead by itself.

    Args:
        sizes: of the windows.
        head: see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        category_size: see `PanelNetwork`.
        key: for the vectors of categories.
        dtype: of the weights.
    """

    @abstractmethod
    def raw_outputs(self, inputs: PanelInputs, key: Any) -> tuple[Float[Array, "*batch lead parameter"], Info]:
        """Returns the numbers that the head makes distributions of.

        Args:
            inputs: of the windows.
            key: switches dropout on; None for none.

        Returns:
            The numbers of each lead, and what else is known of them.
        """

    def __call__(self, windows: PanelWindows, *, key: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            windows: of the sizes of the network; their targets are not seen.
            key: switches dropout on; None for none.

        Returns:
            The level nearest to 0.5, (*batch, lead); `info["quantiles"]` is (*batch, lead, level).
        """
        inputs = self.inputs(windows)
        raw, info = self.raw_outputs(inputs, key)
        return self.output(self.distribution(raw, inputs.scale[..., None]), info)

    @checked
    def paths(self, windows: PanelWindows, num_paths: int, key: Key[Array, ""]) -> Float[Array, "path *batch lead"]:
        """Draws values of the leads, each by itself: nothing is known of how leads go together.

        Args:
            windows: of the sizes of the network; their targets are not seen.
            num_paths: how many of each window.
            key: of the random numbers.

        Returns:
            The paths, in the units of the data.

        Raises:
            InputError: for no paths, or windows of other sizes.
        """
        check_whole("num_paths", num_paths)
        inputs = self.inputs(windows)
        raw, _ = self.raw_outputs(inputs, None)
        return self.distribution(raw, inputs.scale[..., None]).sample(key, num_paths)


class DirectNetwork(MarginalNetwork):
    """Abstract base of networks of a panel that forecast all leads at once, and learn by them.

    Args:
        sizes: of the windows.
        head: see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        category_size: see `PanelNetwork`.
        key: for the vectors of categories.
        dtype: of the weights.
    """

    def loss(self, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Computes the training loss, the mean over all known targets.

        Args:
            windows: with their targets.
            key: switches dropout on.
        """
        inputs = self.inputs(windows)
        raw, _ = self.raw_outputs(inputs, key)
        return self.mean_loss(raw, windows.targets, windows.weights, inputs.scale[..., None])


class SampledNetwork(PanelNetwork):
    """Abstract base of networks of a panel whose forecasts are the quantiles of sampled paths.

    Args:
        sizes: of the windows.
        head: the distribution of each step; see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        category_size: see `PanelNetwork`.
        key: for the vectors of categories.
        dtype: of the weights.
    """

    num_paths: int
    """Paths of which quantiles are computed."""

    def __call__(self, windows: PanelWindows, *, key: Any = None) -> Output:
        """Forecasts all leads by the quantiles of paths.

        Args:
            windows: of the sizes of the network; their targets are not seen.
            key: of the paths; None for the same ones each time.

        Returns:
            The level nearest to 0.5, (*batch, lead); `info["quantiles"]` is (*batch, lead, level).
        """
        paths = self.paths(windows, self.num_paths, jax.random.key(0) if key is None else key)
        method = "nearest" if self.head.is_count else "linear"
        quantiles = jnp.quantile(paths, jnp.asarray(self.levels, paths.dtype), axis=0, method=method)
        quantiles = jnp.moveaxis(quantiles, 0, -1)
        return Output(quantiles[..., middle_of(self.levels)], {"quantiles": quantiles})
