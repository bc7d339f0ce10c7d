"""Reads a kernel's resources from a cubin, without a GPU and without NVIDIA's tools.

A cubin is an ELF file. Its `.nv.info` sections are lists of attributes: one byte of format, one byte of attribute, two
bytes that are the value itself or, in the sized format, the length of the payload that follows. The attribute numbers
are those that `cuobjdump --dump-elf` prints; the results were checked against `cuobjdump --dump-resource-usage`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elftools.elf.elffile import ELFFile

from ssdprof.kernels.errors import SsdprofError

_FORMAT_SIZED = 0x04
_FRAME_SIZE = 0x11
_REGCOUNT = 0x2F
_NUM_BARRIERS = 0x4C
_ABI_WITH_BARRIER_FLAGS = 7
_BARRIER_FLAGS_SHIFT, _BARRIER_FLAGS_MASK = 20, 0x7F


class CubinError(SsdprofError):
    """A binary that is not a cubin, or that lacks the kernel."""


@dataclass(frozen=True, slots=True)
class CubinResources:
    """Registers and local memory bytes (stack and spills) per thread, and barriers per block."""

    registers_per_thread: int
    local_bytes: int
    num_barriers: int


def read_cubin(cubin: bytes, kernel: str) -> CubinResources:
    """The resources of `kernel` in `cubin`. Raises CubinError if it is not there."""
    try:
        elf = ELFFile(io.BytesIO(cubin))
        symbols: Any = elf.get_section_by_name(".symtab")
        index = next((i for i, symbol in enumerate(symbols.iter_symbols()) if symbol.name == kernel), None)
        text = elf.get_section_by_name(f".text.{kernel}")
        info: Any = elf.get_section_by_name(".nv.info")
        attributes = info.data()
        registers = None if index is None else _value_of_symbol(attributes, _REGCOUNT, index)
    except Exception as error:
        raise CubinError(f"cannot read kernel {kernel!r} from its cubin: {type(error).__name__}: {error}") from error
    if index is None:
        raise CubinError(f"the cubin has no kernel {kernel!r}")
    if registers is None or text is None:
        raise CubinError(f"the cubin gives no register count for kernel {kernel!r}")
    return CubinResources(
        registers_per_thread=registers,
        local_bytes=_value_of_symbol(attributes, _FRAME_SIZE, index) or 0,
        num_barriers=_num_barriers(elf, kernel, text["sh_flags"]),
    )


def _attributes(info: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(attribute, short value, payload) of every entry of an `.nv.info` section."""
    offset = 0
    while offset + 4 <= len(info):
        form, attribute, short = struct.unpack_from("<BBH", info, offset)
        begin, offset = offset + 4, offset + 4 + (short if form == _FORMAT_SIZED else 0)
        yield attribute, short, info[begin:offset]


def _value_of_symbol(info: bytes, wanted: int, symbol_index: int) -> int | None:
    payloads = [payload for attribute, _, payload in _attributes(info) if attribute == wanted and len(payload) == 8]
    pairs = (struct.unpack("<II", payload) for payload in payloads)
    return next((value for index, value in pairs if index == symbol_index), None)


def _num_barriers(elf: ELFFile, kernel: str, text_flags: int) -> int:
    """From the attribute if there is one; before ELF ABI 8, from the flags of the kernel's text section."""
    info = elf.get_section_by_name(f".nv.info.{kernel}")
    for attribute, short, _ in _attributes(b"" if info is None else info.data()):
        if attribute == _NUM_BARRIERS:
            return short & 0xFF
    if elf["e_ident"]["EI_ABIVERSION"] <= _ABI_WITH_BARRIER_FLAGS:
        return (text_flags >> _BARRIER_FLAGS_SHIFT) & _BARRIER_FLAGS_MASK
    return 0
