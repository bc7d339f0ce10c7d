"""A space file is read, or its wrong entry is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from textwrap import dedent

import pytest
from config_forms import ids, scan
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.interface import Space
from ssdprof.kernels.space import space_of
from ssdprof.kernels.space_file import CONFIGS_MAX
from ssdprof.kernels.ssd.params import PARAMS

VALUES = {"block_m": [64, 128], "block_n": 64, "block_k": [32], "num_warps": [2, 4], "num_stages": [3]}


def space(path: str, dstate: int = 128) -> Space:
    return space_of(scan(dstate=dstate), path)


def written(path: Path, document: object) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return str(path)


def test_a_list_of_configs_is_read_in_every_form(tmp_path: Path) -> None:
    text = """
        - m64n64k32d128w2s4
        - split:m64n64k32d64w2s4
        - "BLOCK_SIZE_M: 128, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 32, num_warps: 4, num_ctas: 1, num_stages: 2"
        - "triton.Config({'BLOCK_SIZE_M': 32, 'BLOCK_SIZE_N': 64, 'BLOCK_SIZE_K': 32}, num_stages=4, num_warps=4)"
        - block_m=16,block_n=64,block_k=32,num_warps=4,num_stages=3
        - {block_m: 64, block_n: 128, block_k: 32, num_warps: 4, num_stages: 3, variant: split, maxnreg: 128}
        - BLOCK_SIZE_M: 64
          BLOCK_SIZE_N: 256
          BLOCK_SIZE_K: 32
          BLOCK_SIZE_DSTATE: null
          num_warps: 8
          num_stages: 1
        - m64n64k32d128w2s4
        - m64n64k32w2s4
    """
    path = written(tmp_path / "mine.yaml", dedent(text))

    assert "mine.yaml" == space(path).name
    assert [
        "m64n64k32d128w2s4",
        "split:m64n64k32d64w2s4",
        "m128n64k32w4s2",
        "m32n64k32w4s4",
        "m16n64k32w4s3",
        "split:m64n128k32w4s3r128",
        "m64n256k32w8s1",
        "m64n64k32w2s4",
    ] == ids(path)


def test_a_tile_that_is_left_out_is_the_whole_state_once_the_kernel_has_the_config(tmp_path: Path) -> None:
    subject = scan(dstate=100)
    configs = space_of(subject, written(tmp_path / "a.json", ["m64n64k32w2s4", "m64n64k32d128w2s4"])).configs

    assert ["m64n64k32d128w2s4"] * 2 == [PARAMS.id(subject.resolve(config)) for config in configs]


def test_json_and_yaml_read_alike(tmp_path: Path) -> None:
    document = {"name": "ours", "values": VALUES, "variant": "both"}

    from_json = space(written(tmp_path / "a.json", document), dstate=64)
    from_yaml = space(written(tmp_path / "a.YML", document), dstate=64)

    assert from_json.configs == from_yaml.configs
    assert "ours" == from_json.name == from_yaml.name


def test_values_are_crossed_in_order(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"values": VALUES})

    expected = "m64n64k32w2s3 m64n64k32w4s3 m128n64k32w2s3 m128n64k32w4s3"
    assert expected.split() == ids(path, dstate=64)
    assert [f"split:{name}" for name in expected.split()] == ids(path, variant="split")


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("block_m * block_n <= 4096", "m64w2 m64w4"),
        ("block_m * block_n // (num_warps * 32) == 64", "m64w2 m128w4"),
        ("block_m - 64 == 0 and not num_warps == 2", "m64w4"),
        ("(block_m > 64 or num_warps > 2) and 0 < num_stages < 4", "m64w4 m128w2 m128w4"),
        ("block_m % 128 != 0", "m64w2 m64w4"),
        ("block_m + block_k >= dstate", "m128w2 m128w4"),
        ("BLOCK_SIZE_M + block_n < dstate + 50", "m64w2 m64w4"),
        ("BLOCK_SIZE_M == 64 and Block_Size_N == 64 and warps == 4", "m64w4"),
        ("block_dstate > dstate and BLOCK_SIZE_DSTATE - dstate == 28", "m64w2 m64w4 m128w2 m128w4"),
        ("block_m <= chunk_size // 2 and headdim == 64 and nheads // ngroups == 16", "m64w2 m64w4"),
        ("block_dstate == 128", "m64w2 m64w4 m128w2 m128w4"),
        ("  num_ctas == 1  ", "m64w2 m64w4 m128w2 m128w4"),
        ("num_stages == 3 or 1 // (num_stages - 3) == 1", "m64w2 m64w4 m128w2 m128w4"),
    ],
)
def test_constraints_drop_what_they_do_not_hold_for(tmp_path: Path, constraint: str, expected: str) -> None:
    path = written(tmp_path / "a.json", {"values": VALUES, "constraints": [constraint]})

    assert expected.split() == [
        f"m{config['BLOCK_SIZE_M']}w{config['num_warps']}" for config in space(path, dstate=100).configs
    ]


def test_all_constraints_must_hold_and_one_may_stand_alone(tmp_path: Path) -> None:
    both = {"values": VALUES, "constraints": ["block_m == 64", "num_warps == 4"]}
    alone = {"values": VALUES, "constraints": "block_m == 64 and num_warps == 4"}

    assert ["m64n64k32w4s3"] == ids(written(tmp_path / "a.json", both))
    assert ["m64n64k32w4s3"] == ids(written(tmp_path / "b.json", alone))


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ("block_m ** 2 < 9", r"only \+ - \* // %, comparisons, and, or, not and \(\) are allowed, got Pow"),
        ("block_m / 2 < 9", "got Div"),
        ("block_m << 2 < 9", "got LShift"),
        ("-block_m < 9", "got USub"),
        ("__import__('os').system('true') == 0", "got Call"),
        ("block_m.real == 64", "got Attribute"),
        ("[1][0] == 1", "got (Subscript|List)"),
        ("(lambda: 1)() == 1", "got Call"),
        ("block_m in (64,)", "got (In|Tuple)"),
        ("block_m is 64", "got Is"),
        ("(x := 64) == 64", "got NamedExpr"),
        ("block_m == 64 if True else False", "got IfExp"),
        ("block_m == 64.0", "only whole numbers are allowed, got 64.0"),
        ("block_m == '64'", "only whole numbers are allowed, got \"'64'\""),
        ("True == 1", "only whole numbers are allowed, got True"),
        ("block_q == 64", "unknown name block_q: one of block_m, block_n"),
        ("block_m * 64", r"'block_m \* 64' is not a comparison such as block_m <= 64"),
        ("block_m", "block_m is not a comparison such as block_m <= 64"),
        ("block_m ==", "'block_m ==' is not an expression"),
        ("", "'' is not an expression"),
        ("\x00", "is not an expression"),
        ("(" * 190, "is not an expression"),
        ("block_m == 1 or " * 20 + "1 == 1", "must be text of at most 200 characters"),
        (64, "must be text of at most 200 characters, got 64"),
        (None, "must be text of at most 200 characters, got None"),
        ("block_m // (num_stages - 3) == 1", "divides by zero"),
        ("block_m % 0 == 1", "divides by zero"),
        ("maxnreg < 128", "maxnreg has no value, or one that is not a number"),
        ("heads < 8", "heads has no value, or one that is not a number"),
    ],
)
def test_a_constraint_that_cannot_be_read_is_named(tmp_path: Path, constraint: object, reason: str) -> None:
    path = written(tmp_path / "a.json", {"values": VALUES, "constraints": ["block_m > 0", constraint]})

    with pytest.raises(SpaceError, match=f"a.json, constraint 2: .*{reason}"):
        space(path)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], ": it has no configs$"),
        (
            ["m64n64k32w2s4", "m64n64k32w2s4", "m64n64"],
            ", entry 3: m64n64 is not a config: did you mean m64n64k32w2s4?",
        ),
        (["m48n64k32w2s4"], ", entry 1: m48n64k32w2s4 is not a config: block_m must be a power of two"),
        (["best"], ", entry 1: best is not a config: it names one in a run"),
        ([7], ", entry 1: must be a config as text or as a mapping, got 7$"),
        ([None], ", entry 1: must be a config as text or as a mapping, got None$"),
        ([["m64n64k32w2s4"]], ", entry 1: must be a config as text or as a mapping, got a list$"),
        ([{"block_m": 64}], ", entry 1: block_n and block_k and num_warps and num_stages missing"),
        ([{"block_q": 64}], ", entry 1: unknown key block_q: "),
        ([{"block_m": 64.0}], ", entry 1: block_m must be a whole number, got 64.0"),
        ([{"block_m": True}], ", entry 1: block_m must be a whole number, got True"),
        ([{"block_m": [64]}], ", entry 1: block_m must be a whole number, got a list"),
        ([{"block_m": 64, "BLOCK_SIZE_M": 64}], ", entry 1: block_m is given twice"),
        (["m64n64k32w2s4"] * (CONFIGS_MAX + 1), ": 20001 configs, a space has at most 20000"),
        (None, ": must be a list of configs or a mapping with values, got None"),
        ("text", ": must be a list of configs or a mapping with values, got text"),
        ({}, ", values: must map keys such as block_m to lists, got None"),
        ({"value": VALUES}, ": unknown key value: one of name, values, constraints, variant"),
        ({"values": [64]}, ", values: must map keys such as block_m to lists, got a list"),
        ({"values": {}}, ", values: block_m and block_n and block_k and num_warps and num_stages missing"),
        ({"values": {"block_m": []}}, ", values, block_m: the list is empty"),
        ({"values": {"block_m": ["x"]}}, ", values, block_m: block_m must be a whole number, got x"),
        ({"values": {"block_m": {"a": 1}}}, ", values, block_m: block_m must be a whole number, got a dict"),
        ({"values": {"block_z": [64]}}, ", values, block_z: unknown key block_z"),
        ({"values": {"variant": ["tile"]}}, ", values, variant: cannot be among the values"),
        ({"values": {"block_m": 64, "BLOCK_M": 64}}, ", values, BLOCK_M: is given twice"),
        ({"values": {**VALUES, "block_m": [48]}}, ", values: block_m must be a power of two from 16 to 512, got 48"),
        ({"values": VALUES, "variant": ""}, ", variant: unknown variant ''"),
        ({"values": VALUES, "variant": ["tile"]}, ", variant: must be text, got a list"),
        ({"values": VALUES, "name": 7}, ", name: must be text in one line, got 7"),
        ({"values": VALUES, "name": "a\nb"}, ", name: must be text in one line, got "),
        ({"values": VALUES, "constraints": 7}, ", constraints: must be a list of comparisons, got 7"),
        ({"values": VALUES, "constraints": ["block_m > 128"]}, ": none of 4 configs meets the constraints"),
        (
            {"values": {**VALUES, "block_k": [32] * 100, "num_stages": [1] * 100}},
            ", values: they make 40000 configs, a space has at most 20000",
        ),
    ],
)
def test_a_malformed_file_is_named_with_its_entry(tmp_path: Path, document: object, reason: str) -> None:
    path = written(tmp_path / "a.json", json.dumps(document))

    with pytest.raises(SpaceError) as caught:
        space(path)

    assert f"{path}{reason.rstrip('$')}" == str(caught.value)[: len(path) + len(reason.rstrip("$"))]
    assert "\n" not in str(caught.value)


def test_an_unknown_variant_lists_the_known_and_names_the_file_if_it_stands_there(tmp_path: Path) -> None:
    unknown = written(tmp_path / "a.json", {"values": VALUES, "variant": "tiled"})
    known = written(tmp_path / "b.json", {"values": VALUES, "variant": "split"})
    reason = "unknown variant tiled: one of tile, split, grouped, both"

    with pytest.raises(SpaceError) as caught:
        space(unknown)
    assert f"{unknown}, variant: {reason}" == str(caught.value)
    with pytest.raises(SpaceError, match=f"^{reason}$"):
        ids(known, variant="tiled")
    assert ids(known, variant="tile") == ids(unknown, variant="tile")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", "[1,", "not valid JSON at line 1: "),
        ("a.json", "", "not valid JSON at line 1: "),
        ("a.json", "[" * 100_000, "cannot be read: RecursionError"),
        ("a.json", "[" + "1" * 5000 + "]", "cannot be read: ValueError"),
        ("a.yaml", "- a: b: c", "not valid YAML at line 1: mapping values are not allowed here"),
        ("a.yaml", "- m64\n- {", "not valid YAML at line 2: "),
        ("a.yaml", "- &a [*a]", "entry 1: must be a config as text or as a mapping, got a list"),
        ("a.yaml", "- !!python/object:os.system x", "not valid YAML at line 1: could not determine a constructor"),
        ("a.yaml", "- {[a]: 1}", "not valid YAML at line 1: "),
        ("a.yaml", "- 2001-99-99", "cannot be read: ValueError"),
        ("a.yaml", "- \x07", "not valid YAML: special characters are not allowed"),
        ("a.yaml", "", "must be a list of configs or a mapping with values, got None"),
        ("a.yaml", "- 0x" + "f" * 9000, "entry 1: must be a config as text or as a mapping, got a number beyond 64"),
    ],
)
def test_a_file_that_cannot_be_parsed_says_where(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = written(tmp_path / name, text)

    with pytest.raises(SpaceError) as caught:
        space(path)

    assert str(caught.value).startswith(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_that_multiply_are_neither_spelled_out_nor_waited_for(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
    path = written(tmp_path / "a.yaml", "\n".join(lines))

    with pytest.raises(SpaceError, match=r"unknown key a0"):
        space(path)


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SpaceError, match=r"missing.json: cannot be read: No such file or directory"):
        space(str(tmp_path / "missing.json"))
    with pytest.raises(SpaceError, match=r"folder.yaml: cannot be read: Is a directory"):
        space(str(tmp_path / "folder.yaml"))
    with pytest.raises(SpaceError, match=r"binary.json: cannot be read: UnicodeDecodeError"):
        space(str(tmp_path / "binary.json"))
    with pytest.raises(SpaceError, match=r"cannot be read: ValueError"):
        space("\x00.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[]")
    path.chmod(0)

    with pytest.raises(SpaceError, match=r"a.json: cannot be read: Permission denied"):
        space(str(path))


@pytest.mark.slow
def test_the_largest_crossing_is_read(tmp_path: Path) -> None:
    values = {**VALUES, "num_stages": [*range(1, 33)], "maxnreg": [*range(16, 172)]}
    document = {"values": values, "constraints": ["block_m * block_n <= 8192", "num_stages > 0"]}

    assert 2 * 2 * 32 * 156 == len(ids(written(tmp_path / "a.json", document)))


document_keys = st.sampled_from(["values", "constraints", "variant", "name", "block_m", "num_warps"]) | st.text()
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["m64n64k32w2s4", 64])
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(document_keys, inner, max_size=5), max_leaves=12
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents)
@example({"values": VALUES, "constraints": [{}]})
def test_any_document_is_a_space_or_a_space_error_in_one_line(tmp_path: Path, document: object) -> None:
    path = written(tmp_path / "any.json", json.dumps(document))

    try:
        message = space(path, dstate=64).name
    except SpaceError as error:
        message = str(error)
    assert message.isprintable()
