"""The published tile lists hold what was published; an unknown one is answered with the known."""

from __future__ import annotations

import pytest
from config_forms import ids, scan

from ssdprof.kernels.config import Config
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS, Numbers
from ssdprof.kernels.ssd.spaces import SPACES


def configs_of(name: str, variant: str | None = None, **sizes: int) -> tuple[Config, ...]:
    return space_of(scan(**sizes), name, variant=variant).configs


def tiles_of(name: str, **sizes: int) -> set[int | None]:
    return {Numbers.of(config).dstate for config in configs_of(name, **sizes)}


def test_mamba_is_the_list_of_mamba_ssm() -> None:
    expected = """
        m128n256k64d128w8s3 m64n256k32d128w4s4 m128n128k32d128w4s4 m128n64k32d128w4s4 m64n128k32d128w4s4
        m128n64k64d128w4s4 m64n128k64d128w4s4 m128n32k32d128w4s4 m64n32k32d128w2s5 m32n64k32d128w2s5
        m64n64k32d128w2s4
    """
    assert expected.split() == ids("mamba")


def test_vllm_is_its_own_twelve_and_then_mambas() -> None:
    expected = """
        m32n32k32d128w8s2 m32n64k32d128w8s2 m64n32k32d128w8s2 m32n32k32d128w4s3 m32n32k64d128w4s2
        m64n64k64d128w4s1 m64n64k32d128w4s1 m128n64k32d128w4s1 m32n64k32d128w4s1 m64n64k64d128w4s2
        m64n64k32d128w4s2 m32n64k32d128w4s2
    """
    assert [*expected.split(), *ids("mamba")] == ids("vllm")


@pytest.mark.parametrize("dstate", [16, 64, 128, 256])
def test_the_pull_request_crosses_mambas_list_with_three_dstate_tiles_whatever_the_dstate(dstate: int) -> None:
    expected = {name.replace("d128", f"d{tile}") for name in ids("mamba") for tile in (32, 64, 128)}

    assert 33 == len(ids("tensorrt-llm-pr", dstate=dstate))
    assert expected == set(ids("tensorrt-llm-pr", dstate=dstate))


@pytest.mark.parametrize(
    ("dstate", "tile"), [(1, 16), (16, 16), (17, 32), (64, 64), (100, 128), (128, 128), (256, 256)]
)
@pytest.mark.parametrize("name", ["mamba", "vllm"])
def test_the_whole_state_is_one_tile_in_the_published_lists(name: str, dstate: int, tile: int) -> None:
    assert {tile} == tiles_of(name, dstate=dstate)


def test_a_state_that_no_tile_holds_is_told() -> None:
    with pytest.raises(SpaceError, match=r"mamba takes the whole state in one tile, .* dstate 1024 needs .* wide"):
        configs_of("mamba", dstate=1024)

    assert configs_of("wide", dstate=1024)


@pytest.mark.parametrize(("dstate", "tiles"), [(8, {16}), (32, {32}), (64, {32, 64}), (128, {32, 64, 128})])
def test_wide_has_no_dstate_tile_beyond_the_state(dstate: int, tiles: set[int]) -> None:
    assert tiles == tiles_of("wide", dstate=dstate)


def test_wide_holds_some_three_hundred_configs_and_the_best_published_one() -> None:
    names = ids("wide")

    assert 250 <= len(names) <= 400
    assert "split:m64n64k32d128w2s4" in names
    assert not [name for name in names if "m32n32" in name and "w8" in name]


def test_all_holds_every_config_of_the_other_spaces_and_the_pull_requests_list_under_both_variants() -> None:
    everything = set(configs_of("all"))
    parts = [configs_of(name) for name in SPACES if name != "all"]
    parts.append(configs_of("tensorrt-llm-pr", "split"))

    assert everything == {config for part in parts for config in part}


@pytest.mark.parametrize("dstate", [1, 48, 128, 512])
@pytest.mark.parametrize("name", SPACES)
def test_published_configs_are_valid_and_none_comes_twice(name: str, dstate: int) -> None:
    found = space_of(scan(dstate=dstate), name)

    assert len(set(found.configs)) == len(found.configs)
    for config in found.configs:
        assert config == PARAMS.validated(config) == parse_config(PARAMS.id(config), PARAMS)
    assert name == found.name
    assert found.description == scan().space_names()[name]
    assert () == found.left_out


@pytest.mark.parametrize(
    ("variant", "name"), [("tile", "mamba"), ("tile", "tensorrt-llm-pr"), ("tile", "vllm"), ("split", "wide")]
)
def test_a_space_has_its_default_variant_another_or_both(variant: str, name: str) -> None:
    assert {variant} == {config.variant for config in configs_of(name)}
    for other in ("tile", "split"):
        assert {other} == {config.variant for config in configs_of(name, other)}
    both = ids(name, variant="both")
    assert [*ids(name, variant="tile"), *ids(name, variant="split")] == both


@pytest.mark.parametrize(("chunk_size", "headdim"), [(128, 64), (256, 64), (64, 128), (16, 80), (8, 256)])
def test_ssdprof_takes_the_whole_state_and_tiles_no_longer_than_a_chunk(chunk_size: int, headdim: int) -> None:
    subject = scan(chunk_size=chunk_size, headdim=headdim)
    configs = space_of(subject, "ssdprof").configs
    numbers = [Numbers.of(config) for config in configs]

    assert 6 <= len(configs) <= 60
    assert {"grouped"} == {config.variant for config in configs}
    assert {128} == {one.dstate for one in numbers}
    assert all(one.k == one.m <= max(16, chunk_size) for one in numbers)
    assert {16, 8, 4} == {Numbers.of(subject.resolve(config)).heads for config in configs}


@pytest.mark.parametrize(("heads_per_group", "heads"), [(16, {None, 8, 4}), (80, {None, 40, 20, 16, 10}), (3, {None})])
def test_ssdprof_divides_a_group_into_equal_shares(heads_per_group: int, heads: set[int | None]) -> None:
    configs = configs_of("ssdprof", nheads=2 * heads_per_group, ngroups=2)
    assert heads == {Numbers.of(config).heads for config in configs}


def test_compare_holds_the_published_lists_and_ours_whose_variant_stays() -> None:
    names = ("tensorrt-llm-pr", "vllm", "ssdprof")
    listed = {config for name in names for config in configs_of(name)}

    assert listed == set(configs_of("compare"))
    for variant in ("tile", "split", "both"):
        variants = {config.variant for config in configs_of("compare", variant)}
        assert variants == {"grouped", *(("tile", "split") if variant == "both" else (variant,))}


def test_ssdprof_has_one_variant() -> None:
    with pytest.raises(SpaceError, match=r"^ssdprof has only configs of the variant grouped: leave --variant out$"):
        ids("ssdprof", "tile")


def test_an_unknown_variant_lists_the_known() -> None:
    with pytest.raises(SpaceError, match=r"^unknown variant tiles: one of tile, split, grouped, both$"):
        ids("mamba", "tiles")


def test_compare_is_swept_if_no_space_is_named() -> None:
    assert space_of(scan(), "compare") == space_of(scan()) == space_of(scan(), "")


@pytest.mark.parametrize("name", ["vlm", "configs.toml", "wide/", "\x00"])
def test_an_unknown_space_lists_the_known_and_says_that_a_path_works(name: str) -> None:
    expected = (
        r"(: o|\? O)ne of compare, mamba, tensorrt-llm-pr, vllm, wide, ssdprof, all, "
        r"or the path of a file .* \.json, \.yaml or \.yml$"
    )
    with pytest.raises(SpaceError, match=expected):
        ids(name)


def test_an_unknown_space_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"^unknown space tensorrt-llm, did you mean tensorrt-llm-pr?"):
        ids("tensorrt-llm")
