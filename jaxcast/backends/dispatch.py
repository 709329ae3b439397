"""Chooses between programs by the platform that they are lowered for.

Where a program runs is not known while it is traced: its arguments may lie on another device, and
it may be compiled ahead of time, or exported. `jax.default_backend()` does not tell.
"""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import Mesh
from jaxtyping import Array

from jaxcast.tracing import is_traced

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Programs:
    """Programs of flat arrays that do the same, and what they return.

    Args:
        default: the plain one; it says what the others return, and has the derivatives.
        special: those of platforms, "cpu", "cuda" or "tpu".
        out: types of the results.
        key: equal where the programs are, so that a second call compiles nothing.
    """

    default: Callable[..., list[Any]] = dataclasses.field(compare=False)
    special: tuple[tuple[str, Callable[..., list[Any]]], ...] = dataclasses.field(compare=False)
    out: tuple[Any, ...] = dataclasses.field(compare=False)
    key: Any

    def on_cpu(self, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> "Programs":
        """Returns the programs after a change of those that may run on a CPU.

        Args:
            change: of a program, which must do the same afterwards; the same function at every call.
        """
        special = tuple((name, change(program) if name == "cpu" else program) for name, program in self.special)
        key = (_identity(change), self.key)
        return dataclasses.replace(self, default=change(self.default), special=special, key=key)


def by_platform(default: Callable[..., Result], *args: Any, **special: Callable[..., Result]) -> Result:
    """Computes default(*args), by another program on the platforms that have one.

    Only the programs of the platforms in question are compiled. Derivatives are those of the
    default. It also runs where it has side effects, where a program for a GPU or TPU cannot be
    lowered, where XLA splits a program over devices by itself, and everywhere but on CPUs if the
    environment variable JAXCAST_ACCELERATED is 0.

    Args:
        default: of trees of arrays; the same function or `functools.partial` at every call, or a
            call outside of `jax.jit` compiles anew.
        args: its arguments.
        special: programs for platforms, with the same results: cpu, cuda, tpu.

    Returns:
        The result.

    Example:
        >>> import jax
        >>> from jaxcast.backends.dispatch import by_platform
        >>> f = jax.jit(lambda x: by_platform(lambda x: x + 1.0, x, tpu=lambda x: x - 1.0))
        >>> float(f(1.0)), float(jax.grad(f)(1.0))
        (2.0, 1.0)
    """
    structure: Any
    leaves, structure = jax.tree.flatten(args)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    found: dict[str, Any] = {}

    def flat(program: Callable[..., Result]) -> Callable[..., list[Any]]:
        def of_leaves(*leaves: Any) -> list[Any]:
            results, found["structure"] = jax.tree.flatten(program(*structure.unflatten(leaves)))
            return results

        return _under_settings(of_leaves)

    closed = [jax.make_jaxpr(flat(default))(*leaves)]
    if closed[0].effects:
        return default(*args)
    outer: list[Any] = []
    key: Any = (_identity(default), tuple((name, _identity(one)) for name, one in special.items()), structure)
    if is_traced(closed[0].consts):
        # What the programs close over must become arguments now: later it is unknown.
        special = {name: program for name, program in special.items() if _is_possible(name, flat(program), leaves)}
        closed += [jax.make_jaxpr(flat(program))(*leaves) for program in special.values()]
        outer = [constant for one in closed for constant in one.consts]
        key = object()
    programs = [flat(program) for program in (default, *special.values())]
    num_outer, end = len(outer), 0
    for n, one in enumerate(closed):  # so that they are not traced again for every transformation
        first, end = (end, end + len(one.consts)) if outer else (0, 0)
        programs[n] = _under_settings(partial(_of_constants, one, first, end, num_outer))
    key = (key, _settings())
    chosen = Programs(programs[0], tuple(zip(special, programs[1:], strict=True)), tuple(closed[0].out_avals), key)
    result: Result = found["structure"].unflatten(_choose(chosen, *outer, *leaves))
    return result


def _identity(program: Callable[..., Any]) -> Any:
    """Returns what is equal for equal programs: a function, or what a `partial` is made of."""
    found: Any = program
    if isinstance(program, partial):
        found = (_identity(program.func), program.args, tuple(sorted(program.keywords.items())))
    try:
        hash(found)
    except TypeError:
        return object()
    return found


def _is_possible(platform: str, program: Callable[..., list[Any]], leaves: list[Any]) -> bool:
    """Tells whether a program can be traced; one for a CPU always can."""
    try:
        jax.eval_shape(program, *leaves)
    except NotImplementedError:
        if platform == "cpu":
            raise
        return False
    return True


def _of_constants(closed: Any, first: int, last: int, num: int, *args: Any) -> list[Any]:
    """Evaluates a program whose constants, if there are any, are numbers first to last of the first arguments."""
    results: list[Any] = jax.core.eval_jaxpr(closed.jaxpr, args[first:last] if num else closed.consts, *args[num:])
    return results


def _under_settings(function: Callable[..., Result]) -> Callable[..., Result]:
    """Returns the function with the settings of JAX as they are now, whenever it is traced."""
    precision, x64 = _settings()

    def call(*args: Any) -> Result:
        with contextlib.ExitStack() as stack:
            stack.enter_context(jax.default_matmul_precision(precision))
            stack.enter_context(jax.enable_x64(x64))
            return function(*args)

    return call


def _settings() -> tuple[Any, Any]:
    return jax.config.values["jax_default_matmul_precision"], jax.config.values["jax_enable_x64"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _choose(programs: Programs, *args: Any) -> list[Any]:
    return _by_platform_p.bind(*args, programs=programs)


@partial(_choose.defjvp, symbolic_zeros=True)
def _choose_jvp(programs: Programs, primals: Any, tangents: Any) -> Any:
    # To differentiate by what does not move would cost as much as by what does.
    moves = [not isinstance(tangent, SymbolicZero) for tangent in tangents]

    def of_moving(*moving: Any) -> list[Any]:
        given = iter(moving)
        return programs.default(*(next(given) if yes else still for still, yes in zip(primals, moves, strict=True)))

    points, directions = ([a for a, yes in zip(all_of, moves, strict=True) if yes] for all_of in (primals, tangents))
    return jax.tree.map(batched_in_front, jax.jvp(of_moving, points, directions))


def batched_in_front(a: Array) -> Array:
    """Returns the array; under `jax.vmap` with the batch as its first axis.

    JAX takes what a derivative rule returns to be batched where the function's own result is.

    Args:
        a: any.
    """
    if a.dtype == jax.dtypes.float0:
        return a
    return jax.lax.reshape(jax.lax.reshape(a, (1, *a.shape)), a.shape)


_by_platform_p = Primitive("by_platform")
_by_platform_p.multiple_results = True
_by_platform_p.def_abstract_eval(lambda *_, programs: list(programs.out))
_compiled = jax.jit(_by_platform_p.bind, static_argnames="programs")
_by_platform_p.def_impl(_compiled)


def _batched(args: Any, axes: Any, *, programs: Programs) -> tuple[Any, Any]:
    is_mapped: list[bool] = []

    def watched(*args: Any) -> list[Any]:
        results = programs.default(*args)
        tracer = next(type(arg) for arg, axis in zip(args, axes, strict=True) if axis is not None)
        is_mapped[:] = [isinstance(result, tracer) for result in results]
        return results

    def mapped(function: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        """Leaves results single that are single in the default, as its derivatives will be."""
        of_all = jax.vmap(function, in_axes=tuple(axes))
        return lambda *args: [
            all_of if yes else all_of[0] for all_of, yes in zip(of_all(*args), is_mapped, strict=True)
        ]

    out = tuple(jax.make_jaxpr(mapped(watched))(*args).out_avals)
    special = tuple((platform, mapped(program)) for platform, program in programs.special)
    key = ("mapped", programs.key, tuple(axes))
    results = _choose(Programs(mapped(programs.default), special, out, key), *args)
    return results, [0 if yes else None for yes in is_mapped]


batching.primitive_batchers[_by_platform_p] = _batched


def _lowered(ctx: Any, *args: Any, programs: Programs, platform: str | None) -> Any:
    special = [program for name, program in programs.special if name == platform]
    if special and platform == "cpu":
        return mlir.lower_fun(special[0], multiple_results=True)(ctx, *args)
    if special and _is_accelerated() and not _is_partitioned(ctx):
        try:
            with warnings.catch_warnings():  # those whose warnings are errors keep their kernels with JAX 0.12
                warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated", DeprecationWarning)
                return mlir.lower_fun(special[0], multiple_results=True)(ctx, *args)
        except NotImplementedError:
            pass
        except Exception as error:  # what a compiler of kernels cannot take shows in many ways
            warnings.warn(
                f"jaxcast: the plain program runs, as a faster one cannot be lowered for {platform}: {error!r}",
                RuntimeWarning,
                stacklevel=2,
            )
    return mlir.lower_fun(programs.default, multiple_results=True)(ctx, *args)


def _is_accelerated() -> bool:
    """Tells whether the environment lets GPUs and TPUs run other programs than the plain ones."""
    return os.environ.get("JAXCAST_ACCELERATED") != "0"


def _is_partitioned(ctx: Any) -> bool:
    """Tells whether XLA splits the program over devices, which it cannot do with a kernel."""
    context = ctx.module_context.axis_context
    return isinstance(context, mlir.ShardingContext) and context.num_devices > 1


for _platform in ("cpu", "cuda", "tpu", None):
    mlir.register_lowering(_by_platform_p, partial(_lowered, platform=_platform), platform=_platform)


def differentiable_by_platform(default: Callable[..., Result], *args: Any, **special: Callable[..., Result]) -> Result:
    """Computes default(*args), on some platforms by another program, which has derivatives of its own.

    All programs are traced, whatever the platform, and what one keeps for a backward pass is zeros
    in the others, which XLA drops where both passes are in one program. Where JAX has no plug-in
    for a platform, its program is left out, to save the tracing.

    Args:
        default: of trees of arrays.
        args: its arguments.
        special: programs for platforms, with the same results.

    Returns:
        The result.
    """
    special = {name: program for name, program in special.items() if has_plugin(name)}
    if not special or not _is_accelerated():
        return default(*args)
    result: Result = jax.lax.platform_dependent(*args, default=default, **special)
    return result


@cache
def has_plugin(platform: str) -> bool:
    """Tells whether a plug-in of JAX for a platform is installed.

    Args:
        platform: such as "cuda".
    """
    return any(platform in point.name for point in entry_points(group="jax_plugins"))


def compile_apart(function: Callable[..., Result], *args: Any) -> Result:
    """Computes function(*args); on a CPU apart from the operations before and after it.

    XLA merges sums of products with what uses them, and computes them again for each use. Results,
    derivatives and batching are the same.

    Args:
        function: of arrays, the same object at every call.
        args: its arguments.

    Returns:
        Its result.
    """

    return by_platform(partial(_merged, function), *args, cpu=partial(_apart, function))


def _merged(function: Callable[..., Result], *args: Any) -> Result:
    return jax.jit(function)(*args)


def _apart(function: Callable[..., Result], *args: Any) -> Result:
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*args)


def wide_jit(function: Callable[..., Result], **options: Any) -> Callable[..., Result]:
    """Compiles like `jax.jit`; on a CPU with its widest vectors, if it is the outermost `jit`.

    Args:
        function: to compile.
        options: of `jax.jit`.

    Returns:
        The compiled function.
    """
    return _jit_on_cpu(function, {"xla_cpu_prefer_vector_width": 512}, **options)


def quick_jit(function: Callable[..., Result], **options: Any) -> Callable[..., Result]:
    """Compiles like `jax.jit`; on a CPU quickly rather than well, if it is the outermost `jit`.

    For what runs once, such as the start of a network: compiling its random numbers takes far longer
    than drawing them.

    Args:
        function: to compile.
        options: of `jax.jit`.

    Returns:
        The compiled function.
    """
    return _jit_on_cpu(function, {"xla_backend_optimization_level": 0}, **options)


def _jit_on_cpu(
    function: Callable[..., Result], compiler_options: dict[str, int], **options: Any
) -> Callable[..., Result]:
    """Compiles like `jax.jit`, with options on a CPU; only the outermost `jit` may have such options."""
    plain = jax.jit(function, **options)

    def call(*args: Any, **kwargs: Any) -> Result:
        new = jnp.zeros(())
        # Inside another program even a new array is a tracer.
        if is_traced(args, kwargs, new) or (_platforms_of(args, kwargs) or _platforms_of(new)) != {"cpu"}:
            return plain(*args, **kwargs)
        return special(*args, **kwargs)

    special = jax.jit(function, **options, compiler_options=compiler_options)
    return call


def _platforms_of(*args: Any) -> set[str]:
    """Returns where the arguments of a program lie, and where the meshes among them are."""
    leaves = jax.tree.leaves(args)
    devices = [device for leaf in leaves if isinstance(leaf, jax.Array) for device in leaf.devices()]
    devices += [device for leaf in leaves if isinstance(leaf, Mesh) for device in leaf.devices.flat]
    return {device.platform for device in devices}
