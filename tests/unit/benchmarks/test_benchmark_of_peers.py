"""The benchmark of our kernels beside those of inference engines: what it sweeps and what it says of the runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmark_runs import FAST, MIDDLE, SLOW, benchmark, give_gpu, row, run
from fake_runs import HEADER
from foreign_files import ENTRIES, SMALL, lone, text

from ssdprof.kernels.config import Config
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.model import Run

peers = benchmark("peers")
GROUPED = chunk_scan_config(64, 64, 64, 128, 4, 3, variant="grouped", heads=16)
TWO_HEADS = ChunkScan(ChunkScanProblem(seqlen=128, nheads=2, ngroups=1))


def ids(*configs: Config) -> list[str]:
    return [PARAMS.id(config) for config in configs]


def test_all_of_ours_are_listed_once_by_variant_and_as_a_space_file_names_them(tmp_path: Path) -> None:
    found = peers.ours(TWO_HEADS, "ssdprof")
    assert ["tile", "split", "grouped"] == list(found)
    assert (11, len(peers.SPLIT)) == (len(found["tile"]), len(found["split"]))
    assert all(name.endswith("h2") for name in found["grouped"])
    for names in found.values():
        assert len(set(names)) == len(names)
        (tmp_path / "listed.json").write_text(json.dumps(names), encoding="utf-8")
        assert names == ids(*space_of(TWO_HEADS, str(tmp_path / "listed.json")).configs)


def test_configs_that_the_problem_cannot_have_or_that_are_named_twice_are_left_out(tmp_path: Path) -> None:
    space = tmp_path / "own.json"
    grouped = "grouped:m64n64k64d128w4s3"
    space.write_text(json.dumps([f"{grouped}h3", f"{grouped},heads=2", grouped, peers.SPLIT[0]]), encoding="utf-8")
    found = peers.ours(TWO_HEADS, str(space))
    assert [f"{grouped}h2"] == found["grouped"]
    assert len(peers.SPLIT) == len(found["split"])


def test_a_kernels_line_has_its_best_correct_config_and_how_many_are_wrong() -> None:
    of = run(
        row(SLOW, 4.0),
        row(MIDDLE, 0.5, status="wrong", reason="relative error 0.73"),
        row(FAST, 2.0),
        row(GROUPED, status="unstable", reason="different bits"),
        row(replace(GROUPED, variant="split"), status="compile-error", reason="no"),
        row(replace(FAST, variant="split"), 1.0),
    )
    found = peers.entry("vllm", of, [one.config_id for one in of.rows[:5]])
    assert ("vllm", 5, 2, 1, PARAMS.id(FAST)) == (found.kernel, found.configs, found.wrong, found.failed, found.config)
    assert (2.0, (0.0018, 0.02)) == (found.latency_ms, found.errors)
    assert HEADER.bytes_min is not None
    assert HEADER.device.copy_gbps is not None
    assert pytest.approx(HEADER.bytes_min / HEADER.device.copy_gbps / 1e6 / 2.0) == found.roofline_share


def test_a_baseline_that_is_none_of_a_kernels_configs_does_not_count() -> None:
    found = peers.entry("grouped", run(row(FAST, 1.0), row(GROUPED, 2.0)), ids(GROUPED))
    assert (1, PARAMS.id(GROUPED), 2.0) == (found.configs, found.config, found.latency_ms)


def test_a_kernel_without_a_correct_config_has_no_latency() -> None:
    found = peers.entry("vllm", run(row(FAST, 0.5, status="wrong", reason="NaN"), row(GROUPED, 1.0)), ids(FAST))
    assert (1, 1, 0, "", None, None, None) == (
        *(found.configs, found.wrong, found.failed, found.config),
        *(found.latency_ms, found.roofline_share, found.errors),
    )


def test_without_a_copy_bandwidth_there_is_no_share_of_the_roofline() -> None:
    of = run(row(FAST, 2.0))
    of = replace(of, header=replace(of.header, device=replace(of.header.device, copy_gbps=None)))
    assert peers.entry("tile", of, ids(FAST)).roofline_share is None


def entry(kernel: str, latency_ms: float | None, share: float | None = None) -> Any:
    config = "" if latency_ms is None else "m64"
    return peers.Entry(kernel, 9, 1, 2, config, latency_ms, share, (0.0018, 0.02))


def test_the_best_of_ours_is_held_against_what_is_asked_whatever_a_peer_does() -> None:
    found = [entry("tile", 2.0, 0.4), entry("grouped", 1.0, 0.85), entry("vllm", 0.5, 1.2)]
    said, met = peers.report(found, peers.Case({}, 0.88, 1.7))
    assert not met
    assert "NOT MET: the best of ours, grouped, has 0.850 of the roofline (0.88 asked)" in said
    assert "\nmet: the best of ours, grouped, has 2.000 times the speed of tile (1.7 asked)" in said
    lines = [line.split() for line in said.splitlines()]
    assert ["grouped", "m64", "1.0000", "0.850", "2.00", "0.0018", "0.02", "1", "of", "9", "2"] in lines
    assert ["vllm", "m64", "0.5000", "1.200", "4.00", "0.0018", "0.02", "1", "of", "9", "2"] in lines
    assert peers.report(found, peers.Case({}, 0.85))[1]
    assert peers.report(found, peers.Case({}))[1]
    assert not peers.report(found, peers.Case({}, speedup=2.1))[1]


def test_nothing_correct_of_ours_meets_nothing() -> None:
    said, met = peers.report([entry("tile", None), entry("vllm", 1.0, 0.9)], peers.Case({}, 0.5, 1.5))
    assert not met
    assert "NOT MET: the best of ours, none, has – of the roofline (0.5 asked)" in said
    assert "NOT MET: the best of ours, none, has – times the speed of tile (1.5 asked)" in said


def test_the_named_problems_are_those_that_are_asked_about() -> None:
    problems = {name: peers.subject(**case.problem).problem for name, case in peers.CASES.items()}
    assert (50_000, 128, 8) == tuple(getattr(problems["super-50k"], name) for name in ("seqlen", "nheads", "ngroups"))
    assert 2_048 == problems["super-2k"].seqlen
    assert 256 == problems["super-50k-chunk256"].chunk_size
    assert 64 == problems["nano-50k"].nheads
    assert (32, 2) == (problems["super-tp4-50k"].nheads, problems["super-tp4-50k"].ngroups)
    assert (16, 1) == (problems["super-tp8-50k"].nheads, problems["super-tp8-50k"].ngroups)
    assert (80, 256) == (problems["mamba2-2.7b-50k"].nheads, problems["mamba2-2.7b-50k"].chunk_size)
    assert (128, 256) == (problems["codestral-50k"].nheads, problems["codestral-50k"].chunk_size)
    assert (True, False) == (problems["super-z"].z, problems["super-z"].seq_idx)
    assert problems["super-seq-idx"].seq_idx
    assert "float16" == problems["super-fp16"].dtype
    assert "float32" == problems["super-fp32-states"].states_dtype


def test_a_problem_is_given_to_a_sweep_as_its_options() -> None:
    assert ["--chunk-size=256"] == peers.CASES["super-50k-chunk256"].options
    assert ["--seq-idx"] == peers.CASES["super-seq-idx"].options
    assert [] == peers.CASES["super-50k"].options


def test_a_peer_that_cannot_be_given_the_problem_says_why_and_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(lone(tmp_path, text(ENTRIES["vllm"])))
    assert 3 == len(peers.theirs("vllm", file, peers.Case({})))
    assert "" == capsys.readouterr().out
    assert [] == peers.theirs("vllm", file, peers.Case({"seq_idx": True}))
    said = capsys.readouterr().out
    assert said.startswith("  without vllm: ")
    assert "one sequence index per chunk" in said
    assert 1 == said.count("\n")


def asked_of(module: Any, patch: pytest.MonkeyPatch, runs: Sequence[Run]) -> list[tuple[list[str], list[str]]]:
    """Lets sweeps give these runs in turn; the options of each, and the ids that it was told."""
    asked: list[tuple[list[str], list[str]]] = []
    found = iter(runs)

    def swept(options: Sequence[str], ids: Sequence[str]) -> tuple[Run, float]:
        asked.append((list(options), list(ids)))
        return next(found), 9.0

    patch.setattr(module, "swept", swept)
    return asked


def test_each_kernel_is_swept_by_itself_and_says_which_configs_are_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {"tile": ids(FAST, SLOW), "grouped": ids(GROUPED)}
    monkeypatch.setattr(peers, "ours", lambda on, own_space: listed)
    own_lists = {"mamba_ssm": ids(FAST, MIDDLE), "refuses": []}
    monkeypatch.setattr(peers, "theirs", lambda name, kernel, case: own_lists[name])
    runs = [
        run(row(FAST, 2.0), row(SLOW, 3.0)),
        run(row(FAST, status="timeout", reason="the baseline"), row(GROUPED, 1.0)),
        run(row(FAST, 2.5), row(MIDDLE, 1.0, status="wrong", reason="relative error 1.0")),
    ]
    asked = asked_of(peers, monkeypatch, runs)

    found = peers.compared(peers.Case({"tp": 4, "z": True}), "own", {"mamba_ssm": "/root", "refuses": "/file.py"})

    assert [
        (["--kernel", "chunk-scan", "--tp=4", "--z"], listed["tile"]),
        (["--kernel", "chunk-scan", "--tp=4", "--z"], listed["grouped"]),
        (["--kernel", "/root", "--space", "own", "--tp=4", "--z"], []),
    ] == asked
    assert [("tile", 2.0), ("grouped", 1.0), ("mamba_ssm", 2.5)] == [(one.kernel, one.latency_ms) for one in found]
    assert "  mamba_ssm m64n64k32d128w4s3: wrong: relative error 1.0\n" == capsys.readouterr().out


def test_ours_and_a_file_are_swept_as_a_user_sweeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(peers, "ours", lambda on, own_space: {"split": ["split:m16n16k16d32w1s1"]})
    problem = {name: value for name, value in SMALL.as_dict().items() if type(value) is not bool}
    split, lonely = peers.compared(peers.Case(problem), "ssdprof", {"lonely": str(lone(tmp_path, text()))})
    assert ("split", 1, 0, 1) == (split.kernel, split.configs, split.wrong, split.failed)  # compiled, and that is all
    assert ("lonely", 3, 0, 3) == (lonely.kernel, lonely.configs, lonely.wrong, lonely.failed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problems", "super"], "invalid choice: 'super'"),
        (["--peer", "grouped=/tmp"], "NAME none of tile, split, grouped, got 'grouped=/tmp'"),
        (["--peer", "/tmp/scan.py"], "must be NAME or NAME=PATH"),
        (["--peer", "vllm="], "must be NAME or NAME=PATH"),
        (["--peer", "vlm"], "did you mean vllm?"),
        (["--peer", "vllm=/nowhere"], "/nowhere"),
        (["--space", "ssd"], "--space: unknown space ssd, did you mean ssdprof?"),
        ([], "no NVIDIA GPU is visible here"),
    ],
)
def test_bad_usage_is_named(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark("sweeps"), "gpus", lambda: ())
    with pytest.raises(SystemExit) as ended:
        peers.main(arguments)
    assert 2 == ended.value.code
    assert message in " ".join(capsys.readouterr().err.split())


def test_help_names_the_problems(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        peers.main(["--help"])
    assert 0 == ended.value.code
    assert "super-fp32-states" in capsys.readouterr().out


@pytest.mark.parametrize(("grouped_ms", "code"), [(1.0, 0), (3.0, 1)])
def test_each_problem_gets_a_table(
    grouped_ms: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    give_gpu(peers, monkeypatch)
    file, asked = lone(tmp_path, text()), []

    def compared(case: Any, own_space: str, given: dict[str, str]) -> list[Any]:
        asked.append((case, own_space, given))
        return [entry("tile", 2.0, 0.4), entry("grouped", grouped_ms, 0.9), entry("scan", 2.5)]

    monkeypatch.setattr(peers, "compared", compared)

    problems = ["--problems", "super-2k", "super-z"]
    assert code == peers.main([*problems, "--peer", f"scan={file}", "--space", "wide"])

    assert [(peers.CASES[name], "wide", {"scan": str(file)}) for name in ("super-2k", "super-z")] == asked
    said = capsys.readouterr().out
    assert "\nsuper-2k: --seqlen=2048\n" in said
    assert (said.count("NOT MET") > 0) is bool(code)
    assert 2 == said.count("× tile")


def test_without_a_peer_named_those_that_are_installed_take_part_on_all_problems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_gpu(peers, monkeypatch)
    monkeypatch.setattr(peers, "find_spec", lambda name: object() if name == "sglang" else None)
    asked = []

    def compared(case: Any, own_space: str, given: dict[str, str]) -> list[Any]:
        asked.append((own_space, given))
        return [entry("tile", 2.0, 0.4), entry("grouped", 0.9, 0.95)]

    monkeypatch.setattr(peers, "compared", compared)
    assert 0 == peers.main(["--problems", "all"])
    assert [("ssdprof", {"sglang": "sglang"})] * len(peers.CASES) == asked
