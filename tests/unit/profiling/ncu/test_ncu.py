"""ncu's command line, played by a small script; its CSV pages, made up after printed ones of ncu 2025."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

import pytest

from ssdprof.profiling.ncu import program
from ssdprof.profiling.ncu.program import (
    Finished,
    NcuCsvError,
    NcuError,
    NcuRow,
    find_ncu,
    launch_figures,
    profile,
    read_raw,
    read_sentences,
    run_program,
)

RAW = (
    "==PROF== Connected to process 7 (/usr/bin/python3)\n"
    '"ID","Kernel Name","CC","launch__registers_per_thread","launch__waves_per_multiprocessor"\n'
    '"","","","register/thread",""\n'
    '"0","chunk_scan_kernel","9.0","255","1,189.58"\n'
    '"1","chunk_scan_kernel","9.0","186","2"\n'
)
DETAILS = (
    '"ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value","Rule Name","Rule Type",'
    '"Rule Description","Estimated Speedup Type","Estimated Speedup"\n'
    '"0","chunk_scan_kernel","Occupancy","Theoretical Occupancy","%","12.50",\n'
    '"0","chunk_scan_kernel","Occupancy","","","","AchievedOccupancy","OPT","Another rule.","local","50"\n'
    '"0","chunk_scan_kernel","Occupancy","","","","TheoreticalOccupancy","OPT","The 2.00 theoretical, and so on.",'
    '"local","87.5"\n'
)
REFUSED = "==PROF== Connected\n==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access\n"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def number(text: str, unit: str = "") -> NcuRow:
    return NcuRow("file", 2, {"x": text}, {"x": unit})


class FakeNcu:
    """Answers each call of ncu: what the profiling runs print, then the pages; keeps the commands."""

    def __init__(self, *runs: str | None, details: str = DETAILS, import_code: int = 0, raw: str = RAW) -> None:
        self.runs, self.details, self.import_code, self.raw = list(runs), details, import_code, raw
        self.commands: list[list[str]] = []
        self.env: Mapping[str, str] = {}

    def __call__(self, command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> Finished:
        self.commands.append(list(command))
        self.env = env
        if "--version" in command:
            return Finished(0, "NVIDIA (R) Nsight Compute\nVersion 2025.3.1.0 (build 36398880) (public-release)\n")
        if "--import" in command:
            return Finished(self.import_code, self.raw if "raw" in command else self.details)
        said = self.runs.pop(0)
        if said is None:
            return Finished(None, "")
        if said == "":
            Path(command[command.index("-o") + 1]).write_text("report")
        return Finished(0 if said == "" else 1, said)

    def profile(self, folder: Path) -> tuple[str, tuple[NcuRow, ...]]:
        with mock.patch.object(program, "run_program", self):
            return profile(
                Path("/opt/ncu"),
                ["python", "target"],
                launch_figures(["launch__one", "launch__two"]),
                kernels={"chunk_scan_kernel", "other"},
                folder=folder,
                env={"A": "b"},
                timeout_s=9,
            )


def test_ncu_of_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = executable(tmp_path / "bin" / "ncu", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(there.parent))
    assert there == find_ncu([])


def test_without_path_the_toolkit_is_searched_and_then_the_newest_of_opt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folders = [str(tmp_path / "cuda" / "bin"), str(tmp_path / "nsight" / "*")]
    assert find_ncu(folders) is None
    executable(tmp_path / "nsight" / "2025.9.1" / "ncu", "")
    newest = executable(tmp_path / "nsight" / "2025.10.0" / "ncu", "")
    assert newest == find_ncu(folders)
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    (tmp_path / "cuda" / "bin" / "ncu").write_text("not executable")
    assert newest == find_ncu(folders)
    toolkit = executable(tmp_path / "cuda" / "bin" / "ncu", "")
    assert toolkit == find_ncu(folders)


def test_a_program_comes_back_with_its_code_and_both_its_streams() -> None:
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(4)"
    assert Finished(4, "out\nerr\n") == run_program([sys.executable, "-c", code], dict(os.environ), 60)


def test_a_late_program_is_ended_with_what_it_started(tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    script = executable(tmp_path / "slow", f"#!/bin/sh\nexec 3>{held}\nprintf begun >&3\nsleep 600 &\nsleep 600\n")
    try:
        assert Finished(None, "") == run_program([str(script)], dict(os.environ), 1.0)
        assert b"begun" == os.read(reader, 100)
        assert [reader] == select.select([reader], [], [], 60)[0]
        assert b"" == os.read(reader, 100)  # nobody holds its other end
    finally:
        os.close(reader)


def test_a_program_that_cannot_be_run_is_an_ncu_error(tmp_path: Path) -> None:
    with pytest.raises(NcuError, match=r"nothere cannot be run: No such file"):
        run_program([str(tmp_path / "nothere")], {}, 1)


def test_one_run_is_exported_twice_and_sentences_join_their_launches(tmp_path: Path) -> None:
    ncu = FakeNcu("")
    version, rows = ncu.profile(tmp_path)
    assert "2025.3.1" == version
    assert ["The 2.00 theoretical, and so on.", ""] == [row.sentence for row in rows]
    run = ncu.commands[0]
    assert ["python", "target"] == run[-2:]
    assert "regex:^(chunk_scan_kernel|other)$" == run[run.index("--kernel-name") + 1]
    assert "none" == run[run.index("--clock-control") + 1]
    assert "TheoreticalOccupancy" == run[run.index("--rule") + 1]
    assert "launch__one,launch__two" == run[run.index("--metrics") + 1]
    assert "Occupancy" == run[run.index("--section") + 1]
    assert {"A": "b", "LC_ALL": "C"} == ncu.env
    pages = [command[command.index("--page") + 1] for command in ncu.commands if "--page" in command]
    assert ["raw", "details"] == pages


def test_where_counters_are_refused_what_needs_none_is_asked_alone(tmp_path: Path) -> None:
    ncu = FakeNcu(REFUSED, "", details='"ID","Rule Name"\n')
    _, rows = ncu.profile(tmp_path)
    assert [None, None] == [row.sentence for row in rows]
    assert "--section" not in ncu.commands[1]


def test_refused_in_every_way_says_permission(tmp_path: Path) -> None:
    with pytest.raises(NcuError, match=r"ERR_NVGPUCTRPERM: no permission for the GPU's performance counters"):
        FakeNcu(REFUSED, "==ERROR== Failed to find rule\n", "==ERROR== No.\n").profile(tmp_path)


def test_an_ncu_that_fails_says_its_error_or_the_last_thing_printed(tmp_path: Path) -> None:
    with pytest.raises(NcuError, match=r"^Unknown Error\. \(exit code 1\)$"):
        FakeNcu("a", "b", "==ERROR== Unknown Error.\nlast\n").profile(tmp_path)
    with pytest.raises(NcuError, match=r"^last \(exit code 1\)$"):
        FakeNcu("a", "b", "first\nlast\n\n").profile(tmp_path)
    with pytest.raises(NcuError, match="nothing was printed"):
        FakeNcu("a", "b", "\n").profile(tmp_path)


def test_a_late_ncu_is_not_asked_again(tmp_path: Path) -> None:
    ncu = FakeNcu(None)
    with pytest.raises(NcuError, match="no report within 9 s"):
        ncu.profile(tmp_path)
    assert 1 == len(ncu.commands)


def test_a_report_that_cannot_be_exported_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NcuError, match="could not export its report"):
        FakeNcu("", import_code=1).profile(tmp_path)


def test_raw_rows_have_units_and_lines_and_no_noise() -> None:
    rows = read_raw(RAW + "==PROF== Disconnected\n\n", "raw.csv")
    assert ["0", "1"] == [row.cells["ID"] for row in rows]
    assert [4, 5] == [row.line for row in rows]
    assert "register/thread" == rows[0].units["launch__registers_per_thread"]
    waves = rows[0].number("launch__waves_per_multiprocessor")
    assert waves is not None
    assert (1189.58, "1,189.58") == (waves.value, waves.text)
    assert rows[0].number("launch__nothing") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.csv has no column launch__registers_per_thread: export the report with ncu --import REPORT --csv"),
        ('"ID","launch__registers_per_thread"\n', "f.csv has no launches below its header"),
        ('"ID","launch__registers_per_thread"\n"","register"\n', "f.csv has no launches below its header"),
        ('"ID","launch__registers_per_thread"\n"0","1","2"\n', "f.csv, line 2: 3 cells, the header has 2"),
        ('"ID","launch__registers_per_thread"\n"0","' + "1" * 140_000 + '"\n', "f.csv, line 2: field larger than"),
    ],
)
def test_what_is_no_raw_page_says_where_and_how_to_export_one(text: str, expected: str) -> None:
    with pytest.raises(NcuCsvError) as error:
        read_raw(text, "f.csv")
    assert str(error.value).startswith(expected)


def test_sentences_are_those_of_the_one_rule() -> None:
    assert {"0": "The 2.00 theoretical, and so on."} == read_sentences(DETAILS)
    assert {} == read_sentences("==WARNING== no rules\n")


@pytest.mark.parametrize(
    ("text", "unit", "ours", "agrees"),
    [
        ("4", "block", 4, True),
        ("4", "block", 5, False),
        ("2", "warp", 1.99, False),
        ("12.50", "%", 12.5, True),
        ("9.38", "%", 9.375, True),
        ("9.37", "%", 9.375, True),
        ("9.36", "%", 9.375, False),
        ("189.58", "", 189.5757, True),
        ("86.78", "Kbyte/block", 86784, True),
        ("86.78", "Kbyte/block", 86912, False),
        ("1", "Kbyte/block", 1000, True),
        ("1,024", "byte/block", 1024, True),
        ("2.335e5", "byte", 233500, True),
    ],
)
def test_figures_agree_where_ours_rounds_to_what_ncu_printed(text: str, unit: str, ours: float, agrees: bool) -> None:
    found = number(text, unit).number("x")
    assert found is not None
    assert agrees is found.agrees(ours)


@pytest.mark.parametrize("text", ["", "N/A", "nan"])
def test_no_figure_is_none(text: str) -> None:
    assert number(text).number("x") is None


def test_text_in_a_number_names_file_line_and_column() -> None:
    with pytest.raises(NcuCsvError, match=r"^file, line 2: x is not a number: 'four'$"):
        number("four").number("x")
