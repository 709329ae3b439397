"""The base of networks that can be saved: made from their settings, and filled with arrays."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import named_leaves
from jaxcast.registry import Saveable

N = TypeVar("N", bound="Network")
UNBOUNDED = ("num_warmup", "lags", "slots_per_day", "context_size", "num_paths")
"""Sizes of which a network has no arrays."""


class Network(Saveable, nnx.Module):
    """Base of trainable modules that can be saved: `nnx.Module` with a name.

    A subclass takes its settings and a `key` by keyword, and its `config` gives the settings back,
    as JSON values.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> from flax import nnx
        >>> class Scaling(jaxcast.nn.Network, name="scaling"):
        ...     def __init__(self, *, size, key):
        ...         self.factors = nnx.Param(jax.random.normal(key, (size,)))
        ...     @property
        ...     def config(self):
        ...         return {"size": self.factors.shape[-1]}
        ...     def __call__(self, values):
        ...         return self.factors * values
        >>> network = Scaling(size=2, key=jax.random.key(0))
        >>> made = Scaling.from_config(network.config, jaxcast.pytrees.named_leaves(network))
        >>> bool((made(jnp.ones(2)) == network(jnp.ones(2))).all())
        True
    """

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The settings without the key: JSON values, the same for several seeds."""

    @classmethod
    def from_config(cls: type[N], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> N:
        """Makes the network with these settings and puts arrays into it.

        Args:
            config: its settings.
            arrays: all of them, by their paths; they may have further axes of seeds in front, the
                same ones.

        Returns:
            The network.

        Raises:
            InputError: for settings or arrays that no such network has.
            TypeError: for other settings.
        """
        check_bounds(config, arrays)
        make: Any = cls
        like = jax.eval_shape(lambda key: make(**config, key=key), jax.random.key(0))
        check_settings(like.config, config)
        filled: N = filled_in(like, arrays, seeds=True)
        return filled


def check_bounds(arguments: Any, arrays: Mapping[str, Any]) -> None:
    """Checks that the sizes of a network fit its arrays, before anything of these sizes is made.

    Args:
        arguments: the settings of a network.
        arrays: its arrays, by their paths.

    Raises:
        InputError: with the size that does not fit.
    """
    most = {"num_layers": len(arrays), "default": max((array.size for array in arrays.values()), default=0)}
    for name, value in arguments.items():
        if isinstance(value, dict):
            check_bounds(value, arrays)
        for size in value if isinstance(value, list) else [value]:
            if isinstance(size, int) and not isinstance(size, bool) and name not in UNBOUNDED:
                check_whole(name, size, least=0, most=most.get(name, most["default"]))


def check_settings(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Checks that settings are the same, in value and type, as those a model would be saved with.

    Args:
        own: the settings of the model made.
        given: the settings to check.

    Raises:
        InputError: with the settings that differ.
    """
    ours, theirs = ({name: json.dumps(value) for name, value in each.items()} for each in (own, given))
    if different := [name for name in ours | theirs if ours.get(name) != theirs.get(name)]:
        raise InputError(f"the settings {shown(', '.join(different))} are not those of such a network")


def filled_in(like: Any, arrays: Mapping[str, Any], *, seeds: bool = False) -> Any:
    """Puts arrays into a network.

    Args:
        like: the network, of shapes without numbers.
        arrays: by their paths.
        seeds: whether all may have further axes in front, the same ones.

    Returns:
        The network.

    Raises:
        InputError: for arrays that are missing, left over, of another shape or another kind of
            number.
    """
    expected = named_leaves(like)
    if arrays.keys() != expected.keys():
        names = ", ".join(sorted(arrays.keys() ^ expected.keys()))
        raise InputError(f"expected the arrays {shown(', '.join(expected))}, not alike in {shown(names)}")
    leads = {array.shape[: max(0, array.ndim - expected[name].ndim)] for name, array in arrays.items()}
    lead = min(leads)
    if len(leads) > 1 or (lead and not seeds) or 0 in lead:
        raise InputError(f"expected arrays with the same axes of seeds in front, got {sorted(leads)}")
    for name, array in arrays.items():
        if array.shape != (*lead, *expected[name].shape):
            raise InputError(f"{name} must have the shape {shown((*lead, *expected[name].shape))}, got {array.shape}")
        if not _same_kind(array.dtype, expected[name].dtype):
            raise InputError(f"{name} must hold {expected[name].dtype}, got {array.dtype}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected])


def _same_kind(ours: Any, theirs: Any) -> bool:
    """Returns whether two dtypes are the same, or both float32 or float64."""
    precisions = (jnp.float32, jnp.float64)
    return bool(ours == theirs or (ours in precisions and theirs in precisions))
