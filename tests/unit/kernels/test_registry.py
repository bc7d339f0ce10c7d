"""Subjects by name, and by what a run says of itself; the run files that ship."""

from __future__ import annotations

import pickle

import pytest

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ProblemError, UsageError
from ssdprof.kernels.interface import Baselined, Constrained, Costed, Diagnosing, Referenced, Spaced
from ssdprof.kernels.registry import on_problem, recorded_files, subject, subject_of_run
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan


def test_our_own_chunk_scan_on_the_default_preset_is_meant_if_nothing_is_named() -> None:
    assert ChunkScan(ChunkScanProblem(seqlen=50_000)) == subject()
    assert subject() == subject("chunk-scan") == subject("chunk_scan")


def test_a_problem_is_a_presets_with_fields_of_ones_own_divided_by_tp() -> None:
    expected = ChunkScanProblem(seqlen=77, nheads=20, ngroups=1, chunk_size=64, dtype="float16")
    assert ChunkScan(expected) == subject(
        preset="mamba2-2.7b", tp=4, seqlen=77, ngroups=4, chunk_size=64, dtype="fp16", z=None
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "mamba"}, "unknown preset mamba: one of "),
        ({"heads": 3}, "a problem has no heads: its fields are "),
        ({"tp": 3}, "--tp must divide the heads, and divide the groups or be a multiple of them, got --tp 3"),
        ({"seqlen": 0}, "seqlen must be a whole number above 0, got 0"),
    ],
)
def test_a_problem_that_cannot_be_says_why(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ProblemError, match=f"^{message}"):
        subject(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", ["chunk-scam", "", "best"])
def test_an_unknown_kernel_is_a_usage_error_in_one_line(kernel: str) -> None:
    with pytest.raises(UsageError) as caught:
        subject(kernel)
    assert str(caught.value).isprintable()
    if kernel:
        assert kernel in str(caught.value)


def test_a_run_names_its_subject() -> None:
    chosen = subject(seqlen=2048, z=True)
    assert chosen == subject_of_run(chosen.name, chosen.identity())


@pytest.mark.parametrize("identity", [{}, {"rows": 8, "columns": 16}, {"seqlen": 128, "heads": 3}])
def test_a_run_of_a_kernel_that_is_not_known_says_how_to_name_it(identity: dict[str, int]) -> None:
    with pytest.raises(UsageError) as caught:
        subject_of_run("matmul", identity)
    assert "the run is of kernel matmul, which is unknown here: name its file with --kernel" == str(caught.value)


def test_a_run_of_an_unknown_kernel_on_a_chunk_scans_problem_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="matmul"):
        subject_of_run("matmul", ChunkScanProblem(seqlen=128).as_dict())


def test_the_chunk_scan_is_all_that_a_subject_may_be() -> None:
    chosen = on_problem("chunk-scan", ChunkScanProblem(seqlen=128))
    for kind in (Spaced, Referenced, Costed, Baselined, Constrained, Diagnosing):
        assert isinstance(chosen, kind)


def test_a_subject_travels_to_a_worker() -> None:
    chosen = subject(seqlen=2048)
    assert isinstance(chosen, Baselined)
    config = chosen.resolve(chosen.baseline())

    again, plan = pickle.loads(pickle.dumps((chosen, chosen.launch(config))))

    assert chosen == again
    assert chosen.launch(config) == plan
    assert hash(Config(config.values)) == hash(pickle.loads(pickle.dumps(Config(config.values))))


def test_run_files_that_ship_are_there() -> None:
    assert ["h100_2048.jsonl", "h100_50000.jsonl"] == [path.name for path in recorded_files()]
    assert all(path.is_file() for path in recorded_files())
