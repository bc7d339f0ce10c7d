"""Cycles of an SM's L1 data pipe, which loads, stores and shared memory go through, one wavefront each: an estimate.

ncu's `l1tex__throughput` is these wavefronts over the SM's cycles: within 0.6 % on 224 launches of chunk scans on an
H200. The least is one for each 128 bytes of a warp's instruction. What is more (bank conflicts, lanes apart) or less (a
tile that a wgmma reads once for several rows, copies under a predicate that is off) depends on addresses, which are not
in the code. The weights are fitted to these launches: median error 3 %, 12 % for nine of ten, 29 % at most; for
configs that were left out of the fit 10 % and 23 %.
"""

from __future__ import annotations

from ssdprof.profiling.binary.sass.classes import LANES, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.text import Instruction

BANKS_BYTES = 128
"""Bytes of all banks together, of one wavefront."""
_PER_BYTES = {
    "LDS": 1.0, "LDSM": 1.0, "STS": 1.25, "STSM": 1.25, "LDG": 1.0, "STG": 1.0, "LDL": 1.0, "STL": 1.0, "LDGSTS": 0.7,
}  # fmt: skip
"""Wavefronts for each 128 bytes."""
_NARROW = {"LDG": 3.6, "LDGSTS": 9.0}
"""Wavefronts of an instruction whose threads take less than 16 bytes each, from several rows."""
_OF_OPERANDS = 0.75
"""Wavefronts for each 128 bytes that a wgmma reads."""
_SHUFFLE = 4.5
_WIDE_BYTES = 16


def wavefronts(instruction: Instruction) -> float:
    """Those of one warp's instruction."""
    opcode = instruction.opcode
    if opcode == "SHFL":
        return _SHUFFLE
    if opcode in _PER_BYTES:
        size_bytes = thread_bytes(instruction)
        if opcode in _NARROW and size_bytes < _WIDE_BYTES:
            return _NARROW[opcode]
        return _PER_BYTES[opcode] * size_bytes * LANES / BANKS_BYTES
    if not opcode.endswith("GMMA"):
        return 0.0
    op = tensor_op(instruction)
    return _OF_OPERANDS * op.shared_operand_bytes / BANKS_BYTES if op else 0.0
