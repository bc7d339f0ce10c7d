"""What is said before a sweep starts: how many configs, how much memory, how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cpu_sweeps import request
from fake_kernel import GAP, BareSubject, FakeSubject, fake, fake_id
from fake_runs import BASELINE, H100_GPU, HEADER, row, run

from ssdprof.kernels.launch import TensorMeta
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.presets import problem_from
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.gpu.devices import DeviceError
from ssdprof.profiling.measuring.amounts import FLUSH_L2_FACTOR, GUARD_BYTES
from ssdprof.profiling.runs.measured import Conditions
from ssdprof.profiling.runs.model import Device, Run
from ssdprof.profiling.runs.state import RunState
from ssdprof.profiling.sweep import estimate
from ssdprof.profiling.sweep import preflight as module
from ssdprof.profiling.sweep.estimate import Shown
from ssdprof.profiling.sweep.preflight import GIB, Preflight, about, check_measurable, left, needed_memory_bytes
from ssdprof.profiling.sweep.records import run_header
from ssdprof.profiling.sweep.request import SweepRequest

MIB = 1 << 20
SHIPPED = estimate.recorded_runs


NONE_CACHED = Shown(cached={}, elapsed_s=0.7)


def preflight(asked: SweepRequest, state: RunState | None = None, shown: Shown = NONE_CACHED) -> Preflight:
    return module.preflight(asked, left(asked, state), shown, resumed=state is not None)


@dataclass(frozen=True, slots=True)
class Peaked(FakeSubject):
    """The fake subject, whose inputs take `peak_bytes` while they are made."""

    peak_bytes: int = 0

    def memory_bytes(self) -> int:
        return self.peak_bytes


def recorded(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> None:
    def recorded_runs() -> Iterator[Run]:
        return iter(runs)

    monkeypatch.setattr(estimate, "recorded_runs", recorded_runs)


def compiled_in(kernel: str, **compile_s: float) -> Run:
    """A recorded run of configs `rows16=…` of the fake subject that took so long to compile."""
    rows = []
    for name, time_s in compile_s.items():
        made = row(BASELINE, 64)
        assert made.compiled is not None
        rows.append(
            replace(made, config_id=fake_id(rows=int(name[4:])), compiled=replace(made.compiled, compile_s=time_s))
        )
    return run(rows, replace(HEADER, kernel=kernel))


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch)
    monkeypatch.setattr(module, "cores", lambda: 2)


FOUR = tuple(fake("right", rows) for rows in (16, 32, 64, 128))


def test_a_small_problem_needs_what_measuring_bandwidth_needs() -> None:
    assert (256 + 128 + 2048 + 512) * MIB == needed_memory_bytes(Peaked())


class OneOutput(Peaked):
    """With one input and one output, each with a storage of its own."""

    def tensors(self) -> Mapping[str, TensorMeta]:
        meta = TensorMeta((self.rows, self.columns), "float32")
        return {"x": meta, "out": replace(meta, role="out")}


def test_a_large_problem_needs_a_second_set_of_inputs_guarded_outputs_and_buffers() -> None:
    one_tensor, peak = 2 * GIB, 7 * GIB
    second_set, outputs, guards, buffers = 2 * one_tensor, 2 * one_tensor, 2 * GUARD_BYTES, (256 + 128) * MIB
    subject = OneOutput(rows=1 << 20, columns=512, peak_bytes=peak)
    assert peak + second_set + outputs + guards + buffers == needed_memory_bytes(subject)


def test_outputs_that_share_a_storage_with_gaps_need_that_and_flags_of_its_bytes() -> None:
    """Of x, total and weights another set; of scaled and total a reference and the bits that were seen first."""
    one_tensor, weights, peak = 2 * GIB, 4 * MIB, 7 * GIB
    second_set, first_bits, buffers = 4 * one_tensor + weights, 2 * one_tensor, (256 + 128) * MIB
    storage = 4 * ((1 << 20) * (2 * 512 + 1 + GAP) - GAP)
    subject = Peaked(rows=1 << 20, columns=512, peak_bytes=peak)
    guarded = 2 * GUARD_BYTES + 4 * storage
    assert peak + second_set + first_bits + guarded + buffers == needed_memory_bytes(subject)


def test_a_subject_without_a_reference_is_refused_if_a_gpu_is_asked_for_in_one_line() -> None:
    check_measurable(FakeSubject(), H100_GPU)
    with pytest.raises(DeviceError) as raised:
        check_measurable(BareSubject(), H100_GPU)
    assert str(raised.value).startswith("fake has no reference to ")
    assert str(raised.value).endswith("give --device none to compile only")
    assert "\n" not in str(raised.value)


def test_the_buffers_are_those_of_the_timer() -> None:

    assert FLUSH_L2_FACTOR * 126 * MIB <= module.FLUSH_BYTES


def test_without_a_gpu_there_is_nothing_but_compiling() -> None:
    ahead = preflight(request(*FOUR, gpu=False))
    assert Preflight(4, 4, 0, None, None, 1.0 + 2 * 2.0 + 0.5, "sm_90") == ahead
    assert "4 configs to compile for sm_90, about 6 s" == ahead.line


def test_with_a_gpu_memory_and_the_rounds_are_added() -> None:
    ahead = preflight(request(*FOUR, budget_s=1.0))
    assert (4, 4, 4, 84_400_000_000) == (ahead.configs, ahead.to_compile, ahead.to_measure, ahead.memory_free_bytes)
    assert needed_memory_bytes(FakeSubject()) == ahead.memory_bytes
    assert 1.0 + 2 * 2.0 + 1.0 + 0.5 == ahead.duration_s
    assert "4 configs, about 5.4 of 78.6 GiB of GPU memory, about 6 s" == ahead.line
    assert 1.0 + 2 * 2.0 + 2.5 + 0.5 == preflight(request(*FOUR, budget_s=60.0)).duration_s


@pytest.mark.parametrize(
    ("cached", "words"),
    [
        (None, ", which Triton may have cached"),
        ((False, False, False, False), ""),
        ((True, False, True, True), ", 3 of them in Triton's cache"),
        ((True, True, True, True), ", all in Triton's cache"),
        ((True, False), ", about 2 of them in Triton's cache"),
    ],
)
def test_what_triton_has_cached_is_said_as_far_as_it_is_known(cached: tuple[bool, ...] | None, words: str) -> None:
    names = [fake_id(rows=rows) for rows in (16, 32, 64, 128)]
    shown = Shown(None if cached is None else dict(zip(names, cached, strict=False)))
    alone = preflight(request(*FOUR, gpu=False), shown=shown).line
    assert alone.startswith(f"4 configs to compile for sm_90{words}, about ")
    assert preflight(request(*FOUR), shown=shown).line.startswith(f"4 configs{words}, about 5.4 of 78.6 GiB of GPU ")


def test_a_config_named_twice_is_one_and_one_that_the_kernel_refuses_is_none() -> None:
    ahead = preflight(request(FOUR[0], fake(LANES=None), fake("unheard of"), gpu=False))
    assert "1 config to compile for sm_90, about 4 s" == ahead.line


def test_compiling_takes_as_long_as_recorded_and_at_least_as_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch, compiled_in("another", rows16=99.0), compiled_in("fake", rows16=1.0, rows32=3.0, rows64=20.0))
    assert 1.0 + 20.0 + 0.5 == preflight(request(*FOUR, gpu=False)).duration_s
    assert 1.0 + (1.0 + 3.0 + 20.0 + 3.0) + 0.5 == preflight(request(*FOUR, gpu=False, jobs=1)).duration_s
    assert 1.0 + 3.0 + 0.5 == preflight(request(FOUR[3], gpu=False)).duration_s  # not recorded: the median


def test_measuring_takes_the_longer_the_more_the_problem_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 1000)
    large = OneOutput(rows=1 << 20, columns=512, peak_bytes=5 * GIB)  # 8.6 GB: an estimated 10 ms a launch
    ahead = preflight(request(*(fake("right", rows) for rows in range(16, 416)), subject=large, jobs=1000))
    bytes_min = large.work().bytes_min
    assert pytest.approx(4.0 + 400 * (0.03 + 20 * 3 * bytes_min / 2.5e12) + 2.5 + 0.5) == ahead.duration_s
    assert "400 configs, about 13.4 of 78.6 GiB of GPU memory, about 2 minutes" == ahead.line


def resumed(*rows: Any) -> RunState:
    state = RunState(HEADER)
    for one in rows:
        state.add(one)
    return state


def test_a_run_that_is_resumed_says_what_is_left() -> None:
    done = replace(row(BASELINE, 64), config_id=fake_id())
    failed = row(BASELINE, status="compile-error", reason="ptxas")
    compiled = row(BASELINE, 64, status="not-run", reason="interrupted")
    state = resumed(done, replace(failed, config_id=fake_id(rows=32)), replace(compiled, config_id=fake_id(rows=64)))
    ahead = preflight(request(*FOUR), state)
    assert (4, 1, 2) == (ahead.configs, ahead.to_compile, ahead.to_measure)
    assert ahead.line.startswith("2 of 4 configs left, about 5.4 of 78.6 GiB of GPU memory, about ")
    assert "1 of 4 configs left to compile for sm_90, about 4 s" == preflight(request(*FOUR, gpu=False), state).line


def test_what_is_wrong_by_construction_alone_is_left_to_be_checked() -> None:
    reason = "covers only 8 of 16 lanes"
    wrong = replace(row(BASELINE, 64, status="wrong", reason=f"by construction: {reason}"), by_construction=reason)
    state = resumed(replace(wrong, config_id=fake_id(LANES=4), check=None))
    ahead = preflight(request(fake(LANES=4)), state)
    assert (1, 0, 1) == (ahead.configs, ahead.to_compile, ahead.to_measure)


def test_a_run_that_was_all_but_finished_has_none_left_and_nothing_that_could_be_cached() -> None:
    state = resumed(replace(row(BASELINE, 64), config_id=fake_id()))
    ahead = preflight(request(FOUR[0]), state)
    assert "0 of 1 config left, about 5.4 of 78.6 GiB of GPU memory, about 7 s" == ahead.line


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (1.46, "about 1.5 s"),
        (4.4, "about 4 s"),
        (9.9, "about 10 s"),
        (12.4, "about 10 s"),
        (13.0, "about 15 s"),
        (90.0, "about 90 s"),
        (90.1, "about 2 minutes"),
        (155.0, "about 3 minutes"),
    ],
)
def test_a_time_is_no_finer_than_the_estimate(duration_s: float, words: str) -> None:
    assert words == about(duration_s)


def test_the_default_sweep_is_estimated_from_the_runs_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "recorded_runs", SHIPPED)
    monkeypatch.setattr(module, "cores", lambda: 16)
    subject = ChunkScan(problem_from("nemotron-3-super", seqlen=50_000))
    configs = space_of(subject, "tensorrt-llm-pr").configs
    ahead = preflight(request(*configs, subject=subject, jobs=16))
    assert 33 == ahead.to_measure
    assert 8 < ahead.duration_s < 15
    assert ahead.memory_bytes is not None
    assert 5 < ahead.memory_bytes / GIB < 15


def test_the_header_of_a_run_tells_of_the_gpu_as_it_was_before() -> None:
    gpu = replace(H100_GPU, uuid="GPU-0", memory_clock_mhz=2619, memory_clock_max_mhz=2620, others=("pid 8, 0.5 GiB",))
    header = run_header(request(*FOUR, gpu=False, budget_s=3.0))
    assert (Device(arch="sm_90"), 3.0, True) == (header.device, header.budget_s, header.interrupted)
    assert (
        Device(
            arch="sm_90",
            name="NVIDIA H100 80GB HBM3",
            uuid="GPU-0",
            driver="580.159.04",
            cuda="13.0",
            sm_clock_max_mhz=1980,
            memory_clock_max_mhz=2620,
            power_limit_w=700.0,
            conditions=Conditions(1980, 2619, 120.0, 35, ()),
            others=("pid 8, 0.5 GiB",),
        )
        == run_header(replace(request(*FOUR), gpu=gpu)).device
    )
