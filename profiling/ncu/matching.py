"""Which launches of an exported ncu report are of which configs: by what a launch shows of its binary and grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssdprof.profiling.ncu.program import EXPORT_HINT, REGISTERS, NcuCellError, NcuCsvError, NcuRow
from ssdprof.profiling.ncu.verify import DYNAMIC
from ssdprof.profiling.runs.measured import Compiled

BLOCK_SIZE, GRID_SIZE, FUNCTION = "launch__block_size", "launch__grid_size", "Kernel Name"
NEEDED = (FUNCTION, REGISTERS, DYNAMIC, BLOCK_SIZE, GRID_SIZE)
"""The columns by which a launch is told."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The launch of each config that has one of its own, by id; of several launches of a config, the last.

    `alike`: configs that no launch can be told apart of, since they show the same, in groups.
    """

    rows: Mapping[str, NcuRow]
    alike: tuple[tuple[str, ...], ...]


def check_columns(rows: Sequence[NcuRow], of: str) -> None:
    """Raises NcuCsvError if the export lacks what tells its launches apart."""
    if missing := [name for name in NEEDED if name not in rows[0].cells]:
        raise NcuCsvError(f"{of} lacks {', '.join(missing)}: export the report with {EXPORT_HINT}")


def matched(rows: Sequence[NcuRow], configs: Mapping[str, tuple[str, Compiled]]) -> Matched:
    """The launches of the configs, each given by its function and what it compiled to, by id.

    A launch is a config's if function, registers, dynamic shared memory, threads of a block and blocks of the grid are
    the config's, and no other config's. What it has is not told where two configs have all of these alike.
    """
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, (function, compiled) in configs.items():
        groups.setdefault(_key(function, compiled), []).append(name)
    found: dict[str, NcuRow] = {}
    alike: dict[tuple[str, ...], None] = {}
    for row in rows:
        for key, names in groups.items():
            if _is_of(row, key):
                if len(names) > 1:
                    alike[tuple(names)] = None
                else:
                    found[names[0]] = row
    return Matched(found, tuple(alike))


def _key(function: str, of: Compiled) -> tuple[object, ...]:
    """What a launch shows, in the order of NEEDED."""
    return function, of.registers_per_thread, of.dynamic_shared_mem_bytes, of.threads_per_block, of.grid_blocks


def _is_of(row: NcuRow, key: Sequence[object]) -> bool:
    function, *numbers = key
    if row.cells[FUNCTION].partition("(")[0].strip() != function:
        return False
    try:
        theirs = [row.number(name) for name in NEEDED[1:]]
    except NcuCellError:
        return False
    return all(
        number is not None and isinstance(ours, int) and number.agrees(ours)
        for number, ours in zip(theirs, numbers, strict=True)
    )
