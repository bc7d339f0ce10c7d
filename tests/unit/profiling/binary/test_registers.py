"""Which values hold registers, in small pieces of GPU IR with a known answer, which Triton itself reads."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ssdprof.profiling.binary.cubin import CubinResources
from ssdprof.profiling.runs.registers import Registers
from ssdprof.profiling.workers.pool import run_task
from ssdprof.profiling.workers.worker import Failure, Worker

TIMEOUT_S = 60.0
KERNEL = "ssdprof.profiling.binary.registers.estimate:kernel_registers"
ROOMY = CubinResources(registers_per_thread=255, local_bytes=0, num_barriers=1)
LAYOUTS = """\
#row = #ttg.blocked<{sizePerThread = [1, 4], threadsPerWarp = [2, 16], warpsPerCTA = [4, 1], order = [1, 0]}>
#lone = #ttg.blocked<{sizePerThread = [1], threadsPerWarp = [32], warpsPerCTA = [4], order = [0]}>
#mma2 = #ttg.nvidia_mma<{versionMajor = 2, versionMinor = 0, warpsPerCTA = [2, 2], instrShape = [16, 8]}>
#mma3 = #ttg.nvidia_mma<{versionMajor = 3, versionMinor = 0, warpsPerCTA = [4, 1], instrShape = [16, 64, 16]}>
#bits = #ttg.linear<{register = [[0, 1], [8, 0], [0, 8]], lane = [[0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], \
warp = [[16, 0], [0, 16]], block = []}>
#plain = #ttg.swizzled_shared<{vec = 8, perPhase = 1, maxPhase = 8, order = [1, 0]}>
#smem = #ttg.shared_memory
"""
MODULE = """\
module attributes {"ttg.num-ctas" = 1 : i32, "ttg.num-warps" = 4 : i32, ttg.target = "cuda:90", \
"ttg.threads-per-warp" = 32 : i32} {
  tt.func public @k(%p: !tt.ptr<f32>, %n: i32, %t: !ttg.memdesc<64x128xbf16, #plain, #smem, mutable>) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
"""
SHARED = "!ttg.memdesc<64x128xbf16, #plain, #smem, mutable>"
ADDRESSES = "tensor<64x64x!tt.ptr<f32>, {layout}>"


def held(worker: Worker, body: str, resources: CubinResources = ROOMY) -> Registers:
    """What holds registers in a function with this body."""
    text = f"{LAYOUTS}{MODULE}{body}\n    tt.return\n  }}\n}}\n"
    outcome = run_task(worker, KERNEL, text, "k", resources, timeout_s=TIMEOUT_S)
    assert isinstance(outcome, Registers), outcome
    assert outcome.estimated_registers == sum(row.registers for row in outcome.rows)
    return outcome


def by_op(found: Registers) -> Mapping[str, int]:
    """The registers of the rows by operation."""
    return {row.op: row.registers for row in found.rows}


def loaded(tensor: str, use: str = "") -> str:
    """A tensor that is loaded from shared memory, then used."""
    shape = tensor.removeprefix("tensor<").partition(",")[0]
    memory = f"!ttg.memdesc<{shape}, #plain, #smem, mutable>"
    return f"""\
    %m = ttg.local_alloc : () -> {memory}
    %x = ttg.local_load %m : {memory} -> {tensor}
    {use}
    ttg.local_store %x, %m : {tensor} -> {memory}"""


@pytest.mark.parametrize(
    ("tensor", "registers"),
    [
        ("tensor<64x64xf32, #row>", 64 * 64 // 128),
        ("tensor<64x64xbf16, #row>", 64 * 64 // 128 // 2),
        ("tensor<64x64xf8E4M3FN, #row>", 64 * 64 // 128 // 4),
        ("tensor<64x64xi64, #row>", 64 * 64 // 128 * 2),
        ("tensor<128x64xf32, #mma2>", 128 * 64 // 128),
        ("tensor<64x128xf32, #mma3>", 64 * 128 // 128),
        ("tensor<32x32xf32, #bits>", 8),
        ("tensor<64x64xbf16, #ttg.dot_op<{opIdx = 0, parent = #mma2, kWidth = 2}>>", 64 * 64 // 128),  # held twice
        ("tensor<64x64xbf16, #ttg.dot_op<{opIdx = 1, parent = #mma2, kWidth = 2}>>", 64 * 64 // 128),
        ("tensor<64x64xbf16, #ttg.dot_op<{opIdx = 0, parent = #mma3, kWidth = 2}>>", 64 * 64 // 128 // 2),
        ("tensor<2x64xf32, #row>", 4),  # each row four times, in one thread once
    ],
)
def test_a_tensor_takes_what_one_thread_holds_of_it(worker: Worker, tensor: str, registers: int) -> None:
    assert {"local_load": registers} == by_op(held(worker, loaded(tensor)))


@pytest.mark.parametrize(("axis", "registers"), [(0, 4), (1, 8)])
def test_a_slice_takes_what_a_thread_holds_of_the_other_dimension(worker: Worker, axis: int, registers: int) -> None:
    layout = f"#ttg.slice<{{dim = {axis}, parent = #row}}>"
    body = f"""\
    %s = tt.splat %p : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>, {layout}>
    %x = tt.load %s : tensor<64x!tt.ptr<f32>, {layout}>
    tt.store %s, %x : tensor<64x!tt.ptr<f32>, {layout}>"""
    assert {"load": registers} == by_op(held(worker, body))


def test_constants_and_what_is_the_same_in_all_threads_take_none(worker: Worker) -> None:
    body = """\
    %one = arith.constant dense<1.0> : tensor<64x64xf32, #row>
    %pid = tt.get_program_id x : i32
    %o = arith.muli %pid, %n : i32
    %q = tt.addptr %p, %o : !tt.ptr<f32>, i32
    %s = tt.splat %q : !tt.ptr<f32> -> tensor<64x64x!tt.ptr<f32>, #row>
    tt.store %s, %one : tensor<64x64x!tt.ptr<f32>, #row>"""
    assert () == held(worker, body).rows


def test_a_row_that_is_broadcast_is_held_once_and_a_mask_takes_bytes(worker: Worker) -> None:
    slice_of = "#ttg.slice<{dim = 0, parent = #row}>"
    body = f"""\
    %s = tt.splat %p : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>, {slice_of}>
    %x = tt.load %s : tensor<64x!tt.ptr<f32>, {slice_of}>
    %e = tt.expand_dims %x {{axis = 0 : i32}} : tensor<64xf32, {slice_of}> -> tensor<1x64xf32, #row>
    %b = tt.broadcast %e : tensor<1x64xf32, #row> -> tensor<64x64xf32, #row>
    %z = arith.constant dense<0.0> : tensor<64x64xf32, #row>
    %m = arith.cmpf olt, %b, %z : tensor<64x64xf32, #row>
    %y = arith.select %m, %z, %b : tensor<64x64xi1, #row>, tensor<64x64xf32, #row>
    %q = tt.splat %p : !tt.ptr<f32> -> tensor<64x64x!tt.ptr<f32>, #row>
    tt.store %q, %y : tensor<64x64x!tt.ptr<f32>, #row>"""
    assert {"broadcast": 4, "cmpf": 1} == by_op(held(worker, body))


def test_addresses_a_constant_apart_share_a_pointer_and_rows_have_one_each(worker: Worker) -> None:
    column, row = "#ttg.slice<{dim = 0, parent = #row}>", "#ttg.slice<{dim = 1, parent = #row}>"
    body = f"""\
    %r = tt.make_range {{end = 64 : i32, start = 0 : i32}} : tensor<64xi32, {row}>
    %rs = tt.splat %n : i32 -> tensor<64xi32, {row}>
    %rn = arith.muli %r, %rs : tensor<64xi32, {row}>
    %re = tt.expand_dims %rn {{axis = 1 : i32}} : tensor<64xi32, {row}> -> tensor<64x1xi32, #row>
    %c = tt.make_range {{end = 64 : i32, start = 0 : i32}} : tensor<64xi32, {column}>
    %ce = tt.expand_dims %c {{axis = 0 : i32}} : tensor<64xi32, {column}> -> tensor<1x64xi32, #row>
    %rb = tt.broadcast %re : tensor<64x1xi32, #row> -> tensor<64x64xi32, #row>
    %cb = tt.broadcast %ce : tensor<1x64xi32, #row> -> tensor<64x64xi32, #row>
    %s = tt.splat %p : !tt.ptr<f32> -> tensor<64x64x!tt.ptr<f32>, #row>
    %a = tt.addptr %s, %rb : tensor<64x64x!tt.ptr<f32>, #row>, tensor<64x64xi32, #row>
    %b = tt.addptr %a, %cb : tensor<64x64x!tt.ptr<f32>, #row>, tensor<64x64xi32, #row>
    %inc = arith.constant dense<32> : tensor<64x64xi32, #row>
    %z = arith.constant dense<0.0> : tensor<64x64xf32, #row>
    %l = scf.for %i = %c0 to %n step %c1 iter_args(%q = %b) -> (tensor<64x64x!tt.ptr<f32>, #row>) : i32 {{
      tt.store %q, %z : tensor<64x64x!tt.ptr<f32>, #row>
      %next = tt.addptr %q, %inc : tensor<64x64x!tt.ptr<f32>, #row>, tensor<64x64xi32, #row>
      scf.yield %next : tensor<64x64x!tt.ptr<f32>, #row>
    }}"""
    found = held(worker, body)
    rows_of_a_thread, columns_apart = 8, 1
    assert 2 * rows_of_a_thread * columns_apart == max(row.registers for row in found.rows)


def test_addresses_without_any_order_have_a_pointer_for_each_access(worker: Worker) -> None:
    body = """\
    %s = tt.splat %p : !tt.ptr<f32> -> tensor<64x64x!tt.ptr<f32>, #row>
    %m = ttg.local_alloc : () -> !ttg.memdesc<64x64xi8, #plain, #smem, mutable>
    %o = ttg.local_load %m : !ttg.memdesc<64x64xi8, #plain, #smem, mutable> -> tensor<64x64xi8, #row>
    %q = tt.addptr %s, %o : tensor<64x64x!tt.ptr<f32>, #row>, tensor<64x64xi8, #row>
    ttg.local_dealloc %m : !ttg.memdesc<64x64xi8, #plain, #smem, mutable>
    %z = arith.constant dense<0.0> : tensor<64x64xf32, #row>
    tt.store %q, %z : tensor<64x64x!tt.ptr<f32>, #row>
    tt.store %q, %z : tensor<64x64x!tt.ptr<f32>, #row>"""
    elements_of_a_thread, in_16_bytes = 64 * 64 // 128, 4
    [addresses] = held(worker, body).rows
    assert ("addresses", 2 * elements_of_a_thread // in_16_bytes) == (addresses.kind, addresses.registers)


PRODUCT = """\
    %m2 = ttg.local_alloc : () -> !ttg.memdesc<128x64xbf16, #plain, #smem, mutable>
    %zero = arith.constant dense<0.0> : tensor<64x64xf32, #mma2>
    %l = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> (tensor<64x64xf32, #mma2>) : i32 {
      %a = ttg.local_load %t : !ttg.memdesc<64x128xbf16, #plain, #smem, mutable> -> \
tensor<64x128xbf16, #ttg.dot_op<{opIdx = 0, parent = #mma2, kWidth = 2}>>
      %b = ttg.local_load %m2 : !ttg.memdesc<128x64xbf16, #plain, #smem, mutable> -> \
tensor<128x64xbf16, #ttg.dot_op<{opIdx = 1, parent = #mma2, kWidth = 2}>>
      %d = tt.dot %a, %b, %acc : tensor<64x128xbf16, #ttg.dot_op<{opIdx = 0, parent = #mma2, kWidth = 2}>> * \
tensor<128x64xbf16, #ttg.dot_op<{opIdx = 1, parent = #mma2, kWidth = 2}>> -> tensor<64x64xf32, #mma2>
      scf.yield %d : tensor<64x64xf32, #mma2>
    }
    %q = tt.splat %p : !tt.ptr<f32> -> tensor<64x64x!tt.ptr<f32>, #mma2>
    tt.store %q, %l : tensor<64x64x!tt.ptr<f32>, #mma2>"""


def test_a_sum_that_a_loop_carries_is_held_once_beside_the_operands(worker: Worker) -> None:
    found = held(worker, PRODUCT)
    expected = [("operand", 64), ("operand", 64), ("accumulator", 32)]
    assert expected == [(row.kind, row.registers) for row in found.rows]
    assert "whole" == found.order


def test_operands_are_read_in_slices_if_whole_they_do_not_fit(worker: Worker) -> None:
    found = held(worker, PRODUCT, CubinResources(registers_per_thread=100, local_bytes=0, num_barriers=1))
    expected = [("accumulator", 32), ("operand", 16), ("operand", 16)]  # two of eight slices of each
    assert expected == [(row.kind, row.registers) for row in found.rows]
    assert ("sliced", 100 - 64) == (found.order, found.rest_registers)


CHAIN = """\
    %m = ttg.local_alloc : () -> !ttg.memdesc<64x128xf32, #plain, #smem, mutable>
    %x = ttg.local_load %m : !ttg.memdesc<64x128xf32, #plain, #smem, mutable> -> tensor<64x128xf32, #row>
    %two = arith.constant dense<2.0> : tensor<64x128xf32, #row>
    %m2 = arith.mulf %x, %two : tensor<64x128xf32, #row>
    %e = math.exp2 %m2 : tensor<64x128xf32, #row>
    %y = arith.addf %e, %x : tensor<64x128xf32, #row>
    ttg.local_store %y, %m : tensor<64x128xf32, #row> -> !ttg.memdesc<64x128xf32, #plain, #smem, mutable>"""


def test_a_chain_is_done_element_by_element_if_otherwise_it_does_not_fit(worker: Worker) -> None:
    assert ("whole", 128) == ((found := held(worker, CHAIN)).order, found.estimated_registers)
    tight = held(worker, CHAIN, CubinResources(registers_per_thread=80, local_bytes=8, num_barriers=1))
    assert ("chained", 64, 80 + 2 - 64) == (tight.order, tight.estimated_registers, tight.rest_registers)


def test_an_estimate_above_the_compilers_figure_is_left_so(worker: Worker) -> None:
    found = held(worker, CHAIN, CubinResources(registers_per_thread=40, local_bytes=0, num_barriers=1))
    assert ("chained", 40 - 64) == (found.order, found.rest_registers)


def test_what_one_branch_needs_is_alive_before_it_and_what_both_give_is_held_once(worker: Worker) -> None:
    body = f"""\
    %x = ttg.local_load %t : {SHARED} -> tensor<64x128xbf16, #row>
    %is = arith.cmpi slt, %n, %c1 : i32
    %one = arith.constant dense<1.0> : tensor<64x128xbf16, #row>
    %y = scf.if %is -> (tensor<64x128xbf16, #row>) {{
      %d = arith.addf %x, %one : tensor<64x128xbf16, #row>
      scf.yield %d : tensor<64x128xbf16, #row>
    }} else {{
      scf.yield %one : tensor<64x128xbf16, #row>
    }}
    ttg.local_store %y, %t : tensor<64x128xbf16, #row> -> {SHARED}"""
    assert 64 * 128 // 128 // 2 == held(worker, body).estimated_registers


def test_a_function_that_may_return_early_is_gone_through_to_its_end(worker: Worker) -> None:
    body = f"""\
    %is = arith.cmpi slt, %n, %c1 : i32
    cf.cond_br %is, ^bb1, ^bb2
  ^bb1:
    tt.return
  ^bb2:
    %x = ttg.local_load %t : {SHARED} -> tensor<64x128xbf16, #row>
    ttg.local_store %x, %t : tensor<64x128xbf16, #row> -> {SHARED}"""
    assert 64 * 128 // 128 // 2 == held(worker, body).estimated_registers


def test_a_loop_with_a_condition_holds_what_it_carries(worker: Worker) -> None:
    tensor = "tensor<64x128xbf16, #row>"
    body = f"""\
    %x = ttg.local_load %t : {SHARED} -> {tensor}
    %one = arith.constant dense<1.0> : {tensor}
    %y:2 = scf.while (%v = %x, %i = %c0) : ({tensor}, i32) -> ({tensor}, i32) {{
      %go = arith.cmpi slt, %i, %n : i32
      scf.condition(%go) %v, %i : {tensor}, i32
    }} do {{
    ^bb0(%w: {tensor}, %j: i32):
      %d = arith.addf %w, %one : {tensor}
      %k = arith.addi %j, %c1 : i32
      scf.yield %d, %k : {tensor}, i32
    }}
    ttg.local_store %y#0, %t : {tensor} -> {SHARED}"""
    assert 64 * 128 // 128 // 2 == held(worker, body).estimated_registers


def test_specialised_warps_are_counted_apart(worker: Worker) -> None:
    tensor = "tensor<64x128xbf16, #row>"
    body = f"""\
    ttg.warp_specialize(%t)
    default {{
      ttg.warp_yield
    }}
    partition0(%u: {SHARED}) num_warps(4) {{
      %x = ttg.local_load %u : {SHARED} -> {tensor}
      ttg.local_store %x, %u : {tensor} -> {SHARED}
      ttg.warp_return
    }} : ({SHARED}) -> ()"""
    found = held(worker, body)
    assert (1, 0, 32) == (found.partitions, found.partition, found.estimated_registers)
    assert (0, None) == ((other := held(worker, CHAIN)).partitions, other.partition)


def test_ir_that_cannot_be_read_is_a_failure_with_a_line(worker: Worker) -> None:
    text = f"{LAYOUTS}{MODULE}tt.return\n}}\n}}"
    outcome = run_task(worker, KERNEL, text, "other", ROOMY, timeout_s=TIMEOUT_S)
    assert isinstance(outcome, Failure)
    assert "no function 'other' among ['k']" in outcome.line
