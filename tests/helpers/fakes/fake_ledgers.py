"""Ledgers to report: those of one config of the chunk scan, as Triton 3.6 lays it out for sm_90."""

from __future__ import annotations

from typing import Any

from ssdprof.profiling.runs.ledger import Held, Ledger, ledger
from ssdprof.profiling.runs.registers import HeldInRegisters, RegisterKind, Registers

FILE = "/src/ssdprof/kernels/ssd/per_head.py"


def held(name: str, offset_bytes: int, size_bytes: int, *shape: int, **fields: Any) -> Held:
    """A buffer of bfloat16, if nothing else is said."""
    given = {"kind": "buffer", "op": "local_alloc", "dtype": "bf16", "file": FILE} | fields
    return Held(offset_bytes=offset_bytes, size_bytes=size_bytes, name=name, shape=shape, **given)


def converted(name: str, size_bytes: int, *shape: int, **fields: Any) -> Held:
    """The scratch of a layout conversion, at the beginning."""
    return held(name, 0, size_bytes, *shape, **{"kind": "scratch", "op": "convert_layout"} | fields)


CHUNK_SCAN: Ledger = ledger(
    [
        converted("b_da_m", 256, 64, dtype="f32", line=110),
        held("b_c", 0, 16384, 64, 128, line=32),
        held("b_state", 16384, 16384, 128, 64, line=33),
        converted("b_acc", 256, 64, dtype="f32", line=126),
        held("b_cb", 0, 24576, 64, 32, dtype="f32", copies=3, line=134),
        held("b_da_k", 40960, 384, 32, dtype="f32", copies=3, line=136),
        held("b_dt_k", 41344, 384, 32, dtype="f32", copies=3, line=137),
        held("b_x", 24576, 12288, 32, 64, copies=3, line=139),
        held("b_acc", 36864, 4096, 64, 32, line=144),
        converted("b_acc", 1024, 64, 64, line=154),
        converted("", 1024, 64, 64, line=162),
    ],
    41728,
    41728,
)
"""Of m64n64k32d128w2s4."""


def in_registers(kind: RegisterKind, registers: int, name: str, *shape: int, **fields: Any) -> HeldInRegisters:
    """A value of float32, if nothing else is said."""
    return HeldInRegisters(kind, registers, name, shape=shape, **{"dtype": "f32", "file": FILE, "line": 1} | fields)


CHUNK_SCAN_REGISTERS = Registers(
    (
        in_registers("operand", 128, "b_c", 64, 128, op="local_load", dtype="bf16", line=32),
        in_registers("operand", 64, "b_state", 128, 64, op="local_load", dtype="bf16", line=33),
        in_registers("computed", 8, "b_da_m", 64, op="mulf", line=110),
        in_registers("indices", 2, "m_c", 64, 1, op="expand_dims", dtype="i32", values=2, line=30),
        in_registers("mask", 2, "m_c", 64, 1, op="cmpi", dtype="i1", line=30),
        in_registers("mask", 2, "m_state", 1, 64, op="cmpi", dtype="i1", line=31),
        in_registers("computed", 1, "b_scale_m", 64, op="exp2", line=111),
        in_registers("indices", 1, "m_state", 1, 64, op="expand_dims", dtype="i32", line=31),
    ),
    registers_per_thread=255,
    spilled_registers=0,
    op="local_load",
    file=FILE,
    line=33,
)
"""Of the same."""
LEDGERS: dict[str, Any] = {"ledger": CHUNK_SCAN, "registers": CHUNK_SCAN_REGISTERS}
"""What its explanation has."""
