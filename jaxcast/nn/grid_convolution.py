"""Convolutions over a grid whose cells are one axis of nodes."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays


class GridConvolution(nnx.Module):
    """A convolution over a grid of cells, which are nodes row after row.

        out_(r,c) = sum_(i,j = -k..k) x_(r+i,c+j) W_ij + b        x = 0 outside the grid

    Args:
        input_size: features of a cell.
        output_size: features of a cell's output.
        rows: of the grid.
        columns: of the grid.
        kernel_size: 2 k + 1, cells that the kernel spans in each direction.
        use_bias: whether there is a bias.
        key: random key for the initial weights, uniform within 1/sqrt(number of inputs).
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, an even kernel size, or inputs of another number of cells
            or features.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> layer = jaxcast.nn.GridConvolution(
        ...     input_size=3, output_size=8, rows=4, columns=5, key=jax.random.key(0)
        ... )
        >>> layer(jnp.ones((32, 20, 3))).shape
        (32, 20, 8)
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        rows: int,
        columns: int,
        kernel_size: int = 3,
        use_bias: bool = True,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(input_size=input_size, output_size=output_size, rows=rows, columns=columns, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, so that a cell is in the middle, got {kernel_size}")
        shape = (kernel_size, kernel_size, input_size, output_size)
        check_arrays(f"a convolution from {input_size} to {output_size} features", shape, dtype=dtype)
        of_kernel, of_bias = jax.random.split(key)
        bound = (kernel_size**2 * input_size) ** -0.5
        self.kernel = nnx.Param(jax.random.uniform(of_kernel, shape, dtype, -bound, bound))
        self.bias = nnx.Param(jax.random.uniform(of_bias, (output_size,), dtype, -bound, bound)) if use_bias else None
        self.rows, self.columns = rows, columns

    @checked
    def __call__(self, inputs: Float[Array, "*batch node feature"]) -> Float[Array, "*batch node output"]:
        """Convolves.

        Args:
            inputs: features of each cell.

        Returns:
            The outputs of each cell.

        Raises:
            InputError: for inputs of another number of cells or features.
        """
        kernel = self.kernel[...]
        expected = (self.rows * self.columns, kernel.shape[-2])
        if inputs.ndim < 2 or inputs.shape[-2:] != expected:
            raise InputError(
                f"expected inputs (*batch, {expected[0]} cells of {self.rows} rows and {self.columns} columns, "
                f"{expected[1]} features), got shape {inputs.shape}"
            )
        batch = inputs.shape[:-2]
        grid = inputs.astype(kernel.dtype).reshape(-1, self.rows, self.columns, expected[1])
        outputs = jax.lax.platform_dependent(grid, kernel, cpu=_of_copies, default=_convolution)
        outputs = outputs.reshape(*batch, expected[0], -1)
        return outputs if self.bias is None else outputs + self.bias[...]


def _of_copies(grid: Array, kernel: Array) -> Array:
    """Convolves by one product: of copies shifted by columns, whose outputs are shifted by rows and summed.

    XLA for CPU takes forty times longer for the gradient of its own convolution within a loop,
    and training is one.
    """
    size, _, num_inputs, num_outputs = kernel.shape
    rows, columns = grid.shape[1:3]
    margin = (size // 2, size // 2)
    wide = jnp.pad(grid, ((0, 0), (0, 0), margin, (0, 0)))
    copies = jnp.concatenate([wide[:, :, j : j + columns] for j in range(size)], -1)
    by_row = jnp.moveaxis(kernel, 0, 2).reshape(size * num_inputs, size * num_outputs)
    products = (copies.reshape(-1, size * num_inputs) @ by_row).reshape(*grid.shape[:3], size, num_outputs)
    high = jnp.pad(products, ((0, 0), margin, (0, 0), (0, 0), (0, 0)))
    return sum((high[:, i : i + rows, :, i] for i in range(1, size)), start=high[:, :rows, :, 0])


def _convolution(grid: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(grid, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
