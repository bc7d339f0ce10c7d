"""The benchmark that holds the time told before a sweep against the time taken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmark_runs import benchmark

ESTIMATE = benchmark("estimate")
Result = ESTIMATE.Result
SMALL = "--nheads 2 --ngroups 1 --dstate 16 --headdim 16 --chunk-size 16 --seqlen 64 --device none"


def give(monkeypatch: pytest.MonkeyPatch, *cold: Any, warm: Any = None) -> list[tuple[list[str], list[int]]]:
    """Sweeps take this, in turn; what each was asked."""
    asked, left = [], list(cold)

    def cold_and_warm(options: Sequence[str], cores: Sequence[int]) -> tuple[Any, Any]:
        asked.append((list(options), list(cores)))
        return left.pop(0), warm or Result(2.0, 2.0)

    monkeypatch.setattr(ESTIMATE, "cold_and_warm", cold_and_warm)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 2})
    return asked


def test_it_says_what_it_shows_and_how_to_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ESTIMATE.main(["--help"])
    said = capsys.readouterr().out
    assert 0 == ended.value.code
    assert "python benchmarks/estimate.py" in said
    assert "Exit code 0 if all are, 1 if not" in " ".join(said.split())


def test_the_median_of_the_ratios_is_what_is_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = give(monkeypatch, Result(10.0, 20.0), Result(50.0, 10.0), Result(11.0, 10.0))
    assert 0 == ESTIMATE.main(["--case", "--space vllm", "--device", "none", "--cores", "2"])
    assert [(["--space", "vllm", "--device", "none"], [1, 2])] * 3 == asked
    header, cold, warm, judged = capsys.readouterr().out.splitlines()
    assert ["--space", "vllm", "2", "cold", "11.0", "10.0", "1.10", "0.50", "5.00"] == cold.split()
    assert ["--space", "vllm", "2", "warm", "2.0", "2.0", "1.00", "1.00", "1.00"] == warm.split()
    assert ["taken", "from", "to"] == header.split()[-3:]
    assert "met: estimates within a factor of 1.5 of the time taken: 2 of 2" == judged


@pytest.mark.parametrize("cold", [Result(16.0, 10.0), Result(6.0, 10.0)])
def test_an_estimate_off_by_more_than_the_factor_fails(
    cold: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, cold)
    assert 1 == ESTIMATE.main(["--case", "--space vllm", "--repeat", "1"])
    assert capsys.readouterr().out.endswith("NOT MET: estimates within a factor of 1.5 of the time taken: 1 of 2\n")


def test_more_cores_than_there_are_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        ESTIMATE.main(["--cores", "4"])
    assert 2 == ended.value.code
    assert "--cores 4: this process may use 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "told_s"),
    [
        ("63 configs to compile for sm_90, 60 of them in Triton's cache, about 5 s", 5.0),
        ("63 configs, about 9.1 of 78.6 GiB of GPU memory, about 15 s", 15.0),
        ("63 configs to compile for sm_90, about 60 of them in Triton's cache, about 2 minutes", 120.0),
    ],
)
def test_the_estimate_is_read_from_the_line_before_the_work(line: str, told_s: float) -> None:
    assert told_s == ESTIMATE.told_s(f"ssdprof: a warning\nssdprof: {line}\nssdprof: compiling (63 configs) …\n")


def test_a_sweep_that_says_no_estimate_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit) as ended:
        ESTIMATE.told_s("ssdprof: nothing left to compile of 3 configs\n")
    assert "said no estimate" in str(ended.value.code)


def test_a_sweep_is_run_on_the_given_cores_in_its_own_folder_and_these_are_given_back(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    ids = tmp_path / "configs.json"
    ids.write_text('["m16n16k16d16w1s1"]', encoding="utf-8")
    found = ESTIMATE.told_and_taken([*SMALL.split(), "--space", str(ids)], sorted(before)[:1], str(tmp_path))
    assert before == os.sched_getaffinity(0)
    assert found.estimate_s > 0
    assert found.taken_s > 0
    assert {"cache", "data", "configs.json"} == {one.name for one in tmp_path.iterdir()}
