"""What a caller asks in words and numbers, as requests: and one line for what cannot be."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kernel import PARAMS, BareSubject, FakeSubject, fake, fake_id
from fake_runs import BASELINE, H100_GPU, HEADER, SUBJECT, h100_run
from run_records import save

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError, SsdprofError, UsageError
from ssdprof.kernels.interface import Baselined, LeftOut, Space
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu import devices
from ssdprof.profiling.gpu.devices import DeviceError, GpuInfo
from ssdprof.profiling.runs.model import Device, Row, Run
from ssdprof.profiling.runs.run_file import RunError
from ssdprof.profiling.runs.store import new_run_path
from ssdprof.profiling.sweep.asking import (
    checked_jobs,
    config_of,
    is_known_baseline,
    run_of,
    subject_and_run,
    sweep_request,
    target,
)
from ssdprof.profiling.sweep.request import SweepRequest

FAKE = FakeSubject()
FAKE_HEADER = replace(
    HEADER, kernel="fake", problem=FAKE.identity(), params=PARAMS.params, device=Device(arch="sm_90"), baseline_id=None
)
FAKE_RUN = Run(FAKE_HEADER, (Row(fake(), fake_id(), "not-run", "compiled only, no GPU"),))
B200_GPU = replace(H100_GPU, index=1, arch="sm_100", name="NVIDIA B200")


@pytest.fixture(autouse=True)
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, H100_GPU)


def there(monkeypatch: pytest.MonkeyPatch, *gpus: GpuInfo) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: gpus)


def asked(subject: Any = FAKE, **changes: Any) -> SweepRequest:
    defaults: dict[str, Any] = {
        "space": None,
        "around": None,
        "variant": None,
        "values": None,
        "baseline": None,
        "arch": None,
        "device": "auto",
        "jobs": 2,
        "timeout_s": 60.0,
        "budget_s": 1.0,
        "timing": "auto",
        "seed": 7,
        "command": "a test",
    }
    return sweep_request(subject, **defaults | changes)


def test_the_defaults_are_the_subjects_own_space_and_baseline_on_the_first_gpu() -> None:
    request = asked()
    assert ("few", (fake(), fake(rows=32), fake("wrong_scaled"), fake())) == (request.space, request.configs)
    assert (FAKE, fake(), H100_GPU, "sm_90") == (request.subject, request.baseline, request.gpu, request.arch)
    assert (2, 60.0, 1.0, 7, "a test", None) == (
        request.jobs,
        request.timeout_s,
        request.budget_s,
        request.seed,
        request.command,
        request.timed_by,
    )


def test_a_baseline_outside_the_space_is_swept_too_if_it_is_named_or_measured() -> None:
    one = {"space": "one", "values": {"rows": [8]}}
    assert (fake(rows=8), fake()) == asked(**one).configs
    assert (fake(rows=8),) == asked(**one, device="none").configs
    assert (fake(rows=8), fake(rows=4)) == asked(**one, device="none", baseline=fake_id(rows=4)).configs


def test_a_baseline_may_be_a_config_a_text_or_one_of_the_run_kept_last() -> None:
    assert fake("half") == asked(baseline=fake("half")).baseline
    assert fake("half") == asked(baseline=fake_id("half")).baseline
    known = h100_run().ranked[0]
    ranked = replace(FAKE_RUN.rows[0], status="ok", status_reason="", rank=1, timing=known.timing, check=known.check)
    save(Run(replace(FAKE_HEADER, device=HEADER.device), (ranked,)), new_run_path(FAKE_HEADER))
    assert fake() == asked(baseline="best").baseline


@pytest.mark.parametrize("baseline", [fake("nothing"), fake(LANES=12)])
def test_a_baseline_that_the_kernel_does_not_take_is_an_error(baseline: Config) -> None:
    with pytest.raises(ConfigError):
        asked(baseline=baseline)


def changes_of(request: SweepRequest) -> list[dict[str, Any]]:
    """What each config after the first changes about it."""
    first, *others = request.configs
    return [dict(set(one.values) - set(first.values)) for one in others]


def test_the_space_may_be_a_config_and_its_neighbours_as_explain_tries_them() -> None:
    request = asked(around=fake(LANES=None), device="none")
    assert (f"around {fake_id()}", fake()) == (request.space, request.configs[0])
    lanes = [{"LANES": value} for value in (32, 64, 128)]
    warps, stages = [{"num_warps": n} for n in (1, 2, 8)], [{"num_stages": n} for n in (1, 3, 4, 5)]
    assert [*lanes, *warps, *stages] == changes_of(request)


def test_values_and_a_variant_hold_for_the_neighbours_too() -> None:
    request = asked(around=fake_id("half"), variant="right", values={"num_stages": [2], "rows": [4, 8]}, device="none")
    assert f"around {fake_id('half')}, right, num_stages=2, rows=4,8" == request.space
    assert {("right", 2)} == {(one.variant, one["num_stages"]) for one in request.configs}
    assert 2 * (1 + 3 + 3) == len(request.configs)


def test_neighbours_that_the_kernel_cannot_take_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_: FakeSubject, config: Config) -> Config:
        if config.number("num_warps") < 4 or config.number("num_stages") > 2:
            raise ConfigError("not these")
        return PARAMS.validated(config)

    monkeypatch.setattr(FakeSubject, "resolve", resolve)
    found = changes_of(asked(around=fake(), device="none"))
    assert [{"num_warps": 8}, {"num_stages": 1}] == [one for one in found if "LANES" not in one]


def test_the_config_to_sweep_around_may_be_one_of_the_run_kept_last() -> None:
    rows = [replace(FAKE_RUN.rows[0], config=one, config_id=PARAMS.id(one)) for one in (fake(), fake("half"))]
    save(Run(replace(FAKE_HEADER, baseline_id=fake_id("half")), tuple(rows)), new_run_path(FAKE_HEADER))
    assert fake("half") == asked(around="baseline").configs[0]


def test_what_a_kernels_own_pruning_leaves_out_is_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = (LeftOut("rows=999", "too many rows"),)
    monkeypatch.setattr(FakeSubject, "space", lambda *_: Space("few", (fake(),), "pruned", left_out))
    assert left_out == asked().left_out


@pytest.mark.parametrize(("timing", "timed_by"), [("auto", None), ("events", "events"), ("graph", "graph")])
def test_a_way_of_timing_is_named(timing: str, timed_by: str | None) -> None:
    assert timed_by == asked(timing=timing).timed_by


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timing": "sundial"}, "unknown timing 'sundial': one of auto, events, graph"),
        ({"budget_s": -1.0}, "--budget must be 0 seconds or more, got -1"),
        ({"budget_s": math.inf}, "--budget must be 0 seconds or more, got inf"),
        ({"timeout_s": 0.0}, "--timeout must be above 0 seconds, got 0"),
        ({"jobs": 0}, "--jobs must be at least 1, got 0"),
        ({"device": "7"}, "no GPU '7': "),
        ({"arch": "sm_80", "device": "0"}, "--arch sm_80 does not match GPU 0 (sm_90): leave one of them out"),
        ({"space": "few", "around": fake()}, "--around and --space both say which configs to sweep: leave one of them"),
        ({"around": fake("nothing")}, "unknown variant nothing: one of right"),
        ({"around": "fast"}, "fast is not a config: "),
        ({"around": fake(), "values": {"ROW": [1]}}, "--values ROW: unknown key ROW: did you mean ROWS?"),
        ({"around": fake(), "variant": "nothing"}, "unknown variant nothing"),
        ({"subject": BareSubject(), "around": fake(), "variant": "half"}, "fake has no variants: leave --variant out"),
        ({"space": "fewer"}, "unknown space fewer, did you mean few?"),
        ({"values": {"ROW": [1]}}, "--values ROW: unknown key ROW: did you mean ROWS?"),
        ({"values": {"rows": [0]}}, "--values rows: rows must be a whole number from 1 to 1024, got 0"),
        ({"subject": BareSubject(), "space": "few"}, "fake has no spaces of its own: give the path of a file"),
    ],
)
def test_what_cannot_be_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SsdprofError) as raised:
        asked(**changes)
    assert str(raised.value).startswith(message)
    assert 1 == len(str(raised.value).splitlines())


def test_a_subject_without_a_reference_is_refused_if_it_would_be_measured(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(f'["{fake_id()}"]')
    mine = {"subject": BareSubject(), "space": str(tmp_path / "mine.json")}
    with pytest.raises(DeviceError) as raised:
        asked(**mine)
    assert str(raised.value).startswith("fake has no reference to ")
    request = asked(**mine, device="none")
    assert ((fake(),), None, None) == (request.configs, request.gpu, request.baseline)


@pytest.mark.parametrize(
    ("arch", "device", "expected"),
    [
        (None, "auto", ("sm_90", H100_GPU)),
        (None, "none", ("sm_90", None)),
        ("9.0", "auto", ("sm_90", H100_GPU)),
        ("sm_80", "auto", ("sm_80", None)),
        ("sm_80", "none", ("sm_80", None)),
        (None, "1", ("sm_100", B200_GPU)),
        ("sm_100", "1", ("sm_100", B200_GPU)),
    ],
)
def test_an_architecture_and_a_gpu_agree_or_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, arch: str | None, device: str, expected: tuple[str, GpuInfo | None]
) -> None:
    there(monkeypatch, H100_GPU, B200_GPU)
    assert expected == target(arch, device)


def test_without_a_gpu_the_default_architecture_is_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch)
    assert ("sm_90", None) == target(None, "auto")


def test_as_many_compilers_as_there_are_cores_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert (3, 8) == (checked_jobs(None, 1.0), checked_jobs(8, 1.0))


def test_a_run_is_found_by_itself_by_its_path_or_as_the_last_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    save(FAKE_RUN, path)
    assert FAKE_RUN is run_of(FAKE_RUN, FAKE, is_needed=True)
    for named in (path, str(path)):
        found = run_of(named, None, is_needed=True)
        assert found is not None
        assert FAKE_RUN.header == found.header
    assert run_of(None, FAKE, is_needed=False) is None
    with pytest.raises(RunError, match="no run has been kept yet"):
        run_of(None, FAKE, is_needed=True)
    save(FAKE_RUN, new_run_path(FAKE_HEADER))
    kept = run_of(None, FAKE, is_needed=True)
    assert kept is not None
    assert FAKE_RUN.header == kept.header


def test_a_run_of_another_kernel_is_refused_in_one_line_if_it_is_named_and_else_not_used() -> None:
    with pytest.raises(RunError) as raised:
        run_of(h100_run(), FAKE, is_needed=False)
    assert str(raised.value).startswith("the run is of kernel chunk_scan, not fake: ")
    assert 1 == len(str(raised.value).splitlines())
    save(h100_run(), new_run_path(HEADER))
    assert run_of(None, FAKE, is_needed=False) is None
    with pytest.raises(RunError):
        run_of(None, FAKE, is_needed=True)


def test_the_latest_run_is_that_of_the_subject_whatever_was_swept_since() -> None:
    dates = [f"2026-01-0{day}T00:00:00.000+00:00" for day in (1, 2, 3)]
    of_fake, of_h100, other = (new_run_path(replace(HEADER, date=date)) for date in dates)
    save(FAKE_RUN, of_fake)
    save(h100_run(), of_h100)
    another = h100_run()
    save(replace(another, header=replace(another.header, problem={**another.header.problem, "seqlen": 7})), other)
    found = [run_of(None, subject, is_needed=True) for subject in (FAKE, SUBJECT)]
    assert [FAKE_RUN.header, h100_run().header] == [run and run.header for run in found], "of the same problem too"


def test_a_subjects_own_baseline_needs_no_run() -> None:
    assert isinstance(SUBJECT, Baselined)
    assert is_known_baseline("baseline", SUBJECT)
    assert SUBJECT.baseline() == config_of("baseline", None, SUBJECT)
    without = replace(h100_run(), header=replace(h100_run().header, baseline_id=None))
    assert SUBJECT.baseline() == config_of("baseline", without, SUBJECT), "nor does a run that has none matter"
    assert not is_known_baseline("best", SUBJECT)
    assert not is_known_baseline("baseline", BareSubject())


def test_without_a_subject_it_is_that_of_the_run() -> None:
    subject, run, whose = subject_and_run(None, h100_run(), is_needed=True)
    assert (SUBJECT.name, SUBJECT.identity()) == (subject.name, subject.identity())
    assert run is not None
    way_out = " (others: --run, or a problem's options)"
    assert f"the run you gave, of {HEADER.date[:16].replace('T', ' ')}{way_out}" == whose
    assert (FAKE, FAKE_RUN) == subject_and_run(FAKE, FAKE_RUN, is_needed=True)[:2]


def test_whose_problem_and_run_it_is_of_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    save(h100_run(), path)
    assert subject_and_run(None, path, is_needed=False)[2].startswith(f"the run in {path}, of 20")
    assert "the default problem" == subject_and_run(None, None, is_needed=False)[2]
    assert "the problem you gave" == subject_and_run(SUBJECT, None, is_needed=False)[2]
    save(h100_run(), new_run_path(HEADER))
    assert subject_and_run(None, None, is_needed=False)[2].startswith("the run kept last, of 20")
    assert subject_and_run(SUBJECT, None, is_needed=True)[2].startswith(
        "the problem you gave; the run kept last, of 20"
    )


def test_a_run_of_another_problem_is_refused_if_it_is_named_or_needed_and_else_not_used() -> None:
    other = ChunkScan(replace(SUBJECT.problem, seqlen=4096))
    save(h100_run(), new_run_path(HEADER))
    for run, is_needed in ((None, True), (h100_run(), False)):
        with pytest.raises(RunError, match=r"is of another problem \(seqlen \d+, not 4096\): leave the problem's"):
            subject_and_run(other, run, is_needed=is_needed)
    assert (other, None, "the problem you gave") == subject_and_run(other, None, is_needed=False)


def test_a_run_of_a_kernel_that_is_not_known_here_is_an_error_and_never_explained_as_another_kernel() -> None:
    said = "the run is of kernel fake, which is unknown here: name its file with --kernel"
    with pytest.raises(UsageError, match=said):
        subject_and_run(None, FAKE_RUN, is_needed=False)
    save(FAKE_RUN, new_run_path(FAKE_HEADER))
    with pytest.raises(UsageError, match=said):
        subject_and_run(None, None, is_needed=False)
    assert (SUBJECT, None) == subject_and_run(SUBJECT, None, is_needed=False)[:2]


def test_a_config_is_itself_a_text_or_one_of_a_run() -> None:
    assert fake("half") == config_of(fake("half"), None, FAKE)
    assert fake("half") == config_of(fake_id("half"), None, FAKE)
    assert BASELINE == config_of("baseline", h100_run(), SUBJECT)
    assert h100_run().ranked[1].config == config_of(" #2 ", h100_run(), SUBJECT)
    with pytest.raises(ConfigError, match="a config of this kernel sets ROWS, LANES, num_warps, num_stages"):
        config_of(BASELINE, None, FAKE)
