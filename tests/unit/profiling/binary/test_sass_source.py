"""The loops and products that are read from Triton's IR."""

from dataclasses import replace

import pytest
from fake_sass import FILE, dot, load, ttir

from ssdprof.profiling.binary.sass.source import source_of
from ssdprof.profiling.runs.work import Dot, SourceLoop

NESTED = ttir(
    "3 %x = arith.addi %y, %z : i32", "5 for", "6 " + load(64), "7 for", "8 " + load(256, "bf16"),
    "9 " + dot(64, 32, 16), "end", "end", "12 for", "end", "14 " + dot(16, 16, 64, "f16"),
)  # fmt: skip


def test_loops_come_in_order_with_what_is_in_them() -> None:
    source = source_of(NESTED)
    product = (64, 32, 16, "bfloat16")
    assert (
        SourceLoop(5, FILE, 0, 1.0),
        SourceLoop(7, FILE, 1, 1.0, parent=0, dots=(product,)),
        SourceLoop(12, FILE, 0, 1.0),
    ) == source.loops
    assert {
        None: (((16, 16, 64, "float16"), ((FILE, 14),)),),
        0: (),
        1: ((product, ((FILE, 9),)),),
        2: (),
    } == source.dots
    assert (((256, ((FILE, 6),)),), ((512, ((FILE, 8),)),)) == (source.loads[0], source.loads[1])
    assert [{(FILE, ()): (5, 9)}, {(FILE, ()): (7, 9)}, {(FILE, ()): (12, 12)}] == list(source.spans)


def test_what_was_inlined_has_the_calls_around_it() -> None:
    text = ttir("5 for", "20 " + dot(16, 16, 16), "end").replace(
        f'#loc2 = loc("{FILE}":20:3)',
        f'#loc2 = loc(callsite(#loc8 at #loc9))\n#loc8 = loc("acc"(#loc7))\n#loc7 = loc("{FILE}":20:3)\n'
        f'#loc9 = loc("{FILE}":6:3)',
    )
    source = source_of(text)
    assert ((FILE, 20), (FILE, 6)) == source.dots[0][0][1]
    assert {(FILE, ()): (5, 6), (FILE, ((FILE, 6),)): (20, 20)} == source.spans[0]


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ((64, 32, 16, "float32"), dot(64, 32, 16, "f32", "")), ((64, 32, 16, "tf32"), dot(64, 32, 16, "f32", "tf32")),
        ((64, 32, 48, "tf32"), dot(64, 32, 16, "f32", "tf32x3")), ((64, 32, 16, "float8"), dot(64, 32, 16, "f8E4M3FN")),
        ((64, 32, 16, "int8"), dot(64, 32, 16, "i8")),
        (
            (64, 8, 32, "float16"),
            "%d = tt.dot %x, %y, %z : tensor<4x16x32xf16> * tensor<4x32x8xf16> -> tensor<4x16x8xf32>",
        ),
    ],
)  # fmt: skip
def test_a_product_has_sizes_and_the_dtype_that_tensor_cores_see(expected: Dot, text: str) -> None:
    assert (expected,) == source_of(ttir("5 for", f"6 {text}", "end")).loops[0].dots


def test_trips_are_taken_over_for_the_same_loops_alone() -> None:
    source = source_of(NESTED)
    trips = tuple(replace(loop, mean_trips=3.0, entries=0.5, spread=((6, 1.0),)) for loop in source.loops)
    assert trips == source.with_trips(trips).loops
    with pytest.raises(ValueError, match=r"the loops are at \[.*, those with trips at \[\]"):
        source.with_trips(())
