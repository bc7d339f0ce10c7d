"""What shared memory holds, on the screen and in JSON."""

import json
from dataclasses import replace

from fake_ledgers import CHUNK_SCAN, held
from fake_runs import explanation, screen
from rich.console import Group

from ssdprof.profiling.runs.ledger import Held, Ledger, ledger
from ssdprof.reports.export.run_json import explanation_json
from ssdprof.reports.text.explain import explain_report
from ssdprof.reports.text.ledger import bar, parts, summary


def shown(found: Ledger | None, width: int = 120, absent: str = "") -> str:
    return screen(Group(*parts(found, absent)), width)


def test_explain_shows_it_after_the_occupancy_section() -> None:
    text = screen(explain_report(explanation()), 120)
    places = [
        text.index(one)
        for one in ("What each number of blocks allows", "What shared memory holds", "What one change does")
    ]
    assert sorted(places) == places


def test_each_row_has_its_tile_its_copies_its_bytes_and_its_line() -> None:
    line = next(line for line in shown(CHUNK_SCAN).splitlines() if line.startswith("b_cb"))
    assert ["b_cb", "buffer", "64×32", "f32", "3", "24576", "per_head.py:134"] == line.split()[:7]


def test_scratch_without_a_variable_is_named_by_its_operation() -> None:
    assert "\nconvert_layout  layout conversion   64×64" in shown(CHUNK_SCAN, 200)


def test_a_narrow_screen_still_has_lines_and_bars() -> None:
    lines = shown(CHUNK_SCAN, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("b_cb") and " :134 " in line and line.endswith("█") for line in lines)


def test_a_bar_has_its_place_and_its_size() -> None:
    assert "█" * 8 == bar(held("a", 0, 32, 16), 128, 32)
    assert " " * 16 + "█" * 16 == bar(held("a", 64, 64, 32), 128, 32)
    assert " " * 31 + "▏" == bar(held("a", 127, 1, 1), 128, 32)
    assert "▏" == bar(held("a", 0, 1, 1), 128, 32)


def test_the_bars_of_rows_end_to_end_fill_the_width() -> None:
    rows = [held(str(i), 10 * i, 10, 5) for i in range(7)]
    filled = [[place for place, cell in enumerate(bar(row, 70, 32)) if cell == "█"] for row in rows]
    assert list(range(32)) == [place for row in filled for place in row]


def test_the_sentence_says_whether_bytes_are_shared() -> None:
    take = "11 operations take 77056 bytes in turn, in the block's 41728 bytes"
    assert f"{take}: those whose bars overlap take the same ones." == summary(CHUNK_SCAN)
    apart = ledger([held("a", 0, 64, 32), held("b", 64, 64, 32)], 128, 128)
    assert "2 operations take 128 bytes of the block's 128 bytes." == summary(apart)


def test_what_nobody_has_is_said_in_the_sentence_and_in_rows() -> None:
    found = ledger([held("a", 0, 4, 2), held("b", 16, 16, 8)], 32, 48)
    assert "Between them 12 bytes lie unused." in summary(found)
    assert "Of 16 bytes the compiler does not tell whose they are." in summary(found)
    assert {"unused", "not attributed"} <= {row.kind for row in found.rows}
    assert "-     unused " in shown(found)
    assert "-     not attributed " in shown(found)


def test_rows_of_two_files_keep_their_files_names_at_every_width() -> None:
    found = ledger([held("a", 0, 64, 32, line=1), held("b", 64, 64, 32, line=2, file="/src/other.py")], 128, 128)
    assert "other.py:2" in shown(found, 60)


def test_many_that_take_turns_are_counted() -> None:
    found = ledger([held(name, 0, 64, 32, line=i) for i, name in enumerate("abcdef")], 64, 64)
    assert "b, c, d and 2 more" in shown(found, 200)


def test_barriers_and_called_functions_are_named_so() -> None:
    rows = [Held("barrier", 0, 8, "ready", "local_alloc", (1,), "i64"), Held("call", 8, 16, "helper", "call")]
    text = shown(ledger(rows, 24, 24))
    assert "ready   barrier" in text
    assert "helper  called function" in text


def test_a_kernel_without_shared_memory_has_one_line() -> None:
    assert "What shared memory holds: nothing, the kernel uses none." == shown(Ledger((), 0)).strip()


def test_what_could_not_be_read_has_one_line_with_the_reason() -> None:
    assert "What shared memory holds could not be read: crash" == shown(None, absent="crash").strip()


def test_nothing_is_shown_of_a_config_that_did_not_compile() -> None:
    assert [] == parts(None)
    one = explanation()
    broken = replace(one, row=replace(one.row, compiled=None, occupancy=None), ledger=None)
    assert "shared memory holds" not in screen(explain_report(broken), 120)


def test_json_has_every_row() -> None:
    found = json.loads(explanation_json(explanation()))["ledger"]
    assert (41728, 11) == (found["total_bytes"], len(found["rows"]))
    cb = next(row for row in found["rows"] if row["name"] == "b_cb")
    assert ([64, 32], 3, 24576, 134) == (cb["shape"], cb["copies"], cb["size_bytes"], cb["line"])
    without = json.loads(explanation_json(replace(explanation(), ledger=None, ledger_absent="crash")))
    assert (None, "crash") == (without["ledger"], without["ledger_absent"])
