"""Reading a recorded cubin (tests/golden/README.md), and ones that lack what is looked for."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from ssdprof.profiling.binary.cubin import CubinError, CubinResources, read_cubin

CUBIN = (Path(__file__).parents[3] / "golden" / "chunk_scan_sm_90.cubin").read_bytes()
KERNEL = "chunk_scan_kernel"
ABI_VERSION_AT = 8
SECTION_FLAGS_AT = 8


def without(section: str, attribute: int) -> bytearray:
    """The cubin with every such attribute of the section renamed to one that nothing reads."""
    found = ELFFile(io.BytesIO(CUBIN)).get_section_by_name(section)
    changed = bytearray(CUBIN)
    at, end = found["sh_offset"], found["sh_offset"] + found["sh_size"]
    while at + 4 <= end:
        form, name, short = struct.unpack_from("<BBH", CUBIN, at)
        if name == attribute:
            changed[at + 1] = 0xFE
        at += 4 + (short if form == 4 else 0)
    return changed


def with_text_flags(cubin: bytearray, flags: int) -> bytes:
    elf = ELFFile(io.BytesIO(bytes(cubin)))
    index = elf.get_section_index(f".text.{KERNEL}")
    assert index is not None
    at = elf["e_shoff"] + index * elf["e_shentsize"] + SECTION_FLAGS_AT
    struct.pack_into("<Q", cubin, at, flags)
    return bytes(cubin)


def test_registers_stack_and_barriers_are_those_that_cuobjdump_printed_of_it() -> None:
    assert CubinResources(registers_per_thread=255, local_bytes=24, num_barriers=1) == read_cubin(CUBIN, KERNEL)


def test_without_a_frame_size_there_is_no_local_memory() -> None:
    assert CubinResources(255, 0, 1) == read_cubin(bytes(without(".nv.info", 0x11)), KERNEL)


@pytest.mark.parametrize(("abi_version", "barriers"), [(7, 5), (8, 0)])
def test_without_a_count_of_barriers_the_flags_give_it_in_older_binaries_alone(abi_version: int, barriers: int) -> None:
    cubin = without(f".nv.info.{KERNEL}", 0x4C)
    cubin[ABI_VERSION_AT] = abi_version
    assert CubinResources(255, 24, barriers) == read_cubin(with_text_flags(cubin, 5 << 20 | 6), KERNEL)


def test_a_cubin_without_that_kernel_says_so() -> None:
    with pytest.raises(CubinError) as raised:
        read_cubin(CUBIN, "another_kernel")
    assert "the cubin has no kernel 'another_kernel'" == str(raised.value)


def test_a_cubin_without_a_register_count_says_so() -> None:
    with pytest.raises(CubinError) as raised:
        read_cubin(bytes(without(".nv.info", 0x2F)), KERNEL)
    assert f"the cubin gives no register count for kernel '{KERNEL}'" == str(raised.value)


@pytest.mark.parametrize(
    "binary",
    [b"", b"\x7fELF", b"not an ELF file at all", CUBIN[:3000], CUBIN[: len(CUBIN) // 2]],
    ids=["empty", "magic alone", "text", "head", "half"],
)
def test_what_is_no_cubin_is_one_error_of_one_line(binary: bytes) -> None:
    with pytest.raises(CubinError) as raised:
        read_cubin(binary, KERNEL)
    assert str(raised.value).startswith(f"cannot read kernel '{KERNEL}' from its cubin: ")
    assert 1 == len(str(raised.value).splitlines())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the interpreter is no ELF file")
def test_a_program_of_this_machine_is_no_cubin() -> None:
    with pytest.raises(CubinError, match=KERNEL):
        read_cubin(Path(sys.executable).read_bytes(), KERNEL)
