"""`ssdprof occupancy`: one launch, a table of launches, and everything that can be wrong with either."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssdprof.cli.main import run

GOLDEN = Path(__file__).parents[2] / "golden"
ONE = ["occupancy", "--arch", "sm_90", "--threads", "64", "--regs", "255", "--smem", "41728"]
HEADER = "compute_capability,threads_per_block,registers_per_thread,dynamic_shared_mem_bytes"


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        path = tmp_path / "launches.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def refusal(capsys, *arguments):
    """The one line that a refused command leaves on stderr."""
    assert 2 == run(["occupancy", *arguments])
    captured = capsys.readouterr()
    assert "" == captured.out
    (line,) = captured.err.splitlines()
    return line.removeprefix("ssdprof: ")


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_launch_prints_section_sentence_headroom_and_curves(capsys):
    assert 0 == run(ONE)
    out = capsys.readouterr().out

    assert "Block Limit Registers              block          4  limits" in out
    assert "200704  assumed, not measured" in out
    assert (
        "This kernel's theoretical occupancy (12.5%) is limited by the number of required registers, and the "
        "required amount of shared memory.\nEst. Local Speedup: 87.5%\n"
    ) in out
    assert "87 registers fewer per thread (255 → 168) give 5 blocks per SM" in out
    assert 3 == out.count("Theoretical occupancy over")


def test_a_given_carve_out_and_a_preference_are_taken(capsys):
    assert 0 == run([*ONE, "--smem-config", "233472"])
    assert "233472  given" in capsys.readouterr().out
    assert 0 == run([*ONE, "--prefer-shared"])
    assert "233472  prefers shared memory" in capsys.readouterr().out


def test_waves_need_the_number_of_sms(capsys):
    assert 0 == run([*ONE, "--grid", "264", "--sms", "132"])
    assert "Waves Per SM                                   0.50" in capsys.readouterr().out
    assert 0 == run([*ONE, "--grid", "264"])
    captured = capsys.readouterr()
    assert "Waves Per SM" not in captured.out
    assert "ssdprof: waves per SM need the number of SMs: give --sms\n" == captured.err


def test_a_named_gpu_brings_its_number_of_sms_and_the_answer_says_whose(capsys):
    launch = ["occupancy", "--threads", "64", "--regs", "255", "--smem", "41728", "--grid", "264"]
    assert 0 == run([*launch, "--arch", "H100"])
    captured = capsys.readouterr()
    assert "Waves Per SM 0.50 on the 132 SMs of H100 SXM; H100 PCIe: 114" in " ".join(captured.out.split())
    assert "" == captured.err
    assert 0 == run([*launch, "--arch", "h100-pcie", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert ("sm_90", 114, "H100 PCIe") == (content["arch"], content["num_sms"], content["num_sms_of"])
    assert 0 == run([*launch, "--arch", "H100", "--sms", "66", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert (66, None, 1.0) == (content["num_sms"], content["num_sms_of"], content["occupancy"]["waves_per_sm"])


def test_a_table_may_name_gpus_too(capsys, table):
    source = table(f"{HEADER},grid_blocks", "H100,64,255,41728,264", "9.0,64,255,41728,264", "RTX4090,64,255,0,1024")
    assert 0 == run(["occupancy", "--from-csv", source])
    assert ["0.5", "", "2.0"] == [row["waves_per_sm"] for row in rows(capsys.readouterr().out)]


def test_json_has_every_field_and_the_headroom(capsys):
    assert 0 == run([*ONE, "--json"])
    content = json.loads(capsys.readouterr().out)

    assert "sm_90" == content["arch"]
    assert ["registers", "shared memory"] == content["occupancy"]["limiters"]
    assert 168 == content["headroom"]["step"]["registers_per_thread"]
    assert 32 == len(content["headroom"]["allowances"])
    assert content["sentence"].startswith("The 2.00 theoretical warps")


def test_too_many_registers_for_one_block_are_an_answer_and_no_error(capsys):
    assert 0 == run(["occupancy", "--arch", "90", "--threads", "1024", "--regs", "255"])

    assert "Cannot launch: needs 262144 registers per block" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "--threads is not given: give --threads and --regs of one launch, or --from-csv FILE"),
        (["--threads", "64"], "--regs is not given: give --threads and --regs of one launch, or --from-csv FILE"),
        (["--threads", "0", "--regs", "32"], "0 threads per block: sm_90 takes 1 to 1024"),
        (["--threads", "1025", "--regs", "32"], "1025 threads per block: sm_90 takes 1 to 1024"),
        (["--threads", "64", "--regs", "256"], "256 registers per thread: sm_90 takes 1 to 255"),
        (
            ["--threads", "64", "--regs", "32", "--smem", "232449"],
            "232449 bytes of shared memory per block: sm_90 allows 232448",
        ),
        (
            ["--threads", "64", "--regs", "32", "--smem-config", "100000"],
            (
                "sm_90 cannot configure its shared memory to 100000 bytes: "
                "it has 0, 8192, 16384, 32768, 65536, 102400, 135168, 167936, 200704, 233472"
            ),
        ),
        (
            ["--threads", "64", "--regs", "32", "--csv", "out.csv"],
            "--csv goes with --from-csv FILE: give that too, or --json for one launch",
        ),
        (
            ["--static-smem", "64", "--from-csv", "in.csv"],
            "--static-smem and --from-csv exclude each other: leave one of them out",
        ),
        (["--from-csv", "nowhere.csv"], "--from-csv nowhere.csv cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_code_2(capsys, arguments, line):
    assert line == refusal(capsys, "--arch", "sm_90", *arguments)


def test_an_unknown_architecture_lists_the_known_ones(capsys):
    line = refusal(capsys, "--arch", "sm_91", "--threads", "64", "--regs", "32")

    assert line.startswith("unknown architecture 'sm_91': one of sm_70, ")


def test_text_in_a_number_is_one_line(capsys):
    assert "--threads" in refusal(capsys, "--arch", "90", "--threads", "many", "--regs", "32")


def test_a_table_keeps_its_columns_and_gains_the_answers(capsys, table, tmp_path):
    source, target = table(f"name,{HEADER}", "a,9.0,64,255,41728", "b,8.6,1024,255,0"), tmp_path / "out.csv"
    assert 0 == run(["occupancy", "--from-csv", source, "--csv", str(target)])
    captured = capsys.readouterr()

    assert ("", f"ssdprof: wrote {target}: 2 launches\n") == (captured.out, captured.err)
    assert (
        f"name,{HEADER},shared_mem_allocated_bytes,shared_mem_config_bytes,shared_mem_config_source,blocks_per_sm,"
        "warps_per_sm,warps_per_scheduler,theoretical_occupancy_pct,limit_registers_blocks,limit_shared_mem_blocks,"
        "limit_warps_blocks,limit_blocks_blocks,limit_barriers_blocks,limiters,waves_per_sm,cannot_launch,error\n"
        "a,9.0,64,255,41728,42752,200704,assumed,4,8,2.0,12.5,4,4,32,32,32,registers;shared memory,,,\n"
        "b,8.6,1024,255,0,1024,8192,assumed,0,0,0.0,0.0,0,8,1,16,16,registers,,"
        '"needs 262144 registers per block (32 warps of 8192), sm_86 allows 65536",\n'
    ) == target.read_text()


def test_without_a_file_to_write_the_table_goes_to_stdout(capsys, table):
    source = table("threads_per_block,registers_per_thread,dynamic_shared_mem_bytes", "64,255,41728")
    assert 0 == run(["occupancy", "--from-csv", source, "--arch", "sm_90"])
    assert "12.5" == rows(capsys.readouterr().out)[0]["theoretical_occupancy_pct"]
    assert 0 == run(["occupancy", "--from-csv", source, "--arch", "sm_90", "--json"])
    assert ["registers", "shared memory"] == json.loads(capsys.readouterr().out)["rows"][0]["limiters"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([f"{HEADER}", "", "9.0,many,255,0"], ", line 3: threads_per_block is 'many', not a whole"),
        ([HEADER, "9.0,64.5,255,0"], ", line 2: threads_per_block is '64.5', not a whole number"),
        ([HEADER, "9.0,64,,0"], ", line 2: registers_per_thread is empty"),
        ([HEADER, ",64,32,0"], ", line 2: compute_capability is empty"),
        ([HEADER, "9.0,0,32,0"], ", line 2: 0 threads per block: sm_90 takes 1 to 1024"),
        ([HEADER, "9.0,64,32,-1"], ", line 2: -1 bytes of dynamic shared memory: sm_90 takes at least 0"),
        ([HEADER, "9.0,64,32,1e5"], ", line 2: dynamic_shared_mem_bytes is '1e5', not a whole number"),
        ([HEADER, "9.0,64,32," + "9" * 5000], ", line 2: dynamic_shared_mem_bytes is '999999999999999999999999999…'"),
        ([HEADER, "3.5,64,32,0"], ", line 2: unknown architecture '3.5'"),
        ([HEADER, "9.0,64,32"], ", line 2: 3 fields, the header has 4"),
        ([HEADER, '"9.0', '",64,32,0,0'], ", line 2: 5 fields, the header has 4"),
        ([f"{HEADER},prefer_shared", "9.0,64,32,0,perhaps"], ", line 2: prefer_shared is 'perhaps': write 1 or 0"),
        ([f"{HEADER},shared_mem_config_bytes", "9.0,64,32,0,7"], ", line 2: sm_90 cannot configure"),
        (["threads_per_block,registers_per_thread", "64,32"], " has no column dynamic_shared_mem_bytes: required are"),
        ([HEADER.removeprefix("compute_capability,"), "64,32,0"], " has no column compute_capability: add it, or give"),
        ([f"{HEADER},threads_per_block", "9.0,64,32,0,64"], " has the column threads_per_block more than once"),
        ([HEADER], " has a header and no launches below it"),
        ([""], " is empty: it needs a header with threads_per_block, registers_per_thread"),
        ([HEADER, '9.0,"64'], ", line 2: "),
    ],
)
def test_a_bad_table_is_refused_by_its_line_or_column(capsys, table, lines, words):
    source = table(*lines)

    assert f"{source}{words}" in refusal(capsys, "--from-csv", source)


MIXED = [
    f"{HEADER},error",
    "9.0,64,255,41728,mine",
    "",
    "9.0,many,255,0,",
    "9.0,64,255",
    "9.0,0,255,0,",
    '9.0,"64" wide,255,0,',
    "8.6,64,255,41728,",
]
REASONS = [
    None,
    "line 4: threads_per_block is 'many', not a whole number of at most 18 digits",
    "line 5: 3 fields, the header has 5",
    "line 6: 0 threads per block: sm_90 takes 1 to 1024",
    "line 7: ',' expected after '\"'",
    None,
]


def test_a_line_that_cannot_be_read_costs_only_itself(capsys, table):
    assert 0 == run(["occupancy", "--from-csv", table(*MIXED), "-q"])
    captured = capsys.readouterr()
    found = rows(captured.out)

    assert REASONS == [row["error"] or None for row in found]
    assert ["4", "", "", "", "", "2"] == [row["blocks_per_sm"] for row in found]
    assert ["many", "64"] == [row["threads_per_block"] for row in found[1:3]]
    assert "mine" == found[0]["input_error"]
    assert (
        f"ssdprof: 4 of 6 launches have no answer, the column error says why; the first is {REASONS[1]}\n"
        == captured.err
    )


def test_a_line_that_cannot_be_read_has_a_reason_and_no_values_in_json_too(capsys, table):
    assert 0 == run(["occupancy", "--from-csv", table(*MIXED), "--json"])
    found = json.loads(capsys.readouterr().out)["rows"]

    assert REASONS == [row["error"] for row in found]
    assert [4, None, None, None, None, 2] == [row["blocks_per_sm"] for row in found]
    assert (["registers", "shared memory"], None) == (found[0]["limiters"], found[1]["limiters"])


def test_a_file_of_which_no_line_can_be_read_is_refused_by_the_first(capsys, table):
    source = table(HEADER, "9.0,many,255,0", "9.0,64,255")
    expected = "line 2: threads_per_block is 'many', not a whole number of at most 18 digits"
    assert f"{source}, {expected}; the other 1 cannot be read either" == refusal(capsys, "--from-csv", source)


def test_a_file_that_is_no_text_or_too_large_is_refused(capsys, tmp_path):
    source = tmp_path / "launches.csv"
    source.write_bytes(b"\x7fELF\xff")
    assert f"{source} is not a text file: byte 4 is not UTF-8" == refusal(capsys, "--from-csv", str(source))
    with source.open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert f"{source} is larger than 64 MiB: split it" == refusal(capsys, "--from-csv", str(source))


def test_a_bad_table_leaves_what_the_output_file_held(capsys, table, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("kept")
    refusal(capsys, "--from-csv", table(HEADER, "9.0,0,0,0"), "--csv", str(target))

    assert "kept" == target.read_text()


def test_the_calculator_imports_neither_torch_nor_triton_nor_pandas():
    code = (
        "import sys; from ssdprof.cli.main import run; code = run(sys.argv[1:]); "
        "sys.exit(code or str({'torch', 'triton', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *ONE], capture_output=True, text=True, check=False)

    assert "set()" == done.stderr.strip()
