"""Our figures against the driver's and ncu's, launch by launch: made-up ones, and those recorded on an H100."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_ncu import GOLDEN, NCU_METRICS, ncu_row, ours

from ssdprof.profiling.ncu.export import against_export
from ssdprof.profiling.ncu.program import NcuCsvError, NcuRow, read_raw
from ssdprof.profiling.ncu.verify import FIGURES, against_driver, against_ncu, against_refusal
from ssdprof.profiling.runs.measured import Loaded


def golden_rows() -> tuple[NcuRow, ...]:
    return read_raw(GOLDEN.read_text(encoding="utf-8"), "golden")


def page(header: str, *lines: str) -> tuple[NcuRow, ...]:
    return read_raw("\n".join([header, *lines]) + "\n", "made-up")


def test_all_metrics_that_are_asked_for_are_compared() -> None:
    assert sorted(NCU_METRICS) == sorted(figure.metric for figure in FIGURES)
    one = ours(grid_blocks=1000)
    row = ncu_row(one)
    assert set(NCU_METRICS) == row.cells.keys() - {"ID"}
    for metric in NCU_METRICS:
        changed = replace(row, cells={**row.cells, metric: "3"})
        assert ["differs"] == [found.outcome for found in against_ncu(one, changed) if found.outcome != "equal"]


def test_the_recorded_chunk_scan_launches_are_equal_sentences_too() -> None:
    found = against_export(golden_rows(), "golden", "sm_90")
    assert ("equal", 33, 284, ()) == (found.status, found.launches, len(found.comparisons), found.unchecked)
    counts = {one.figure: (one.equal, one.compared) for one in found.agreements}
    assert (33, 33) == counts["shared_mem_config_bytes"] == counts["limit_shared_mem_blocks"]
    assert (20, 20) == counts["rule_sentence"]
    assert "registers_per_thread" not in counts


def test_every_figure_of_a_made_up_row_is_equal_and_each_changed_one_differs() -> None:
    one = ours(grid_blocks=1000)
    assert {"equal"} == {found.outcome for found in against_ncu(one, ncu_row(one))}
    assert len(FIGURES) + 1 == len(against_ncu(one, ncu_row(one)))
    for figure in FIGURES:
        found = against_ncu(one, ncu_row(one, **{figure.metric: "3"}))
        assert [figure.name] == [other.figure for other in found if other.outcome == "differs"]


def test_a_sentence_differs_by_one_character() -> None:
    one = ours()
    row = replace(ncu_row(one), sentence=(one.sentence or "") + " ")
    assert ["rule_sentence"] == [found.figure for found in against_ncu(one, row) if found.outcome == "differs"]


def test_a_rule_silent_on_one_side_alone_differs() -> None:
    one = ours()
    found = against_ncu(one, replace(ncu_row(one), sentence=""))[-1]
    assert ("differs", "(no sentence)") == (found.outcome, found.theirs)
    full = ours(registers_per_thread=32, dynamic_shared_mem_bytes=0)
    assert "equal" == against_ncu(full, replace(ncu_row(full), sentence=""))[-1].outcome


def test_a_tie_of_three_limiters_is_a_known_difference_if_only_the_names_differ() -> None:
    one = ours(threads_per_block=512, registers_per_thread=40, dynamic_shared_mem_bytes=56 * 1024)
    three = replace(one, occupancy=replace(one.occupancy, limiters=("registers", "shared memory", "warps")))
    three = replace(three, sentence="The 8.00 warps. This is limited by a, b, and c.")
    found = against_ncu(three, replace(ncu_row(three), sentence="The 8.00 warps. This is limited by a, and c."))[-1]
    assert "known" == found.outcome
    found = against_ncu(three, replace(ncu_row(three), sentence="The 7.00 warps. This is limited by a, and c."))[-1]
    assert "differs" == found.outcome


def test_the_driver_is_asked_for_registers_and_blocks() -> None:
    one = ours()
    assert ["equal"] * 3 == [found.outcome for found in against_driver(one, Loaded(255, 0, 4))]
    wrong = [found for found in against_driver(one, Loaded(254, 0, 5)) if found.outcome == "differs"]
    assert [("registers_per_thread", "255", "254"), ("blocks_per_sm", "4", "5")] == [
        (found.figure, found.ours, found.theirs) for found in wrong
    ]
    assert 2 == len(against_driver(one, Loaded(255, 0, None)))


def test_a_refused_launch_is_equal_where_we_say_that_it_cannot_be() -> None:
    assert "differs" == against_refusal(ours(), "out of resources").outcome
    large = against_refusal(ours(dynamic_shared_mem_bytes=300_000), "out of resources")
    assert "equal" == large.outcome
    assert large.ours.startswith("no: needs 300000 bytes of shared memory per block")
    assert "differs" == against_driver(ours(dynamic_shared_mem_bytes=300_000), Loaded(255, 0, 0))[0].outcome


HEADER = "ID,Kernel Name,Block Size,Grid Size,CC,launch__registers_per_thread,launch__shared_mem_per_block_dynamic"


def test_an_export_needs_no_arch_where_it_has_the_compute_capability() -> None:
    header = f"{HEADER},launch__occupancy_limit_registers,launch__waves_per_multiprocessor,launch__sm_count"
    rows = page(header, '0,k,"(64, 1, 1)","(2640, 1, 1)",9.0,255,41728,4,5,132')
    found = against_export(rows, "file", None)
    assert ("equal", "sm_90", 2) == (found.status, found.arch, len(found.comparisons))
    assert {"#0 k"} == {one.launch for one in found.comparisons}
    assert "launch__occupancy_limit_warps" in found.notes[0]
    major, minor = (f"device__attribute_compute_capability_{part}" for part in ("major", "minor"))
    rows = page(header.replace("CC", f"{major},{minor}"), '0,k,"(64, 1, 1)","(2640, 1, 1)",8,0,255,41728,4,5,132')
    assert "sm_80" == against_export(rows, "file", None).arch


def test_an_arch_that_is_not_the_exports_is_refused() -> None:
    rows = page(f"{HEADER},launch__occupancy_limit_registers", '0,k,"(64, 1, 1)","(9, 1, 1)",9.0,255,41728,4')
    with pytest.raises(NcuCsvError, match=r"^--arch sm_80 does not match line 2 \(sm_90\)"):
        against_export(rows, "file", "sm_80")


def test_columns_that_are_missing_are_named_in_one_line() -> None:
    with pytest.raises(NcuCsvError) as error:
        against_export(page("ID,launch__registers_per_thread", "0,255"), "file", None)
    assert str(error.value) == (
        "file lacks launch__shared_mem_per_block_dynamic, launch__block_size, "
        "device__attribute_compute_capability_major and …_minor (or give --arch): "
        "export the report with ncu --import REPORT --csv --page raw --print-units base"
    )


def test_rows_that_cannot_be_or_have_nothing_to_compare_are_not_checked() -> None:
    rows = page(
        f"{HEADER},launch__occupancy_limit_registers",
        '0,k,"(64, 1, 1)","(9, 1, 1)",3.5,255,41728,4',
        '1,k,"(2048, 1, 1)","(9, 1, 1)",9.0,255,41728,4',
        '2,k,"(64, 1, 1)","(9, 1, 1)",9.0,255,41728,',
    )
    found = against_export(rows, "file", None)
    assert "nothing" == found.status
    reasons = [one.reason for one in found.unchecked]
    assert reasons[0].startswith("unknown architecture '3.5'")
    assert reasons[1].startswith("2048 threads per block")
    assert "has no figure to compare" == reasons[2]


def test_bytes_that_ncu_rounded_are_restored_and_it_is_said() -> None:
    text = (
        f"{HEADER},launch__shared_mem_config_size,launch__occupancy_limit_shared_mem\n"
        ",,,,,register/thread,Kbyte/block,Kbyte,block\n"
        '0,k,"(128, 1, 1)","(9, 1, 1)",9.0,180,86.78,233.47,2\n'
    )
    found = against_export(read_raw(text, "f"), "f", None)
    assert ("equal", 2) == (found.status, len(found.comparisons))
    assert found.notes[-1].startswith("1 of 1 launches give their shared memory in rounded units")
    assert "233472" == found.comparisons[0].ours
    assert "233.47 Kbyte" == found.comparisons[0].theirs


@pytest.mark.parametrize(("cache", "limit"), [("CachePreferShared", 9), ("CachePreferNone", 5), ("", 5)])
def test_the_cache_preference_is_read_where_it_is_exported(cache: str, limit: int) -> None:
    text = f"{HEADER},launch__func_cache_config,launch__occupancy_limit_shared_mem"
    rows = page(text, f'0,k,"(96, 1, 1)","(9, 1, 1)",9.0,255,24576,{cache},9')
    found = against_export(rows, "f", None)
    assert ("equal" if limit == 9 else "differs") == found.status
