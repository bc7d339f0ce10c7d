"""Where an output is wrong, in words: planted errors of each kind, and boxes at random."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssdprof.kernels.interface import Axis, Tolerances
from ssdprof.profiling.measuring import compare
from ssdprof.profiling.measuring.check import judge, merge
from ssdprof.profiling.measuring.compare import output_errors, row_norm_rms
from ssdprof.profiling.measuring.locate import locate
from ssdprof.profiling.runs.measured import Finding

TOLERANCES = Tolerances(relative_error=1e-2, row_error=5e-2, reason="it suits the tests")
AXES = (Axis("sequence"), Axis("token", chunk=32), Axis("head"), Axis("dim"))
TILES = {"token": 16, "dim": 8}
SHAPE = (2, 100, 3, 24)
"""Four chunks of 32 tokens, the last of four; a chunk has two tiles along the tokens and three along the dims."""
Box = tuple[slice | int | list[int], ...]


def right(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Rows of norm 1, no element of which is near 0."""
    generator = torch.Generator().manual_seed(0)
    values = (1 + torch.rand(shape, generator=generator)) * torch.randn(shape, generator=generator).sign()
    return values / torch.linalg.vector_norm(values, dim=-1, keepdim=True)


def find(out: torch.Tensor, reference: torch.Tensor) -> Finding:
    return locate(out, reference, TOLERANCES, row_norm_rms(reference), AXES, TILES)


def planted(box: Box, value: float | None = None) -> Finding:
    """What is found of an output that is twice the reference in a box, or `value` there."""
    reference = right()
    out = reference.clone()
    out[box] = 2 * reference[box] if value is None else value
    return find(out, reference)


def place(found: Finding) -> tuple[str, str]:
    """The finding without its worst row."""
    return found.code, found.message.partition("; worst: ")[0]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, slice(10, 19), slice(1, 3)), "3 % of rows: sequence 0, tokens 10 to 18, heads 1 to 2"),
        ((0, slice(10, 40), 1, slice(4, 20)), "5 % of rows: sequence 0, tokens 10 to 39, head 1, dims 4 to 19"),
        ((slice(None), slice(10, 12), 1), "0.67 % of rows: tokens 10 to 11, head 1"),
        ((0,), "50 % of rows: sequence 0"),
        ((slice(None), slice(0, None, 2)), "50 % of rows: tokens 0 to 98"),
        ((slice(None), slice(0, None, 11), 0), "3.3 % of rows: head 0"),
        ((slice(None), [5, 37, 70], 0), "1 % of rows: tokens 5 to 70 (tokens 5 to 6 of the chunks), head 0"),
        (
            (slice(None), [*range(48, 64), *range(80, 96)], 2),
            "11 % of rows: tokens 48 to 95 (tokens 16 to 31 of the chunks), head 2",
        ),
        ((1, [0, 99]), "1 % of rows: sequence 1, tokens 0 to 3 of the chunks"),
    ],
)
def test_rows_are_located_along_each_axis_that_they_do_not_span(box: Box, expected: str) -> None:
    assert ("rows", expected) == place(planted(box))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, slice(32, 48), 1, slice(8, 16)), "sequence 0, tokens 32 to 47, head 1, dims 8 to 15"),
        ((1, slice(48, 64), 0, slice(16, 24)), "sequence 1, tokens 48 to 63, head 0, dims 16 to 23"),
        ((1, slice(51, 53), 2, slice(1, 4)), "sequence 1, tokens 51 to 52, head 2, dims 1 to 3"),
        ((1, 5, 2, 7), "sequence 1, token 5, head 2, dim 7"),
    ],
)
def test_what_one_block_of_threads_writes_is_one_tile(box: Box, expected: str) -> None:
    assert ("one-tile", f"all in one tile: {expected}") == place(planted(box))


@pytest.mark.parametrize(
    "box",
    [
        (slice(None), slice(32, 48), 1, slice(8, 16)),  # two sequences
        (0, slice(32, 49), 1, slice(8, 16)),  # one token too many
        (0, slice(40, 56), 1, slice(8, 16)),  # no more tokens than a tile has, but of two tiles
        (0, slice(24, 40), 1, slice(8, 16)),  # of two chunks
        (0, slice(32, 48), slice(0, 2), slice(8, 16)),  # two heads
        (0, slice(32, 48), 1, slice(4, 12)),  # two tiles along the dims
    ],
)
def test_what_two_tiles_share_is_not_one_tile(box: Box) -> None:
    assert "rows" == planted(box).code


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((slice(None), slice(96, 100)), "tokens 96 to 99"),
        ((1, slice(97, 99), 2), "sequence 1, tokens 97 to 98, head 2"),
        ((1, 99, 2, slice(0, 8)), "sequence 1, token 99, head 2, dims 0 to 7"),
    ],
)
def test_rows_of_the_last_chunk_alone_are_the_tail(box: Box, expected: str) -> None:
    assert ("tail", f"all in the last chunk: {expected}") == place(planted(box))


def test_a_single_chunk_is_no_last_chunk_and_a_dimension_of_one_is_not_named() -> None:
    reference = right((1, 20, 1, 24))
    out = reference.clone()
    out[:, 17:] = 0
    assert ("rows", "15 % of rows: tokens 17 to 19") == place(find(out, reference))
    assert ("one-tile", "all in one tile: tokens 17 to 19") == place(
        find(out[..., :8].clone(), reference[..., :8].clone())
    )


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((slice(None),), "all rows"),
        ((slice(None), slice(5, 100)), "95 % of rows: tokens 5 to 99"),
        ((slice(None), slice(None), slice(None), slice(8, 16)), "all rows: dims 8 to 15"),
    ],
)
def test_most_rows_are_everywhere(box: Box, expected: str) -> None:
    assert ("everywhere", expected) == place(planted(box))


def test_nearly_all_rows_are_not_called_all() -> None:
    reference = right((1, 1000, 1, 24))
    out = 2 * reference
    out[0, 0] = reference[0, 0]
    assert ("everywhere", "more than 99 % of rows: tokens 1 to 999") == place(find(out, reference))


def test_a_few_rows_of_very_many_are_fewer_than_a_hundredth_of_a_percent() -> None:
    reference = torch.ones((1, 40_000, 1, 4))
    out = reference.clone()
    out[0, [3000, 3040]] = 0
    assert ("rows", "less than 0.01 % of rows: tokens 3000 to 3040") == place(find(out, reference))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, slice(64, 90), 1), "NaN in 26 rows: sequence 0, tokens 64 to 89, head 1"),
        ((slice(None), slice(96, 100)), "NaN in 24 rows, all in the last chunk: tokens 96 to 99"),
        (
            (0, slice(16, 32), 1, slice(0, 8)),
            "NaN in 16 rows, all in one tile: sequence 0, tokens 16 to 31, head 1, dims 0 to 7",
        ),
        ((0, 3, 1), "NaN in 1 row: sequence 0, token 3, head 1"),
        ((slice(None),), "NaN in 600 rows"),
    ],
)
def test_nan_is_counted_and_located(box: Box, expected: str) -> None:
    assert Finding("nan", expected) == planted(box, math.nan)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinity_is_told_from_nan(value: float) -> None:
    expected = "infinity in 2 rows, all in one tile: sequence 1, tokens 2 to 3, head 0, dim 5"
    assert Finding("nan", expected) == planted((1, slice(2, 4), 0, 5), value)


def test_nan_is_located_where_other_rows_are_wrong_too() -> None:
    reference = right()
    out = 2 * reference
    out[0, 40, 2, 3] = math.nan
    expected = "NaN in 1 row, all in one tile: sequence 0, token 40, head 2, dim 3"
    assert Finding("nan", expected) == find(out, reference)


def test_finite_values_whose_squares_overflow_are_wrong_rows_not_nan() -> None:
    expected = "all in one tile: sequence 0, token 40, head 2, dim 3; worst: sequence 0, token 40, head 2, off by inf"
    assert Finding("one-tile", expected) == planted((0, 40, 2, 3), 1e30)


def test_the_worst_row_is_named_with_its_error() -> None:
    reference = right()
    out = reference.clone()
    out[1, 10:20] *= 1.5
    out[1, 12, 2] = 0.17 * reference[1, 12, 2]
    expected = "5 % of rows: sequence 1, tokens 10 to 19; worst: sequence 1, token 12, head 2, off by 0.83"
    assert Finding("rows", expected) == find(out, reference)


def test_where_all_rows_are_a_little_off_those_beyond_the_tolerance_of_the_whole_are_wrong() -> None:
    reference = right()
    out = reference.clone()
    out[:, :60] *= 1.03  # within the tolerance of a row, and too much for so many
    out[0, 99, 0] = 0
    assert ("rows", "60 % of rows") == place(find(out, reference))
    out[:, :60] = reference[:, :60]
    assert ("tail", "all in the last chunk: sequence 0, token 99, head 0") == place(find(out, reference))


def test_an_output_of_which_no_row_is_off_is_spread_over_all() -> None:
    reference = right()
    assert Finding("everywhere", "spread over all rows, none of which is off by more than 0.0050") == find(
        1.005 * reference, reference
    )


@pytest.mark.parametrize("piece_elements", [1, 24 * 7, 24 * 599])
def test_pieces_of_any_size_give_the_same_answer(monkeypatch: pytest.MonkeyPatch, piece_elements: int) -> None:
    boxes: list[tuple[Box, float | None]] = [
        ((0, slice(10, 40), 1, slice(4, 20)), None),
        ((1, 99, 2, 23), None),
        ((1, slice(40, 45)), math.nan),
        ((slice(None),), None),
    ]
    whole = [planted(box, value) for box, value in boxes]

    monkeypatch.setattr(compare, "PIECE_ELEMENTS", piece_elements)

    assert whole == [planted(box, value) for box, value in boxes]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_beside_a_wrong_element_is_not_wrong(dtype: torch.dtype) -> None:
    reference = right()
    out = reference.to(dtype)
    out[0, 5, 1, 3] *= 2
    assert ("one-tile", "all in one tile: sequence 0, token 5, head 1, dim 3") == place(find(out, reference))


def test_a_row_of_which_each_element_is_off_alike_has_wrong_elements() -> None:
    reference = torch.ones((1, 8, 1, 4))
    for off in torch.linspace(0.0500001, 0.0501, 50).tolist():
        out = reference.clone()
        out[0, 2] += off
        assert ("one-tile", "all in one tile: token 2") == place(find(out, reference))


RANGES = [st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)) for size in SHAPE]


@settings(max_examples=150, deadline=None)
@given(corners=st.tuples(*RANGES), is_nan=st.booleans())
def test_the_box_named_is_the_box_planted(corners: tuple[tuple[int, int], ...], is_nan: bool) -> None:
    ranges = [(min(pair), max(pair)) for pair in corners]
    box = tuple(slice(first, last + 1) for first, last in ranges)

    found = planted(box, math.nan if is_nan else None)

    named = place(found)[1].rpartition(": ")[2].split(", ")
    for (first, last), axis, size in zip(ranges, AXES, SHAPE, strict=True):
        text = f"{axis.name} {first}" if first == last else f"{axis.name}s {first} to {last}"
        of_chunks = any(name.startswith(f"{axis.name}s") and "of the chunks" in name for name in named)
        assert of_chunks or (text in named) == ((first, last) != (0, size - 1))
    rows = math.prod(last + 1 - first for first, last in ranges[:3])
    (token, last_token), (dim, last_dim) = ranges[1], ranges[3]
    one_tile = rows == last_token + 1 - token and (token // 16, dim // 8) == (last_token // 16, last_dim // 8)
    expected = "everywhere" if rows > 540 else "tail" if token >= 96 else "one-tile" if one_tile else "rows"
    assert ("nan" if is_nan else expected) == found.code


@settings(max_examples=50, deadline=None)
@given(corners=st.tuples(*RANGES), value=st.sampled_from([0.0, 1.0, 1e30, math.nan]))
def test_the_reason_of_a_wrong_status_stays_one_line_of_bearable_length(
    corners: tuple[tuple[int, int], ...], value: float
) -> None:
    reference = right()
    out = reference.clone()
    out[tuple(slice(min(pair), max(pair) + 1) for pair in corners)] = value
    norm_rms = row_norm_rms(reference)
    errors = output_errors(out, reference, TOLERANCES, norm_rms)

    status, reason = judge(merge([errors], True, 5, 2, [find(out, reference)]), {"": TOLERANCES})

    assert "wrong" == status
    assert len(reason) < 220
    assert "\n" not in reason


def test_a_block_larger_than_the_chunk_is_a_tile_of_that_chunk_alone() -> None:
    reference = right()
    out = reference.clone()
    out[0, 32:64, 1, :8] = 0
    large = {**TILES, "token": 128}
    assert "one-tile" == locate(out, reference, TOLERANCES, row_norm_rms(reference), AXES, large).code
    out[0, 64, 1, :8] = 0
    assert "rows" == locate(out, reference, TOLERANCES, row_norm_rms(reference), AXES, large).code


def test_of_an_axis_that_no_parameter_tiles_one_index_is_a_tile_and_the_whole_last_axis() -> None:
    reference = right()
    out = reference.clone()
    out[0, 40, 1] = 0

    assert "one-tile" == locate(out, reference, TOLERANCES, row_norm_rms(reference), AXES, {}).code
    out[0, 41, 1] = 0
    assert "rows" == locate(out, reference, TOLERANCES, row_norm_rms(reference), AXES, {"dim": 8}).code
