"""The base of probabilistic networks that all series of a panel share."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked
from jaxcast.distributions import Distribution, Head, make_head
from jaxcast.errors import InputError
from jaxcast.nn.network import check_bounds, check_settings, filled_in
from jaxcast.numerics.levels import check_levels, middle_of
from jaxcast.registry import Saveable
from jaxcast.rollout import Output
from jaxcast.series.panels.windows import PanelSizes, PanelWindows
from jaxcast.series.scaling import filled
from jaxcast.types import Info

N = TypeVar("N", bound="PanelNetwork")
LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
LARGEST_EMBEDDING = 50


class PanelInputs(NamedTuple):
    """Inputs of a network: windows in units of their scales.

    Args:
        values: histories over their scale, the last known value where one is missing.
        is_known: 1 where the history has a value.
        past: covariates of the history.
        known: covariates of history and leads.
        static: numbers of the series and the logarithm of the scale.
        embedded: the learned vectors of all categories, one after another.
        scale: the mean of the absolute values of the history.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.PanelInputs._fields[:2]
        ('values', 'is_known')
    """

    values: Float[Array, "*batch time"]
    is_known: Float[Array, "*batch time"]
    past: Float[Array, "*batch time past"]
    known: Float[Array, "*batch time_and_lead known"]
    static: Float[Array, "*batch static"]
    embedded: Float[Array, "*batch embedding"]
    scale: Float[Array, "*batch"]


def _embedding_size(cardinality: int) -> int:
    return min(LARGEST_EMBEDDING, (cardinality + 2) // 2)


class PanelNetwork(Saveable, Checked, nnx.Module):
    """Abstract base of probabilistic networks that all series of a panel share.

    A history is divided by its scale, the mean of its absolute values, and forecasts are multiplied
    by it; so one network serves series of any level, also such as it has not seen. Each category
    has a learned vector; one that was not seen in training has the mean of the others.

    Args:
        sizes: of the windows.
        head: what the outputs are the parameters of: "quantiles", "normal", "student_t",
            "negative_binomial", "poisson" or "mixture".
        levels: quantile levels of the forecasts, rising; those that "quantiles" learns.
        category_size: numbers of the vector of a category; by default half as many as it has
            values, and at most 50.
        key: for the vectors of categories.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range; when called, for windows of other sizes.

    Source:
        Salinas, Flunkert, Gasthaus and Januschowski, Int. J. Forecast. 36, 1181-1191 (2020) for
        the scale.
    """

    @checked
    def __init__(
        self,
        sizes: PanelSizes,
        *,
        head: str = "quantiles",
        levels: Sequence[float] = LEVELS,
        category_size: int | None = None,
        key: Key[Array, ""],
        dtype: Any = jnp.float32,
    ):
        sizes.check()
        self.sizes, self.levels, self.dtype = sizes, check_levels(levels), jnp.dtype(dtype)
        self.head_name = head
        keys = jax.random.split(key, max(len(sizes.cardinalities), 1))
        self.embeddings = nnx.List(
            [
                nnx.Param(0.1 * jax.random.normal(k, (size, category_size or _embedding_size(size)), dtype))
                for k, size in zip(keys, sizes.cardinalities, strict=False)
            ]
        )

    @property
    def head(self) -> Head:
        """The map from outputs to a distribution."""
        return make_head(self.head_name, self.levels)

    @property
    def embedding_size(self) -> int:
        """The numbers of the vectors of all categories."""
        return sum(table.shape[-1] for table in self.embeddings)

    @property
    def static_size(self) -> int:
        """The numbers of a series: those given, the logarithm of its scale and its vectors."""
        return self.sizes.num_static + 1 + self.embedding_size

    @abstractmethod
    def __call__(self, windows: PanelWindows, *, key: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            windows: of the sizes of the network; their targets are not seen.
            key: switches dropout on, or draws paths; None for none, or for the same paths each
                time.

        Returns:
            The level nearest to 0.5, (*batch, lead); `info["quantiles"]` is (*batch, lead, level).
        """

    @abstractmethod
    def loss(self, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Computes the mean loss over all known targets.

        Args:
            windows: with their targets.
            key: of a step of training: it switches dropout on, and a network may learn from the
                history as well. None where held-out windows are judged, by their targets alone.
        """

    @abstractmethod
    def paths(self, windows: PanelWindows, num_paths: int, key: Key[Array, ""]) -> Float[Array, "path *batch lead"]:
        """Draws paths of the leads.

        Args:
            windows: of the sizes of the network; their targets are not seen.
            num_paths: how many of each window.
            key: of the random numbers.

        Returns:
            The paths, in the units of the data.
        """

    @property
    @abstractmethod
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have, as JSON values."""

    def inputs(self, windows: PanelWindows) -> PanelInputs:
        """Returns what the network sees of windows.

        Args:
            windows: of the sizes of the network.

        Raises:
            InputError: for other sizes.
        """
        found = windows.sizes(self.sizes.cardinalities)._replace(num_leads=self.sizes.num_leads)
        if found != self.sizes:
            raise InputError(f"it was made for windows of {self.sizes}, got {found}")
        is_known = jnp.isfinite(windows.history)
        size = jnp.abs(jnp.where(is_known, windows.history, 0)).sum(-1) / jnp.maximum(is_known.sum(-1), 1)
        scale = jnp.where(size > 0, size, 1)
        values = filled((windows.history / scale[..., None])[..., None], jnp.zeros(1, scale.dtype))[..., 0]
        past, known, static = (jnp.nan_to_num(a) for a in (windows.past, windows.known, windows.static))
        static = jnp.concatenate([static, jnp.log(scale)[..., None]], -1)
        cast = [a.astype(self.dtype) for a in (values, is_known, past, known, static)]
        return PanelInputs._make((*cast, self._embedded(jnp.asarray(windows.categories)), scale))

    def distribution(self, raw: Float[Array, "*batch parameter"], scale: Array) -> Distribution:
        """Returns the distribution of outputs, in the units of the data.

        Args:
            raw: numbers of the network.
            scale: of the windows, broadcast to the batch.
        """
        return self.head(raw.astype(scale.dtype), jnp.broadcast_to(scale, raw.shape[:-1]))

    def mean_loss(self, raw: Array, targets: ArrayLike, weights: ArrayLike, scale: Array) -> Float[Array, ""]:
        """Returns the mean loss of outputs over the targets that are known.

        A pinball loss is in units of the scale, a negative log likelihood in those of the data.

        Args:
            raw: numbers of the network.
            targets: what was forecast.
            weights: 0 where a target is not known.
            scale: of the windows, broadcast to the targets.
        """
        weights = jnp.asarray(weights)
        # A scale would change a log likelihood by a constant only, which has no gradient.
        unit = scale if self.head_name == "quantiles" else jnp.ones_like(scale)
        losses = self.distribution(raw, scale).loss(jnp.where(weights > 0, targets, 0)) / unit
        return jnp.sum(weights * losses) / jnp.maximum(jnp.sum(weights), 1)

    def output(self, distribution: Distribution, info: Info) -> Output:
        """Returns the quantiles of forecasts.

        Args:
            distribution: of each lead.
            info: what else is known of them.
        """
        quantiles = distribution.quantiles(jnp.asarray(self.levels))
        return Output(quantiles[..., middle_of(self.levels)], info | {"quantiles": quantiles})

    def _embedded(self, categories: Array) -> Array:
        if not self.embeddings:
            return jnp.zeros((*categories.shape[:-1], 0), self.dtype)
        parts = []
        for number, table in zip(jnp.moveaxis(categories, -1, 0), self.embeddings, strict=True):
            rows = jnp.concatenate([table[...].mean(0, keepdims=True), table[...]])
            parts.append(rows[number])
        return jnp.concatenate(parts, -1)

    def check(self) -> None:
        """Raises InputError unless the settings are those of such a network."""
        self.sizes.check()

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, and the sizes of the windows."""
        return {
            "sizes": self.sizes.config,
            "head": self.head_name,
            "levels": list(self.levels),
            "dtype": str(self.dtype),
        } | self.own_config

    @classmethod
    def from_config(cls: type[N], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> N:
        """Makes the network with these settings and puts arrays into it.

        Args:
            config: its settings.
            arrays: all of them, by their paths.

        Returns:
            The network.

        Raises:
            InputError, TypeError, LookupError: for settings or arrays that no such network has.
        """
        own = {**config, "sizes": PanelSizes.of(config["sizes"])}
        check_bounds({name: value for name, value in config.items() if name != "sizes"}, arrays)
        make: Any = cls
        like = jax.eval_shape(lambda key: make(**own, key=key), jax.random.key(0))
        check_settings(like.config, config)
        filled_network: N = filled_in(like, arrays)
        return filled_network
