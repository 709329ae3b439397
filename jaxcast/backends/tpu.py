"""What a TPU cannot do."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, PyTree

from jaxcast.errors import InputError


def no_float64_on_tpu(arrays: PyTree) -> PyTree:
    """Returns the arrays; programs with float64 among them are refused when lowered for a TPU.

    XLA would emulate float64 there by pairs of float32, slowly and with fewer digits.

    Args:
        arrays: of a program, which calls this; other leaves pass.

    Returns:
        The arrays, unchanged.

    Raises:
        InputError: when the program is lowered for a TPU.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcast.backends.tpu import no_float64_on_tpu
        >>> float(jax.jit(no_float64_on_tpu)(jnp.float32(1.0)))
        1.0
    """
    return jax.tree.map(lambda a: _checked(a) if isinstance(a, jax.Array) and a.dtype == jnp.float64 else a, arrays)


@jax.custom_jvp
def _checked(a: Array) -> Array:
    result: Array = _checked_p.bind(a)
    return result


@_checked.defjvp
def _checked_jvp(primals: Any, tangents: Any) -> Any:
    return _checked(*primals), *tangents


def _refuse(ctx: Any, _: Any) -> Any:
    raise InputError(
        f"a TPU computes in float32, got float64 numbers of shape {ctx.avals_in[0].shape}: pass float32 ones, such as "
        'states.astype("float32") and models made with dtype=jnp.float32, or compute on a CPU or GPU'
    )


# `by_platform` would go on with the default: it takes an error for a kernel that cannot be lowered.
_checked_p = Primitive("no_float64_on_tpu")
_checked_p.def_impl(lambda a: a)
_checked_p.def_abstract_eval(lambda a: a)
batching.defvectorized(_checked_p)
mlir.register_lowering(_checked_p, lambda _, a: [a])
mlir.register_lowering(_checked_p, _refuse, platform="tpu")
