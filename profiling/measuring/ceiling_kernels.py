"""Kernels that keep one unit of a GPU busy and nothing else, to measure its ceiling. Importing this imports Triton.

What a loop must consist of, instruction by instruction, is written in PTX; the rest is Triton's. Every kernel writes
what it computed, so that no compiler drops it. Loop counts are arguments: a compiler cannot unroll the loops away.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ssdprof.profiling.measuring.ceiling_probes import EXPONENTIALS, ISSUED_PAIRS, SHARED_LOADS

CHAINS = 8
"""Independent chains of instructions per thread: with some warps per scheduler they hide each instruction's latency."""


def _loop(turns: str, body: list[str]) -> str:
    """PTX that runs `body` as often as the register `turns` says."""
    return f"""
        .reg .pred again;
        .reg .u32 left;
        mov.u32 left, {turns};
        NEXT:
        {" ".join(body)}
        sub.u32 left, left, 1;
        setp.ne.u32 again, left, 0;
        @again bra.uni NEXT;"""


# $1: turns, $2: address step, $3: the thread's number in its warp. The addresses of a warp's load are neighbours, so it
# has no bank conflict; they change from turn to turn by a step that the compiler does not know, so every load is done.
_SHARED = f"""{{
        .shared .align 16 .b8 window[{2 * SHARED_LOADS * 512}];
        .reg .u32 base, address, moved, sum, a, b, c, d;
        mov.u32 base, window;
        shl.b32 address, $3, 4;
        add.u32 base, base, address;
        st.shared.v4.u32 [base], {{$1, $2, $3, $1}};
        mov.u32 sum, 0;
        mov.u32 moved, 0;
{
    _loop(
        "$1",
        [
            f"add.u32 moved, moved, $2; and.b32 moved, moved, {SHARED_LOADS * 512 - 512};",
            "add.u32 address, base, moved;",
            *(
                f"ld.shared.v4.u32 {{a, b, c, d}}, [address+{512 * i}];"
                "lop3.b32 sum, sum, a, b, 0x96; lop3.b32 sum, sum, c, d, 0x96;"
                for i in range(SHARED_LOADS)
            ),
        ],
    )
}
        mov.u32 $0, sum;
        }}"""

# $1: turns, $2: an operand that the compiler does not know, so that nothing is folded; $3: the thread's number, without
# which sm_120 would run a warp's FFMA once, on its uniform datapath.
_ISSUED = f"""{{
        .reg .f32 f<{CHAINS}>, sum;
        .reg .u32 n<{CHAINS}>, bits;
        {" ".join(f"add.u32 n{i}, $3, {i}; cvt.rn.f32.u32 f{i}, n{i};" for i in range(CHAINS))}
{
    _loop(
        "$1",
        [
            f"fma.rn.f32 f{i % CHAINS}, f{i % CHAINS}, 0f3A83126F, f{i % CHAINS};"
            f"lop3.b32 n{i % CHAINS}, n{i % CHAINS}, $2, $3, 0x6a;"
            for i in range(ISSUED_PAIRS)
        ],
    )
}
        mov.f32 sum, f0; mov.u32 bits, n0;
        {" ".join(f"add.f32 sum, sum, f{i}; xor.b32 bits, bits, n{i};" for i in range(1, CHAINS))}
        mov.b32 $0, sum; xor.b32 $0, $0, bits;
        }}"""

# $1: turns, $2: where the chains begin.
_EXPONENTIALS = f"""{{
        .reg .f32 f<{CHAINS}>, sum;
        {" ".join(f"cvt.rn.f32.u32 f{i}, $2;" for i in range(CHAINS))}
        {" ".join(f"add.f32 f{i}, f{i}, 0f3{i}000000;" for i in range(CHAINS))}
{_loop("$1", [f"ex2.approx.ftz.f32 f{i % CHAINS}, f{i % CHAINS};" for i in range(EXPONENTIALS)])}
        mov.f32 sum, f0;
        {" ".join(f"add.f32 sum, sum, f{i};" for i in range(1, CHAINS))}
        mov.b32 $0, sum;
        }}"""

_SHARED_PTX = tl.constexpr(_SHARED)
_ISSUED_PTX = tl.constexpr(_ISSUED)
_EXPONENTIALS_PTX = tl.constexpr(_EXPONENTIALS)


@triton.jit(do_not_specialize=["turns", "span"])
def l2_read(source_ptr, out_ptr, turns, span, unroll: tl.constexpr, block: tl.constexpr):
    """Each program reads `span` blocks of `source` (int32, programs × span × block) round and round, past L1.

    No two programs read the same line, or requests of several SMs for it would become one before they reach the L2.
    `turns` × `unroll` blocks in all; writes a program's sums to `out` (int32, programs × block).
    """
    program = tl.program_id(0)
    offsets = tl.arange(0, block)
    place = program % span
    total = tl.zeros((block,), tl.int32)
    for _ in tl.range(turns, num_stages=1):
        for _ in tl.static_range(unroll):
            total += tl.load(source_ptr + (program * span + place) * block + offsets, cache_modifier=".cg")
            place += 1
            place = tl.where(place >= span, 0, place)
    tl.store(out_ptr + program * block + offsets, total)


@triton.jit(do_not_specialize=["turns", "step"])
def shared(out_ptr, turns, step, threads: tl.constexpr):
    """Each thread reads `turns` × SHARED_LOADS × 16 bytes of shared memory, without bank conflicts.

    `step`: 512, in bytes. Writes a word per thread to `out` (int32, programs × threads).
    """
    thread = tl.arange(0, threads)
    word = tl.inline_asm_elementwise(_SHARED_PTX, "=r,r,r,r", [turns, step, thread % 32], tl.int32, False, 1)
    tl.store(out_ptr + tl.program_id(0) * threads + thread, word)


@triton.jit(do_not_specialize=["turns", "value"])
def issued(out_ptr, turns, value, threads: tl.constexpr):
    """Each warp issues `turns` × (2 × ISSUED_PAIRS + LOOP_INSTRUCTIONS) instructions, by turns to two pipes.

    No single pipe of every architecture takes an instruction per clock. Writes a word per thread to `out` (int32,
    programs × threads).
    """
    thread = tl.arange(0, threads)
    word = tl.inline_asm_elementwise(_ISSUED_PTX, "=r,r,r,r", [turns, value, thread], tl.int32, False, 1)
    tl.store(out_ptr + tl.program_id(0) * threads + thread, word)


@triton.jit(do_not_specialize=["turns"])
def exponentials(out_ptr, turns, threads: tl.constexpr):
    """Each thread takes `turns` × EXPONENTIALS powers of two on the special-function unit.

    Writes a word per thread to `out` (int32, programs × threads).
    """
    thread = tl.arange(0, threads)
    word = tl.inline_asm_elementwise(_EXPONENTIALS_PTX, "=r,r,r", [turns, thread % 2], tl.int32, False, 1)
    tl.store(out_ptr + tl.program_id(0) * threads + thread, word)


@triton.jit(do_not_specialize=["turns"])
def tensor(
    a_ptr, b_ptr, out_ptr, turns,
    rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr, dots: tl.constexpr, whole: tl.constexpr,
):  # fmt: skip
    """`turns` × `dots` products of the same two tiles, a (rows × depth) and b (columns × depth), summed.

    `whole`: in int32 instead of float32. Writes the sums of a program's rows to `out` (programs × rows).
    """
    sum_dtype: tl.constexpr = tl.int32 if whole else tl.float32
    row, column, inner = tl.arange(0, rows), tl.arange(0, columns), tl.arange(0, depth)
    a = tl.load(a_ptr + row[:, None] * depth + inner[None, :])
    b = tl.load(b_ptr + column[None, :] * depth + inner[:, None])
    total = tl.zeros((rows, columns), sum_dtype)
    for _ in tl.range(turns):
        for _ in tl.static_range(dots):
            total = tl.dot(a, b, total, out_dtype=sum_dtype)
    tl.store(out_ptr + tl.program_id(0) * rows + row, tl.sum(total, 1))
