"""A subject whose inputs are given: as many sets are made and checked as there are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_kernel import FakeSubject, fake
from fake_runs import H100_GPU
from host_timer import HOST

from ssdprof.kernels.launch import DTYPE_BYTES
from ssdprof.profiling.gpu.devices import DeviceError
from ssdprof.profiling.measuring import measure as measure_module
from ssdprof.profiling.measuring.amounts import SEEDS, input_sets
from ssdprof.profiling.measuring.measure import measure, prepare
from ssdprof.profiling.measuring.session import LAUNCHES_PER_SEED
from ssdprof.profiling.sweep.preflight import check_measurable, needed_memory_bytes


class GivenSubject(FakeSubject):
    """With as many sets of inputs as its number of rows says, less five."""

    @property
    def input_sets(self) -> int:
        return self.rows - 5


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_session", None)


def test_inputs_that_are_drawn_are_of_so_many_seeds() -> None:
    assert SEEDS == input_sets(FakeSubject())


@pytest.mark.parametrize("sets", [1, 3])
def test_a_config_is_checked_on_every_set_that_is_given(sets: int) -> None:
    subject = GivenSubject(rows=5 + sets)
    prepare(subject, HOST, seed=3)

    check = measure(subject.launch(fake()), fake(), "right").check

    assert (sets, sets * LAUNCHES_PER_SEED) == (check.seeds, check.launches)


def test_memory_is_needed_for_the_sets_that_there_are() -> None:
    drawn, given = FakeSubject(rows=6), GivenSubject(rows=6)
    assert 1 == input_sets(given)
    one_set = sum(meta.numel * DTYPE_BYTES["float32"] for meta in drawn.tensors().values() if meta.role != "out")
    references = sum(meta.numel * DTYPE_BYTES["float32"] for meta in drawn.tensors().values() if meta.is_written)
    assert one_set + references == needed_memory_bytes(drawn) - needed_memory_bytes(given)


def test_too_little_memory_is_told_with_what_it_is_needed_for() -> None:
    with pytest.raises(DeviceError, match=r"\(1 set of inputs with its reference, 2 outputs, buffers"):
        check_measurable(GivenSubject(rows=6), replace(H100_GPU, memory_free_bytes=0))
