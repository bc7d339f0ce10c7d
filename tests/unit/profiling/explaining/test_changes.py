"""Which changes of a config are tried: each parameter to the values around its own, and the cap that gives a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from fake_kernel import LANES, PARAMS, FakeSubject, fake

from ssdprof.kernels.config import MAXNREG, NUM_STAGES, NUM_WARPS, Config, Param, ParamTable
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.registry import subject as chunk_scan
from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy
from ssdprof.profiling.sweep.changes import MOST, capped, changes

SM_90 = limits_for("sm_90")
TILE = Param("TILE", low=16, high=128, power_of_two=True, required=True)


@dataclass(frozen=True, slots=True)
class Capped(FakeSubject):
    """Its configs set a cap on registers too, and a tile with no values of its own to try."""

    params: ClassVar[ParamTable] = ParamTable((*PARAMS, TILE, MAXNREG), PARAMS.variants)

    def resolve(self, config: Config) -> Config:
        return self.params.validated(config)


def with_cap(cap: int | None = None, tile: int = 64) -> Config:
    return Config((*fake().values, ("TILE", tile), ("maxnreg", cap)), "right")


def values(found: list[tuple[Param, Config]], param: Param) -> list[object]:
    return [config[param.name] for of, config in found if of == param]


def test_the_nearest_values_come_first_and_each_change_is_of_one_parameter() -> None:
    found = changes(FakeSubject(), fake())
    assert {LANES, NUM_WARPS, NUM_STAGES} == {param for param, _ in found}
    assert [2, 8, 1] == values(found, NUM_WARPS)
    assert [1, 3, 4, 5] == values(found, NUM_STAGES)
    assert [32, 64, 128] == values(found, LANES)
    for param, config in found:
        assert fake() == config.with_values({param.name: fake()[param.name]})
    assert {LANES, NUM_WARPS, NUM_STAGES} == {param for param, _ in found[:5]}  # one step away each


def test_what_is_asked_about_goes_first_with_all_its_values() -> None:
    found = changes(FakeSubject(), fake(), whole="num_stages", most=5)
    assert [NUM_STAGES] * 4 == [param for param, _ in found[:4]]
    assert 5 == len(found)


def test_a_tile_that_must_be_set_is_halved_and_doubled_within_its_range() -> None:
    assert [32, 128] == values(changes(Capped(), with_cap()), TILE)
    assert [64] == values(changes(Capped(), with_cap(tile=128)), TILE)


def test_an_option_that_is_not_set_is_not_tried_and_a_cap_is_taken_off() -> None:
    assert [] == values(changes(Capped(), with_cap()), MAXNREG)
    assert [None] == values(changes(Capped(), with_cap(128)), MAXNREG)


@pytest.mark.parametrize("variant", ["tile", "split", "grouped"])
def test_there_are_never_so_many_that_two_cores_take_half_a_minute(variant: str) -> None:
    subject = chunk_scan()
    found = changes(subject, subject.resolve(chunk_scan_config(64, 64, 64, 128, 4, 3, variant=variant)), "block_dstate")
    assert len(found) < MOST
    tried = {param.column for param, _ in found}
    assert {"block_m", "block_n", "block_k", "num_warps", "num_stages"} <= tried
    assert ("heads" if variant == "grouped" else "block_dstate") in tried


LIMITED_BY_REGISTERS = Launch(threads_per_block=64, registers_per_thread=255, dynamic_shared_mem_bytes=41_728)


def test_the_cap_is_the_largest_that_gives_one_more_block() -> None:
    found = capped(Capped(), with_cap(), LIMITED_BY_REGISTERS, SM_90)
    assert found is not None
    assert (MAXNREG, 168) == (found[0], found[1]["maxnreg"])

    def blocks(registers: int) -> int:
        return occupancy(Launch(64, registers, 41_728), SM_90, shared_mem_config_bytes=233_472).blocks_per_sm

    assert (4, 5, 4) == (blocks(255), blocks(168), blocks(169))


@pytest.mark.parametrize(
    ("registers", "smem_bytes"),
    [(255, 57_000), (40, 100_000), (32, 0)],
    ids=["shared memory too", "shared memory alone", "full"],
)
def test_where_fewer_registers_alone_give_no_block_no_cap_is_tried(registers: int, smem_bytes: int) -> None:
    assert capped(Capped(), with_cap(), Launch(64, registers, smem_bytes), SM_90) is None


def test_a_kernel_without_such_an_option_or_that_refuses_it_gets_no_cap() -> None:
    class Refuses(Capped):
        def resolve(self, config: Config) -> Config:
            raise ConfigError("no caps")

    assert capped(FakeSubject(), fake(), LIMITED_BY_REGISTERS, SM_90) is None
    assert capped(Refuses(), with_cap(), LIMITED_BY_REGISTERS, SM_90) is None
