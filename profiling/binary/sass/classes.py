"""What one machine instruction does: its class, the bytes it moves per thread, the operations of a tensor instruction.

Opcodes as in NVIDIA's "CUDA Binary Utilities" (instruction set reference), shapes of tensor instructions as in the PTX
ISA (mma, wgmma), whose names the modifiers abbreviate: HMMA.16816 is m16n8k16, HGMMA.64x128x16 is m64n128k16.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ssdprof.profiling.binary.sass.text import Instruction
from ssdprof.profiling.runs.work import InstructionClass

LANES = 32
"""Threads of a warp."""
WARPS_OF_A_GROUP = 4
"""Warps that execute one wgmma together (PTX ISA, asynchronous warpgroup instructions)."""
SPIN_INSTRUCTIONS = 8
"""A loop that only waits has two or three; four more may make its operands."""
_OPCODES: Mapping[InstructionClass, str] = {
    "tensor": """HMMA IMMA DMMA BMMA QMMA OMMA HGMMA IGMMA QGMMA BGMMA UTCHMMA UTCIMMA UTCQMMA UTCOMMA UTCMMA""",
    "special": "MUFU",
    "fp32": """
        FADD FADD2 FADD32I FCHK FFMA FFMA2 FFMA32I FMNMX FMNMX3 FMUL FMUL2 FMUL32I FSEL FSET FSETP FSWZADD UFADD UFFMA
        UFMNMX UFMUL UFSEL UFSET UFSETP""",
    "fp16": "HADD2 HADD2_32I HFMA2 HFMA2_32I HMNMX2 HMUL2 HMUL2_32I HSET2 HSETP2",
    "fp64": "DADD DFMA DMNMX DMUL DSETP",
    "conversion": """
        F2F F2FP F2I F2IP FRND I2F I2FP I2I I2IP UF2F UF2FP UF2I UF2IP UFRND UI2F UI2FP UI2I UI2IP""",
    "integer": """
        BMSK BREV FLO IABS IADD IADD3 IADD32I IDP IDP4A IMAD IMAD32I IMNMX IMNMX3 IMUL ISCADD ISETP LEA LEPC
        LOP LOP3 LOP32I PLOP3 POPC SGXT SHF SHL SHR VABSDIFF VABSDIFF4 VHMNMX VIADD VIADDMNMX VIMNMX VIMNMX3
        UBMSK UBREV UFLO UIABS UIADD UIADD3 UIMAD UIMNMX UISCADD UISETP ULEA ULOP ULOP3 UPLOP3 UPOPC USGXT
        USHF USHL USHR UVIADD UVIADDMNMX UVIMNMX UVIMNMX3""",
    "shared": "ATOMS LDS LDSM LDTM STS STSM STTM UTCCP UTCSHIFT",
    "global": """
        ATOM ATOMG CCTL CCTLL LD LDG LDGMC LDGSTS RED REDG ST STG SUATOM SULD SURED SUST TEX TLD TLD4 TMML TXD TXQ
        UBLKCP UBLKPF UBLKRED UTMACCTL UTMALDG UTMAPF UTMAREDG UTMASTG""",
    "local": "LDL STL",
    "control": """
        ACQBULK BMOV BPT BRA BREAK BRX BRXU BSSY BSYNC CALL ENDCOLLECTIVE EXIT JMP JMX JMXU KILL NANOSLEEP NOP PREEXIT
        RET RPCMOV YIELD""",
    "barrier": """
        ACQSHMINIT ARRIVES B2R BAR CGAERRBAR DEPBAR ELECT ERRBAR FENCE LDGDEPBAR MEMBAR R2B SYNCS UCGABAR_ARV
        UCGABAR_WAIT USETMAXREG UTCATOMSWS UTCBAR UTMACMDFLUSH WARPGROUP WARPGROUPSET WARPSYNC""",
}
_CLASSES = {opcode: name for name, opcodes in _OPCODES.items() for opcode in opcodes.split()}
_SHAPE = re.compile(r"^(\d+)x(\d+)x(\d+)$")
_SHORT_SHAPE = re.compile(r"^(?:168(\d{1,3})|88(\d{1,3}))$")
_TENSOR_DTYPES = {"BF16": "bfloat16", "TF32": "tf32", "E4M3": "float8", "E5M2": "float8", "S8": "int8", "U8": "int8"}
_OF_OPCODE = {"H": "float16", "I": "int8", "D": "float64", "Q": "float8", "B": "binary"}
_BITS = {"bfloat16": 16, "float16": 16, "tf32": 32, "float8": 8, "int8": 8, "float64": 64, "binary": 1}
_WIDTHS = {"128": 16, "64": 8, "256": 32, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_MATRICES = {"4": 4, "2": 2}
_ASKS = frozenset({"UCGABAR_WAIT", "NANOSLEEP", "UTCATOMSWS"})
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
    """Its class: `move` if it moves, selects or shuffles values or reads constants, and if its opcode is not known."""
    return _CLASSES.get(instruction.opcode, "move")


def tensor_op(instruction: Instruction) -> TensorOp | None:
    """What a tensor instruction does; None if its name does not say, as that of sm_100's does not."""
    dtype = next((_TENSOR_DTYPES[word] for word in instruction.modifiers if word in _TENSOR_DTYPES), None)
    dtype = dtype or _OF_OPCODE.get(instruction.opcode[:1], "float16")
    for word in instruction.modifiers:
        if found := _SHAPE.match(word):
            m, n, k = map(int, found.groups())
            if not instruction.opcode.endswith("GMMA"):
                return TensorOp(dtype, 2 * m * n * k, 0.0)
            rows = n + (m if _first_source_is_shared(instruction) else 0)
            operand_bytes = rows * k * _BITS[dtype] / 8
            return TensorOp(dtype, 2 * m * n * k / WARPS_OF_A_GROUP, operand_bytes / WARPS_OF_A_GROUP)
        if found := _SHORT_SHAPE.match(word):
            m, k = (16, int(found[1])) if found[1] else (8, int(found[2]))
            return TensorOp(dtype, 2 * m * 8 * k, 0.0)
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
    asks = any("TRYWAIT" in one.modifiers or one.opcode in _ASKS for one in ones)
    return asks and all(class_of(one) in _SPINS for one in ones) and len(ones) <= SPIN_INSTRUCTIONS
