"""What is read from the text of Triton's GPU IR."""

from ssdprof.profiling.binary.ttgir import Module, Op, Shaped, encoding_rank

TEXT = """\
#blocked = #ttg.blocked<{sizePerThread = [1], threadsPerWarp = [32], warpsPerCTA = [4], order = [0]}>
#loc = loc("/src/kernel.py":9:0)
#loc1 = loc(unknown)
#shared = #ttg.nvmma_shared<{swizzlingByteWidth = 64, transposed = false, elementBitWidth = 16}>
#shared1 = #ttg.swizzled_shared<{vec = 1, perPhase = 1, maxPhase = 1, order = [0]}>
#smem = #ttg.shared_memory
module attributes {"ttg.num-warps" = 4 : i32, ttg.shared = 4096 : i32, ttg.target = "cuda:90"} {
  tt.func private @helper(%p: !tt.ptr<f32> loc("p"(#loc))) -> f32 attributes {noinline = true} {
    %1 = "tt.reduce"(%0) <{axis = 0 : i32}> ({
    ^bb0(%a: f32 loc(callsite(#loc1 at #loc6)), %b: f32 loc(callsite(#loc1 at #loc6))):
      %2 = arith.addf %a, %b : f32 loc(#loc8)
      tt.reduce.return %2 : f32 loc(#loc8)
    }) {allocation.offset = 0 : i32, allocation.size = 16 : i32} : (tensor<512xf32, #blocked>) -> f32 loc(#loc8)
  }
  tt.func public @kernel(%p: !tt.ptr<f32> loc("p"(#loc))) attributes {noinline = false} {
    %x_1 = ttg.local_alloc {allocation.offset = 1024 : i32} : () -> !ttg.memdesc<3x64x32xbf16, #shared, #smem, mutable> loc(#loc5)
    %bar = ttg.local_alloc {allocation.offset = 0 : i32} : () -> !ttg.memdesc<1x1xi64, #shared1, #smem, mutable> loc(#loc1)
    %bar_2 = ttg.memdesc_index %bar[%c0] : !ttg.memdesc<1x1xi64, #shared1, #smem, mutable> -> !ttg.memdesc<1xi64, #shared1> loc(#loc1)
    ttng.init_barrier %bar_2, 1 : !ttg.memdesc<1xi64, #shared1, #smem, mutable> loc(#loc1)
    %old = tt.atomic_rmw fadd, acq_rel, gpu, %q, %v, %true {allocation.offset = 0 : i32} : (!tt.ptr<f32>, f32, i1) -> f32 loc(#loc3)
  }
} loc(#loc)
#loc2 = loc("/src/kernel.py":12:21)
#loc3 = loc("old"(#loc2))
#loc4 = loc("/lib/triton/language/standard.py":263:15)
#loc5 = loc(fused[#loc1, #loc3])
#loc6 = loc("/src/kernel.py":20:1)
#loc7 = loc("total"(#loc6))
#loc8 = loc(callsite(#loc4 at #loc7))
#loc9 = loc(callsite(#loc3 at #loc7))
"""  # noqa: E501
MODULE = Module(TEXT)
OPS = list(MODULE.ops())


def named(name: str) -> Op:
    return next(op for op in OPS if op.name == name)


def test_every_operation_with_an_offset_is_found_with_its_function() -> None:
    assert [
        ("tt.reduce", "helper", 0, 16),
        ("ttg.local_alloc", "kernel", 1024, 0),
        ("ttg.local_alloc", "kernel", 0, 0),
        ("tt.atomic_rmw", "kernel", 0, 0),
    ] == [(op.name, op.function, op.offset_bytes, op.size_bytes) for op in OPS]
    assert "kernel" == MODULE.public


def test_an_operation_with_a_region_is_whole() -> None:
    text = named("tt.reduce").text
    assert text.startswith('    %1 = "tt.reduce"(%0) <{axis = 0 : i32}> ({\n    ^bb0')
    assert text.endswith(
        "}) {allocation.offset = 0 : i32, allocation.size = 16 : i32} : (tensor<512xf32, #blocked>) -> f32"
    )


def test_operands_and_types_belong_together() -> None:
    atomic, reduced = named("tt.atomic_rmw"), named("tt.reduce")
    assert (("%q", "%v", "%true"), (("!tt.ptr<f32>", "f32", "i1"), ("f32",))) == (atomic.operands, atomic.types)
    assert (("%0",), (("tensor<512xf32, #blocked>",), ("f32",))) == (reduced.operands, reduced.types)
    assert ((), ()) == (named("ttg.local_alloc").operands, named("ttg.local_alloc").types[0])


def test_a_type_has_a_shape_a_dtype_and_the_layout_that_its_name_stands_for() -> None:
    (buffer,) = named("ttg.local_alloc").types[1]
    found = MODULE.shaped(buffer)
    assert found == Shaped((3, 64, 32), "bf16", MODULE.layouts["#shared"])
    assert 2 == encoding_rank(found.layout)
    assert MODULE.shaped("!tt.ptr<f32>") is None


def test_the_rank_of_a_layout_is_that_of_its_order_or_its_own() -> None:
    assert 1 == encoding_rank(MODULE.layouts["#shared1"])
    assert 4 == encoding_rank("#ttg.nvmma_shared<{swizzlingByteWidth = 128, rank = 4}>")
    assert 0 == encoding_rank("#ttg.another<{}>")


def test_a_buffer_that_is_initialised_as_a_barrier_is_known() -> None:
    assert frozenset({"%bar"}) == MODULE.barriers()


def test_a_location_gives_the_variable_and_the_line() -> None:
    assert ("old", "/src/kernel.py", 12) == MODULE.source("#loc3")
    assert ("old", "/src/kernel.py", 12) == MODULE.source("#loc5")
    assert ("", "", 0) == MODULE.source("#loc1")


def test_the_file_is_that_of_the_module() -> None:
    assert "/src/kernel.py" == MODULE.file
    assert "" == Module(TEXT.replace("} loc(#loc)", "}")).file


def test_a_line_inside_what_was_inlined_goes_before_its_call_unless_it_is_tritons_own() -> None:
    assert ("old", "/src/kernel.py", 12) == MODULE.source("#loc9")
    assert ("total", "/src/kernel.py", 20) == MODULE.source("#loc8")
