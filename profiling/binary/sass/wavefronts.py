"""Cycles of an SM's L1 data pipe, which loads, stores and shared memory go through, one wavefront each: an estimate.

ncu's `l1tex__throughput` is these wavefronts over the SM's cycles: within 0.6 % on 224 launches of chunk scans on an
H200. The least is one for each 128 bytes of a warp's instruction. What is more (bank conflicts, lanes apart) or less (a
tile that a wgmma reads once for several rows, copies under a predicate that is off) depends on addresses, which are not
in the code. The weights are fitted to these launches and to 68 of other kernels (products, attention, softmax, norms,
scans, transposes): the median error is 5 % for both, nine of ten are within 14 % and 20 %.
"""

from __future__ import annotations

from ssdprof.profiling.binary.sass.classes import LANES, tensor_op, thread_bytes
from ssdprof.profiling.binary.sass.text import Instruction

BANKS_BYTES = 128
"""Bytes of all banks together, of one wavefront."""
_WIDE_BYTES = 16
_WIDE = {
    "LDS": 1.6, "LDSM": 1.0, "STS": 1.38, "STSM": 0.5, "LDG": 1.18, "STG": 1.75, "LDL": 0.9, "STL": 0.9, "LDGSTS": 0.31,
}  # fmt: skip
"""Wavefronts for each 128 bytes, if each thread takes 16 bytes."""
_NARROW = {"LDS": 0.95, "STS": 0.44, "LDL": 0.9, "STL": 0.9}
"""The same if each takes less."""
_SCATTERED = {"LDG": 2.3, "STG": 0.74, "LDGSTS": 6.6}
"""Wavefronts of an instruction whose threads take less than 16 bytes each, often from several rows."""
_OF_OPERANDS = 0.83
"""Wavefronts for each 128 bytes that a wgmma reads."""
_SHUFFLE, _ANY_LANE = 1.0, 4.7
"""Wavefronts of a shuffle: to a lane at some distance, and to any lane, with which layouts are converted."""


def wavefronts(instruction: Instruction) -> float:
    """Those of one warp's instruction."""
    opcode = instruction.opcode
    if opcode == "SHFL":
        return _ANY_LANE if "IDX" in instruction.modifiers else _SHUFFLE
    if opcode in _WIDE:
        size_bytes = thread_bytes(instruction)
        if opcode in _SCATTERED and size_bytes < _WIDE_BYTES:
            return _SCATTERED[opcode]
        weights = _WIDE if size_bytes >= _WIDE_BYTES or opcode not in _NARROW else _NARROW
        return weights[opcode] * size_bytes * LANES / BANKS_BYTES
    if not opcode.endswith("GMMA"):
        return 0.0
    op = tensor_op(instruction)
    return _OF_OPERANDS * op.shared_operand_bytes / BANKS_BYTES if op else 0.0
