"""The benchmark of our kernels beside those of mamba_ssm and vLLM, with made-up peers, on the CPU."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from ssdprof.kernels.chunk_scan_spec import ChunkScan
from ssdprof.kernels.problem import ChunkScanProblem
from ssdprof.profiling.model import Conditions, TimedBy
from ssdprof.profiling.timer import HostTimer

from .benchmark_runs import benchmark, give_gpu

peers, peer_bench, peer_files, peer_kernels = map(benchmark, ("peers", "peer_bench", "peer_files", "peer_kernels"))

SMALL = ChunkScanProblem(seqlen=40, nheads=4, headdim=16, ngroups=2, dstate=16, chunk_size=16, dtype="float32")
MADE_UP_KERNEL = """
import torch
import triton

from ssdprof.kernels import reference


class MadeUp:
    '''Writes the right output; with 8 warps a wrong one, with 9 stages none.'''

    def __getitem__(self, grid):
        def launch(cb, x, dt, da, c, states, out, D=None, z=None, seq_idx=None, *, num_warps, num_stages, **tiles):
            assert grid({"BLOCK_SIZE_M": tiles["BLOCK_SIZE_M"]}) == (7,)
            if num_stages == 9:
                raise RuntimeError("too many stages\\nreally")
            right = reference.chunk_scan(cb, x, dt, da, c, states, D=D, z=z, seq_idx=seq_idx)
            out.copy_(right * (2 if num_warps == 8 else 1))

        return launch


class Tuned:
    keys = ["chunk_size"]
    fn = MadeUp()
    configs = [
        triton.Config({"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 32}, num_warps=warps, num_stages=stages)
        for warps, stages in ((4, 2), (8, 2), (4, 9))
    ]

    def __getitem__(self, grid):
        raise AssertionError("nothing is to be tuned")


_chunk_scan_fwd_kernel = Tuned()
"""
LIKE_MAMBA = """
def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None):
    batch, seqlen, nheads, headdim = x.shape
    out = torch.empty_like(x)
    _chunk_scan_fwd_kernel[lambda meta: (7,)](cb, x, dt, dA_cumsum, C, states, out, D=D, z=z, seq_idx=seq_idx)
    return out, None
"""
LIKE_OLDER_VLLM = """
def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None, chunk_indices=None, out=None):
    seqlen, nheads, headdim = x.shape
    cb, x, dt, dA_cumsum, C, states, out = (t[None] for t in (cb, x, dt, dA_cumsum, C, states, out))
    _chunk_scan_fwd_kernel[lambda meta: (7,)](cb, x, dt, dA_cumsum, C, states, out, D=D)
"""
LIKE_VLLM = """
def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, cu_chunk_seqlens, out, seq_idx, D=None, z=None,
                    initial_states=None):
    assert cu_chunk_seqlens.tolist() == [0, 16, 32, 40], cu_chunk_seqlens
    assert seq_idx.tolist() == [0, 0, 0], seq_idx
    found = torch.zeros_like(states)
    found[1:] = states[:-1]
    cb, x, dt, dA_cumsum, C, found, out = (t[None] for t in (cb, x, dt, dA_cumsum, C, found, out))
    kernel = _chunk_scan_fwd_kernel
    assert kernel.keys == ["chunk_size"]
    kernel[lambda meta: (7,)](cb, x, dt, dA_cumsum, C, found, out, D=D)
    assert kernel.best_config.pre_hook is None
"""


class MadeUpTimer(HostTimer):
    """Launches take what `took_ms` was set to by the last of them."""

    on_gpu = True
    took_ms = 1.0

    def once_ms(self, launch: Callable[[], Any]) -> float:
        launch()
        return self.took_ms

    def batch(
        self, launch: Callable[[], Any], samples: int, latency_ms: float, timed_by: TimedBy | None
    ) -> tuple[tuple[float, ...], TimedBy, Conditions]:
        launch()
        return (self.took_ms,) * samples, "events", Conditions()

    def copy_gbps(self) -> float:
        return 1000.0


@pytest.fixture(autouse=True)
def small_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard zones that take no time."""
    monkeypatch.setattr(peer_bench, "GUARD_BYTES", 1 << 12)


def checkout(folder: Path, name: str, text: str, **others: str) -> Path:
    """A checkout's root with the peer's file, and other files beside it."""
    file = folder.joinpath(*peer_files.MODULES[name].split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    for other, content in others.items():
        (file.parent / f"{other}.py").write_text(content, encoding="utf-8")
    return folder


def made_up(folder: Path, entry: str, name: str = "mamba_ssm") -> ModuleType:
    loaded: ModuleType = peer_files.load(name, checkout(folder, name, MADE_UP_KERNEL + entry))
    return loaded


def bench(timer: HostTimer | None = None, problem: ChunkScanProblem = SMALL) -> Any:
    return peer_bench.Bench(problem, timer or MadeUpTimer())


def candidate(on: Any, kernel: str, config: str, took_ms: float, spoil: Callable[[torch.Tensor], Any] = id) -> Any:
    """Writes the right output, spoiled, and takes `took_ms`."""
    right = on.spec.reference(on.problem, on.inputs)

    def launch() -> None:
        on.out.copy_(right)
        spoil(on.out)
        on.timer.took_ms = took_ms

    return peer_bench.Candidate(kernel, config, launch, on.out)


@pytest.mark.parametrize("entry", [LIKE_MAMBA, LIKE_OLDER_VLLM, LIKE_VLLM], ids=["mamba", "older vLLM", "vLLM"])
def test_each_known_signature_gets_our_inputs_in_its_own_layout(entry: str, tmp_path: Path) -> None:
    on = bench()
    results = [on.check(one) for one in peers.theirs("vllm", made_up(tmp_path, entry, "vllm"), on)]
    assert ["m64n32k32w4s2", "m64n32k32w8s2", "m64n32k32w4s9"] == [one.candidate.config for one in results]
    assert ["ok", "wrong", "launch-error"] == [one.status for one in results]
    assert results[0].check is not None
    assert 5 == results[0].check.launches
    assert 1e-6 > results[0].check.relative_error
    assert "relative error 1.0" in results[1].reason
    assert "RuntimeError: too many stages" == results[2].reason


def test_an_entry_is_called_once_and_its_kernel_is_back_afterwards(tmp_path: Path) -> None:
    module, on = made_up(tmp_path, LIKE_MAMBA), bench()
    kernel = module._chunk_scan_fwd_kernel
    launch = peer_kernels.prepared(module, SMALL, on.inputs, on.out)
    assert kernel is module._chunk_scan_fwd_kernel
    assert launch.out.data_ptr() != on.out.data_ptr()
    assert on.out.shape == launch.out.shape


def test_an_output_that_the_entry_takes_is_the_guarded_one(tmp_path: Path) -> None:
    on = bench()
    launch = peer_kernels.prepared(made_up(tmp_path, LIKE_VLLM, "vllm"), SMALL, on.inputs, on.out)
    assert on.out is launch.out


@pytest.mark.parametrize(
    ("entry", "problem", "reason"),
    [
        ("def _chunk_scan_fwd(cb, x, D, weights): ...", {}, "asks for weights, which is not known here"),
        ("def _chunk_scan_fwd(cb, x): ...", {"d_form": "none", "z": True}, "has no z, and the problem has"),
        (LIKE_VLLM, {"seq_idx": True}, "one sequence index per chunk"),
        ("def _chunk_scan_fwd(cb, x, D):\n    assert x is None, 'no\\nmore'", {}, "refuses these inputs: Asser.*: no$"),
        ("def _chunk_scan_fwd(cb, x, D): ...", {}, "launches _chunk_scan_fwd_kernel 0 times"),
        ("def _chunk_scan_fwd(x, D):\n    _chunk_scan_fwd_kernel[7](x)", {}, "neither takes an output nor returns one"),
    ],
)
def test_a_peer_that_cannot_be_given_the_problem_says_why_and_is_left_out(
    entry: str, problem: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ChunkScanProblem(**{**SMALL.as_dict(), **problem})
    module, on = made_up(tmp_path, entry, "vllm"), bench(problem=asked)
    with pytest.raises(peer_files.PeerError, match=reason):
        peer_kernels.prepared(module, asked, on.inputs, on.out)
    assert [] == peers.theirs("vllm", module, on)
    assert "without vllm: " in capsys.readouterr().out


def test_a_file_is_loaded_alone_with_modules_of_its_checkout_and_stand_ins_for_packages(tmp_path: Path) -> None:
    imports = """
from einops import rearrange
from vllm.triton_utils import HAS_TRITON, tl, triton
from vllm.platforms import current_platform
from .helpers import ANSWER
from vllm.model_executor.layers.mamba.ops import helpers
import vllm.model_executor.layers.deep as deep
LANGUAGE = tl.__name__
"""
    root = checkout(tmp_path, "vllm", MADE_UP_KERNEL + LIKE_VLLM + imports, helpers="from vllm.x import y\nANSWER = 42")
    (tmp_path / "vllm/__init__.py").write_text("raise AssertionError('the package is not to run')", encoding="utf-8")
    (tmp_path / "vllm/model_executor/layers/deep.py").write_text("DEEP = 43", encoding="utf-8")
    before, finders = set(sys.modules), list(sys.meta_path)
    module = peer_files.load("vllm", root)
    assert (42, 42, 43) == (module.ANSWER, module.helpers.ANSWER, module.deep.DEEP)
    assert "triton.language" == module.LANGUAGE
    assert not module.current_platform.is_cuda()
    with pytest.raises(peer_files.PeerError, match=r"vllm.platforms.current_platform.is_rocm, which is not there"):
        module.current_platform.is_rocm()
    with pytest.raises(peer_files.PeerError, match=r"calls vllm.triton_utils.HAS_TRITON"):
        module.HAS_TRITON()
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ("vllm", "einops")}
    assert finders == sys.meta_path


def test_a_file_outside_of_any_checkout_is_loaded_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("ANSWER = 42", encoding="utf-8")
    file = tmp_path / "scan.py"
    text = "from mamba_ssm.utils.torch import custom_fwd\nfrom .beside import ANSWER\n"
    file.write_text(MADE_UP_KERNEL + LIKE_MAMBA + text, encoding="utf-8")
    assert 42 == peer_files.load("mamba_ssm", file).ANSWER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_to_be_found", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("from mamba_ssm.utils.hf import load\nload()", "calls mamba_ssm.utils.hf.load, which is not there"),
        ("def _chunk_scan_fwd(): ...", "a version not known here"),
        ("_chunk_scan_fwd = _chunk_scan_fwd_kernel = len", "a version not known here"),
    ],
)
def test_a_file_that_is_of_no_use_says_why(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert peers.loaded("mamba_ssm", checkout(tmp_path, "mamba_ssm", text)) is None
    said = capsys.readouterr().out
    assert "without mamba_ssm: " in said
    assert reason in said


def test_an_installed_peer_is_imported_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peer_files.MODULES, "made_up_peer", "made_up_peer.scan")
    with pytest.raises(peer_files.PeerError, match="not installed; --peer made_up_peer=PATH"):
        peer_files.load("made_up_peer")
    (tmp_path / "made_up_peer").mkdir()
    (tmp_path / "made_up_peer" / "scan.py").write_text(MADE_UP_KERNEL + LIKE_MAMBA, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert 3 == len(peer_files.load("made_up_peer")._chunk_scan_fwd_kernel.configs)


@pytest.mark.parametrize(("capability", "drops"), [((9, 0), True), ((10, 0), False)])
def test_a_file_that_asks_for_the_gpu_is_told_which_it_is(
    capability: tuple[int, int], drops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    asks = """
from vllm.platforms import current_platform
DROPS = current_platform.is_cuda() and current_platform.is_device_capability(90)
"""
    root = checkout(tmp_path, "vllm", MADE_UP_KERNEL + LIKE_VLLM + asks)
    assert drops is peer_files.load("vllm", root).DROPS


def test_a_config_with_parameters_that_ours_lack_keeps_tritons_name() -> None:
    assert "BLOCK_SIZE_H: 4, num_warps: 2" == peer_kernels.config_name("BLOCK_SIZE_H: 4, num_warps: 2")


def test_all_of_ours_are_bound_once_and_those_that_the_problem_cannot_have_are_left_out() -> None:
    on = bench(problem=ChunkScanProblem(seqlen=128, nheads=2, ngroups=1))
    found = peers.ours(on)
    kernels = [one.kernel for one in found]
    assert 11 == kernels.count("tile")
    assert len(peers.SPLIT) == kernels.count("split")
    grouped = [one.config for one in found if one.kernel == "grouped"]
    assert grouped
    assert all("heads=2" in config for config in grouped)
    assert len({one.name for one in found}) == len(found)


def test_outputs_that_are_wrong_unstable_or_too_long_are_told_apart() -> None:
    on = bench()
    counts = iter(range(100))
    beyond = torch.as_strided(on.out, (1,), (1,), on.out.storage_offset() + on.out.numel())
    for spoil, status, reason in (
        (lambda out: None, "ok", ""),
        (lambda out: out[0, 3, 1].mul_(1.02), "wrong", "1 of 160 rows wrong"),
        (lambda out: out[0, 0, 0].fill_(next(counts)), "unstable", "different bits"),
        (lambda out: beyond.zero_(), "wrong", "wrote outside its output"),
    ):
        result = on.check(candidate(on, "tile", "m16", 1.0, spoil))
        assert status == result.status
        assert reason in result.reason


def test_a_launch_that_writes_to_its_inputs_ends_the_script() -> None:
    on = bench()
    with pytest.raises(SystemExit, match="tile m16 wrote to x: nothing after it can be checked"):
        on.check(candidate(on, "tile", "m16", 1.0, lambda _: on.inputs["x"].zero_()))


def test_a_gpu_that_is_left_in_error_ends_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    on = bench()

    def fail() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(on.timer, "synchronize", fail, raising=False)
    with pytest.raises(SystemExit, match=r"tile m16 left the GPU in error.*illegal memory access"):
        on.check(candidate(on, "tile", "m16", 1.0))


def test_the_fastest_of_each_kernel_are_timed_and_one_that_turns_wrong_is_not_ranked() -> None:
    on = bench()
    turns: list[str] = []

    def turn(name: str, wrong_after: int = 10_000) -> Callable[[torch.Tensor], Any]:
        def spoil(out: torch.Tensor) -> None:
            turns.append(name)
            if turns.count(name) > wrong_after:
                out.zero_()

        return spoil

    made = [candidate(on, "tile", f"m{ms}", float(ms), turn(f"m{ms}")) for ms in (7, 6, 5, 4, 3, 2)]
    made.append(candidate(on, "grouped", "fast", 1.0, turn("fast", wrong_after=8)))
    results = on.race([on.check(one) for one in made], 4)

    assert [None, 6.0, 5.0, 4.0, 3.0, 2.0] == [one.timing and one.timing.latency_ms for one in results[:6]]
    assert "wrong" == results[6].status
    assert results[6].reason.startswith("after it was timed: relative error 1.0")
    # Five launches and a time at the check, one at the first look, one in each round.
    assert (7, 11) == (turns.count("m7"), turns.count("m6"))


def test_a_kernels_line_has_its_best_right_config_and_how_many_are_wrong() -> None:
    on = bench()
    made = [
        candidate(on, "tile", "slow", 4.0),
        candidate(on, "tile", "fast but wrong", 0.5, lambda out: out.zero_()),
        candidate(on, "vllm", "all wrong", 0.5, lambda out: out.zero_()),
        candidate(on, "grouped", "good", 2.0),
    ]
    tile, vllm, grouped = peer_bench.entries("small", on.race([on.check(one) for one in made], 1), 1.5)
    assert ("tile", 2, 1, 0, "slow") == (tile.kernel, tile.configs, tile.wrong, tile.failed, tile.config)
    assert (4.0, 0.375, 1.0) == (tile.latency_ms, tile.roofline_share, tile.speedup)
    assert ("", 1, None, None) == (vllm.config, vllm.wrong, vllm.latency_ms, vllm.speedup)
    assert (2.0, 0.75, 2.0) == (grouped.latency_ms, grouped.roofline_share, grouped.speedup)


def entry(kernel: str, latency_ms: float | None, share: float | None = None, speedup: float | None = None) -> Any:
    config = "" if latency_ms is None else "m64"
    return peer_bench.Entry("small", kernel, 9, 1, 2, config, latency_ms, share, speedup, 0.0018, 0.02)


def test_the_best_of_ours_is_held_against_what_is_asked_whatever_a_peer_does() -> None:
    found = [entry("tile", 2.0, 0.4, 1.0), entry("grouped", 1.0, 0.85, 2.0), entry("vllm", 0.5, 1.2, 4.0)]
    text, met = peers.report(found, peers.Case("", 0.88, 1.7))
    assert not met
    assert "NOT MET: the best of ours, grouped, has 0.850 of the roofline (0.88 asked)" in text
    assert "\nmet: the best of ours, grouped, has 2.000 times the speed of tile (1.7 asked)" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["grouped", "m64", "1.0000", "0.850", "2.00", "0.0018", "0.02", "1", "of", "9", "2"] in lines
    assert peers.report(found, peers.Case("", 0.85))[1]
    assert peers.report(found, peers.Case(""))[1]


def test_nothing_right_of_ours_meets_nothing() -> None:
    text, met = peers.report([entry("tile", None), entry("vllm", 1.0, 0.9, None)], peers.Case("", 0.5))
    assert not met
    assert "NOT MET: the best of ours, none, has – of the roofline (0.5 asked)" in text


def test_the_named_problems_are_those_of_the_issue() -> None:
    named = peers.chosen(["all"], {})
    assert list(peers.CASES) == list(named)
    problems = {name: problem for name, (problem, _) in named.items()}
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
    assert ["super-50k"] == list(peers.chosen(None, {}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problems", "super"], "invalid choice: 'super'"),
        (["--problems", "super-2k", "--seqlen", "64"], "leave --seqlen out, or --problems"),
        (["--tp", "3"], "--tp must divide heads and groups"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
        (["--rounds", "0"], "--rounds: must be at least 1, got 0"),
        (["--peer", "mamba_ssm"], "must be NAME=PATH with a name of mamba_ssm, vllm, got 'mamba_ssm'"),
        (["--peer", "flash=/tmp"], "must be NAME=PATH"),
        (["--peer", "vllm=/nowhere"], "no vllm/model_executor/layers/mamba/ops/ssd_chunk_scan.py in /nowhere"),
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
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    give_gpu(peers, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        peers.main(["--csv", str(tmp_path / "no" / "rows.csv")])
    assert 2 == ended.value.code
    assert "--csv: " in capsys.readouterr().err


def test_help_says_what_it_shows_and_how_to_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        peers.main(["--help"])
    assert 0 == ended.value.code
    said = capsys.readouterr().out
    assert "python benchmarks/peers.py" in said
    assert "exit code 1" in said
    assert "super-fp32-states" in said


@pytest.mark.parametrize(("grouped_ms", "code"), [(1.0, 0), (3.0, 1)])
def test_each_problem_gets_a_table_and_the_same_rows_as_csv(
    grouped_ms: float,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    give_gpu(peers, monkeypatch)
    monkeypatch.setattr(peers, "CudaTimer", lambda device, visible: MadeUpTimer())
    monkeypatch.setattr(peers, "CASES", {"one": peers.Case("--seqlen 40 --tp 8", speedup=1.5)})
    monkeypatch.setattr(
        peers, "ours", lambda on: [candidate(on, "tile", "m64", 2.0), candidate(on, "grouped", "m32", grouped_ms)]
    )
    monkeypatch.setattr(peers, "DEFAULT_CASE", "one")
    root = checkout(tmp_path, "mamba_ssm", MADE_UP_KERNEL + LIKE_MAMBA)
    rows = tmp_path / "rows.csv"

    assert code == peers.main(["--peer", f"mamba_ssm={root}", "--csv", str(rows), "--rounds", "1"])

    said = capsys.readouterr().out
    assert "copies at 1000 GB/s" in said
    assert "without vllm: not installed" in said
    assert "mamba_ssm m64n32k32w8s2: wrong: relative error 1.0" in said
    assert ("NOT MET: the best of ours" in said) is bool(code)
    with rows.open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert ["tile", "grouped", "mamba_ssm"] == [row["kernel"] for row in written]
    assert ["0", "0", "1"] == [row["wrong"] for row in written]
    assert ["0", "0", "1"] == [row["failed"] for row in written]
    assert [2.0, grouped_ms] == [float(row["latency_ms"]) for row in written[:2]]
    problem = ChunkScanProblem(seqlen=40, nheads=16, ngroups=1)
    roofline_ms = ChunkScan().work(problem).bytes_min / 1e9
    assert pytest.approx(roofline_ms / 2.0) == float(written[0]["roofline_share"])
