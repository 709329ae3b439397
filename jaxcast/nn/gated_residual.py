"""Gated layers: they let through what helps, and pass the rest by."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.limits import check_arrays
from jaxcast.nn.dropout import NO_DROPOUT, Dropout

EPSILON = 1e-5
"""Added to the variance that a layer norm divides by, as in PyTorch."""


class StackedLinear(nnx.Module):
    """Linear layers side by side, computed as one batched product.

    Args:
        input_size: components of an input.
        output_size: components of an output.
        stack: leading axes of the weights, and of inputs (*stack, row, input); none for a single
            layer, whose inputs have any batch axes.
        use_bias: whether there is a bias.
        key: for the weights and biases, uniform within 1/sqrt(input_size).
        dtype: of the weights.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        stack: tuple[int, ...] = (),
        use_bias: bool = True,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        check_sizes(input_size=input_size, output_size=output_size)
        shape = (*stack, input_size, output_size)
        check_arrays(f"layers from {input_size} to {output_size} units", shape, dtype=dtype)
        bound = input_size**-0.5
        of_kernel, of_bias = jax.random.split(key)
        self.kernel = nnx.Param(jax.random.uniform(of_kernel, shape, dtype, -bound, bound))
        bias = jax.random.uniform(of_bias, (*stack, 1, output_size), dtype, -bound, bound) if use_bias else None
        self.bias = None if bias is None else nnx.Param(bias)

    @property
    def offset(self) -> Array:
        """The bias, zero without one."""
        return jnp.zeros((), self.kernel.dtype) if self.bias is None else self.bias[...]

    def __call__(self, xs: Float[Array, "*batch input_size"]) -> Float[Array, "*batch output_size"]:
        """Applies each layer to its inputs.

        Args:
            xs: (*stack, row, input), or (*batch, input) for a single layer.
        """
        kernel = self.kernel[...]
        # All batch axes as one: the gradient of the weights is then one product.
        rows = xs if kernel.ndim > 2 else xs.reshape(-1, xs.shape[-1])
        outputs = rows @ kernel + self.offset
        return outputs.reshape(*xs.shape[:-1], outputs.shape[-1])


class StackedNorm(nnx.Module):
    """Layer norms side by side: mean 0 and variance 1 over the components, then scale and bias.

    Args:
        size: components.
        stack: leading axes, as in `StackedLinear`.
        dtype: of the weights.
    """

    def __init__(self, size: int, *, stack: tuple[int, ...] = (), dtype: DTypeLike):
        self.scale = nnx.Param(jnp.ones((*stack, 1, size), dtype))
        self.bias = nnx.Param(jnp.zeros((*stack, 1, size), dtype))

    def __call__(self, xs: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalises the last axis.

        Args:
            xs: (*stack, row, size), or (*batch, size) for a single norm.
        """
        centred = xs - xs.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        scale, bias = self.scale[...], self.bias[...]
        if scale.ndim == 2:  # a single norm takes inputs of any batch axes, also none
            scale, bias = scale[0], bias[0]
        return centred * jax.lax.rsqrt(variance + EPSILON) * scale + bias


class GatedLinearUnit(nnx.Module):
    """A gated linear unit.

        y = (x W_5 + b_5) * sigmoid(x W_4 + b_4)

    The kernel holds the columns of W_5, then those of W_4.

    Args:
        input_size: components of an input.
        output_size: components of an output.
        key: for the weights and biases, uniform within 1/sqrt(input_size).
        stack: leading axes of units side by side, and of their inputs (*stack, row, input).
        dtype: of the weights.

    Raises:
        InputError: for sizes below one.

    Source:
        Dauphin, Fan, Auli and Grangier (2017), eq. 1.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> unit = jaxcast.nn.GatedLinearUnit(input_size=3, output_size=8, key=jax.random.key(0))
        >>> unit(jnp.ones((32, 20, 3))).shape
        (32, 20, 8)
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        key: Key[Array, ""],
        stack: tuple[int, ...] = (),
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(output_size=output_size)
        self.linear = StackedLinear(input_size, 2 * output_size, stack=stack, key=key, dtype=dtype)

    def __call__(self, xs: Float[Array, "*batch input_size"]) -> Float[Array, "*batch output_size"]:
        """Applies the unit.

        Args:
            xs: the inputs.

        Returns:
            The outputs.
        """
        values, gates = jnp.split(self.linear(xs), 2, -1)
        return values * jax.nn.sigmoid(gates)


class GatedSkip(nnx.Module):
    """Adds what a gate lets through of a layer's outputs to its inputs.

        y = layernorm( x + GLU(drop(outputs)) )

    Args:
        size: components of inputs and outputs.
        key: for the weights.
        dtype: of the weights.

    Raises:
        InputError: for a size below one.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021), eq. 17.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> skip = jaxcast.nn.GatedSkip(size=8, key=jax.random.key(0))
        >>> skip(jnp.ones((32, 20, 8)), jnp.ones((32, 20, 8))).shape
        (32, 20, 8)
    """

    @checked
    def __init__(self, *, size: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32):
        self.gate = GatedLinearUnit(input_size=size, output_size=size, key=key, dtype=dtype)
        self.norm = StackedNorm(size, dtype=dtype)

    def __call__(
        self, xs: Float[Array, "*batch size"], outputs: Float[Array, "*batch size"], drop: Dropout = NO_DROPOUT
    ) -> Float[Array, "*batch size"]:
        """Adds both.

        Args:
            xs: inputs of the layer that is passed by.
            outputs: of that layer.
            drop: the dropout of the pass.

        Returns:
            The sum, normalised.
        """
        normalised: Array = self.norm(xs + self.gate(drop(outputs)))
        return normalised


class GatedResidual(nnx.Module):
    """A gated residual network (GRN).

        y = layernorm( skip(x) + GLU(drop(W_1 elu(W_2 x + W_3 c + b_2) + b_1)) )

    The skip is x itself, or a linear layer where the sizes differ.

    Args:
        input_size: components of an input.
        output_size: components of an output.
        key: for the weights, uniform within 1/sqrt(number of inputs of their layer).
        hidden_size: components between; those of an output by default.
        context_size: components of the context c; None for none.
        stack: leading axes of networks side by side, and of their inputs (*stack, row, input).
        dtype: of the weights.

    Raises:
        InputError: for sizes below one.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021), eqs. 2 to 5.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.nn.GatedResidual(input_size=3, output_size=8, context_size=2, key=jax.random.key(0))
        >>> network(jnp.ones((32, 20, 3)), jnp.ones((32, 1, 2))).shape
        (32, 20, 8)
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        key: Key[Array, ""],
        hidden_size: int | None = None,
        context_size: int | None = None,
        stack: tuple[int, ...] = (),
        dtype: DTypeLike = jnp.float32,
    ):
        hidden_size = output_size if hidden_size is None else hidden_size
        options: dict[str, Any] = {"stack": stack, "dtype": dtype}
        keys = jax.random.split(key, 5)
        self.first = StackedLinear(input_size, hidden_size, key=keys[0], **options)
        self.of_context = (
            None
            if context_size is None
            else StackedLinear(context_size, hidden_size, use_bias=False, key=keys[1], **options)
        )
        self.second = StackedLinear(hidden_size, hidden_size, key=keys[2], **options)
        self.gate = GatedLinearUnit(input_size=hidden_size, output_size=output_size, key=keys[3], **options)
        self.skip = (
            None if input_size == output_size else StackedLinear(input_size, output_size, key=keys[4], **options)
        )
        self.norm = StackedNorm(output_size, **options)

    def __call__(
        self, xs: Float[Array, "*batch input_size"], context: Any = None, drop: Dropout = NO_DROPOUT
    ) -> Float[Array, "*batch output_size"]:
        """Applies the network.

        Args:
            xs: the inputs.
            context: what else it sees, (*batch, context), where axes may be 1; None for none.
            drop: the dropout of the pass.

        Returns:
            The outputs.
        """
        sums = self.first(xs)
        if context is not None and self.of_context is not None:
            sums = sums + self.of_context(context)
        kept = drop.kept(sums.shape)
        return self.after_first(sums, xs if self.skip is None else self.skip(xs), drop, kept)

    def after_first(self, sums: Array, skipped: Array, drop: Dropout, kept: Any) -> Array:
        """Applies what follows the first layer.

        Args:
            sums: outputs of the first layer, with the context.
            skipped: what is added to the gated outputs.
            drop: the dropout of the pass.
            kept: which hidden components are kept.

        Returns:
            The outputs.
        """
        hidden = drop.applied(self.second(jax.nn.elu(sums)), kept)
        normalised: Array = self.norm(skipped + self.gate(hidden))
        return normalised
