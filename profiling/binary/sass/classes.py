"""What one machine instruction does: its class, the bytes it moves per thread, the operations of a tensor instruction.

Opcodes as in NVIDIA's "CUDA Binary Utilities" (instruction set reference), shapes of tensor instructions as in the PTX
ISA (mma, wgmma), whose names the modifiers abbreviate: HMMA.16816 is m16n8k16, HGMMA.64x128x16 is m64n128k16.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ssdprof.profiling.binary.sass.text import Instruction
from ssdprof.profiling.runs.work import InstructionClass

WARPS_OF_A_GROUP = 4
"""Warps that execute one wgmma together (PTX ISA, asynchronous warpgroup instructions)."""
SPIN_INSTRUCTIONS = 8
"""A loop that only waits has two or three; four more may make its operands."""
_LISTS: tuple[tuple[InstructionClass, str], ...] = (
    ("tensor", "HMMA IMMA DMMA BMMA QMMA OMMA HGMMA IGMMA QGMMA BGMMA UTCHMMA UTCIMMA UTCQMMA UTCOMMA UTCMMA"),
    ("special", "MUFU"),
    (
        "fp32",
        "FADD FFMA FFMA32I FADD32I FMUL FMUL32I FMNMX FMNMX3 FSET FSETP FSEL FSWZADD FCHK FADD2 FFMA2 FMUL2 UFADD UFFMA "
        "UFMUL UFMNMX UFSET UFSETP UFSEL",
    ),
    ("fp16", "HADD2 HADD2_32I HFMA2 HFMA2_32I HMUL2 HMUL2_32I HMNMX2 HSET2 HSETP2"),
    ("fp64", "DADD DFMA DMUL DSETP DMNMX"),
    ("conversion", "F2F F2I F2IP F2FP I2F I2FP I2IP I2I FRND UF2F UF2I UF2FP UI2F UI2FP UFRND UF2IP UI2I UI2IP"),
    (
        "integer",
        "IMAD IMAD32I IADD IADD3 IADD32I IABS ISETP ISCADD LEA LOP3 LOP32I LOP PLOP3 SHF SHL SHR BMSK BREV FLO POPC IDP "
        "IDP4A IMNMX IMNMX3 IMUL VIADD VIADDMNMX VIMNMX VIMNMX3 VABSDIFF VABSDIFF4 SGXT LEPC VHMNMX "
        "UIMAD UIADD3 UIADD UIABS UISETP ULEA ULOP3 ULOP UPLOP3 USHF USHL USHR UBMSK UBREV UFLO UPOPC UISCADD USGXT "
        "UIMNMX UVIADD UVIADDMNMX UVIMNMX UVIMNMX3",
    ),
    ("shared", "LDS STS LDSM STSM ATOMS LDTM STTM UTCCP UTCATOMSWS UTCSHIFT"),
    (
        "global",
        "LDG STG LDGSTS ATOM ATOMG RED REDG LD ST LDGMC CCTL CCTLL UTMALDG UTMASTG UTMAREDG UTMAPF UTMACCTL UBLKCP "
        "UBLKPF UBLKRED SUATOM SULD SUST SURED TEX TLD TLD4 TMML TXD TXQ",
    ),
    ("local", "LDL STL"),
    (
        "control",
        "BRA BRX BRXU JMP JMX JMXU BREAK BSSY BSYNC BMOV CALL RET EXIT KILL BPT RPCMOV YIELD NANOSLEEP NOP ACQBULK ENDCOLLECTIVE "
        "PREEXIT",
    ),
    (
        "barrier",
        "BAR SYNCS DEPBAR WARPSYNC MEMBAR ERRBAR FENCE LDGDEPBAR ARRIVES WARPGROUP WARPGROUPSET ACQSHMINIT UCGABAR_ARV UCGABAR_WAIT "
        "UTMACMDFLUSH UTCBAR CGAERRBAR ELECT USETMAXREG B2R R2B",
    ),
)  # fmt: skip
_CLASSES = {opcode: name for name, opcodes in _LISTS for opcode in opcodes.split()}
_WGMMA = re.compile(r"^64x(\d+)x(\d+)$")
_MMA = re.compile(r"^(?:168(?P<k>\d{1,3})|88(?P<k8>\d{1,3}))$")
_TENSOR_DTYPES = {"BF16": "bfloat16", "TF32": "tf32", "E4M3": "float8", "E5M2": "float8", "S8": "int8", "U8": "int8"}
_OF_OPCODE = {"H": "float16", "I": "int8", "D": "float64", "Q": "float8", "B": "binary"}
_BITS = {"bfloat16": 16, "float16": 16, "tf32": 32, "float8": 8, "int8": 8, "float64": 64, "binary": 1}
_WIDTHS = {"128": 16, "64": 8, "256": 32, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_MATRICES = {"4": 4, "2": 2}
_SPINS = frozenset({"barrier", "control", "move", "integer"})


@dataclass(frozen=True, slots=True)
class TensorOp:
    """A tensor instruction: its operands' dtype, the operations that one warp's share of it is, and the bytes of
    operands that it takes from shared memory, also a warp's share.
    """

    dtype: str
    flops: float
    shared_operand_bytes: float


def class_of(instruction: Instruction) -> InstructionClass:
    """Its class; `move` for what moves, selects or shuffles values, for constants and for opcodes that are not known."""
    return _CLASSES.get(instruction.opcode, "move")


def tensor_op(instruction: Instruction) -> TensorOp | None:
    """What a tensor instruction does; None if its name does not say, as that of sm_100's does not."""
    dtype = next((_TENSOR_DTYPES[word] for word in instruction.modifiers if word in _TENSOR_DTYPES), None)
    dtype = dtype or _OF_OPCODE.get(instruction.opcode[:1], "float16")
    for word in instruction.modifiers:
        if found := _WGMMA.match(word):
            n, k = int(found[1]), int(found[2])
            rows = n + (64 if _first_source_is_shared(instruction) else 0)
            operand_bytes = rows * k * _BITS[dtype] / 8
            return TensorOp(dtype, 2 * 64 * n * k / WARPS_OF_A_GROUP, operand_bytes / WARPS_OF_A_GROUP)
        if found := _MMA.match(word):
            m, k = (16, found["k"]) if found["k"] else (8, found["k8"])
            return TensorOp(dtype, 2 * m * 8 * int(k), 0.0)
        if word == "8x8x4":
            return TensorOp("float64", 2 * 8 * 8 * 4, 0.0)
    return None


def _first_source_is_shared(instruction: Instruction) -> bool:
    """Whether the left operand of a wgmma is in shared memory too: one descriptor stands for both then."""
    sources = instruction.operands.split(", ")[1:]
    return bool(sources) and sources[0].startswith("gdesc")


def thread_bytes(instruction: Instruction) -> int:
    """Bytes that each thread loads or stores, by an instruction that says how wide it is."""
    words = instruction.modifiers
    if instruction.opcode in ("LDSM", "STSM"):  # 8×8 matrices of 16 bits over 32 threads: 4 bytes each
        last = words[-1] if words else ""
        return 4 * _MATRICES.get(last, 1)
    return next((_WIDTHS[word] for word in words if word in _WIDTHS), 4)


def spins(instructions: Iterable[Instruction]) -> bool:
    """Whether a loop of these only asks a barrier again and again, for no one knows how many rounds."""
    ones = list(instructions)
    asks = any("TRYWAIT" in one.modifiers or one.opcode in ("UCGABAR_WAIT", "NANOSLEEP") for one in ones)
    return asks and all(class_of(one) in _SPINS for one in ones) and len(ones) <= SPIN_INSTRUCTIONS
