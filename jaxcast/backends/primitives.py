"""The names of JAX's operations, by what a kernel can do with them."""

from typing import Any

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


def has_equations(value: Any) -> bool:
    """Tells whether a parameter of an operation is a program."""
    return hasattr(value, "eqns")
