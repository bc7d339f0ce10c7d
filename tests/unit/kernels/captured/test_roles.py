"""What kernels read and write, of real TTIR and of recorded lines."""

from pathlib import Path

import pytest
import torch
import triton
from fake_programs import compiled, program
from triton.tools.tensor_descriptor import TensorDescriptor

from ssdprof.kernels.captured.source.roles import ELSEWHERE, RoleFound, RolesError, roles_of

F32 = torch.float32
IN, OUT, BOTH = RoleFound(loads=True), RoleFound(stores=True), RoleFound(loads=True, stores=True)
SUM = RoleFound(loads=True, stores=True, float_atomic=True)

HEAD = """
import triton
import triton.language as tl

"""


def roles(folder: Path, body: str, names: list[str], *args: object, **options: object) -> dict[str, RoleFound]:
    """Of the kernel `k` of a program."""
    with program(folder, main=HEAD + body) as main:
        return dict(roles_of(compiled(main.k, *args, **options).asm["ttir"], names))


def test_loads_and_stores_are_told_apart_through_offsets_and_loops(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y, z, n, B: tl.constexpr):
    offs = tl.arange(0, B)
    p = x + offs
    acc = tl.zeros((B,), tl.float32)
    for _ in range(n):
        acc += tl.load(p, mask=offs < n)
        p += B
    tl.store(y + offs, acc)
"""
    assert {"x": IN, "y": OUT, "z": RoleFound()} == roles(tmp_path, body, ["x", "y", "z"], F32, F32, F32, 100, B=64)


def test_arguments_are_told_apart_where_their_names_are_not(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y, n):
    if n > 5:
        z = y
    else:
        z = x
    tl.store(z, tl.load(x))
"""
    assert {"x": BOTH, "y": OUT} == roles(tmp_path, body, ["x", "y"], F32, F32, 100)


def test_a_sum_of_floats_is_atomic_and_one_of_integers_or_a_maximum_is_not(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, i, m, h, c, n):
    tl.atomic_add(x, 1.0)
    tl.atomic_add(i, 1)
    tl.atomic_max(m, 1.0)
    tl.atomic_add(h, tl.full((), 1.0, tl.float16))
    tl.atomic_cas(c, n, n)
"""
    found = roles(tmp_path, body, list("ximhc"), F32, torch.int32, F32, torch.float16, torch.int32, 100)
    assert {"x": SUM, "i": BOTH, "m": BOTH, "h": SUM, "c": BOTH} == found


def test_descriptors_are_followed_those_of_the_host_and_those_made_in_the_kernel(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(d, x, e, f, n):
    own = tl.make_tensor_descriptor(x, [n, n], [n, 1], [16, 16])
    tile = d.load([0, 0])
    own.store([0, 0], tile)
    e.store([0, 0], tile)
    f.atomic_add([0, 0], tile)
"""
    d = TensorDescriptor(torch.empty(64, 64), [64, 64], [64, 1], [16, 16])
    assert {"d": IN, "x": OUT, "e": OUT, "f": SUM} == roles(tmp_path, body, list("dxef"), d, F32, d, d, 100)


def test_a_function_that_is_not_inlined_is_followed_there_and_back(tmp_path: Path) -> None:
    body = """
@triton.jit(noinline=True)
def put(p, v):
    tl.store(p, v)

@triton.jit(noinline=True)
def moved(p, q, n):
    return p + n

@triton.jit
def k(x, y, z, n):
    put(y, tl.load(moved(x, z, n)))
"""
    assert {"x": IN, "y": OUT, "z": RoleFound()} == roles(tmp_path, body, list("xyz"), F32, F32, F32, 100)


def test_while_loops_swap_what_they_carry(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y, z, n):
    a, b = x, y
    while n > 1:
        a, b = b, a
        n -= tl.load(z)
    tl.store(a, 1.0)
"""
    assert {"x": OUT, "y": OUT, "z": IN} == roles(tmp_path, body, list("xyz"), F32, F32, torch.int32, 100)


def test_addresses_that_are_read_from_memory_are_unknown_and_name_the_table(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(table, x):
    p = tl.load(table).to(tl.pointer_type(tl.float32))
    tl.store(p, tl.load(x))
"""
    found = roles(tmp_path, body, ["table", "x"], torch.int64, F32)
    assert RoleFound(loads=True, unknown="the kernel follows addresses that it reads from it") == found["table"]
    assert IN == found["x"]


def test_an_index_that_is_read_from_memory_is_no_address(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(index, x):
    tl.store(x + tl.load(index), 1.0)
"""
    assert {"index": IN, "x": OUT} == roles(tmp_path, body, ["index", "x"], torch.int64, F32)


def test_an_address_that_is_a_number_is_told_under_elsewhere(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, address):
    p = address.to(tl.int64).to(tl.pointer_type(tl.float32))
    tl.store(p, tl.load(x))
"""
    found = roles(tmp_path, body, ["x"], F32, 1 << 40)
    assert {"x", ELSEWHERE} == set(found)
    assert "the kernel makes an address of a number" == found[ELSEWHERE].unknown


def test_an_address_that_is_written_to_memory_is_unknown(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, table):
    tl.store(table, x.to(tl.int64))
"""
    found = roles(tmp_path, body, ["x", "table"], F32, torch.int64)
    assert "the kernel writes its address to memory" == found["x"].unknown
    assert OUT == found["table"]


def test_inline_assembly_with_an_address_is_unknown_and_with_values_is_not(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y):
    v = tl.inline_asm_elementwise("ld.global.b32 $0, [$1]; // %r1", "=r,l", [x.to(tl.int64)], tl.int32, False, 1)
    w = tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [tl.load(y)], tl.int32, True, 1)
    tl.store(y, v + w)
"""
    found = roles(tmp_path, body, ["x", "y"], torch.int32, torch.int32)
    assert "inline assembly takes its address" == found["x"].unknown
    assert BOTH == found["y"]


@pytest.mark.skipif(not triton.__version__.startswith("3.6"), reason="later Tritons have no block pointers")
def test_block_pointers_are_followed(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y, n):
    p = tl.make_block_ptr(x, (n, n), (n, 1), (0, 0), (16, 16), (1, 0))
    q = tl.make_block_ptr(y, (n, n), (n, 1), (0, 0), (16, 16), (1, 0))
    for _ in range(n):
        tl.store(q, tl.load(p))
        p = tl.advance(p, (0, 16))
"""
    assert {"x": IN, "y": OUT} == roles(tmp_path, body, ["x", "y"], F32, F32, 100)


def test_reductions_and_scans_carry_no_address(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y, B: tl.constexpr):
    offs = tl.arange(0, B)
    v = tl.load(x + offs)
    tl.store(y + offs, tl.cumsum(v, 0) / tl.sum(v, 0) + tl.argmax(v, 0))
"""
    assert {"x": IN, "y": OUT} == roles(tmp_path, body, ["x", "y"], F32, F32, B=64)


def test_an_early_return_makes_no_difference(tmp_path: Path) -> None:
    body = """
@triton.jit
def k(x, y, n):
    if tl.program_id(0) > n:
        return
    tl.store(y, tl.load(x))
"""
    assert {"x": IN, "y": OUT} == roles(tmp_path, body, ["x", "y"], F32, F32, 100)


def test_branches_between_blocks_carry_addresses() -> None:
    text = """
module {
  tt.func public @k(%x: !tt.ptr<f32> loc("x"(#loc)), %y: !tt.ptr<f32> loc("y"(#loc)), %c: i1 loc("c"(#loc))) {
    cf.cond_br %c, ^bb1(%x : !tt.ptr<f32>), ^bb2(%y, %x : !tt.ptr<f32>, !tt.ptr<f32>) loc(#loc1)
  ^bb1(%0: !tt.ptr<f32> loc("a")):  // pred: ^bb0
    %1 = tt.load %0 : !tt.ptr<f32> loc(#loc1)
    tt.return loc(#loc1)
  ^bb2(%2: !tt.ptr<f32> loc("b"), %3: !tt.ptr<f32> loc("b")):  // pred: ^bb0
    %cst = arith.constant 1.0 : f32 loc(#loc1)
    tt.store %2, %cst : !tt.ptr<f32> loc(#loc1)
    tt.return loc(#loc1)
  } loc(#loc)
} loc(#loc)
"""
    assert {"x": IN, "y": OUT} == roles_of(text, ["x", "y"])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("tt.call @other(%x) : (!tt.ptr<f32>) -> () loc(#loc)", "other, which is not in the text, takes its address"),
        ("tt.new_thing %x : !tt.ptr<f32>", "tt.new_thing, which is not followed, takes its address"),
        (
            '%0 = tt.extern_elementwise %x {libname = "", libpath = "", symbol = "f"} : (!tt.ptr<f32>) -> f32',
            "an external function takes its address",
        ),
    ],
)
def test_what_is_not_followed_is_said(line: str, why: str) -> None:
    text = f"module {{\n  tt.func public @k(%x: !tt.ptr<f32>) {{\n    {line}\n    tt.return\n  }}\n}}\n"
    assert {"x": RoleFound(unknown=why)} == roles_of(text, ["x"])


def test_names_that_are_too_few_are_refused() -> None:
    text = "module {\n  tt.func public @k(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>) {\n    tt.return\n  }\n}\n"
    with pytest.raises(RolesError, match="2 pointers and descriptors, 1 are named"):
        roles_of(text, ["x"])


def test_the_elements_of_a_tuple_share_its_name() -> None:
    text = """
module {
  tt.func public @k(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>) {
    %0 = tt.load %x : !tt.ptr<f32>
    tt.store %y, %0 : !tt.ptr<f32>
    tt.return
  }
}
"""
    assert {"pair": BOTH} == roles_of(text, ["pair", "pair"])
