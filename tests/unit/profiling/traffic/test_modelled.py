"""Launches that are modelled together: what they share is followed once, and none has another's model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import traffic_cases
from calls import call

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.binary.sass.text import DisassemblyError
from ssdprof.profiling.hardware.ceilings import Size
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.runs.modelled import Model
from ssdprof.profiling.traffic import model as followed
from ssdprof.profiling.traffic import modelled
from ssdprof.profiling.workers.worker import Worker

SIZE = Size("GPU", 4, 64 << 10)
SOFTMAX, GATHERED = traffic_cases.CASES["softmax"], traffic_cases.CASES["gathered"]
PAST_L1 = ".loc 1 {0} {1}\ncp.async.cg.shared.global"


@pytest.fixture(scope="module")
def ttirs() -> Iterator[dict[str, str]]:
    worker = Worker({})
    yield call(worker, "traffic_cases:ttirs", False)
    worker.kill()


@dataclass(frozen=True)
class Peeked:
    """Knows what tensors hold."""

    held: Mapping[str, Any]

    def contents(self) -> Mapping[str, Any]:
        return self.held


@pytest.fixture
def pilots(ttirs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Kernels that are compiled, whose occupancy goes with their warps; counts how many samples are followed."""

    def compiled_kernel(plan: LaunchPlan, arch: str) -> tuple[Any, float]:
        ptx = PAST_L1.format(*plan.options["past"]) if "past" in plan.options else ""
        metadata = SimpleNamespace(name=plan.function, num_warps=1, num_ctas=1)
        return SimpleNamespace(asm={"ttir": ttirs[plan.function], "ptx": ptx, "cubin": b""}, metadata=metadata), 0.0

    def resources_of(kernel: Any, compile_s: float, plan: LaunchPlan) -> Compiled:
        shared_bytes = 100 * 1024 // plan.options.get("blocks", 1)
        return Compiled(32, 0, shared_bytes, 0, plan.options["num_warps"], 0, 1, plan.grid_blocks, compile_s)

    monkeypatch.setattr(modelled, "compiled_kernel", compiled_kernel)
    monkeypatch.setattr(modelled, "resources_of", resources_of)
    monkeypatch.setattr(
        modelled, "disassembled_together", lambda cubins: [DisassemblyError("no nvdisasm")] * len(cubins)
    )
    pilots = Mock(wraps=followed.pilots.pilot)
    monkeypatch.setattr(followed.pilots, "pilot", pilots)
    return pilots


def models(*plans: LaunchPlan, peeked: Any = None) -> list[Model]:
    case = traffic_cases.CASES[plans[0].function]
    return modelled.launch_models(plans, case.tensors, "sm_90", SIZE, peeked)


def options(**values: Any) -> LaunchPlan:
    return replace(SOFTMAX.plan, grid=(4000,), options={"num_warps": 1, **values})


def loads(ttir: str) -> list[tuple[int, int]]:
    """The lines and columns of the loads."""
    program = followed.Program(ttir)
    places = [followed._line(one) for one in program.kernel.operations() if one.name == "tt.load"]
    return [(int(line), int(column)) for line, _, column in (place.partition(":") for place in places)]


def test_launches_that_differ_only_in_options_are_followed_once_and_have_the_models_they_have_alone(
    pilots: Mock, ttirs: dict[str, str]
) -> None:
    past = loads(ttirs["softmax"])[0]
    plans = [
        options(num_stages=1), options(num_stages=2, past=past), options(num_stages=3, past=past, blocks=2),
        options(num_stages=1, blocks=2), options(num_stages=2, past=past), options(num_warps=4),
    ]  # fmt: skip
    together = models(*plans)
    assert 1 == pilots.call_count
    assert [models(plan)[0] for plan in plans] == together
    assert 1 + len(plans) == pilots.call_count
    assert together[1] == together[4]
    assert together[0] != together[1] != together[2]
    assert ["its machine code is not understood: no nvdisasm"] * 6 == [one.absent for one in together]


@pytest.mark.usefixtures("pilots")
@pytest.mark.parametrize(("kept", "times"), [(4, 2), (1, 4)])
def test_of_the_sets_of_loads_past_l1_a_few_are_kept(
    ttirs: dict[str, str], monkeypatch: pytest.MonkeyPatch, kept: int, times: int
) -> None:
    monkeypatch.setattr(followed, "_MOST_KNOWN", kept)
    accesses = Mock(wraps=followed.accesses)
    monkeypatch.setattr(followed, "accesses", accesses)
    one, other = (options(past=place) for place in loads(ttirs["softmax"]))
    found = models(one, other, one, other)
    assert times == accesses.call_count
    assert found[:2] == found[2:]


@pytest.mark.parametrize(
    "change",
    [{"grid": (9,)}, {"args": {**SOFTMAX.plan.args, "n": 76}}, {"args": {**SOFTMAX.plan.args, "n": True}}],
    ids=["grid", "argument", "type of an argument"],
)
def test_another_launch_of_the_kernel_is_followed_by_itself(pilots: Mock, change: Mapping[str, Any]) -> None:
    first, other = options(), replace(options(), **change)
    one, two, three = models(first, other, first)
    assert 3 == pilots.call_count
    assert one == three != two
    assert models(other) == [two]


def test_what_tensors_hold_is_that_of_the_subject_which_is_asked(pilots: Mock) -> None:
    plan = replace(GATHERED.plan, options={"num_warps": 1})
    spread, unknown = models(plan, peeked=Peeked(GATHERED.contents)), models(plan)
    narrow = models(plan, peeked=Peeked({**GATHERED.contents, "index": np.zeros(64, np.int32)}))
    bytes_read = [one.traffic and one.traffic.l2_to_sm_read_bytes for [one] in (spread, narrow, unknown)]
    assert 3 == len(set(bytes_read)) == pilots.call_count


def test_programs_that_do_too_much_are_tried_once_for_all_that_are_alike(
    pilots: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: Any) -> None:
        raise modelled.TooLongError

    pilots.side_effect = too_long
    monkeypatch.setattr(modelled, "disassembled_together", lambda cubins: [None] * len(cubins))
    found = models(options(), options(num_warps=4))
    assert {(None, None, "its machine code is not understood: ; its programs do too much to be followed")} == {
        (one.traffic, one.executed, one.absent) for one in found
    }
    assert 1 == pilots.call_count
