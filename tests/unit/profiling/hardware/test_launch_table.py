"""Answers for many launches: the CSV that was given, with the answers added, whatever tool wrote it."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.hardware import launch_table
from ssdprof.profiling.hardware.launch_table import (
    ANSWERS,
    ERROR,
    NEEDED,
    OPTIONAL,
    LaunchTable,
    LaunchTableError,
    answered,
)
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy, occupancy

GOLDEN = Path(__file__).parents[3] / "golden"
HEADER = "compute_capability,threads_per_block,registers_per_thread,dynamic_shared_mem_bytes"


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_answers_stand_behind_the_columns_that_were_given():
    table = answered(f"{HEADER},name\n9.0,64,255,41728,mine\n".encode(), "it")
    occ = occupancy(Launch(64, 255, 41728), limits_for("sm_90"))

    assert (*HEADER.split(","), "name", *ANSWERS, ERROR) == table.header
    answers = [";".join(occ.limiters) if name == "limiters" else getattr(occ, name) for name in ANSWERS]
    assert (("9.0", "64", "255", "41728", "mine", *answers, None),) == table.rows
    assert [dict(zip(table.header, table.rows[0], strict=True))] == table.as_records()
    assert "registers;shared memory" == table.as_records()[0]["limiters"]


def test_each_answer_is_a_field_of_the_occupancy():
    assert set(ANSWERS) < {*Occupancy.__slots__}
    assert set(NEEDED).isdisjoint(OPTIONAL)


def test_a_value_that_is_not_there_is_an_empty_cell():
    table = LaunchTable(("a", "b"), ((1, None), ("x, y", 0.5)))
    assert 'a,b\n1,\n"x, y",0.5\n' == table.as_csv()


def test_an_input_column_with_an_answers_name_is_kept_under_another():
    content = f"{HEADER},shared_mem_config_bytes,limiters\n9.0,64,255,41728,200704,mine\n9.0,64,255,41728,,\n".encode()
    first, second = rows(answered(content, "it").as_csv())

    assert ("mine", "registers;shared memory") == (first["input_limiters"], first["limiters"])
    assert ("200704", "200704", "given") == (
        first["input_shared_mem_config_bytes"],
        first["shared_mem_config_bytes"],
        first["shared_mem_config_source"],
    )
    assert ("", "200704", "assumed") == (
        second["input_shared_mem_config_bytes"],
        second["shared_mem_config_bytes"],
        second["shared_mem_config_source"],
    )


def test_answers_can_be_asked_about_again():
    content = f"{HEADER},shared_mem_config_bytes\n9.0,64,255,41728,200704\n".encode()
    again = answered(answered(content, "it").as_csv().encode(), "it")

    assert len(set(again.header)) == len(again.header)


def test_every_optional_column_counts():
    optional = "static_shared_mem_bytes,barriers,prefer_shared,grid_blocks"
    content = f"{HEADER},{optional}\n9.0,64,32,1000,1048,16,true,264\n9.0,64.0,32,1000,,,,\n".encode()
    first, second = rows(answered(content, "it", num_sms=132).as_csv())

    assert ("3072", "233472", "prefers-shared", "4", "0.5") == (
        first["shared_mem_allocated_bytes"],
        first["shared_mem_config_bytes"],
        first["shared_mem_config_source"],
        first["limit_barriers_blocks"],
        first["waves_per_sm"],
    )
    assert ("2048", "assumed", "32", "") == (
        second["shared_mem_allocated_bytes"],
        second["shared_mem_config_source"],
        second["limit_barriers_blocks"],
        second["waves_per_sm"],
    )


@pytest.mark.parametrize("written", ["9.0", "9", "90", "sm_90", "sm_90a"])
def test_a_compute_capability_may_be_written_as_tools_leave_it(written):
    assert (
        "assumed"
        == rows(answered(f"{HEADER}\n{written},64,255,41728\n".encode(), "it").as_csv())[0]["shared_mem_config_source"]
    )


def test_a_byte_order_mark_blank_lines_and_spaces_do_not_matter():
    content = ("\ufeff" + HEADER.replace(",", " , ") + "\r\n\r\n 9.0 , 64 , 255 , 41728 \r\n,,,\r\n").encode()

    assert 1 == len(answered(content, "it").rows)


def test_the_recorded_launches_are_answered_as_ncu_did():
    content = (GOLDEN / "ncu_h100_launches.csv").read_bytes()
    table = rows(answered(content, "it", arch="sm_90", num_sms=132).as_csv())
    names = [name.removeprefix("input_") for name in table[0] if name.startswith("input_")]

    assert 11 == len(names)
    for row in table:
        assert [f"{float(row[f'input_{name}']):.2f}" for name in names] == [f"{float(row[name]):.2f}" for name in names]


def test_all_launches_may_be_of_one_architecture_and_an_own_one_comes_first():
    content = (
        b"compute_capability,threads_per_block,registers_per_thread,dynamic_shared_mem_bytes\n,64,32,0\n8.6,64,32,0\n"
    )
    first, second = answered(content, "it", arch="sm_90").as_records()
    assert (32, 16) == (first["limit_blocks_blocks"], second["limit_blocks_blocks"])


def test_ten_thousand_launches_are_answered_each_as_alone():
    header, *lines = (GOLDEN / "ncu_h100_launches.csv").read_text().splitlines()
    content = "\n".join([header, *(lines * 6)[:10_000]]).encode()
    table = answered(content, "it", arch="sm_90")

    assert 10_000 == len(table.rows) == len(rows(table.as_csv()))
    assert table.rows[: len(lines)] == table.rows[len(lines) : 2 * len(lines)]


def test_a_content_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(launch_table, "MAX_FILE_BYTES", 1 << 20)
    with pytest.raises(LaunchTableError, match=r"^it is larger than 1 MiB: split it$"):
        answered(b"x" * ((1 << 20) + 1), "it")


cells = st.text() | st.integers().map(str) | st.sampled_from(["9.0", "64", "255", "", "nan", "1e5", "٣", "-1"])


@given(st.lists(st.lists(cells, min_size=4, max_size=6), max_size=4), st.sampled_from([None, "sm_90"]))
def test_any_content_is_answered_or_refused_in_one_line(found, arch):
    text = io.StringIO()
    csv.writer(text).writerows([[*HEADER.split(","), *OPTIONAL[:2]], *found])
    message = "it"
    try:
        table = answered(text.getvalue().encode("utf-8", errors="replace"), "it", arch=arch)
        assert all(len(row) == len(table.header) for row in table.rows)
        assert list(table.errors) == [row[-1] for row in table.rows if row[-1]]
        assert len(table.errors) < len(table.rows)
    except UsageError as error:
        message = str(error)
    assert message.startswith("it")
    assert 1 == len(message.splitlines())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(content):
    with pytest.raises(LaunchTableError) as caught:
        answered(content, "it")
    assert str(caught.value).startswith("it")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_read(delimiter):
    lines = "compute_capability,threads_per_block,registers_per_thread,dynamic_shared_mem_bytes\n9.0,64,255,41728\n"
    found, expected = (answered(text.encode(), "f") for text in (lines.replace(",", delimiter), lines))
    assert (expected.header, expected.rows) == (found.header, found.rows)
