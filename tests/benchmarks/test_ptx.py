import pytest

from benchmarks.hlo import Cost, Kernel
from benchmarks.ptx import Executed, executed, operations

PTX = """
.visible .entry advance(
	.param .u64 .ptr .align 16 advance_param_0
)
.reqntid 128, 1, 1
{
	mov.b64 	%rd7, 12;
	mul.rn.f32 	%r9, %r8, %r8;
$L__BB0_1:
	fma.rn.f32 	%r2, %r9, %r9, %r9;
	@%p2 bra 	$L__BB0_3;
	mov.b32 	%r5, 6;
$L__BB0_2:
	sub.rn.f32 	%r3, %r2, %r2;
	add.s32 	%r5, %r5, -2;
	setp.ne.b32 	%p1, %r5, 0;
	@%p1 bra 	$L__BB0_2;
$L__BB0_3:
	@%p3 mul.rn.f64 	%rd3, %rd2, %rd2;
	add.s64 	%rd7, %rd7, 12;
	cvt.u32.u64 	%r1, %rd7;
	setp.ne.b32 	%p4, %r1, 1212;
	@%p4 bra 	$L__BB0_1;
	st.global.b32 	[%rd4], %r6;
	ret;
}

.visible .entry copy(
	.param .u64 .ptr .align 16 copy_param_0
)
{
	add.s64 	%rd1, %rd2, %rd3;
	ret;
}
"""


def test_loops_are_multiplied_out():
    assert executed(PTX) == {"advance": Executed(1 + 100 * (1 + 3 * 1 + 1)), "copy": Executed()}


@pytest.mark.parametrize(
    ("known", "unknown", "instructions"),
    [
        ("setp.ne.b32 	%p4, %r1, 1212;", "setp.ne.b32 	%p4, %r1, %r77;", 1 + 1 + 3 + 1),  # a limit of run time
        ("mov.b64 	%rd7, 12;", "mov.b64 	%rd7, %rd8;", 1 + 1 + 3 + 1),  # a start of run time
        ("add.s32 	%r5, %r5, -2;", "add.s32 	%r5, %r5, %r6;", 1 + 100 * (1 + 1 + 1)),
    ],
)
def test_a_loop_of_unknown_length_is_reported(known, unknown, instructions):
    assert known in PTX
    assert executed(PTX.replace(known, unknown))["advance"] == Executed(instructions, unknown_loops=1)


def test_all_threads_of_all_launches_count(tmp_path):
    (tmp_path / "module.1.ptx").write_text(PTX)
    text = '(%x), backend_config={grid_x = 10 : i32, grid_y = 2 : i32, name = "advance", num_warps = 4 : i32}'
    kernels = [Kernel("call", "custom-call", 3.0, Cost(), text), Kernel("fusion.1", "fusion", 5.0, Cost(), "(%x)")]
    assert operations(kernels, tmp_path) == Executed(3 * 10 * 2 * 4 * 32 * 501)
