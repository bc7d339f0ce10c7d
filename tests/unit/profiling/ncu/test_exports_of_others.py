"""Exports as other people have them: other locales, units, versions, forms, and cells that cannot be read."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from ssdprof.profiling.hardware.rule import means_the_same
from ssdprof.profiling.ncu.export import against_export
from ssdprof.profiling.ncu.program import NcuCsvError, NcuRow, read_raw
from ssdprof.profiling.ncu.verify import Verification

EXPORTS = Path(__file__).parents[3] / "golden" / "exports"
ONE = "This kernel's theoretical occupancy (12.5%) is limited by "
REGISTERS, SHARED = "the number of required registers", "the required amount of shared memory"
WARPS = (
    "The 2.00 theoretical warps per scheduler this kernel can issue according to its occupancy are below the hardware "
    "maximum of 16. "
)
OURS = f"{WARPS}{ONE}{REGISTERS}, and {SHARED}."


def rows(name: str) -> tuple[NcuRow, ...]:
    return read_raw((EXPORTS / f"{name}.csv").read_text(encoding="utf-8"), name)


def verified(found: tuple[NcuRow, ...]) -> Verification:
    return against_export(found, "export", None)


@pytest.mark.parametrize(
    ("name", "figures"),
    [("raw_good", 18), ("raw_german", 18), ("raw_kbyte_lower", 18), ("raw_sm89", 27), ("rule_old", 10)],
)
def test_all_figures_of_an_export_are_equal(name: str, figures: int) -> None:
    found = verified(rows(name))

    assert ("equal", []) == (found.status, list(found.differences))
    assert (figures, ()) == (len(found.comparisons), found.unchecked)


def test_the_figures_of_a_german_export_are_those_of_an_english_one() -> None:
    columns = (
        "launch__shared_mem_per_block_dynamic",
        "launch__shared_mem_config_size",
        "launch__waves_per_multiprocessor",
    )
    german, english = rows("raw_german"), rows("raw_good")

    assert [[number.value if (number := row.number(column)) else None for column in columns] for row in english] == [
        [number.value if (number := row.number(column)) else None for column in columns] for row in german
    ]


def test_a_size_that_ncu_measured_is_given() -> None:
    limits = [one.ours for one in verified(rows("raw_sm89")).comparisons if one.figure == "limit_shared_mem_blocks"]

    assert ["21", "16", "3"] == limits


def test_an_export_without_permission_says_so_and_what_to_do() -> None:
    with pytest.raises(NcuCsvError, match="has no launches, ncu says ERR_NVGPUCTRPERM: let it read the GPU's counters"):
        rows("perm")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cells": "41.728"}, "is 41.728 bytes, and bytes are whole: export it with LC_ALL=C ncu --import"),
        ({"cells": "lots"}, "is not a number: 'lots'"),
        ({"units": "furlong"}, "is in an unknown unit, furlong: export it with ncu --import"),
    ],
)
def test_a_cell_that_cannot_be_read_costs_its_launch_alone(changed: dict[str, str], message: str) -> None:
    first, second = rows("raw_good")
    name = "launch__shared_mem_per_block_dynamic"
    [(part, text)] = changed.items()
    bad = replace(first, **{part: {**getattr(first, part), name: text}})  # type: ignore[arg-type]

    found = verified((bad, second))

    assert (1, 9) == (len(found.unchecked), len(found.comparisons))
    assert message in found.unchecked[0].reason


@pytest.mark.parametrize("text", ["", "-", "n/a", "no data"])
def test_a_cell_without_a_value_is_not_compared(text: str) -> None:
    first, second = rows("raw_good")
    without = replace(first, cells={**first.cells, "launch__occupancy_limit_warps": text})

    found = verified((without, second))

    assert ("equal", (), 17) == (found.status, found.unchecked, len(found.comparisons))


@pytest.mark.parametrize(
    ("unit", "dynamic"), [("KiB", "40.75"), ("KB", "41.73"), ("Kbyte", "41.73"), ("kbyte", "41.73")]
)
def test_sizes_are_read_in_every_unit(unit: str, dynamic: str) -> None:
    first = rows("raw_good")[0]
    name = "launch__shared_mem_per_block_dynamic"
    row = replace(first, cells={**first.cells, name: dynamic}, units={**first.units, name: f"{unit}/block"})

    assert "equal" == verified((row,)).status


def test_the_long_form_with_a_line_for_each_metric_is_read() -> None:
    wide = rows("raw_good")
    named = ("ID", "Kernel Name", "Block Size", "Grid Size", "CC")
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([*named, "Section Name", "Metric Name", "Metric Unit", "Metric Value"])
    for row in wide:
        for metric in [column for column in row.cells if "__" in column]:
            writer.writerow([*(row.cells[one] for one in named), "", metric, row.units[metric], row.cells[metric]])

    long = read_raw(text.getvalue(), "long")

    assert [one.cells["ID"] for one in wide] == [one.cells["ID"] for one in long]
    assert verified(wide).comparisons == verified(long).comparisons


@pytest.mark.parametrize(
    ("theirs", "same"),
    [
        (f"{WARPS}{ONE}{REGISTERS}. {ONE}{SHARED}.", True),
        (f"{ONE}{REGISTERS}, and {SHARED}. See the CUDA Best Practices Guide (https://…) for more details.", True),
        (f"{ONE}{REGISTERS}.", False),
        (f"{WARPS}{ONE}{REGISTERS}. {ONE}the number of warps within each block.", False),
        (f"{OURS} ", False),
        (f"{WARPS.replace('2.00', '3.00')}{ONE}{REGISTERS}. {ONE}{SHARED}.", False),
        (f"{ONE.replace('12.5', '18.8')}{REGISTERS}, and {SHARED}.", False),
        ("", False),
    ],
)
def test_an_older_wording_of_the_sentence_is_known(theirs: str, same: bool) -> None:
    assert same == means_the_same(OURS, theirs)
