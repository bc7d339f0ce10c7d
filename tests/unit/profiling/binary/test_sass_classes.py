"""What single instructions do."""

import pytest
from fake_sass import code

from ssdprof.profiling.binary.sass.classes import TensorOp, class_of, spins, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.text import Instruction
from ssdprof.profiling.binary.sass.wavefronts import wavefronts


def instruction(text: str) -> Instruction:
    return code(f"1 {text}").instructions[0]


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("tensor", "QGMMA.64x128x32.F32.E4M3.E4M3 R24, gdesc[UR4], R24"), ("special", "MUFU.EX2 R0, R1"),
        ("fp32", "FFMA.FTZ R0, R1, R2, R3"), ("fp16", "HFMA2.BF16_V2 R0, R1, R2, R3"), ("fp64", "DFMA R0, R2, R4, R6"),
        ("integer", "IMAD.WIDE R4, R21, 0x2, R8"), ("integer", "UIADD3 UR9, UR9, 0x1, URZ"),
        ("conversion", "F2FP.BF16.F32.PACK_AB R7, R24, R59"), ("shared", "LDSM.16.M88.4 R16, [R0]"),
        ("global", "LDGSTS.E.BYPASS.128 [R7], desc[UR12][R68.64], P6"), ("local", "STL [R1], R2"),
        ("control", "BRA to here"), ("barrier", "BAR.SYNC.DEFER_BLOCKING 0x0"),
        ("move", "SHFL.BFLY PT, R0, R1, 0x1, 0x1f"),
    ],
)  # fmt: skip
def test_an_opcode_has_a_class(expected: str, text: str) -> None:
    assert expected == class_of(instruction(text))


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (TensorOp("bfloat16", 2 * 16 * 8 * 16, 0), "HMMA.16816.F32.BF16 R4, R8, R12, R4"),
        (TensorOp("float16", 2 * 16 * 8 * 8, 0), "HMMA.1688.F32 R4, R8, R12, R4"),
        (TensorOp("tf32", 2 * 16 * 8 * 8, 0), "HMMA.1688.F32.TF32 R4, R8, R12, R4"),
        (TensorOp("int8", 2 * 16 * 8 * 32, 0), "IMMA.16832.S8.S8 R4, R8.ROW, R12.COL, R4"),
        (TensorOp("float64", 2 * 8 * 8 * 4, 0), "DMMA.8x8x4 R4, R8, R12, R4"),
        # A quarter of a warpgroup's: B (64, 16) alone, and A (64, 16) with it, if a descriptor comes first.
        (
            TensorOp("bfloat16", 2 * 64 * 64 * 16 / 4, 64 * 16 * 2 / 4),
            "HGMMA.64x64x16.F32.BF16 R24, R64, gdesc[UR8], R24",
        ),
        (TensorOp("float16", 2 * 64 * 32 * 16 / 4, 96 * 16 * 2 / 4), "HGMMA.64x32x16.F32 R24, gdesc[UR4], RZ, !UPT"),
        (TensorOp("float8", 2 * 64 * 8 * 32 / 4, 72 * 32 / 4), "QGMMA.64x8x32.F32.E4M3.E5M2 R24, gdesc[UR4], R24"),
        (None, "UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8], tmem[UR10], idesc[UR11], UP0"),
    ],
)
def test_a_tensor_instruction_says_what_it_does(expected: TensorOp | None, text: str) -> None:
    assert expected == tensor_op(instruction(text))


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (16, "LDS.128 R64, [R160]"), (8, "STS.64 [R0], R2"), (4, "LDS R1, [R2]"), (2, "LDS.U16 R1, [R2]"),
        (1, "STS.U8 [R0], R2"), (16, "LDSM.16.M88.4 R16, [R0]"), (8, "LDSM.16.MT88.2 R16, [R0]"),
        (4, "STSM.16.M88 [R0], R4"), (16, "LDGSTS.E.BYPASS.128 [R7], desc[UR12][R68.64]"),
        (4, "LDG.E R0, desc[UR4][R2.64]"),
    ],
)  # fmt: skip
def test_a_memory_instruction_says_how_many_bytes_a_thread_moves(expected: int, text: str) -> None:
    assert expected == thread_bytes(instruction(text))


def test_a_loop_that_only_asks_a_barrier_spins() -> None:
    asks = "1 IMAD.U32 R9, RZ, RZ, UR9\n1 SYNCS.PHASECHK.TRANS64.TRYWAIT P3, [UR8], R9\n1 @!P3 BRA to here"
    assert spins(code(asks).instructions)
    assert not spins(code(f"{asks}\n1 LDS R1, [R2]").instructions)
    assert not spins(code("1 IADD3 R1, R1, 0x1, RZ\n1 @P0 BRA to here").instructions)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (6.4, "LDS.128 R64, [R160]"), (0.95, "LDS R1, [R2]"), (5.52, "STS.128 [R0], R4"),
        (4.72, "LDG.E.128 R0, desc[UR4][R2.64]"), (2.3, "LDG.E R0, desc[UR4][R2.64]"),
        (6.6, "LDGSTS.E [R7], desc[UR12][R68.64]"), (1.0, "SHFL.BFLY PT, R0, R1, 0x1, 0x1f"),
        (4.7, "SHFL.IDX PT, R0, R1, R2, 0x1f"), (4.0, "LDSM.16.M88.4 R4, [R2]"),
        (0.0, "FFMA R0, R1, R2, R3"),
        (0.83 * 64 * 16 * 2 / 4 / 128, "HGMMA.64x64x16.F32.BF16 R24, R64, gdesc[UR8], R24"),
        (0.0, "HMMA.16816.F32.BF16 R4, R8, R12, R4"),
    ],
)  # fmt: skip
def test_what_goes_through_the_data_pipe_of_l1_takes_wavefronts(expected: float, text: str) -> None:
    assert pytest.approx(expected) == wavefronts(instruction(text))
