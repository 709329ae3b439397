"""The pools that `jaxcast pool train` makes, and which of its options are for which."""

import inspect
from typing import Annotated, Any

import tyro

from jaxcast.cli.arguments import Names
from jaxcast.errors import InputError, shown
from jaxcast.io.run_folder import values_of
from jaxcast.nn.network import Network
from jaxcast.pooling.attention import AdditiveAttention, MultiHeadAttention, ScaledDotProductAttention
from jaxcast.pooling.baselines import FeedForward
from jaxcast.pooling.pool import FittedPool, Pool
from jaxcast.rollout import Cell

CLOSED_FORM = {
    "auto": ("history_size", "budget", "max_methods", "seed"),
    "regime": (),
    "corrected_interpolation": ("num_delays",),
    "simplex_least_squares": ("num_delays",),
    "linear_regression": (),
    "ridge_regression": ("penalty",),
    "equal_weights": (),
}
"""Pools that need no training by gradient, and the options that only they and a few others read."""
NETWORKS: dict[str, type[Network]] = {
    "additive_attention": AdditiveAttention,
    "scaled_dot_product_attention": ScaledDotProductAttention,
    "multi_head_attention": MultiHeadAttention,
    "feed_forward": FeedForward,
}
CELLS = "which is a cell; save it by jaxcast.save_model and forecast with it (jaxcast pool forecast --pool FOLDER)"
NAMES = Names((*CLOSED_FORM, *NETWORKS), (Pool,), ((Cell, CELLS),))
Method = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(NAMES.own)}}}"), NAMES]
SIZES = ("num_delays", "hidden_size", "num_heads")
FACTS = ("dim", "num_models", "dtype")
OF_TRAINING = (
    "num_epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "warmup_steps",
    "weight_decay",
    "clip_norm",
    "num_seeds",
    "seed",
    "network_dtype",
)
OF_EVERY_METHOD = ("trajectory", "out", "pool", "trajectory_index", "overwrite")


def network_of(method: str) -> type[Network] | None:
    """Returns the class of a network, jaxcast's or a user's; None for a pool that no gradient trains.

    Args:
        method: the name of a pool.

    Returns:
        The class.
    """
    cls = NETWORKS.get(method) or NAMES.foreign().get(method)
    return cls if cls is not None and issubclass(cls, Network) else None


def fitted_of(method: str) -> type[FittedPool] | None:
    """Returns the class of a user's pool that is fitted in closed form; None for others.

    Args:
        method: the name of a pool.

    Returns:
        The class.
    """
    cls = NAMES.foreign().get(method)
    return cls if cls is not None and issubclass(cls, FittedPool) else None


def arguments_of(network: type[Network]) -> set[str]:
    """Returns what the constructor of a network takes that a command can give.

    Args:
        network: the class.

    Returns:
        Names of arguments.

    Raises:
        InputError: for a network that takes something else, and has no default for it.
    """
    parameters = inspect.signature(network.__init__).parameters.values()
    needed = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    if unknown := sorted(needed - {*SIZES, *FACTS, "key"}):
        raise InputError(
            f"the network {network.__name__} takes {', '.join(unknown)}, which no option gives; let it have a default"
        )
    return {p.name for p in parameters} & {*SIZES, *FACTS}


def needs_candidates(method: str) -> bool:
    """Returns whether a pool cannot do without candidates; of a user's pool only the pool itself knows.

    Args:
        method: the name of a pool.

    Returns:
        The answer.
    """
    return method in NAMES.own and method not in ("auto", "feed_forward")


def options_of(method: str) -> set[str]:
    """Returns the options that a method reads.

    Args:
        method: the name of a pool.

    Returns:
        Names of options.

    Raises:
        InputError: for a user's pool that is neither a network nor fitted.
    """
    options = set(OF_EVERY_METHOD)
    if method != "feed_forward":
        options |= {"candidates", "h"}
    if method in CLOSED_FORM:
        return options | {*CLOSED_FORM[method]}
    if (network := network_of(method)) is not None:
        return options | (arguments_of(network) & {*SIZES}) | {*OF_TRAINING}
    if fitted_of(method) is None:
        raise InputError(
            f"the pool {shown(method)} cannot be trained by name; derive it from jaxcast.nn.Network or "
            "jaxcast.pooling.FittedPool"
        )
    return options | {"num_delays"}


def refuse_other_options(settings: Any) -> None:
    """Refuses options that the chosen pool would ignore.

    Args:
        settings: The command.

    Raises:
        InputError: with these options.
    """
    own = options_of(settings.pool)
    defaults = values_of(type(settings)(trajectory=settings.trajectory, out=settings.out))
    ignored = [
        f"--{name.replace('_', '-')}"
        for name, value in values_of(settings).items()
        if name not in own and value != defaults[name]
    ]
    if ignored:
        raise InputError(
            f"{shown(', '.join(ignored))} {'has' if len(ignored) == 1 else 'have'} no effect with --pool "
            f"{settings.pool}; leave it out, or choose another --pool"
        )
