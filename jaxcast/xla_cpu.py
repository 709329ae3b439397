"""The one place that knows how XLA's CPU compiler is made fast; on other backends all of it does nothing.

Source: measured; the ratios are in benchmarks/README.md.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from jaxcast.tracing import is_traced

Result = TypeVar("Result")

# What XLA for CPU can emit inside one kernel, itself and its derivatives; products of matrices, sorts, scatters,
# callbacks and calls of libraries are not among it.
_EMITTED = frozenset(
    [
        "abs",
        "acos",
        "acosh",
        "add",
        "add_any",
        "and",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "bitcast_convert_type",
        "broadcast_in_dim",
        "cbrt",
        "ceil",
        "clamp",
        "concatenate",
        "cond",
        "convert_element_type",
        "copy",
        "cos",
        "cosh",
        "custom_jvp_call",
        "div",
        "dynamic_slice",
        "dynamic_update_slice",
        "eq",
        "erf",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "integer_pow",
        "iota",
        "is_finite",
        "jit",
        "le",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "not",
        "or",
        "pad",
        "pjit",
        "pow",
        "reduce",
        "reduce_and",
        "reduce_max",
        "reduce_min",
        "reduce_or",
        "reduce_sum",
        "rem",
        "reshape",
        "rev",
        "round",
        "rsqrt",
        "scan",
        "select_n",
        "shift_right_arithmetic",
        "sign",
        "sin",
        "sinh",
        "slice",
        "split",
        "sqrt",
        "square",
        "squeeze",
        "stack",
        "stop_gradient",
        "sub",
        "tan",
        "tanh",
        "transpose",
        "unstack",
        "while",
        "xor",
    ]
)

_TRANSCENDENTAL = frozenset(
    [
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "cos",
        "cosh",
        "erf",
        "exp",
        "exp2",
        "expm1",
        "integer_pow",
        "log",
        "log1p",
        "logistic",
        "pow",
        "rem",
        "rsqrt",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
    ]
)


def has_kernels() -> bool:
    """Whether `one_kernel` does anything: from jax 0.11 on XLA aborts on some, and from 0.12 on it finds such loops itself."""
    return jax.default_backend() == "cpu" and jax.__version_info__ < (0, 11)


def one_kernel(function: Callable[..., Result], *args: Any) -> Result:
    """function(*args), on CPU compiled as one kernel with all its loops, where XLA can; call it under `jax.jit`.

    A loop is otherwise a sequence of kernels, dispatched and possibly spread over threads one by one at every step,
    which for small arrays costs more than the arithmetic. Results are the same, and so are derivatives and batching.
    """
    compiled = jax.jit(function)
    if not has_kernels() or not _is_emitted(jax.make_jaxpr(function)(*args)):
        return compiled(*args)
    with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
        return compiled(*args)


def _is_emitted(closed: Any) -> bool:
    return all(
        equation.primitive.name in _EMITTED
        and all(map(_is_emitted, jax.tree.leaves(equation.params, is_leaf=_has_equations)))
        for equation in getattr(closed, "eqns", ())
    )


def _has_equations(value: Any) -> bool:
    return hasattr(value, "eqns")


@jax.custom_jvp
def one_loop(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arrays as they are, all of one shape and dtype, made by XLA for CPU in one loop that computes nothing twice.

    XLA for CPU writes a loop for every array that it makes, and computes in each all that leads up to that array: a
    Runge-Kutta step of three components is computed two and a half times. Only a reduction writes several arrays in
    one loop. So every array is given an axis of two, itself and zeros, and all are summed over it at once.

    Inside `one_kernel` all of that may be at most MOST_WORK: XLA would spread more over threads, and fail.
    """
    if jax.default_backend() != "cpu" or len(arrays) < 2:
        return arrays
    zero = jnp.full((), -0.0, arrays[0].dtype)
    last = jnp.ndim(arrays[0])
    padding = [(0, 0, 0)] * last + [(0, 1, 0)]
    padded = tuple(jax.lax.pad(array[..., None], zero, padding) for array in arrays)

    def add(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x + y for x, y in zip(a, b, strict=True))

    return tuple(jax.lax.reduce(padded, (zero,) * len(arrays), add, (last,)))


@one_loop.defjvp
def _one_loop_jvp(primals: Any, tangents: Any) -> Any:
    return one_loop(*primals), *tangents


MOST_WORK = 150_000
"""Three quarters of what makes XLA for CPU use a second thread: operations, and ten for every byte read or written."""


def num_operations(function: Callable[..., Any], *args: Any) -> int:
    """How many operations one evaluation on single numbers takes, as XLA counts: a transcendental function is two."""
    return _num_operations(jax.make_jaxpr(function)(*args).jaxpr)


def _num_operations(jaxpr: Any) -> int:
    own = sum(2 if equation.primitive.name in _TRANSCENDENTAL else 1 for equation in jaxpr.eqns)
    values = (value for e in jaxpr.eqns for value in jax.tree.leaves(e.params, is_leaf=_has_equations))
    return own + sum(_num_operations(getattr(value, "jaxpr", value)) for value in values if _has_equations(value))


def wide_jit(function: Callable[..., Result], **options: Any) -> Callable[..., Result]:
    """`jax.jit`, with the widest vectors of the CPU where it is the outermost one, as compiler options must be."""
    plain = jax.jit(function, **options)

    def call(*args: Any, **kwargs: Any) -> Result:
        # What is made inside of another program is a tracer, whatever it is made of.
        if is_traced(args, kwargs, jnp.zeros(())) or jax.default_backend() != "cpu":
            return plain(*args, **kwargs)
        return wide(*args, **kwargs)

    wide = jax.jit(function, **options, compiler_options={"xla_cpu_prefer_vector_width": 512})
    return call
