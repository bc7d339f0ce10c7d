"""A ledger covers every byte: what is held, what lies between, and what nobody claims."""

import pytest
from fake_ledgers import CHUNK_SCAN, held

from ssdprof.profiling.runs.ledger import Held, Ledger, ledger


def kinds(found: Ledger) -> list[tuple[str, int, int]]:
    return [(row.kind, row.offset_bytes, row.size_bytes) for row in found.rows]


def test_rows_are_ordered_by_offset_and_what_is_alike_is_one() -> None:
    found = ledger([held("b", 64, 64, 32), held("a", 0, 64, 32), held("b", 64, 64, 32)], 128, 128)
    assert ["a", "b"] == [row.name for row in found.rows]
    assert (128, 128, 0) == (found.total_bytes, found.claimed_bytes, found.unattributed_bytes)


def test_a_row_names_those_that_have_its_bytes_at_other_times() -> None:
    found = ledger([held("a", 0, 64, 32), held("b", 0, 32, 16), held("c", 32, 32, 16)], 64, 64)
    assert [(1, 2), (0,), (0,)] == [row.in_turn_with for row in found.rows]


def test_bytes_between_two_buffers_are_unused() -> None:
    found = ledger([held("a", 0, 4, 2), held("b", 16, 16, 8)], 32, 32)
    assert [("buffer", 0, 4), ("unused", 4, 12), ("buffer", 16, 16)] == kinds(found)
    assert 20 == found.claimed_bytes


def test_bytes_of_no_operation_are_not_attributed() -> None:
    found = ledger([held("a", 0, 16, 8)], 32, 48)
    assert [("buffer", 0, 16), ("not attributed", 16, 16), ("not attributed", 32, 16)] == kinds(found)
    assert 32 == found.unattributed_bytes


def test_an_operation_of_unknown_size_gets_what_nothing_else_has_and_says_so() -> None:
    found = ledger([held("a", 0, 16, 8), held("odd", 16, 0), held("b", 48, 16, 8)], 64, 64)
    assert [("buffer", 0, 16), ("not attributed", 16, 32), ("buffer", 48, 16)] == kinds(found)
    assert "odd" == found.rows[1].name


def test_an_operation_of_unknown_size_among_the_bytes_of_others_is_kept_without_a_size() -> None:
    found = ledger([held("a", 0, 64, 32), held("odd", 16, 0)], 64, 64)
    assert [("buffer", 0, 64), ("not attributed", 16, 0)] == kinds(found)


def test_two_operations_of_unknown_size_end_where_the_next_begins() -> None:
    found = ledger([held("first", 0, 0), held("second", 32, 0)], 64, 64)
    assert [("not attributed", 0, 32), ("not attributed", 32, 32)] == kinds(found)


def test_what_reaches_beyond_the_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="local_alloc ends at byte 64 of 32"):
        ledger([held("a", 0, 64, 32)], 32, 32)


def test_the_rows_of_a_kernel_cover_each_of_its_bytes() -> None:
    covered = {byte for row in CHUNK_SCAN.rows for byte in range(row.offset_bytes, row.end_bytes)}
    assert set(range(CHUNK_SCAN.total_bytes)) == covered
    assert all(isinstance(row, Held) and row.op for row in CHUNK_SCAN.rows)
