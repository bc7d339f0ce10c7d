"""Every sector that every program touches, and how often, as Triton's interpreter says; and what is not followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version

import pytest
import traffic_cases
from interpreted import call, interpreting_worker

from ssdprof.profiling.traffic import model
from ssdprof.profiling.traffic.caches import Machine
from ssdprof.profiling.traffic.model import Follower
from ssdprof.profiling.workers.worker import Worker

HAS_BLOCK_POINTERS = tuple(map(int, version("triton").split(".")[:2])) < (3, 9)
INTERPRETED = sorted(set(traffic_cases.CASES) - {"unfollowed"} - (set() if HAS_BLOCK_POINTERS else {"blocks"}))
STRUCTURE = ("scf.", "tt.call", "tt.load", "tt.descriptor", "tt.atomic")


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Worker]:
    with interpreting_worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def ttirs() -> Iterator[dict[str, str]]:
    worker = Worker({})
    yield call(worker, "traffic_cases:ttirs", HAS_BLOCK_POINTERS)
    worker.kill()


@pytest.mark.parametrize("kernel", INTERPRETED)
def test_each_program_touches_the_sectors_that_the_interpreter_touches(
    kernel: str, interpreter: Worker, ttirs: dict[str, str]
) -> None:
    expected = call(interpreter, "traffic_cases:touched_in_interpreter", kernel)
    assert len(expected) > 30
    assert (expected, set()) == traffic_cases.touched_as_modelled(kernel, ttirs[kernel])


def test_what_depends_on_data_or_on_an_unknown_operation_is_named_with_what_it_depends_on(
    ttirs: dict[str, str],
) -> None:
    found, reasons = traffic_cases.touched_as_modelled("unfollowed", ttirs["unfollowed"])
    assert {
        "tt.load: tt.elementwise_inline_asm, which is not followed",
        "tt.load: data that index points to",
        "tt.store: its mask is data that index points to",
        "scf.for: data that rounds points to",
        "scf.if: data that rounds points to",
        "scf.while: data that rounds points to",
    } == {re.sub(r"_\d+ points", " points", reason) for reason in reasons}
    assert {"index", "o"} == {name for _, name, _, _ in found}


@pytest.mark.parametrize("kernel", ["matmul", "shaped", "described", "gathered", "early"])
def test_an_operation_that_no_triton_has_yet_is_named_unless_no_address_depends_on_it(
    kernel: str, ttirs: dict[str, str]
) -> None:
    text = ttirs[kernel]
    whole, _ = traffic_cases.touched_as_modelled(kernel, text)
    names = {name for name in re.findall(r"= ([a-z]+\.\w+)", text) if not name.startswith(STRUCTURE)}
    assert len(names) > 5
    for name in names:
        novel = re.sub(rf"= {name}\b", "= tt.novel", text)
        found, reasons = traffic_cases.touched_as_modelled(kernel, novel)
        assert found == whole or any("which is not followed" in reason for reason in reasons), name


def test_of_a_large_grid_a_first_part_stands_for_all(ttirs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 6000
    case = replace(traffic_cases.CASES["softmax"], grid=(rows,), tensors=traffic_cases.floats(x=rows * 77, o=rows * 77))
    machine = Machine(num_sms=4, blocks_per_sm=2, l2_bytes=64 << 10, l1_bytes=4 << 10)
    part = Follower(case.plan, case.tensors, ttirs["softmax"]).traffic(machine)
    monkeypatch.setattr(model, "_FOLLOWED_OF_L2", 1e9)
    whole = Follower(case.plan, case.tensors, ttirs["softmax"]).traffic(machine)
    assert part.programs < rows == whole.programs
    for one, other in ((part.least_bytes, whole.least_bytes), (part.dram_bytes, whole.dram_bytes)):
        assert other == pytest.approx(one, rel=0.02)
    assert 2 * rows * 77 * 4 == pytest.approx(whole.least_bytes, rel=0.01)
    assert whole.l2_to_sm_bytes == pytest.approx(part.l2_to_sm_bytes, rel=0.02)
