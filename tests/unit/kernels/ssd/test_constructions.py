"""What is known of a config before anything runs: that its output must be wrong, that the kernel cannot take it, what
users ask of it, and what is to be said of it on an architecture.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from config_forms import scan
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.config import Config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Question, Remark
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS, Numbers, chunk_scan_config, whole_tile
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import QUESTION_TITLE, ChunkScan
from ssdprof.profiling.hardware.limits import known_archs

BASE = chunk_scan_config(64, 64, 32, 128, num_warps=2, num_stages=4)
tiles = st.sampled_from([16, 32, 64, 128, 256, 512])
problems = st.builds(
    ChunkScanProblem,
    seqlen=st.integers(1, 10_000),
    batch=st.integers(1, 3),
    nheads=st.just(16),
    ngroups=st.sampled_from([1, 2, 16]),
    headdim=st.integers(1, 300),
    dstate=st.integers(1, 512),
    chunk_size=st.sampled_from([1, 16, 128, 256]),
    dtype=st.sampled_from(["bfloat16", "float16", "float32"]),
    z=st.booleans(),
    seq_idx=st.booleans(),
)


def with_tile(dstate: int | None, variant: str = "tile", config: Config = BASE) -> Config:
    return replace(config.with_values({"BLOCK_SIZE_DSTATE": dstate}), variant=variant)


@settings(deadline=None)
@given(problems, tiles, tiles, tiles, tiles, st.sampled_from(["tile", "split"]))
def test_a_config_is_wrong_by_construction_if_its_variant_has_no_loop_and_its_tile_is_smaller_than_the_state(
    problem: ChunkScanProblem, m: int, n: int, k: int, dstate: int, variant: str
) -> None:
    subject = ChunkScan(problem)
    config = subject.resolve(chunk_scan_config(m, n, k, dstate, num_warps=4, num_stages=1, variant=variant))

    reason = subject.wrong_by_construction(config)

    assert (variant == "tile" and dstate < problem.dstate) == (reason is not None)
    if reason is not None:
        assert reason.startswith(f"sums only the first {dstate} of {problem.dstate} state elements (dstate)")
        assert reason.endswith(f"take a DSTATE tile of {whole_tile(problem.dstate)}, or the variant split")


@settings(deadline=None)
@given(problems)
def test_a_tile_that_is_left_open_is_the_whole_state_and_nothing_is_wrong_with_it(problem: ChunkScanProblem) -> None:
    subject = ChunkScan(problem)
    for variant in ("tile", "split"):
        config = subject.resolve(with_tile(None, variant))
        assert whole_tile(problem.dstate) == config["BLOCK_SIZE_DSTATE"] >= problem.dstate
        assert subject.wrong_by_construction(config) is None
    assert subject.wrong_by_construction(with_tile(None)) is None


@settings(deadline=None)
@given(problems)
def test_nothing_that_grouped_takes_is_wrong_by_construction(problem: ChunkScanProblem) -> None:
    subject = ChunkScan(problem)
    for config in space_of(subject, "ssdprof").configs:
        assert subject.wrong_by_construction(subject.resolve(config)) is None


def test_of_the_pull_requests_list_two_of_three_are_wrong_by_construction_and_of_the_published_ones_none() -> None:
    subject = scan()
    wrong = {
        name: [c for c in space_of(subject, name).configs if subject.wrong_by_construction(subject.resolve(c))]
        for name in subject.space_names()
    }

    assert {"compare": 22, "all": 22, "tensorrt-llm-pr": 22, "mamba": 0, "vllm": 0, "wide": 0, "ssdprof": 0} == {
        name: len(configs) for name, configs in wrong.items()
    }
    assert {32, 64} == {Numbers.of(config).dstate for config in wrong["tensorrt-llm-pr"]}
    assert 0 == sum(bool(scan(dstate=32).wrong_by_construction(config)) for config in wrong["compare"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (with_tile(64, "grouped"), "grouped takes the whole state: block_dstate must be 128, got 64"),
        (with_tile(256, "grouped"), "grouped takes the whole state: block_dstate must be 128, got 256"),
        (BASE.with_values({"HEADS": 4}), "tile takes one head at a time: leave heads out, or take the variant grouped"),
        (with_tile(128, "grouped", BASE.with_values({"HEADS": 5})), "heads must divide the 16 heads of a group, got 5"),
        (replace(BASE, variant="splt"), "unknown variant splt: one of tile, split, grouped"),
        (BASE.with_values({"num_warps": 3}), "num_warps must be a power of two from 1 to 32, got 3: try 2"),
    ],
)
def test_a_config_that_the_kernel_cannot_take_says_the_rule(config: Config, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scan().resolve(config)
    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"seqlen": 2**31, "nheads": 1, "ngroups": 1, "chunk_size": 1}, " blocks, CUDA takes at most 2147483647"),
        ({"chunk_size": 2**20}, " elements of x, 32-bit offsets reach 2147483647: choose a smaller chunk_size"),
    ],
)
def test_a_launch_beyond_the_kernels_32_bit_limits_is_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ChunkScan(ChunkScanProblem(**{"seqlen": 1000, **sizes})).resolve(BASE)


def test_the_baseline_is_the_fastest_correct_config_of_the_published_kernel() -> None:
    assert "m64n64k32d128w2s4" == PARAMS.id(scan().baseline())
    assert "m64n64k32d32w2s4" == PARAMS.id(scan(dstate=20).baseline())


@pytest.mark.parametrize("variant", ["tile", "split", "grouped"])
def test_users_ask_whether_the_states_tile_limits_occupancy(variant: str) -> None:
    absent = "The variant grouped takes the whole state in one DSTATE tile: there is no other to compare."
    assert Question("block_dstate", QUESTION_TITLE, 100, absent if variant == "grouped" else "") == scan(
        dstate=100
    ).question(with_tile(128, variant))


def test_configs_made_for_tma_are_remarked_on_where_there_is_none() -> None:
    subject = scan()
    configs = space_of(subject, "compare").configs
    grouped = [config for config in configs if config.variant == "grouped"]
    assert grouped

    for arch in known_archs():
        remarks = subject.remarks(configs, arch)
        if int(arch.removeprefix("sm_").rstrip("a")) >= 90:
            assert () == tuple(remarks), arch
            continue
        message = (
            f"{arch} has no tensor memory accelerator (sm_90 is the first with one): configs of grouped, "
            f"{len(grouped)} here, load and store through pointers, not tensor descriptors."
        )
        figures = {"arch": arch, "configs": len(grouped)}
        assert [Remark("note", "without-tma", message, figures)] == list(remarks)
        assert () == tuple(subject.remarks([BASE], arch))
