"""Problems that cannot exist are refused; presets are the published sizes."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from ssdprof.kernels.errors import ProblemError, UsageError
from ssdprof.kernels.ssd.presets import DEFAULT_PRESET, PRESETS, problem_from
from ssdprof.kernels.ssd.problem import ChunkScanProblem

SIZES = ("seqlen", "batch", "nheads", "headdim", "ngroups", "dstate", "chunk_size")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "64", None])
def test_a_size_is_a_whole_number_above_zero(size: str, value: object) -> None:
    with pytest.raises(ProblemError, match=f"^{size} must be a whole number above 0, got {value!r}$"):
        replace(ChunkScanProblem(seqlen=128), **{size: value})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"nheads": 12, "ngroups": 8}, "nheads must be a multiple of ngroups, got 12 heads and 8 groups"),
        ({"ngroups": 256}, "nheads must be a multiple of ngroups, got 128 heads and 256 groups"),
        ({"chunk_size": 100}, "chunk_size must be a power of two, got 100: try 64 or 128"),
        ({"chunk_size": 3}, "chunk_size must be a power of two, got 3: try 2 or 4"),
        ({"dtype": "float8"}, "unknown dtype 'float8': one of bfloat16, float16, float32"),
        ({"dtype": None}, "unknown dtype None: one of bfloat16, float16, float32"),
        ({"states_dtype": "float16"}, "unknown states_dtype 'float16': one of bfloat16, float32"),
        ({"d_form": "scalar"}, "unknown d_form 'scalar': one of none, head, head-dim"),
    ],
)
def test_a_problem_that_cannot_exist_says_the_rule(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ProblemError) as caught:
        ChunkScanProblem(seqlen=128, **overrides)  # type: ignore[arg-type]

    assert message == str(caught.value)
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(("expected", "seqlen"), [(1, 1), (1, 128), (2, 129), (391, 50_000)])
def test_the_last_chunk_counts_though_not_full(expected: int, seqlen: int) -> None:
    assert expected == ChunkScanProblem(seqlen=seqlen).nchunks


def test_the_dictionary_holds_every_field_and_makes_the_same_problem() -> None:
    problem = ChunkScanProblem(seqlen=77, d_form="head-dim", z=True, seq_idx=True)

    assert [field.name for field in fields(problem)] == list(problem.as_dict())
    assert problem == ChunkScanProblem(**problem.as_dict())


def test_tensor_parallelism_divides_heads_and_groups() -> None:
    problem = ChunkScanProblem(seqlen=128, nheads=128, ngroups=8)

    assert replace(problem, nheads=16, ngroups=1) == problem.divided(8)
    assert problem == problem.divided(1)


@pytest.mark.parametrize(("ngroups", "tp", "left"), [(1, 2, 1), (1, 8, 1), (2, 8, 1), (8, 16, 1), (8, 4, 2)])
def test_gpus_beyond_the_groups_share_them(ngroups: int, tp: int, left: int) -> None:
    divided = ChunkScanProblem(seqlen=128, nheads=80, ngroups=ngroups).divided(tp)
    assert (80 // tp, left) == (divided.nheads, divided.ngroups)


@pytest.mark.parametrize("tp", [0, -2, 3, 12, 256])
def test_tensor_parallelism_that_does_not_divide_is_refused(tp: int) -> None:
    with pytest.raises(ProblemError, match=f"got --tp {tp} for 128 heads and 8 groups"):
        ChunkScanProblem(seqlen=128).divided(tp)


@pytest.mark.parametrize(
    ("preset", "nheads", "ngroups", "chunk_size"),
    [
        ("nemotron-3-super", 128, 8, 128),
        ("nemotron-3-nano", 64, 8, 128),
        ("mamba2-130m", 24, 1, 256),
        ("mamba2-370m", 32, 1, 256),
        ("mamba2-780m", 48, 1, 256),
        ("mamba2-1.3b", 64, 1, 256),
        ("mamba2-2.7b", 80, 1, 256),
        ("codestral-mamba-7b", 128, 8, 256),
    ],
)
def test_presets_are_the_published_sizes(preset: str, nheads: int, ngroups: int, chunk_size: int) -> None:
    expected = ChunkScanProblem(
        seqlen=2048, nheads=nheads, headdim=64, ngroups=ngroups, dstate=128, chunk_size=chunk_size, dtype="bfloat16"
    )
    assert expected == problem_from(preset, seqlen=2048)


def test_the_default_preset_at_the_default_length() -> None:
    assert "nemotron-3-super" == DEFAULT_PRESET
    assert ChunkScanProblem(seqlen=50_000) == problem_from()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_names_its_source(preset: str) -> None:
    assert "config.json" in PRESETS[preset].source
    assert {"nheads", "headdim", "ngroups", "dstate", "chunk_size", "dtype"} == set(PRESETS[preset].as_fields())


def test_overrides_replace_a_presets_fields_and_none_leaves_them() -> None:
    problem = problem_from("mamba2-130m", seqlen=None, batch=2, dstate=64, chunk_size=None, z=True)

    assert (50_000, 2, 64, 256, True) == (problem.seqlen, problem.batch, problem.dstate, problem.chunk_size, problem.z)


@pytest.mark.parametrize(
    ("expected", "dtype"),
    [
        *(("bfloat16", "bf16"), ("float16", "fp16"), ("float16", "half"), ("float32", "fp32")),
        *(("float32", "float"), ("bfloat16", "bfloat16"), ("float16", "FP16")),
    ],
)
def test_dtypes_have_short_names(expected: str, dtype: str) -> None:
    assert expected == problem_from("mamba2-130m", seqlen=1, dtype=dtype).dtype


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        (
            "nemotron-3-ultra",
            "unknown preset nemotron-3-ultra: one of .*, codestral-mamba-7b. Did you mean nemotron-3-",
        ),
        ("Mamba2-130M", "unknown preset Mamba2-130M: .* Did you mean mamba2-130m?"),
        ("llama", "unknown preset llama: one of nemotron-3-super, .*, codestral-mamba-7b.$"),
        ("", "unknown preset '': one of "),
    ],
)
def test_an_unknown_preset_lists_the_known(preset: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        problem_from(preset, seqlen=128)


def test_an_unknown_field_lists_the_known() -> None:
    with pytest.raises(ProblemError, match=r"a problem has no heads: its fields are .*nheads"):
        problem_from(seqlen=128, heads=3)


@pytest.mark.parametrize("dtype", ["fp8", "", 16])
def test_an_unknown_dtype_is_refused_through_a_preset_too(dtype: object) -> None:
    with pytest.raises(ProblemError, match=f"unknown dtype {dtype!r}: one of bfloat16, float16, float32"):
        problem_from(seqlen=128, dtype=dtype)
