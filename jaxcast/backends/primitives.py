"""The names of JAX's operations, by what a kernel can do with them."""

from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

TRANSCENDENTAL = frozenset(
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

ELEMENTWISE = TRANSCENDENTAL | frozenset(
    [
        "abs",
        "add",
        "add_any",
        "and",
        "bitcast_convert_type",
        "ceil",
        "clamp",
        "convert_element_type",
        "div",
        "eq",
        "floor",
        "ge",
        "gt",
        "is_finite",
        "le",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "not",
        "or",
        "round",
        "select_n",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "square",
        "sub",
        "xor",
    ]
)
"""Operations on single numbers."""


def programs_in(equation: Any) -> list[Any]:
    """Returns the programs among the parameters of an operation, as jaxprs."""
    values = jax.tree.leaves(equation.params, is_leaf=_is_program)
    return [value.jaxpr if isinstance(value, ClosedJaxpr) else value for value in values if _is_program(value)]


def _is_program(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)
