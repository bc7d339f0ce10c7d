"""The config that `chunk_scan` launches: its own choice, what it falls back to and says."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from api_calls import FULL, Launches, arguments, at
from torch import Tensor
from triton.runtime.errors import OutOfResources

from ssdprof.kernels import chunk_scan
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd import function as api
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    return Launches.instead(monkeypatch)


def three_calls(tensors: dict[str, Any]) -> None:
    for _ in range(3):
        chunk_scan(**tensors)


def ids(problem: ChunkScanProblem) -> list[str]:
    return [PARAMS.id(config) for config in api.candidates(problem)]


def test_the_candidates_for_a_chunk_of_128_begin_with_the_best_on_an_h100() -> None:
    assert [
        "grouped:m64n64k64w4s3h16",
        "grouped:m64n64k64w4s2h16",
        "grouped:m64n64k64w4s1h16",
        "split:m64n64k32d64w4s2",
    ] == ids(ChunkScanProblem(seqlen=50_000))


@pytest.mark.parametrize(
    ("sizes", "first"),
    [
        ({"chunk_size": 8}, "grouped:m16n64k16w4s3h16"),
        ({"chunk_size": 32}, "grouped:m32n64k32w4s3h16"),
        ({"chunk_size": 256}, "grouped:m64n64k64w4s3h16"),
        ({"chunk_size": 512}, "split:m64n64k32d64w4s2"),
        ({"states_dtype": "float32"}, "grouped:m128n64k128w8s3h16"),
        ({"states_dtype": "float32", "chunk_size": 64}, "grouped:m64n64k64w4s3h16"),
        ({"nheads": 80, "ngroups": 1}, "grouped:m64n64k64w4s3h16"),
        ({"nheads": 23, "ngroups": 1}, "grouped:m64n64k64w4s3h1"),
    ],
)
def test_sizes_decide_the_first_candidate(sizes: dict[str, Any], first: str) -> None:
    assert first == ids(ChunkScanProblem(seqlen=50_000, **sizes))[0]


@pytest.mark.parametrize("sizes", [{"dstate": 257}, {"chunk_size": 512}])
def test_beyond_256_split_is_the_only_candidate(sizes: dict[str, int]) -> None:
    assert ["split:m64n64k32d64w4s2"] == ids(ChunkScanProblem(seqlen=50_000, **sizes))


@pytest.mark.parametrize("headdim", [8, 64, 80])
@pytest.mark.parametrize("dstate", [1, 128, 256, 300, 1000])
@pytest.mark.parametrize("chunk_size", [1, 16, 64, 128, 256, 1024])
def test_the_kernel_takes_every_candidate(chunk_size: int, dstate: int, headdim: int) -> None:
    problem = ChunkScanProblem(seqlen=3000, chunk_size=chunk_size, dstate=dstate, headdim=headdim)
    configs = api.candidates(problem)

    assert "split" == configs[-1].variant
    assert len(configs) == len(set(configs))
    for config in configs:
        PARAMS.validated(ChunkScan(problem).resolve(config))


def test_the_first_candidate_that_fits_is_launched_and_remembered(launches: Launches) -> None:
    launches.refused = 2
    expected = ["grouped:m16n16k16d32w4s3", "grouped:m16n16k16d32w4s2", "grouped:m16n16k16d32w4s1"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chunk_scan(**arguments())
        assert expected == launches.ids
        chunk_scan(**arguments())
        chunk_scan(**arguments(replace(FULL, seqlen=64, batch=1)))

    assert [*expected, expected[-1], expected[-1]] == launches.ids


WIDE = replace(FULL, headdim=64)
MISCOMPILES = "ptxas 12.8, which Triton 3.6 has, miscompiles it"
THROUGH_POINTERS = "through pointers, and a stride or an address of x, states, z or out is not a multiple of 16 bytes"


@pytest.fixture
def on_an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "arch_of", lambda _: "sm_90")


@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize("name", ["x", "states", "z", "out"])
def test_tensors_at_odd_addresses_are_read_by_split_and_that_is_said_once(launches: Launches, name: str) -> None:
    tensors = arguments(WIDE)
    tensors["out"] = torch.zeros_like(tensors["x"])
    chunk_scan(**tensors)
    odd = {**tensors, name: at(tensors[name], 1)}

    with pytest.warns(UserWarning, match="cannot use the variant grouped") as said:
        three_calls(odd)
    chunk_scan(**tensors)

    assert [True, False, False, False, True] == launches.described
    assert ["grouped", *3 * ["split"], "grouped"] == [name.partition(":")[0] for name in launches.ids]
    message = (
        f"chunk_scan cannot use the variant grouped here, {MISCOMPILES} {THROUGH_POINTERS}: it uses "
        "split:m64n64k32d32w4s2, which reads C and CB once for each head, not once for each group. Pass config= to "
        "choose another"
    )
    assert [message] == [str(warning.message) for warning in said]


@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize(
    "sizes",
    [
        {"headdim": 6},
        {"headdim": 16},
        {"headdim": 32},
        {"headdim": 33},
        {"dstate": 33},
        {"headdim": 34, "dtype": "float32", "states_dtype": "float32"},
        {"dstate": 66, "states_dtype": "float32"},
    ],
)
@pytest.mark.filterwarnings("ignore:chunk_scan cannot use the variant grouped")
def test_sizes_that_are_not_safe_with_grouped_get_split(launches: Launches, sizes: dict[str, Any]) -> None:
    chunk_scan(**arguments(replace(WIDE, **sizes)))

    assert ["split"] == [name.partition(":")[0] for name in launches.ids]


@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize(
    "sizes",
    [{"headdim": 40, "dstate": 40}, {"headdim": 36, "dtype": "float32", "dstate": 4, "states_dtype": "float32"}],
)
def test_sizes_that_are_safe_get_grouped(launches: Launches, sizes: dict[str, Any]) -> None:
    chunk_scan(**arguments(replace(WIDE, **sizes)))

    assert [True] == launches.described


@pytest.mark.usefixtures("on_an_h100")
def test_c_at_an_odd_address_is_no_obstacle(launches: Launches) -> None:
    tensors = arguments(WIDE)
    tensors["C"] = at(tensors["C"], 1)

    chunk_scan(**tensors)

    assert [True] == launches.described


def test_another_problem_is_searched_anew(launches: Launches) -> None:
    launches.refused = 1
    chunk_scan(**arguments())
    chunk_scan(**arguments(replace(FULL, z=False)))

    assert ["s3", "s2", "s3"] == [name[-2:] for name in launches.ids]


def test_what_is_remembered_and_no_longer_fits_is_left_for_the_next(launches: Launches) -> None:
    chunk_scan(**arguments())
    launches.refused = 1
    chunk_scan(**arguments())
    chunk_scan(**arguments())

    assert ["s3", "s3", "s2", "s2"] == [name[-2:] for name in launches.ids]


def test_leaving_the_variant_grouped_is_said_once(launches: Launches) -> None:
    launches.refused = 3

    with pytest.warns(UserWarning, match="cannot use the variant grouped") as said:
        three_calls(arguments())

    assert ["s3", "s2", "s1", *3 * ["split:m64n64k32d32w4s2"]] == [
        *(i[-2:] for i in launches.ids[:3]),
        *launches.ids[3:],
    ]
    message = (
        "chunk_scan cannot use the variant grouped here, its smallest tiles need 1000 bytes of shared memory, the GPU "
        "has 900: it uses split:m64n64k32d32w4s2, which reads C and CB once for each head, not once for each group. "
        "Pass config= to choose another"
    )
    assert [message] == [str(warning.message) for warning in said]
    assert [__file__] == [warning.filename for warning in said]


def test_a_gpu_without_tma_is_said_once(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "arch_of", lambda _: "sm_80")

    with pytest.warns(UserWarning, match="no tensor memory accelerator") as said:
        three_calls(arguments(WIDE))

    assert ["s3", "s3", "s3"] == [name[-2:] for name in launches.ids]
    message = (
        "chunk_scan runs on sm_80, which has no tensor memory accelerator (sm_90 is the first with one): its kernel "
        "loads and stores through pointers, not tensor descriptors, and its configs were chosen on an H100. Pass "
        "config= to choose another"
    )
    assert [message] == [str(warning.message) for warning in said]


def test_a_gpu_with_tma_is_not_spoken_of(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "arch_of", lambda _: "sm_90")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        three_calls(arguments(WIDE))

    assert 3 == len(launches.ids)


def test_a_state_beyond_grouped_is_said_once(launches: Launches) -> None:
    tensors = arguments(replace(FULL, dstate=300))

    with pytest.warns(UserWarning, match="cannot use the variant grouped") as said:
        three_calls(tensors)

    assert 3 * ["split:m64n64k32d64w4s2"] == launches.ids
    message = (
        "chunk_scan cannot use the variant grouped here, a chunk_size of 16 or dstate of 300 is beyond its 256: it "
        "uses split:m64n64k32d64w4s2, which reads C and CB once for each head, not once for each group. Pass config= "
        "to choose another"
    )
    assert [message] == [str(warning.message) for warning in said]


def test_where_nothing_fits_the_last_refusal_is_raised(launches: Launches) -> None:
    launches.refused = 4

    with pytest.raises(OutOfResources, match="Required: 1000, Hardware limit: 900"):
        chunk_scan(**arguments())

    assert 4 == len(launches.ids)


def test_other_errors_of_a_launch_are_raised_at_once(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_plan: LaunchPlan, _tensors: Mapping[str, Tensor]) -> None:
        launches.ids.append("tried")
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(api, "_launch", broken)

    with pytest.raises(RuntimeError, match="an illegal memory access"):
        chunk_scan(**arguments())

    assert ["tried"] == launches.ids
