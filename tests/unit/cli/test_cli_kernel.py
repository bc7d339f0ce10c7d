"""`--kernel`: a made-up foreign chunk scan swept and explained without a GPU, as a user would."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_sweeps import Asked, fake_sweeps, gpus
from foreign_files import CONFIGS, TUNED, checkout, lone, text

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.foreign.subject import ForeignChunkScan
from ssdprof.profiling.runs.store import load_run

PROBLEM = "--seqlen 300 --dstate 128 --nheads 4 --headdim 32 --ngroups 2 --chunk-size 32"
TILES = """
configs = [
    triton.Config({"BLOCK_SIZE_M": m, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 32}, num_stages=2, num_warps=4)
    for m in (16, 128)
]
"""
PRUNING = """
def few_tokens(configs, named_args, **kwargs):
    return [config for config in configs if config.kwargs["BLOCK_SIZE_M"] <= named_args["chunk_size"]]
"""
PRUNED = '@triton.autotune(configs=configs, key=["dstate"], prune_configs_by={"early_config_prune": few_tokens})'
WHOLE = ["m16n32k32d128w4s2"]
CUT = {f"m16n32k32d{d}w4s2": d for d in (32, 64)}
REASON = (
    "by construction: sums only the first {} of 128 state elements (dstate) and does not loop over the rest: "
    "take a DSTATE tile of 128"
)


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code and output, and the kernel's file."""

    code: int
    out: str
    err: str
    file: Path

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def ran(file: Path, command: str, *arguments: str) -> Ran:
    """A command on a made-up file, in a process of its own, with a data folder beside the file."""
    home = {"XDG_DATA_HOME": str(file.parent / "data"), "COLUMNS": "100"}
    words = [
        sys.executable,
        "-m",
        "ssdprof",
        command,
        *arguments,
        "--kernel",
        str(file),
        "--arch",
        "sm_90",
        *PROBLEM.split(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **home})
    return Ran(done.returncode, done.stdout, done.stderr, file)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A sweep of a file's own list, which its pruning shortens, crossed with DSTATE tiles; CSV and run beside it."""
    folder = tmp_path_factory.mktemp("kernel")
    file = lone(folder, text(around=TILES + PRUNING + PRUNED), "my scan.py")
    options = ["--values", "BLOCK_SIZE_DSTATE=32,64,128", "--device", "none", "--json"]
    return ran(file, "sweep", *options, "--csv", str(folder / "run.csv"), "-o", str(folder / "run.jsonl"))


def test_a_run_is_explained_by_the_file_that_it_was_swept_from(swept: Ran) -> None:
    run = ["--run", str(swept.file.parent / "run.jsonl"), "--json", "-q"]
    home = {**os.environ, "XDG_DATA_HOME": str(swept.file.parent / "data")}
    words = [sys.executable, "-m", "ssdprof", "explain", *WHOLE, *run]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=home)
    assert (0, "") == (done.returncode, done.stderr)
    assert ("my_scan:chunk_scan", str(swept.file)) == tuple(
        json.loads(done.stdout)["header"][name] for name in ("kernel", "kernel_file")
    )


def test_a_run_is_not_resumed_under_other_values(swept: Ran) -> None:
    run = swept.file.parent / "run.jsonl"
    options = ["--values", "BLOCK_SIZE_DSTATE=64,128", "--device", "none", "-q", "--resume", "-o", str(run)]
    refused = ran(swept.file, "sweep", *options)
    assert 2 == refused.code
    assert "cannot be resumed: space own, BLOCK_SIZE_DSTATE=32,64,128 there" in refused.err


@pytest.mark.slow
def test_every_config_of_its_own_list_is_compiled_under_every_value(swept: Ran) -> None:
    assert 0 == swept.code
    header, rows = swept.json["header"], swept.json["rows"]
    assert ("my_scan:chunk_scan", "own, BLOCK_SIZE_DSTATE=32,64,128", None, 300) == (
        header["kernel"],
        header["space"],
        header["device"]["name"],
        header["problem"]["seqlen"],
    )
    assert {*WHOLE, *CUT} == {row["config_id"] for row in rows}
    assert all(row["registers_per_thread"] > 0 and row["theoretical_occupancy_pct"] > 0 for row in rows)


@pytest.mark.slow
def test_configs_that_cut_the_state_short_are_wrong_by_construction_and_none_is_ranked(swept: Ran) -> None:
    found = {row["config_id"]: (row["status"], row["status_reason"]) for row in swept.json["rows"]}
    assert dict.fromkeys(WHOLE, ("not-run", "compiled only, no GPU")) == {name: found[name] for name in WHOLE}
    assert {name: ("wrong", REASON.format(d)) for name, d in CUT.items()} == {name: found[name] for name in CUT}
    assert {None} == {row["rank"] for row in swept.json["rows"]}


@pytest.mark.slow
def test_what_may_be_correct_comes_first_and_wrong_configs_last_in_json_and_csv(swept: Ran) -> None:
    ids = [row["config_id"] for row in swept.json["rows"]]
    assert [*WHOLE, *CUT] == ids
    with (swept.file.parent / "run.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert ids == [row["config_id"] for row in rows]
    assert [("16", "128"), ("16", "32"), ("16", "64")] == [(row["block_m"], row["block_dstate"]) for row in rows]


@pytest.mark.slow
def test_what_its_own_pruning_leaves_out_is_told_in_the_header_and_is_no_row(swept: Ran) -> None:
    assert [
        {
            "config_id": "m128n32k32d128w4s2",
            "reason": "left out by my_scan's own pruning (early_config_prune) on this problem",
        }
    ] == swept.json["header"]["left_out"]
    assert 1 == len(load_run(swept.file.parent / "run.jsonl").header.left_out)


@pytest.mark.slow
def test_the_last_line_names_the_run_which_knows_its_kernel(swept: Ran) -> None:
    line = swept.err.splitlines()[-1]
    run = swept.file.parent / "run.jsonl"
    assert f"ssdprof: run kept in {run}; next: ssdprof explain any config above, with --run {run}" == line


@pytest.mark.slow
def test_what_the_answer_says_to_do_next_works_as_it_stands(swept: Ran) -> None:
    figures = swept.json["answer"][-1]["figures"]
    assert (WHOLE[0], str(swept.file.parent / "run.jsonl")) == (figures["explain"], figures["run"])
    said = f"`ssdprof explain {figures['explain']} --run {figures['run']}`"
    assert said in swept.json["answer"][-1]["message"]
    words = [sys.executable, "-m", *shlex.split(said.strip("`")), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    header = json.loads(done.stdout)["header"]
    assert ("my_scan:chunk_scan", 300) == (header["kernel"], header["problem"]["seqlen"])


@pytest.mark.slow
def test_a_config_is_explained_with_its_neighbours(swept: Ran) -> None:
    explained = ran(swept.file, "explain", "m16n32k32w4s2", "--json", "-q")
    assert (0, "") == (explained.code, explained.err)
    content = explained.json
    assert ("my_scan:chunk_scan", WHOLE[0], None) == (
        content["header"]["kernel"],
        content["row"]["config_id"],
        content["latency_source"],
    )
    statuses = {one["parameter"]: [row["status"] for row in one["rows"]] for one in content["neighbours"]}
    assert ["wrong", "wrong", "not-run"] == statuses["block_dstate"]
    assert "block_dstate" == content["question"]["parameter"]
    assert swept.json["rows"][0] | {"compile_s": 0} == content["row"] | {"compile_s": 0}


def test_an_engine_in_a_checkout_goes_by_its_name_and_its_own_list_is_the_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = fake_sweeps(monkeypatch, tmp_path)
    checkout(tmp_path / "clone", "mamba_ssm", text())
    assert 0 == ssdprof(["sweep", "--kernel", str(tmp_path / "clone"), "--gpu", "none", *PROBLEM.split()])
    (request,) = asked
    assert isinstance(request.subject, ForeignChunkScan)
    assert ("mamba_ssm:chunk_scan", "own", 3) == (request.subject.name, request.space, len(request.configs))


def swept_ids(asked: Asked, file: Path, *arguments: str) -> list[str]:
    """The ids of the configs that a sweep of the file is asked for."""
    assert 0 == ssdprof(["sweep", "--kernel", str(file), *PROBLEM.split(), *arguments])
    request = asked[-1]
    return [request.subject.params.id(config) for config in dict.fromkeys(request.configs)]


def test_values_of_several_parameters_are_crossed_by_any_of_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = fake_sweeps(monkeypatch, tmp_path)
    gpus(monkeypatch)
    file = lone(tmp_path, text(around=TILES + TUNED))
    arguments = ["--values", "block_m=16", "--values", "BLOCK_SIZE_DSTATE= 64, 128", "--values", "num_warps=2,8"]
    assert [f"m16n32k32d{d}w{w}s2" for d in (64, 128) for w in (2, 8)] == swept_ids(asked, file, *arguments)


def test_another_space_and_a_baseline_can_be_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = fake_sweeps(monkeypatch, tmp_path)
    gpus(monkeypatch)
    file = lone(tmp_path, text(around=CONFIGS + TUNED))
    (tmp_path / "mine.json").write_text('["m64n64k32w4s3", {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 16, "BLOCK_SIZE_K": 16,'
                                        '"num_warps": 1, "num_stages": 1}]')  # fmt: skip
    configs = swept_ids(asked, file, "--space", str(tmp_path / "mine.json"), "--baseline", "m32n32k32d128w4s2")
    assert ["m64n64k32w4s3", "m16n16k16w1s1", "m32n32k32d128w4s2"] == configs
    assert "m32n32k32d128w4s2" == asked[-1].subject.params.id(asked[-1].baseline)  # type: ignore[arg-type]
    assert 33 == len(swept_ids(asked, file, "--space", "tensorrt-llm-pr"))


@pytest.mark.slow
def test_what_its_shared_memory_and_registers_hold_has_lines_of_its_own_file(swept: Ran) -> None:
    explained = ran(swept.file, "explain", "m16n32k32w4s2", "--json", "-q").json
    found = explained["ledger"]
    in_registers = explained["registers"]
    assert explained["row"]["registers_per_thread"] == in_registers["registers_per_thread"]
    assert {str(swept.file)} == {row["file"] for row in in_registers["rows"] if row["file"]}
    assert explained["row"]["dynamic_shared_mem_bytes"] == found["total_bytes"]
    assert found["total_bytes"] == max(row["offset_bytes"] + row["size_bytes"] for row in found["rows"] if row["op"])
    assert {"c", "x"} <= {row["name"] for row in found["rows"]}
    assert {str(swept.file)} == {row["file"] for row in found["rows"] if row["file"]}
