"""One scan runs every recurrent layer over time, and one backward pass differentiates them all.

The backward scan only passes cotangents from step to step and emits those of the products with the
weights. The gradient of the weights is then a single product over all steps and samples.
Differentiating the scan itself would add up this gradient step by step, which is slower. Layers
take the batch as an axis: under `jax.vmap` the single product would become one for each sample, and
a sum.

A CPU and accelerators have programs of their own. On a CPU all products stay in the loop, whose
steps save their gates for the backward pass; many sequences are run in blocks that stay in a core's
cache, and the backward pass of a block computes its gates anew. On accelerators, where a launch
costs microseconds, the products with the inputs are one product before the loop, in memory for all
gates of all steps. There one kernel takes all steps in each direction, if the layer fits it
(`kernels`). Else the backward pass computes the gates anew, by one product for all steps, and a
pass of the loop takes several steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.backends.dispatch import by_platform
from jaxcast.nn.equations import Equations, GateProduct, Weights, gradients, select
from jaxcast.nn.kernels import gpu, tpu
from jaxcast.nn.kernels.steps import Steps
from jaxcast.nn.over_time_on_cpu import backward_of_block, backward_on_cpu, forward_on_cpu, zeros


def over_time(
    equations: Equations,
    weights: Weights,
    carry: Any,
    xs: Float[Array, "batch time in"],
    mask: Bool[Array, "batch time"] | None,
) -> tuple[Any, Float[Array, "batch time hidden"]]:
    """Runs a layer over time.

    Args:
        equations: of the layer.
        weights: of the layer.
        carry: before the first step.
        xs: the inputs, finite everywhere.
        mask: which steps exist; the others keep the carry and output zero.

    Returns:
        The carry after the last step, and the outputs of all steps.
    """
    # Chosen once for both ways: a kernel of the way back reads the gates, which the other program
    # of accelerators does not save.
    return _over_time(equations, chosen_kernels(equations, weights, xs.size), weights, carry, xs, mask)


def chosen_kernels(equations: Equations, weights: Weights, num_numbers: int) -> tuple[str, ...]:
    """Returns the platforms on which one kernel takes all steps.

    Args:
        equations: of the layer.
        weights: of the layer.
        num_numbers: size of the inputs; without any there is nothing to do.
    """
    if equations.by_gates is None or not num_numbers or weights.recurrent.dtype != jnp.float32:
        return ()
    precision = jax.config.values["jax_default_matmul_precision"]
    between = precision in ("high", "bfloat16_3x", "tensorfloat32")  # what a TPU's kernels do not have
    rounds = between or precision in (None, "default", "fastest", "bfloat16")
    most = {
        "cuda": gpu.MOST_UNITS if rounds else gpu.MOST_UNITS_PRECISELY,
        "tpu": 0 if between else tpu.MOST_UNITS,
    }
    return tuple(platform for platform, units in most.items() if len(weights.recurrent) <= units)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _over_time(
    equations: Equations, kernels: tuple[str, ...], weights: Weights, carry: Any, xs: Array, mask: Array | None
) -> tuple[Any, Array]:
    return _forward(equations, kernels, weights, carry, xs, mask, save=False)[0]


def _forward(
    equations: Equations,
    kernels: tuple[str, ...],
    weights: Weights,
    carry: Any,
    xs: Array,
    mask: Array | None,
    *,
    save: bool = True,
) -> tuple[Any, Any]:
    options: dict[str, Any] = {"equations": equations, "save": save}
    hoisted = partial(_forward_on_accelerators, **options)
    special: dict[str, Any] = {
        platform: partial(_forward_in_kernel, **options, scan=scan) if platform in kernels else hoisted
        for platform, scan in _SCANS.items()
    }
    outputs, saved = by_platform(partial(forward_on_cpu, **options), weights, carry, xs, mask, **special)
    return outputs, (weights, (carry, xs), mask, saved)


Scan = Callable[..., tuple[list[Array], list[Array]]]
_SCANS: dict[str, Scan] = {"cuda": gpu.scan_on_gpu, "tpu": tpu.scan_on_tpu}
"""What takes all steps in one kernel."""
_STEPS_AT_ONCE = 4
"""Steps in one pass of a loop on accelerators, where a pass has costs of its own."""


def _forward_on_accelerators(
    weights: Weights, carry: Any, xs: Array, mask: Array | None, *, equations: Equations, save: bool
) -> tuple[Any, Any]:
    """Launches as few kernels as possible: small layers spend their time waiting for them."""
    products, exists = _time_first((xs, mask))
    products = products @ weights.input

    def step(before: Any, at: tuple[Array, Any]) -> tuple[Any, Any]:
        product, here = at
        carry, h, _ = equations.forward(weights, before, product)
        carry, h = select(here, (carry, h), (before, jnp.zeros_like(h)))
        return carry, (h, before if save else None)

    last, (hs, before) = jax.lax.scan(step, carry, (products, exists), unroll=_STEPS_AT_ONCE)
    outputs = last, jnp.swapaxes(hs, 0, 1)
    if not save:
        return outputs, None
    # The backward pass computes the gates of all steps again, by one product. The zeros give both programs results of
    # one type; where the backward pass is a part of the same program, XLA leaves them out.
    return outputs, (before, zeros(jax.eval_shape(equations.forward, weights, before, products)[2]))


def _forward_in_kernel(
    weights: Weights, carry: Any, xs: Array, mask: Array | None, *, equations: Equations, save: bool, scan: Scan
) -> tuple[Any, Any]:
    """Takes all steps in one kernel, which saves the gates too."""
    carried: Any
    of_saved: Any
    leaves, carried = jax.tree.flatten(carry)

    def step(past: GateProduct, bias: Any, leaves: Any, products: Any, here: Any) -> tuple[list[Any], list[Any]]:
        before = carried.unflatten(leaves)
        after, h, gates = equations.by_gates.forward(past, bias, before, products)
        after, h = _select_blocks(here, (after, h), (before, jnp.zeros_like(h)))
        return jax.tree.leaves(after), [h, *jax.tree.leaves((before, gates) if save else None)]

    on_cpu = partial(forward_on_cpu, equations=equations, save=save)
    (_, hs), saved = jax.eval_shape(on_cpu, weights, carry, xs, mask)
    to_save, of_saved = jax.tree.flatten(saved)
    outputs = [Steps(hs, time_first=False), *[Steps(one, time_first=True) for one in to_save]]
    inputs = [Steps(xs @ weights.input + weights.bias, time_first=False)]
    last, (hs, *to_save) = scan(step, weights.recurrent, weights.recurrent_bias, leaves, inputs, mask, outputs)
    return (carried.unflatten(last), hs), of_saved.unflatten(to_save)


def _backward(
    equations: Equations, kernels: tuple[str, ...], residuals: Any, cotangents: Any
) -> tuple[Weights, Any, Array, None]:
    # The default, which has the derivatives, does not need the gates, which it cannot be sure of.
    gradients = by_platform(
        partial(_backward_on_accelerators, equations=equations),
        residuals,
        cotangents,
        cpu=partial(backward_on_cpu, equations=equations),
        **{name: partial(_backward_in_kernel, equations=equations, scan=_SCANS[name]) for name in kernels},
    )
    return *gradients, None


def _backward_on_accelerators(residuals: Any, cotangents: Any, *, equations: Equations) -> tuple[Weights, Any, Array]:
    weights, (_, xs), mask, (before, _) = residuals
    d_carry, d_hs = cotangents
    times, exists, d_hs = _time_first((xs, mask, d_hs))
    saved = before, equations.forward(weights, before, times @ weights.input)[2]

    def step(d_carry: Any, at: tuple[Any, Array, Any]) -> tuple[Any, Any]:
        saved, d_h, here = at
        before, d_products = equations.backward(weights, saved, d_carry, d_h)
        return select(here, (before, d_products), (d_carry, jax.tree.map(jnp.zeros_like, d_products)))

    scanned = jax.lax.scan(step, d_carry, (saved, d_hs, exists), reverse=True, unroll=_STEPS_AT_ONCE)
    return gradients(equations, weights, xs, saved, *scanned)


def _backward_in_kernel(
    residuals: Any, cotangents: Any, *, equations: Equations, scan: Scan
) -> tuple[Weights, Any, Array]:
    weights, (_, xs), mask, saved = residuals
    d_carry, d_hs = cotangents
    carried: Any
    of_saved: Any
    of_products: Any
    leaves, carried = jax.tree.flatten(d_carry)
    to_read, of_saved = jax.tree.flatten(saved)

    def step(back: GateProduct, _: None, leaves: Any, at: Any, here: Any) -> tuple[list[Any], list[Any]]:
        d_h, *to_read = at
        d_carry = carried.unflatten(leaves)
        before, d_products = equations.by_gates.backward(back, of_saved.unflatten(to_read), d_carry, d_h)
        nothing = d_carry, [jnp.zeros_like(one) for one in d_products]
        before, d_products = _select_blocks(here, (before, d_products), nothing)
        return jax.tree.leaves(before), d_products

    d_products = jax.eval_shape(partial(backward_of_block, equations=equations), weights, mask, saved, cotangents)[1]
    parts, of_products = jax.tree.flatten(d_products)
    inputs = [Steps(d_hs, time_first=False), *[Steps(one, time_first=True) for one in to_read]]
    outputs = [Steps(one, time_first=True) for one in parts]
    first, parts = scan(step, weights.recurrent, None, leaves, inputs, mask, outputs, backward=True)
    return gradients(equations, weights, xs, saved, carried.unflatten(first), of_products.unflatten(parts))


_over_time.defvjp(_forward, _backward)


def _time_first(sequences: Any) -> Any:
    return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), sequences)


def _select_blocks(here: Array | None, inside: Any, outside: Any) -> Any:
    return inside if here is None else jax.tree.map(partial(jnp.where, here), inside, outside)
