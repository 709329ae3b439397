"""Evaluates a program number by number, as a kernel needs it that keeps them in registers.

A kernel has no slices, sums or products of small arrays. An array of the program becomes a NumPy
array of its components, each of which is one number or, in a kernel, a block of them: what is a
slice in the program is then one of Python's lists of components.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from jaxcast.backends.primitives import ELEMENTWISE, programs_in

MOST_OPERATIONS = 6000
"""A kernel with more takes minutes to compile."""
MOST_NUMBERS = 1000
"""The most numbers that a kernel reads besides the state; each is a load of its own."""

Components = Any
"""NumPy's array, of objects, of one component for each number of an array."""


def evaluate(closed: Any, *args: Components, fused: Callable[[Any, Any, Any], Any] | None = None) -> list[Components]:
    """Evaluates a program on components.

    Args:
        closed: the program, a closed jaxpr.
        args: its arguments.
        fused: computes a b + c with one rounding, if the kernel has no compiler that does.

    Returns:
        The components of its results.

    Raises:
        NotImplementedError: for an operation that is not made of operations on single numbers.
    """
    return _Evaluation(fused).of_closed(closed, args)


def num_kernel_operations(closed: Any) -> int:
    """Counts the operations on single numbers of which a kernel would be made.

    Args:
        closed: the program, a closed jaxpr.

    Returns:
        The number.
    """
    return _num_operations(closed.jaxpr)


def _num_operations(jaxpr: Any) -> int:
    total = 0
    for equation in _needed(jaxpr):
        inner = programs_in(equation)
        if inner:
            total += sum(map(_num_operations, inner))
        elif equation.primitive.name in ELEMENTWISE:
            total += math.prod(equation.outvars[0].aval.shape)
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            terms = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * terms * math.prod(equation.outvars[0].aval.shape)
        elif equation.primitive.name in _REDUCTIONS:
            total += math.prod(equation.invars[0].aval.shape)
    return total


def are_read(closed: Any) -> list[bool]:
    """Tells which arguments of a program its results depend on.

    Args:
        closed: the program, a closed jaxpr.

    Returns:
        One flag for each argument.
    """
    jaxpr = closed.jaxpr
    read = {id(value) for equation in _needed(jaxpr) for value in equation.invars} | set(map(id, jaxpr.outvars))
    return [id(value) in read for value in jaxpr.invars]


def as_components(array: Any) -> Components:
    """Returns the components of an array whose numbers are known, or of one number.

    Args:
        array: the array, or one number, which may be traced.

    Returns:
        The components.
    """
    shape = np.shape(array)
    components = np.empty(shape, object)
    if not shape or not isinstance(array, jax.core.Tracer):
        known = array if isinstance(array, jax.core.Tracer) else np.asarray(array)
        for index in np.ndindex(shape):
            components[index] = known[index] if shape else known
        return components
    raise NotImplementedError("an array that is traced has no components yet")


def _needed(jaxpr: Any) -> list[Any]:
    """Returns the operations that the results depend on."""
    needed, found = set(map(id, jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if any(id(value) in needed for value in equation.outvars):
            needed |= set(map(id, equation.invars))
            found.append(equation)
    return found[::-1]


class _Evaluation:
    """Carries out operations, and remembers the products among their results.

    Args:
        fused: as for `evaluate`.
    """

    def __init__(self, fused: Callable[[Any, Any, Any], Any] | None) -> None:
        self.fused = fused
        self.products: dict[int, tuple[Any, Any, Any]] = {}

    def of_closed(self, closed: Any, args: Any) -> list[Components]:
        return self.of_jaxpr(closed.jaxpr, [as_components(constant) for constant in closed.consts], args)

    def of_jaxpr(self, jaxpr: Any, constants: list[Components], args: Any) -> list[Components]:
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *args], strict=True))

        def read(value: Any) -> Components:
            return as_components(value.val) if isinstance(value, Literal) else values[value]

        for equation in _needed(jaxpr):
            results = self.of_equation(equation, [read(value) for value in equation.invars])
            values |= dict(zip(equation.outvars, results, strict=True))
        return [read(value) for value in jaxpr.outvars]

    def of_equation(self, equation: Any, args: list[Components]) -> list[Components]:
        """Carries out one operation."""
        name, params = equation.primitive.name, equation.params
        if name == "cond":
            return _chosen(args[0][()], [self.of_closed(branch, args[1:]) for branch in params["branches"]])
        if name in _CALLS:
            inner = params.get("call_jaxpr", params.get("jaxpr"))
            return self.of_closed(inner, args) if isinstance(inner, ClosedJaxpr) else self.of_jaxpr(inner, [], args)
        if name in _MOVES:
            moved = _MOVES[name](*args, **params)
            return list(moved) if isinstance(moved, list | tuple) else [moved]
        if name in _REDUCTIONS:
            return [_reduced(_REDUCTIONS[name], args[0], params["axes"])]
        if name == "dot_general":
            return [_product(args[0], args[1], params["dimension_numbers"])]
        if name == "iota":
            return [as_components(np.asarray(jax.lax.iota_p.bind(**params)))]
        if name not in ELEMENTWISE or equation.primitive.multiple_results:
            raise NotImplementedError(f"{name} is not an operation on single numbers")
        result = np.empty(equation.outvars[0].aval.shape, object)
        for index in np.ndindex(result.shape):
            numbers = [arg[index] if arg.ndim else arg[()] for arg in args]
            result[index] = self.of_numbers(equation.primitive, numbers, params)
        return [result]

    def of_numbers(self, primitive: Any, numbers: list[Any], params: Any) -> Any:
        """Carries out an operation on numbers, and blocks of them of one shape."""
        shape = jnp.broadcast_shapes(*map(np.shape, numbers))
        if not any(isinstance(number, jax.core.Tracer) for number in numbers):
            with jax.ensure_compile_time_eval():
                return np.asarray(primitive.bind(*numbers, **params))[()]
        if primitive.name == "round":
            return _rounded(numbers[0], **params)
        blocks = [x if np.shape(x) == shape else jnp.broadcast_to(x, shape) for x in numbers]
        if self.fused is None or not shape:
            return primitive.bind(*blocks, **params)
        return self.of_blocks(self.fused, primitive, blocks, params)

    def of_blocks(self, fused: Callable[[Any, Any, Any], Any], primitive: Any, blocks: list[Any], params: Any) -> Any:
        """Carries out an operation on blocks; a sum with a product is one with it.

        The product is then computed for nothing, and the compiler leaves it out.
        """
        if primitive.name in ("add", "sub", "add_any"):
            is_difference = primitive.name == "sub"
            for place in (1, 0):
                if id(blocks[place]) in self.products:
                    a, b, _ = self.products[id(blocks[place])]
                    other = blocks[1 - place]
                    if is_difference:
                        a, other = (-a, other) if place else (a, -other)
                    return fused(a, b, other)
        result = primitive.bind(*blocks, **params)
        if primitive.name == "mul" and jnp.issubdtype(result.dtype, jnp.floating):
            self.products[id(result)] = (*blocks, result)  # which keeps it, and so its id
        return result


def _rounded(x: Any, *, rounding_method: Any) -> Any:
    """Rounds half to even; not every compiler of kernels can."""
    if rounding_method != jax.lax.RoundingMethod.TO_NEAREST_EVEN:
        raise NotImplementedError("halves are rounded to even numbers only")
    below = jnp.floor(x)
    rest = x - below  # x + 0.5 would be rounded itself, for large numbers and for the one before 0.5
    is_odd = jnp.floor(0.5 * below) * 2 != below
    return jnp.where((rest > 0.5) | ((rest == 0.5) & is_odd), below + 1, below)


def _chosen(index: Any, results: list[list[Components]]) -> list[Components]:
    """Chooses among the results of all branches."""
    *_, last = results
    chosen = list(last)
    for number in reversed(range(len(results) - 1)):
        choose = np.frompyfunc(partial(jnp.where, index <= number), 2, 1)
        chosen = [_objects(choose(a, b)) for a, b in zip(results[number], chosen, strict=True)]
    return chosen


def _reduced(combine: Callable[[Any, Any], Any], a: Components, axes: tuple[int, ...]) -> Components:
    kept = [axis for axis in range(a.ndim) if axis not in axes]
    shape = [a.shape[axis] for axis in kept]
    rows = a.transpose(*axes, *kept).reshape(-1, math.prod(shape))
    return functools.reduce(np.frompyfunc(combine, 2, 1), np.split(rows, len(rows))).reshape(shape)


def _product(a: Components, b: Components, dimension_numbers: Any) -> Components:
    (left, right), (batch, _) = dimension_numbers
    if batch:
        raise NotImplementedError("a batch of products")
    rows = np.moveaxis(a, left, range(-len(left), 0))
    columns = np.moveaxis(b, right, range(len(right)))
    outer = rows.reshape(*rows.shape[: a.ndim - len(left)], -1, *[1] * (b.ndim - len(right)))
    products = np.frompyfunc(jnp.multiply, 2, 1)(outer, columns.reshape(-1, *columns.shape[len(right) :]))
    return _reduced(jnp.add, products, (a.ndim - len(left),))


def _objects(a: Any) -> Components:
    """Returns an array of objects, also of no axes."""
    if isinstance(a, np.ndarray):
        return a
    found = np.empty((), object)
    found[()] = a
    return found


def _broadcast(a: Components, *_: Any, shape: Any, broadcast_dimensions: Any, **__: Any) -> Components:
    sizes = [1] * len(shape)
    for size, axis in zip(a.shape, broadcast_dimensions, strict=True):
        sizes[axis] = size
    return np.broadcast_to(a.reshape(sizes), shape)


def _sliced(a: Components, *, start_indices: Any, limit_indices: Any, strides: Any) -> Components:
    steps = strides or [1] * a.ndim
    return a[tuple(slice(*each) for each in zip(start_indices, limit_indices, steps, strict=True))]


def _padded(a: Components, value: Components, *, padding_config: Any) -> Components:
    for axis, (low, high, between) in enumerate(padding_config):
        if between or low < 0 or high < 0:
            raise NotImplementedError("padding between, or less")
        sides = [np.broadcast_to(value, [*a.shape[:axis], n, *a.shape[axis + 1 :]]) for n in (low, high)]
        a = np.concatenate([sides[0], a, sides[1]], axis)
    return a


def _split(a: Components, *, sizes: Any, axis: int) -> list[Components]:
    return np.split(a, np.cumsum(sizes)[:-1], axis)


_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda *arrays, dimension: np.concatenate(arrays, dimension),
    "copy": lambda a: a,
    "pad": _padded,
    "pvary": lambda *arrays, **_: arrays,
    "reshape": lambda a, *, new_sizes, **_: a.reshape(new_sizes),
    "rev": lambda a, *, dimensions: np.flip(a, dimensions),
    "slice": _sliced,
    "split": _split,
    "squeeze": lambda a, *, dimensions: np.squeeze(a, dimensions),
    "stack": lambda *arrays, axis: np.stack(arrays, axis),
    "stop_gradient": lambda a: a,
    "transpose": lambda a, *, permutation: a.transpose(permutation),
    "unstack": lambda a, *, axis: [_objects(part) for part in np.moveaxis(a, axis, 0)],
}
_REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "reduce_sum": jnp.add,
    "reduce_max": jnp.maximum,
    "reduce_min": jnp.minimum,
    "reduce_and": jnp.bitwise_and,
    "reduce_or": jnp.bitwise_or,
}
_CALLS = ("jit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint")
