import jax
import jax.numpy as jnp
import pytest

from benchmarks.hlo import TRANSCENDENTAL, Cost, Module, count, num_bytes

LOOP = """
HloModule jit_f, is_scheduled=true

%fused_step (param_0: f32[8,3], param_1: f32[100,3], param_2: s32[]) -> f32[8,3] {
  %param_0 = f32[8,3]{1,0} parameter(0)
  %param_1 = f32[100,3]{1,0} parameter(1)
  %param_2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  %slice.1 = f32[1,3]{1,0} dynamic-slice(%param_1, %param_2, %zero), dynamic_slice_sizes={1,3}
  %bitcast.1 = f32[3]{0} bitcast(%slice.1)
  %broadcast.1 = f32[8,3]{1,0} broadcast(%bitcast.1), dimensions={1}
  %multiply.1 = f32[8,3]{1,0} multiply(%param_0, %broadcast.1)
  %tanh.1 = f32[8,3]{1,0} tanh(%param_0)
  ROOT %add.1 = f32[8,3]{1,0} add(%multiply.1, %tanh.1)
}

%fused_record (param_0.2: f32[100,8,3], param_1.2: f32[8,3], param_2.2: s32[]) -> f32[100,8,3] {
  %param_0.2 = f32[100,8,3]{2,1,0} parameter(0)
  %param_1.2 = f32[8,3]{1,0} parameter(1)
  %param_2.2 = s32[] parameter(2)
  %zero.2 = s32[] constant(0)
  %bitcast.2 = f32[1,8,3]{2,1,0} bitcast(%param_1.2)
  ROOT %dynamic-update-slice.2 = f32[100,8,3]{2,1,0} dynamic-update-slice(%param_0.2, %bitcast.2, %param_2.2, /*index=3*/%zero.2, %zero.2)
}

%body (arg: (s32[], f32[8,3], f32[100,3], f32[100,8,3])) -> (s32[], f32[8,3], f32[100,3], f32[100,8,3]) {
  %arg = (s32[], f32[8,3]{1,0}, f32[100,3]{1,0}, /*index=3*/f32[100,8,3]{2,1,0}) parameter(0)
  %n = s32[] get-tuple-element(%arg), index=0
  %u = f32[8,3]{1,0} get-tuple-element(%arg), index=1
  %xs = f32[100,3]{1,0} get-tuple-element(%arg), index=2
  %record = f32[100,8,3]{2,1,0} get-tuple-element(%arg), index=3
  %step = f32[8,3]{1,0} fusion(%u, %xs, %n), kind=kLoop, calls=%fused_step, metadata={op_name="jit(f)/while/body (1)"}
  %recorded = f32[100,8,3]{2,1,0} fusion(%record, %step, %n), kind=kLoop, calls=%fused_record
  ROOT %tuple.1 = (s32[], f32[8,3]{1,0}, f32[100,3]{1,0}, f32[100,8,3]{2,1,0}) tuple(%n, %step, %xs, %recorded)
}

%condition (arg.2: (s32[], f32[8,3], f32[100,3], f32[100,8,3])) -> pred[] {
  %arg.2 = (s32[], f32[8,3]{1,0}, f32[100,3]{1,0}, f32[100,8,3]{2,1,0}) parameter(0)
  %n.2 = s32[] get-tuple-element(%arg.2), index=0
  %limit = s32[] constant(100)
  ROOT %less = pred[] compare(%n.2, %limit), direction=LT
}

ENTRY %main (p: (s32[], f32[8,3], f32[100,3], f32[100,8,3])) -> f32[100,8,3] {
  %p = (s32[], f32[8,3]{1,0}, f32[100,3]{1,0}, f32[100,8,3]{2,1,0}) parameter(0)
  %while.1 = (s32[], f32[8,3]{1,0}, f32[100,3]{1,0}, f32[100,8,3]{2,1,0}) while(%p), condition=%condition, body=%body
  ROOT %out = f32[100,8,3]{2,1,0} get-tuple-element(%while.1), index=3
}
"""
KNOWN = LOOP.replace("body=%body\n", 'body=%body, backend_config={"known_trip_count":{"n":"7"},"x":{}}\n')


def test_a_loop_is_multiplied_out():
    step, recorded, compared = Module(LOOP).kernels()
    assert [step.launches, recorded.launches, compared.launches] == [100, 100, 100]
    # Of the inputs one row; a multiply-add is one operation.
    assert step.cost == Cost(kernels=1, bytes=2 * 96 + 12 + 4, operations=24 * (1 + TRANSCENDENTAL))
    # One sample is written, in place.
    assert recorded.cost == Cost(kernels=1, bytes=96 + 96 + 4)
    assert Module(LOOP).cost.kernels == 300
    assert not Module(LOOP).unknown_loops


def test_a_loop_of_unknown_length_is_reported():
    module = Module(LOOP.replace("%limit = s32[] constant(100)", "%limit = s32[] get-tuple-element(%arg.2), index=0"))
    assert (module.cost.kernels, module.unknown_loops) == (3, 1)
    compiled = jax.jit(lambda n: jax.lax.fori_loop(0, n, lambda _, x: jnp.sin(x), 1.0)).lower(3).compile()
    assert Module(compiled.as_text()).unknown_loops == 1


def test_the_trip_count_that_the_compiler_wrote_comes_first():
    kernels = Module(KNOWN).kernels()
    assert [kernel.launches for kernel in kernels] == [7, 7]  # nothing is compared on the device


def test_products_of_matrices():
    text = """
ENTRY %main (a: f32[4,5,6], b: f32[4,6,7]) -> f32[4,5,7] {
  %a = f32[4,5,6]{2,1,0} parameter(0)
  %b = f32[4,6,7]{2,1,0} parameter(1)
  %c = f32[4,6,7]{2,1,0} custom-call(%b), custom_call_target="__gpu$xla.gpu.triton", api_version=API_VERSION_TYPED_FFI
  ROOT %dot.1 = f32[4,5,7]{2,1,0} PRODUCT
}
"""
    dot = "dot(%a, %c), lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}"
    # As a TPU writes it: the batch is a window of which all but one place lies outside.
    convolution = "convolution(%a, %c), window={size=4 stride=3 pad=0_0 lhs_dilate=4}, dim_labels=0bf_0io->0bf"
    library = (
        'custom-call(%a, %c), custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":'
        '{"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"],"rhs_contracting_dimensions":["1"]}}}'
    )
    for product in (dot, convolution, library):
        cost = Module(text.replace("PRODUCT", product)).cost
        assert cost.product_flops == 2 * 4 * 5 * 6 * 7
        assert (cost.kernels, cost.unknown) == (2, 1)
        assert cost.bytes == 4 * (2 * 4 * 6 * 7 + 4 * 5 * 6 + 4 * 6 * 7 + 4 * 5 * 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f32[10,3]{1,0}", 120),
        ("(f32[2]{0}, s32[], pred[4]{0})", 8 + 4 + 4),
        ("f32[1000,3]{0,1:T(4,128)}", 4 * 4 * 1024),  # padded to whole tiles
        ("f32[1000]{0:T(1024)S(1)}", 0),  # in vector memory
        ("bf16[3]{0}", 6),
    ],
)
def test_bytes_of_a_type(text, expected):
    assert num_bytes(text) == expected


def test_a_compiled_scan_has_its_operations():
    def step(u, x):
        u = u * 1.5 + x * jnp.sin(u)
        return u, None

    arguments = jnp.ones(1000, jnp.float32), jnp.ones((100, 1000), jnp.float32)
    cost = count(jax.jit(lambda u, xs: jax.lax.scan(step, u, xs)[0]).lower(*arguments).compile())
    per_step = cost.operations / (100 * 1000)
    assert 2 + TRANSCENDENTAL <= per_step < 3 + TRANSCENDENTAL
    # States are read and written, a row is read, all once; XLA for CPU may copy the state.
    assert 3 <= cost.bytes / (100 * 4000) < 6
    assert not cost.product_flops


def test_a_compiled_product_has_its_operations():
    weights = jnp.ones((20, 20))
    program = jax.jit(lambda x: jax.lax.fori_loop(0, 50, lambda _, x: x @ weights, x))
    cost = count(program.lower(jnp.ones((30, 20))).compile())
    assert cost.product_flops == 50 * 2 * 30 * 20 * 20
