"""Which launch of an export is which config's, on what ncu printed of a launch on an H100, and others like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ssdprof.profiling.ncu.export import read_export
from ssdprof.profiling.ncu.matching import NEEDED, check_columns, matched
from ssdprof.profiling.ncu.program import NcuCsvError, NcuRow
from ssdprof.profiling.runs.measured import Compiled

PRINTED = read_export(Path(__file__).parents[3] / "golden" / "ncu_h100_raw_page.csv")[0]
FUNCTION = "chunk_scan_kernel"


def printed(line: int, **cells: str) -> NcuRow:
    """The launch that ncu printed, with some cells changed."""
    return replace(PRINTED, line=line, cells={**PRINTED.cells, **cells})


ROWS = (printed(3), printed(4, launch__registers_per_thread="128"), printed(5, launch__grid_size="8,192"))


def compiled(row: NcuRow) -> Compiled:
    """What the launch of a row compiled to."""
    registers, smem_bytes, threads, blocks = (row.number(name) for name in NEEDED[1:])
    assert registers is not None
    assert smem_bytes is not None
    assert threads is not None
    assert blocks is not None
    warps = round(threads.value) // 32
    return Compiled(round(registers.value), 0, round(smem_bytes.value), 0, warps, 1, 1, round(blocks.value), 1.0)


CONFIGS = {str(number): (FUNCTION, compiled(row)) for number, row in enumerate(ROWS)}


def test_each_launch_is_of_the_config_that_it_looks_like() -> None:
    found = matched(ROWS, CONFIGS)
    assert ({str(number): row for number, row in enumerate(ROWS)}, ()) == (dict(found.rows), found.alike)


def test_of_several_launches_of_a_config_the_last_counts() -> None:
    again = replace(ROWS[0], line=99)
    assert 99 == matched((*ROWS, again), CONFIGS).rows["0"].line


@pytest.mark.parametrize(
    "change",
    [{"registers_per_thread": 64}, {"dynamic_shared_mem_bytes": 41729}, {"num_warps": 16}, {"grid_blocks": 4097}],
    ids=lambda change: next(iter(change)),
)
def test_a_launch_that_differs_in_anything_is_of_no_config(change: dict[str, int]) -> None:
    other = replace(CONFIGS["0"][1], **change)
    assert {} == dict(matched(ROWS[:1], {"0": (FUNCTION, other)}).rows)


def test_a_launch_of_another_function_is_of_no_config() -> None:
    assert {} == dict(matched(ROWS[:1], {"0": ("scan", CONFIGS["0"][1])}).rows)


def test_a_function_may_be_printed_with_its_parameters() -> None:
    row = replace(ROWS[0], cells={**ROWS[0].cells, "Kernel Name": f"{FUNCTION}(float *, int)"})
    assert ["0"] == list(matched([row], CONFIGS).rows)


def test_configs_that_look_the_same_get_no_launch_and_are_named() -> None:
    found = matched(ROWS, {**CONFIGS, "twin": CONFIGS["1"]})
    assert ({"0", "2"}, (("1", "twin"),)) == (set(found.rows), found.alike)


def test_a_launch_without_a_number_that_is_needed_is_of_no_config() -> None:
    for text in ("", "many"):
        row = replace(ROWS[0], cells={**ROWS[0].cells, "launch__grid_size": text})
        assert {} == dict(matched([row], CONFIGS).rows)


def test_an_export_that_lacks_what_tells_launches_apart_is_refused() -> None:
    cells = {name: text for name, text in ROWS[0].cells.items() if name not in ("launch__grid_size", "Kernel Name")}
    with pytest.raises(
        NcuCsvError, match=r"^a\.csv lacks Kernel Name, launch__grid_size: export the report with ncu --import"
    ):
        check_columns([replace(ROWS[0], cells=cells)], "a.csv")
    check_columns(ROWS, "a.csv")
