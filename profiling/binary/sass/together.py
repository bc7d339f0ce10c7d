"""Several cubins disassembled at once: nvdisasm takes one file, and 0.2 s to start, ten times what a kernel takes.

So they become one cubin. It has only what nvdisasm reads: the code of each kernel, the symbols in it, and the line
information, whose units follow each other in one section as those of any linked program do (DWARF 4, section 6.2).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from elftools.elf.elffile import ELFFile

from ssdprof.profiling.binary.sass.text import Code, DisassemblyError, code_of, disassembled, listing, sections_of

_HEADER, _SECTION, _SYMBOL = "<16sHHIQQQIHHHHHH", "<IIQQQQIIQQ", "<IBBHQQ"
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_RELOCATIONS = {".rela": (4, "<QQq"), ".rel": (9, "<QQ")}
"""A relocation section's type and its entries: with what is added to the address (sm_90), or where that stands."""
_OF_A_SECTION = 3  # a symbol's type
_CODE, _LINES, _STRINGS = ".text.", ".debug_line", ".debug_str"
_FLAGS_AT = 48  # of the file's header
_FIRST_CODE = 3  # section
_ALIGNMENT = 128
_INSTRUCTION_BYTES = 16
"""Since sm_70."""


def disassembled_together(cubins: Sequence[tuple[bytes, str]]) -> list[Code | DisassemblyError]:
    """The code of each (cubin, kernel's name), for one architecture, as `disassembled` gives it, or its error."""
    parts = {number: part for number, one in enumerate(cubins) if (part := _part(*one)) is not None}
    alike: dict[tuple[Any, ...], list[int]] = {}
    for number, part in parts.items():
        alike.setdefault(part.alike, []).append(number)
    codes: dict[int, Code] = {}
    for numbers in alike.values():
        if len(numbers) > 1:
            with suppress(DisassemblyError):
                codes |= zip(numbers, _at_once([parts[number] for number in numbers]), strict=True)
    return [codes[number] if number in codes else _alone(*one) for number, one in enumerate(cubins)]


def _alone(cubin: bytes, kernel: str) -> Code | DisassemblyError:
    try:
        return disassembled(cubin, kernel)
    except DisassemblyError as error:
        return error


@dataclass(frozen=True, slots=True)
class _Part:
    """What one cubin has: `kind` of file, code, the flags of its section, and symbols in it as (name, their fields).

    The first symbol is the kernel. `lines` and their `strings`: line information. `addresses`: where it has one, by a
    section whose name begins with `relocated`: (place, type, what is added to it, if it stands there).
    """

    kind: tuple[Any, ...]
    code: bytes
    flags: int
    symbols: tuple[tuple[str, tuple[int, ...]], ...]
    lines: bytes
    strings: bytes
    addresses: tuple[tuple[int, ...], ...]
    relocated: str

    @property
    def alike(self) -> tuple[Any, ...]:
        """What those have in common that can become one."""
        return *self.kind, self.relocated

    @property
    def kernel(self) -> str:
        """Its name."""
        return self.symbols[0][0]


def _at_once(parts: Sequence[_Part]) -> list[Code]:
    """The code of all of them, from one disassembly. Raises DisassemblyError if it does not show all."""
    sections = sections_of(listing(_joined(parts), parts[0].kernel))
    codes = [code_of(sections.get(_named(part.kernel, number), ())) for number, part in enumerate(parts)]
    for part, code in zip(parts, codes, strict=True):
        if len(code.instructions) * _INSTRUCTION_BYTES != len(part.code):
            raise DisassemblyError("nvdisasm does not show all instructions")
    return codes


def _named(symbol: str, number: int) -> str:
    """The name of a symbol of the cubin with that number where there are several cubins."""
    return f"{symbol}.{number}"


def _part(cubin: bytes, kernel: str) -> _Part | None:
    """None if it calls functions that have sections of their own, refers to other sections, or cannot be read."""
    with suppress(Exception):
        return _read(cubin, kernel)
    return None


def _read(cubin: bytes, kernel: str) -> _Part | None:
    sections = {section.name: section for section in ELFFile(io.BytesIO(cubin)).iter_sections()}
    relocated = next((name for name in _RELOCATIONS if name + _LINES in sections), ".rela")
    contents = {name: sections[name].data() for name in (_LINES, _STRINGS, relocated + _LINES) if name in sections}
    own = _CODE + kernel
    moved = (name + own for name in _RELOCATIONS if name + own in sections)
    if [own] != [name for name in sections if name.startswith(_CODE)] or any(sections[one]["sh_size"] for one in moved):
        return None
    names, number = sections[".strtab"].data(), list(sections).index(own)
    table = list(struct.iter_unpack(_SYMBOL, sections[".symtab"].data()))
    symbols = {
        i: (names[at : names.index(b"\0", at)].decode(), (info, other, value, size))
        for i, (at, info, other, section, value, size) in enumerate(table)
        if section == number and info & 0xF != _OF_A_SECTION
    }
    [whole] = [i for i, (name, _) in symbols.items() if name == kernel]
    addresses = list(struct.iter_unpack(_RELOCATIONS[relocated][1], contents.get(relocated + _LINES, b"")))
    if any(info >> 32 != whole for _, info, *_ in addresses):
        return None
    return _Part(
        (*struct.unpack_from("<16sHHI", cubin), *struct.unpack_from("<I", cubin, _FLAGS_AT)),
        sections[own].data(),
        sections[own]["sh_flags"],
        (symbols.pop(whole), *symbols.values()),
        contents.get(_LINES, b""),
        contents.get(_STRINGS, b""),
        tuple((place, info & 0xFFFFFFFF, *added) for place, info, *added in addresses),
        relocated,
    )


def _joined(parts: Sequence[_Part]) -> bytes:
    """A cubin with the code of all of them. Sections: none, string table, symbols, the code of each, its lines."""
    names, symbols = b"\0", bytes(struct.calcsize(_SYMBOL))
    lines, strings, addresses = b"", b"", b""
    kind_of_section, form = _RELOCATIONS[parts[0].relocated]
    count = 1
    for number, part in enumerate(parts):
        for place, kind, *added in part.addresses:
            addresses += struct.pack(form, len(lines) + place, count << 32 | kind, *added)
        for name, (info, other, value, size) in part.symbols:
            symbols += struct.pack(_SYMBOL, len(names), info, other, _FIRST_CODE + number, value, size)
            names += _named(name, number).encode() + b"\0"
            count += 1
        lines += part.lines
        strings += part.strings
    sections = [
        _Section(".strtab", _STRTAB, names),
        _Section(".symtab", _SYMTAB, symbols, link=1, info=1, entry=struct.calcsize(_SYMBOL)),
        *(
            _Section(_CODE + _named(part.kernel, number), _PROGBITS, part.code, flags=part.flags, link=2)
            for number, part in enumerate(parts)
        ),
        _Section(_LINES, _PROGBITS, lines),
        _Section(_STRINGS, _PROGBITS, strings),
    ]
    of_lines, name = len(sections) - 1, parts[0].relocated + _LINES
    sections.append(_Section(name, kind_of_section, addresses, link=2, info=of_lines, entry=struct.calcsize(form)))
    return _file(parts[0].kind, sections)


@dataclass(frozen=True, slots=True)
class _Section:
    """A section of an ELF file; `link`, `info` and `entry` (the bytes of one) as its header has them."""

    name: str
    type: int
    content: bytes
    flags: int = 0
    link: int = 0
    info: int = 0
    entry: int = 0


def _file(kind: tuple[Any, ...], sections: Sequence[_Section]) -> bytes:
    names = b"".join(b"\0" + section.name.encode() for section in sections) + b"\0.shstrtab\0"
    body, table, name_at = bytes(struct.calcsize(_HEADER)), bytes(struct.calcsize(_SECTION)), 1
    for section in (*sections, _Section(".shstrtab", _STRTAB, names)):
        alignment = _ALIGNMENT if section.name.startswith(_CODE) else 8
        body += bytes(-len(body) % alignment)
        table += struct.pack(
            _SECTION, name_at, section.type, section.flags, 0, len(body), len(section.content), section.link,
            section.info, alignment, section.entry,
        )  # fmt: skip
        name_at += len(section.name) + 1
        body += section.content
    body += bytes(-len(body) % 8)
    *begin, flags = kind
    header_bytes, section_bytes, count = struct.calcsize(_HEADER), struct.calcsize(_SECTION), len(sections) + 2
    header = struct.pack(
        _HEADER, *begin, 0, 0, len(body), flags, header_bytes, 0, 0, section_bytes, count, count - 1
    )  # fmt: skip
    return header + body[header_bytes:] + table
