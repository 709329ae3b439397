"""Compiles what every public name computes, for a GPU and a TPU that need not be there.

The example in the docstring of each name is run on the CPU. All programs that it starts, apart from single operations
of jax.numpy, are compiled again for both devices, with arguments of the same shapes.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_COMPILED = "/jax/core/compile/backend_compile_duration"


class Recorder:
    """Stands for `jax.jit`, and records the calls of the outermost programs."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._jit = jax.jit

    def __call__(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        program = self._jit(function, **options)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            # Inside another program even a new array is a tracer.
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs, jnp.zeros(())))):
                self.calls.append((program, args, kwargs))
            return program(*args, **kwargs)

        return call

    def take(self) -> list[Call]:
        """Returns the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


@dataclasses.dataclass(frozen=True)
class EntryPoint:
    """A public name, and what its example computed."""

    name: str
    module: str
    calls: list[Call]
    num_operations: int
    """Single operations of jax.numpy that the example compiled beside its programs."""
