"""The pools that `jaxcast pool train` makes, and which of its options are for which."""

from typing import Any, Literal

from jaxcast.errors import InputError, shown
from jaxcast.io.run_folder import values_of
from jaxcast.pooling.attention import AdditiveAttention, MultiHeadAttention, ScaledDotProductAttention
from jaxcast.pooling.baselines import FeedForward

Method = Literal[
    "regime",
    "corrected_interpolation",
    "additive_attention",
    "scaled_dot_product_attention",
    "multi_head_attention",
    "feed_forward",
    "simplex_least_squares",
    "linear_regression",
    "ridge_regression",
    "equal_weights",
]
NETWORKS: dict[str, type] = {
    "additive_attention": AdditiveAttention,
    "scaled_dot_product_attention": ScaledDotProductAttention,
    "multi_head_attention": MultiHeadAttention,
    "feed_forward": FeedForward,
}
OF_NETWORKS = (
    "hidden_size",
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


def options_of(method: str) -> set[str]:
    """The names of the options that a method reads."""
    options = set(OF_EVERY_METHOD)
    if method != "feed_forward":
        options |= {"candidates", "h"}
    if method in NETWORKS or method in ("simplex_least_squares", "corrected_interpolation"):
        options.add("num_delays")
    if method in NETWORKS:
        options.update(OF_NETWORKS)
    if method == "multi_head_attention":
        options.add("num_heads")
    if method == "ridge_regression":
        options.add("penalty")
    return options


def refuse_other_options(settings: Any) -> None:
    """Raises InputError for options that the chosen pool would ignore."""
    own = options_of(settings.pool)
    defaults = values_of(type(settings)(trajectory=settings.trajectory, out=settings.out))
    ignored = [
        f"--{name.replace('_', '-')}"
        for name, value in values_of(settings).items()
        if name not in own and value != defaults[name]
    ]
    if ignored:
        raise InputError(
            f"{shown(', '.join(ignored))} {'has' if len(ignored) == 1 else 'have'} no effect with --pool {settings.pool}; "
            "leave it out, or choose another --pool"
        )
