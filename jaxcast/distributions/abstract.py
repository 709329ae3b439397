"""The bases of distributions and of the heads that make them."""

from abc import ABC, abstractmethod

from jaxtyping import Array, ArrayLike, Float, Key, Shaped


class Distribution(ABC):
    """Abstract base of distributions of numbers, one for each entry of a batch.

    Parameters broadcast against each other. A value `y` has the shape of the batch, perhaps with
    more axes in front, such as those of samples.
    """

    @property
    @abstractmethod
    def is_discrete(self) -> bool:
        """Whether its values are counts."""

    @property
    @abstractmethod
    def mean(self) -> Float[Array, "*batch"]:
        """The expected value."""

    @abstractmethod
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Returns the logarithm of the density at a value, or of the probability of a count.

        Args:
            y: values. Fractions of counts are not looked at: see `check_counts`.
        """

    @abstractmethod
    def loss(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Returns what training minimises: the negative log likelihood, or the pinball loss.

        Args:
            y: values.
        """

    @abstractmethod
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Returns the probability of values up to y.

        Args:
            y: values.
        """

    @abstractmethod
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        """Returns the quantiles at some levels: the smallest values whose cdf reaches them.

        Args:
            levels: within (0, 1); where they rise, quantiles never fall.
        """

    @abstractmethod
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        """Draws values.

        Args:
            key: of the random numbers.
            num_samples: how many of each entry of the batch.
        """


class Likelihood(Distribution):
    """Abstract base of distributions that are trained by maximum likelihood."""

    def loss(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Returns the negative log likelihood.

        Args:
            y: values.
        """
        return -self.log_prob(y)


class Head(ABC):
    """Abstract base of heads: they make distributions of the numbers that a network returns.

    Heads are frozen and hashable, so `jax.jit` takes them as static.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name by which `make_head` makes it."""

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """The numbers that make one distribution."""

    @property
    @abstractmethod
    def is_count(self) -> bool:
        """Whether its distributions are of counts: whole numbers from 0 on."""

    @abstractmethod
    def __call__(
        self,
        raw: Float[Array, "*batch parameter"],
        scale: Shaped[ArrayLike, "..."],
        shift: Shaped[ArrayLike, "..."] = 0,
    ) -> Distribution:
        """Makes distributions in the units of the data.

        Args:
            raw: any numbers.
            scale: what a value of 1 means in the units of the data; it broadcasts to the batch.
            shift: what a value of 0 means; it broadcasts to the batch.
        """
