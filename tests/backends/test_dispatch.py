"""Which program runs is decided by the platform that it is lowered for, never by the default backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxcast
from jaxcast.backends import dispatch
from jaxcast.backends.blocks import in_blocks, map_chunks
from jaxcast.backends.dispatch import by_platform, compile_apart, differentiable_by_platform


def chosen(x, y=0.0):
    return by_platform(lambda x, y: x + y, x, y, cpu=lambda x, y: jnp.sin(x), tpu=lambda x, y: jnp.cos(x))


def lowered(function, platform, *args):
    return jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("platform", "found"), [("cpu", "sine"), ("tpu", "cosine"), ("cuda", "add"), ("rocm", "add")])
def test_the_platform_of_the_lowering_decides(platform, found):
    assert f"stablehlo.{found} " in lowered(chosen, platform, 1.0)
    assert f"stablehlo.{found} " in lowered(jax.vmap(chosen), platform, np.ones(3))
    exported = export.export(jax.jit(chosen), platforms=[platform])(1.0)
    assert f"stablehlo.{found} " in exported.mlir_module()


def test_an_export_for_several_platforms_holds_the_program_of_each():
    exported = export.export(jax.jit(chosen), platforms=["cpu", "tpu"])(1.0)
    assert "cosine" in exported.mlir_module()
    assert float(exported.call(1.0)) == float(jnp.sin(1.0))


@pytest.mark.slow
def test_derivatives_are_those_of_the_default_and_batches_come_in_front():
    assert jax.grad(chosen)(2.0) == 1.0
    assert jax.jacfwd(jax.grad(lambda x: chosen(x) ** 2))(2.0) == 2.0
    values = jnp.arange(6.0).reshape(2, 3)
    both = jax.vmap(jax.vmap(chosen, in_axes=(0, None)), in_axes=(1, 0), out_axes=1)(values, jnp.arange(3.0))
    np.testing.assert_allclose(both, np.sin(values), rtol=1e-14)
    np.testing.assert_allclose(chosen(2.0), np.sin(2.0), rtol=1e-14)  # outside of jit


def test_programs_may_close_over_traced_numbers():
    def closing(a, x):
        return by_platform(lambda x: a * x, x, cpu=lambda x: 2.0 * a * x)

    assert float(jax.jit(closing)(3.0, 5.0)) == 30.0
    np.testing.assert_array_equal(jax.vmap(closing)(jnp.arange(3.0), jnp.ones(3)), [0.0, 2.0, 4.0])


def test_settings_of_jax_stay_those_of_the_call():
    def product(x):
        with jax.default_matmul_precision("highest"):
            return by_platform(lambda x: x @ x, x, cpu=lambda x: x @ x + 1.0)

    traced = jax.jit(product).trace(np.ones((2, 2), np.float32))
    assert "HIGHEST" in traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "HIGHEST" in traced.lower(lowering_platforms=("cpu",)).as_text()


@pytest.mark.parametrize(("platform", "is_cpu"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_what_is_for_the_cpu_stays_there(platform, is_cpu):
    u0 = np.ones((5, 3), np.float32)
    ensemble = lowered(lambda u: jaxcast.final_states(jaxcast.Lorenz63(), u, duration=0.1), platform, u0)
    assert ("xla_cpu_small_call" in ensemble) == is_cpu
    assert ("inlineable" in lowered(lambda x: compile_apart(jnp.sin, x), platform, 1.0)) == is_cpu
    assert ("while" in lowered(lambda x: map_chunks(jnp.sin, x), platform, u0)) == is_cpu
    assert ("while" in lowered(lambda x: in_blocks(lambda x, _: jnp.sin(x), x, size=2), platform, u0)) == is_cpu


def test_chunks_may_be_computed_in_turn_or_at_once():
    chunks = jnp.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(map_chunks(lambda c: c * c.sum(), chunks), chunks * chunks.sum(1, keepdims=True))
    gradient = jax.grad(lambda c: map_chunks(lambda c: c**2, c).sum())(chunks)
    np.testing.assert_array_equal(gradient, 2 * chunks)


def test_blocks_of_an_axis_need_not_divide_it():
    values = jnp.arange(1.0, 22.0).reshape(3, 7)

    def squares(block, number):
        return block**2 * jnp.sum(block, 0, keepdims=True) + 0 * number

    def by_blocks(values):
        return in_blocks(squares, values, size=2, axis=1)

    np.testing.assert_array_equal(by_blocks(values), squares(values, 0))
    expected = jax.grad(lambda values: jnp.sin(squares(values, 0)).sum())(values)
    np.testing.assert_allclose(jax.grad(lambda values: jnp.sin(by_blocks(values)).sum())(values), expected, rtol=1e-5)
    numbers = in_blocks(lambda block, number: 0 * block + number, values[0], size=2)
    np.testing.assert_array_equal(numbers, [0, 0, 1, 1, 2, 2, 3])


def test_the_widest_vectors_are_for_arguments_on_a_cpu(monkeypatch):
    options = []
    monkeypatch.setattr(dispatch.jax, "jit", lambda f, compiler_options=None: options.append(compiler_options) or f)
    run = dispatch.wide_jit(lambda x: x)
    assert options == [None, {"xla_cpu_prefer_vector_width": 512}]
    monkeypatch.undo()
    assert run(jnp.ones(2)).shape == (2,)
    assert dispatch._platforms_of((jnp.ones(2), 3.0)) == {"cpu"}
    assert dispatch._platforms_of((3.0, "x")) == set()


def test_what_is_compiled_quickly_may_lie_inside_of_another_program():
    draw = dispatch.quick_jit(lambda key: jax.random.uniform(key, (3,)))
    keys = jax.random.split(jax.random.key(0), 2)
    alone = jax.random.uniform(keys[0], (3,))
    for found in (draw(keys[0]), jax.jit(draw)(keys[0]), jax.vmap(draw)(keys)[0]):
        np.testing.assert_allclose(found, alone, rtol=1e-6)
    assert jax.eval_shape(draw, keys[0]).shape == (3,)


def test_a_result_that_no_batch_reaches_has_derivatives_under_vmap():
    def one(x, y):
        return by_platform(lambda x, y: (jnp.sin(x), jnp.cos(y)), x, y, cpu=lambda x, y: (jnp.sin(x), jnp.cos(y)))

    both = jax.jit(lambda x, y: sum(one(x, y)))
    xs = jnp.arange(3.0)
    over_xs = jax.vmap(both, in_axes=(0, None))
    derivatives = jax.jit(jax.jacfwd(lambda y: over_xs(xs, y)))(2.0)
    np.testing.assert_allclose(derivatives, jnp.full(3, -jnp.sin(2.0)))
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.hessian(both), in_axes=(0, None)))(xs, 2.0), -jnp.sin(xs))


def doubled(x):
    return 2.0 * x


def test_a_second_call_outside_of_jit_compiles_nothing(count_compilations):
    keys = jax.random.split(jax.random.key(0), 2)
    jaxcast.nn.dropout.random_bits(keys[0], 10)
    compile_apart(doubled, jnp.ones(3))
    count_compilations()
    jaxcast.nn.dropout.random_bits(keys[1], 10)
    assert compile_apart(doubled, jnp.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
    assert count_compilations() == 0


def unable(x):
    raise NotImplementedError("no kernel")


def test_what_no_kernel_can_do_runs_plainly():
    def closing(a, x):
        return by_platform(lambda x: a * x, x, cuda=unable, tpu=unable)

    assert float(jax.jit(closing)(3.0, 5.0)) == 15.0
    for platform in ("cpu", "cuda"):
        assert "multiply" in lowered(lambda x: by_platform(doubled, x, cuda=unable), platform, 1.0)


def test_a_kernel_that_fails_for_another_reason_is_told_of():
    with pytest.warns(RuntimeWarning, match="the plain program runs, as a faster one cannot be lowered for tpu"):
        assert "multiply" in lowered(lambda x: by_platform(doubled, x, tpu=lambda x: x[7, 7]), "tpu", 1.0)


def test_kernels_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("JAXCAST_ACCELERATED", "0")
    assert "add" in lowered(lambda x: chosen(x), "tpu", 1.0)
    assert "sine" in lowered(lambda x: chosen(x), "cpu", 1.0)


def test_a_program_of_a_platform_may_have_its_own_derivatives(monkeypatch):
    def gradient(x):
        return jax.grad(lambda x: differentiable_by_platform(jnp.sin, x, cuda=jnp.cos))(x)

    monkeypatch.setattr(dispatch, "has_plugin", lambda platform: platform == "cuda")
    assert float(gradient(2.0)) == float(jnp.cos(2.0))
    assert "negate" in lowered(gradient, "cuda", 2.0)
    assert "negate" not in lowered(gradient, "tpu", 2.0)
    monkeypatch.setattr(dispatch, "has_plugin", lambda platform: False)
    assert "negate" not in lowered(lambda x: gradient(x), "cuda", 2.0)
    monkeypatch.setattr(dispatch, "has_plugin", lambda platform: True)
    monkeypatch.setenv("JAXCAST_ACCELERATED", "0")
    assert "negate" not in lowered(lambda x: gradient(x), "cuda", 2.0)


def test_side_effects_stay():
    seen = []

    def told(x):
        jax.experimental.io_callback(seen.append, None, x, ordered=True)
        return x + 1.0

    assert float(jax.jit(lambda x: by_platform(told, x, cpu=told))(1.0)) == 2.0
    jax.effects_barrier()
    assert [float(x) for x in seen] == [1.0]
