"""MRSTN: trips between zones as an image, at two resolutions, and a convolutional LSTM."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.nn.grid_convolution import GridConvolution
from jaxcast.series.graph_networks.inputs import CALENDAR_SIZE, by_lead, with_calendar, with_covariates
from jaxcast.series.od.convolutional_lstm import ConvolutionalLSTM
from jaxcast.series.od.layers import TwoLayers, linear
from jaxcast.series.od.zones import num_zones_of
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start, WindowNetwork
from jaxcast.types import Info

NUM_CONVOLUTIONS = 3


class MRSTN(WindowNetwork, name="mrstn"):
    """A network that takes the matrix of trips for an image, at two resolutions (MRSTN).

        a = three convolutions of X_t, each followed by relu
        b = relu(conv(Haar wavelets of X_t)), each number repeated for its 2 x 2 pairs
        s = sigmoid(W_2 relu(W_1 mean_pairs [a, b])),    z_t = s * [a, b]
        h = ConvLSTM(z, calendar),    w = W [h, covariates] + b

    The Haar wavelets of 2 x 2 pairs p, q / r, t are half of p + q + r + t, p - q + r - t,
    p + q - r - t and p - q - r + t. Convolutions are of 3 x 3 pairs: the order of the zones
    matters, and neighbours should be next to each other. Time and memory grow with N^2.

    Args:
        samples: training samples of trips, pair origin * N + destination as region.
        num_filters: features of a and b each.
        hidden_size: features of h.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for regions that are not all pairs of N zones, or sizes below one.

    Source:
        Noursalehi, Koutsopoulos and Zhao (2021), for the two branches, the weights of features and
        the memory; sizes are our own.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> trips = jax.random.poisson(jax.random.key(0), 3.0, (30, 9)).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, history_size=4, leads=(1,))
        >>> network = jaxcast.series.MRSTN(samples, num_filters=2, hidden_size=4, key=jax.random.key(1))
        >>> network(samples.history).forecast.shape
        (26, 1, 9)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        num_filters: int = 4,
        hidden_size: int = 8,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(num_filters=num_filters, hidden_size=hidden_size)
        self.num_zones = num_zones_of(samples)
        super().__init__(
            samples,
            levels=levels,
            head=head,
            level=level,
            scaling=scaling,
            start=start,
            slots_per_day=slots_per_day,
            dtype=dtype,
        )
        self.num_filters, self.hidden_size = num_filters, hidden_size
        keys = jax.random.split(key, NUM_CONVOLUTIONS + 5)
        sizes = [self.input_size] + [num_filters] * (NUM_CONVOLUTIONS - 1)
        self.fine = nnx.List(
            self._convolution(size, num_filters, self.num_zones, k) for size, k in zip(sizes, keys, strict=False)
        )
        *_, of_coarse, of_weights, of_input, of_state, of_output = keys
        self.coarse = self._convolution(4 * self.input_size, num_filters, -(-self.num_zones // 2), of_coarse)
        self.weights = TwoLayers(2 * num_filters, num_filters, 2 * num_filters, key=of_weights, dtype=dtype)
        size = 2 * num_filters + (CALENDAR_SIZE if slots_per_day else 0)
        self.memory = ConvolutionalLSTM(
            self._convolution(size, 4 * hidden_size, self.num_zones, of_input),
            self._convolution(hidden_size, 4 * hidden_size, self.num_zones, of_state),
        )
        size = hidden_size + self.num_known
        self.read_out = linear(size, self.num_leads * self.num_outputs, key=of_output, dtype=dtype)

    def _convolution(self, input_size: int, output_size: int, width: int, key: Array) -> GridConvolution:
        return GridConvolution(
            input_size=input_size, output_size=output_size, rows=width, columns=width, key=key, dtype=self.dtype
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class, as JSON values."""
        return self.window_settings | {"num_filters": self.num_filters, "hidden_size": self.hidden_size}

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns forecasts in standardised units, see `WindowNetwork`.

        Args:
            inputs: standardised trips and flags.
            known: covariates and the calendar.
            key: not used, as nothing is dropped.
        """
        trips = inputs.astype(self.dtype)
        fine = trips
        for convolution in self.fine:
            fine = jax.nn.relu(convolution(fine))
        wavelets = haar_wavelets(trips, self.num_zones)
        coarse = repeated(jax.nn.relu(self.coarse(wavelets)), self.num_zones)
        both = jnp.concatenate([fine, coarse], -1)
        weighted = both * jax.nn.sigmoid(self.weights(both.mean(-2, keepdims=True)))
        weighted = with_calendar(weighted, known.slots, self.slots_per_day)
        states = self.memory(weighted, lambda layer, values: layer(values))
        return by_lead(self.read_out(with_covariates(states, known.covariates)), self.num_leads), {}


def haar_wavelets(
    pairs: Float[Array, "*batch pair feature"], num_zones: int
) -> Float[Array, "*batch quarter wavelet_feature"]:
    """Returns the four Haar wavelets of each 2 x 2 pairs, with zeros after an odd number of zones.

    Args:
        pairs: trips, origin * N + destination.
        num_zones: N.
    """
    image = pairs.reshape(*pairs.shape[:-2], num_zones, num_zones, -1)
    odd = num_zones % 2
    image = jnp.pad(image, [(0, 0)] * (image.ndim - 3) + [(0, odd), (0, odd), (0, 0)])
    first, second = image[..., ::2, :, :], image[..., 1::2, :, :]
    p, q, r, t = first[..., ::2, :], first[..., 1::2, :], second[..., ::2, :], second[..., 1::2, :]
    found = jnp.concatenate([p + q + r + t, p - q + r - t, p + q - r - t, p - q - r + t], -1) / 2
    return found.reshape(*found.shape[:-3], -1, found.shape[-1])


def repeated(quarters: Float[Array, "*batch quarter feature"], num_zones: int) -> Float[Array, "*batch pair feature"]:
    """Repeats the numbers of 2 x 2 pairs for each of these.

    Args:
        quarters: the numbers of all 2 x 2 pairs.
        num_zones: N.
    """
    half = -(-num_zones // 2)
    image = quarters.reshape(*quarters.shape[:-2], half, half, -1)
    image = jnp.repeat(jnp.repeat(image, 2, -3), 2, -2)[..., :num_zones, :num_zones, :]
    return image.reshape(*image.shape[:-3], num_zones**2, -1)
