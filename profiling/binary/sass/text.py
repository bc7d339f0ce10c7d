"""The machine code of a cubin as values, by the nvdisasm that Triton ships.

NVIDIA documents each opcode in one line ("CUDA Binary Utilities", instruction set reference), and the modifiers that
follow its dots not at all; what is read from them here was compared with the PTX that they came from.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ssdprof.kernels.errors import SsdprofError, first_line

ANSWER_S = 60.0
"""How long nvdisasm may take: 0.3 s for a binary of 80 kB, and more for long ones."""
Place = tuple[str, int]
"""A file and a line."""
_SECTION = re.compile(r"^//-+ \.text\.(\S+)")
_LABEL = re.compile(r"^([.$\w]+):\s*$")
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+\{?\s*(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
_LINE = re.compile(r'^\s*//## File "([^"]*)", line (\d+)')
_TARGET = re.compile(r"`\(([^)]+)\)")


class DisassemblyError(SsdprofError):
    """A cubin that nvdisasm cannot read, or no nvdisasm."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a warp. `guard`: the predicate without which it does nothing, such as `!P0`; empty: none.

    `modifiers` are the words after the opcode's dots, `target` the label among its operands. `places`: the source line
    it comes from, then those of the calls around it that were inlined; empty if the binary has no line information.
    """

    address: int
    guard: str
    opcode: str
    modifiers: tuple[str, ...]
    operands: str
    target: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """The code of a cubin: instructions in order, and labels by the number of the instruction that they precede."""

    instructions: tuple[Instruction, ...]
    labels: dict[str, int]


def disassembled(cubin: bytes, kernel: str) -> Code:
    """The code of `kernel` and of the functions that it calls.

    Raises DisassemblyError if there is no nvdisasm, if it fails, or if the cubin has no such kernel.
    """
    return parsed(listing(cubin, kernel), kernel)


def listing(cubin: bytes, kernel: str) -> str:
    """What nvdisasm prints of a cubin. Raises DisassemblyError, which names `kernel`, if it cannot read it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        # -ndf leaves out an analysis of branches through a stack, which code since sm_70 does not have.
        command = [nvdisasm(), "-c", "-gi", "-ndf", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_S)
        except (OSError, subprocess.SubprocessError) as error:
            said = first_line(getattr(error, "stderr", "") or str(error))
            raise DisassemblyError(f"nvdisasm cannot read kernel {kernel!r}: {said}") from error
    return done.stdout


def nvdisasm() -> str:
    """The nvdisasm that Triton would run: that of TRITON_NVDISASM_PATH, or its own."""
    from triton import knobs

    return str(knobs.nvidia.nvdisasm.path)


def parsed(text: str, kernel: str) -> Code:
    """The code in nvdisasm's text, `kernel` first. Raises DisassemblyError if it is not there."""
    sections = sections_of(text)
    if kernel not in sections:
        raise DisassemblyError(f"the cubin has no kernel {kernel!r}")
    ordered = [sections.pop(kernel), *sections.values()]
    code = code_of(line for section in ordered for line in section)
    if not code.instructions:
        raise DisassemblyError(f"nvdisasm shows no instruction of kernel {kernel!r}")
    return code


def sections_of(text: str) -> dict[str, list[str]]:
    """The lines of nvdisasm's text by the function that they are of."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("//--") and (found := _SECTION.match(line)):
            lines = sections.setdefault(found[1], [])
        lines.append(line)
    return sections


def code_of(lines: Iterable[str]) -> Code:
    """The code in these lines of nvdisasm's text."""
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    places: tuple[Place, ...] = ()
    told = False  # whether the last line was a place: those of one instruction follow each other
    for line in lines:
        if "//## " in line and (found := _LINE.match(line)):
            place = found[1], int(found[2])
            places = (*places, place) if told else (place,)
            told = True
            continue
        told = False
        if "/*" in line and (found := _INSTRUCTION.match(line)):
            address, guard, name, operands = found.groups()
            opcode, modifiers = _words(name)
            target = _TARGET.search(operands) if "`" in operands else None
            instructions.append(
                Instruction(
                    int(address, 16), guard or "", opcode, modifiers, operands, target[1] if target else "", places
                )
            )
        elif ":" in line and (found := _LABEL.match(line)):
            labels[found[1]] = len(instructions)
    return Code(tuple(instructions), labels)


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, tuple[str, ...]]:
    """An opcode and its modifiers."""
    opcode, *modifiers = name.split(".")
    return opcode, tuple(modifiers)
