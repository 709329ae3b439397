"""Convolutions over time."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays


class TemporalConvolution(nnx.Module):
    """A convolution over time without padding.

        y_t = sum_(k=0..K-1) x_(t - d (K-1-k)) W_k + b

    The output has d (K - 1) steps less than the input; its last step sees the last K d - d + 1
    steps. The kernel is (K, in, out), oldest step first.

    Args:
        input_size: components of an input.
        output_size: components of an output.
        kernel_size: K, the steps that an output sees.
        dilation: d, the distance of these steps.
        key: random key for the initial kernel and bias, uniform within 1/sqrt(number of inputs).
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, other inputs, or fewer steps than an output sees.

    Source:
        van den Oord et al. (2016), section 2.1, for dilated causal convolutions.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> convolution = jaxcast.nn.TemporalConvolution(
        ...     input_size=2, output_size=8, kernel_size=3, dilation=2, key=jax.random.key(0)
        ... )
        >>> convolution(jnp.ones((32, 12, 2))).shape
        (32, 8, 8)
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        kernel_size: int,
        dilation: int = 1,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(input_size=input_size, output_size=output_size, kernel_size=kernel_size, dilation=dilation)
        shape = (kernel_size, input_size, output_size)
        check_arrays(f"a convolution of {kernel_size} steps from {input_size} to {output_size}", shape, dtype=dtype)
        of_kernel, of_bias = jax.random.split(key)
        bound = (kernel_size * input_size) ** -0.5
        self.kernel = nnx.Param(jax.random.uniform(of_kernel, shape, dtype, -bound, bound))
        self.bias = nnx.Param(jax.random.uniform(of_bias, (output_size,), dtype, -bound, bound))
        self.dilation = dilation

    @checked
    def __call__(self, inputs: Float[Array, "*batch time input_size"]) -> Float[Array, "*batch shorter output_size"]:
        """Convolves whole sequences.

        Args:
            inputs: of each step, oldest first.

        Returns:
            The outputs of all steps for which there are enough inputs.

        Raises:
            InputError: for inputs of another size, or too few steps.
        """
        kernel = self.kernel[...]
        num_taps, size, _ = kernel.shape
        reach = self.dilation * (num_taps - 1)
        shorter = inputs.shape[-2] - reach if inputs.ndim > 1 else 0
        if shorter < 1 or inputs.shape[-1] != size:
            raise InputError(
                f"expected inputs (*batch, time, {size}) of {reach + 1} steps or more, got shape {inputs.shape}"
            )
        inputs = jnp.asarray(inputs, kernel.dtype)
        # One product of the joined steps: XLA for CPU has no fast convolution over one axis.
        steps = [inputs[..., k * self.dilation : k * self.dilation + shorter, :] for k in range(num_taps)]
        return jnp.concatenate(steps, -1) @ kernel.reshape(-1, kernel.shape[-1]) + self.bias[...]
