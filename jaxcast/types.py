"""The vocabulary of public signatures."""

from typing import TypeAlias

from jaxtyping import ArrayLike, Shaped

Scalar: TypeAlias = Shaped[ArrayLike, ""]
