"""What bounds a latency, in words: one line each, and what would help."""

from __future__ import annotations

from typing import Any

import pytest

from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.reports.words.bound import gigabytes, short, step, words

AGAIN = [
    {"tensor": "c", "again_bytes": 1.1e9, "again_after_programs": 1564, "axis": "head"},
    {"tensor": "cb", "again_bytes": 1.0e9, "again_after_programs": 1564, "axis": "head"},
    {"tensor": "states", "again_bytes": 8.0e8, "again_after_programs": 4, "axis": "chunk"},
]
HIDING = {
    "warps_per_scheduler": 1.0,
    "max_warps_per_scheduler": 16,
    "blocks_per_sm": 1,
    "num_stages": 3,
    "few_warps": True,
}
READ_AGAIN = "c and cb are read again for each head, states for each chunk"
HIDES = "1 of 16 warps per scheduler and 3 stages"
MOVED = (
    "2.1 GB of it is c and cb read again, along the head axis, 1564 programs later; "
    "800 MB of it is states read again, along the chunk axis, 4 programs later: L2 has dropped it by then"
)
REORDER = "Order the grid so that programs that read the same run together, or handle several of them in one program"
MORE_WARPS = "more blocks per SM (fewer registers, less shared memory) or more warps per block"
FIGURES: dict[str, Any] = {
    "share": 0.824,
    "shares": {"l2": 0.5, "dram": 0.4},
    "latency_ms": 0.0052,
    "dram_bytes": 5.76e9,
    "l2_to_sm_bytes": 9.25e9,
    "least_bytes": 2.82e9,
    "read_again": AGAIN,
    "most_through_l2": "c",
    "waves": 1.05,
    "hiding": HIDING,
}


def of(code: str, **changes: Any) -> dict[str, Any]:
    return {"code": code, **FIGURES, **changes}


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("dram", "DRAM at 82 %: 5.76 GB where 2.82 GB would do."),
        ("dram-reread", f"DRAM re-reads at 82 %: 5.76 GB where 2.82 GB would do; {READ_AGAIN}."),
        ("l2", "L2 at 82 %: 9.25 GB to the SMs."),
        ("l1", "L1 and shared memory at 82 %."),
        ("tensor", "the tensor cores at 82 %."),
        ("issue", "instruction issue at 82 %."),
        ("latency-hiding", f"latency that nothing hides: no unit is busy (L2 at 50 %); {HIDES}."),
        ("launch", "the launch itself: 5 µs, of which the GPU works little."),
        ("tail", "the last wave: 1.05 waves; busiest is L2 at 50 %."),
    ],
)
def test_each_bound_is_a_line(code: str, text: str) -> None:
    assert text == short(of(code))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("dram", "No config of this kernel gains much more; only a kernel that moves fewer bytes would."),
        ("dram-reread", f"{MOVED}. {REORDER}: that would leave 2.86 GB."),
        ("l2", "Larger tiles, so that programs share more: most of it is c."),
        ("l1", "Larger tiles use each byte of shared memory for more products; fewer layout conversions help too."),
        ("tensor", "Only fewer operations, or a dtype with a higher rate, would help."),
        ("issue", "Larger tiles have fewer instructions per element: address arithmetic and masks are shared."),
        ("latency-hiding", f"With 1 warp per scheduler there is little to switch to while one waits: {MORE_WARPS}."),
        ("launch", "Launch it in a CUDA graph, or let one launch do the work of several."),
        ("tail", "1.05 waves leave SMs idle in the last one: smaller tiles or fewer blocks per SM change that."),
    ],
)
def test_each_bound_says_what_would_help(code: str, text: str) -> None:
    assert text == step(of(code))


@pytest.mark.parametrize(
    ("again", "line", "paragraph"),
    [
        ([], "DRAM re-reads at 82 %: 5.76 GB where 2.82 GB would do.", "Move fewer bytes: the launch options do not"),
        (
            AGAIN[2:],
            "would do; states is read again for each chunk.",
            "800 MB of it is states read again, along the chu",
        ),
        (
            [{**AGAIN[0], "axis": ""}],
            "would do; c is read again.",
            "1.1 GB of it is c read again, 1564 programs later:",
        ),
    ],
)
def test_re_reads_are_named_as_far_as_they_are_known(again: list[Any], line: str, paragraph: str) -> None:
    figures = of("dram-reread", read_again=again)
    assert short(figures).endswith(line)
    assert step(figures).startswith(paragraph)


def test_what_would_be_left_is_never_less_than_what_is_needed() -> None:
    much = [{**AGAIN[0], "again_bytes": 5e9}]
    assert step(of("dram-reread", read_again=much)).endswith("that would leave 2.82 GB.")


def test_many_warps_that_hide_nothing_want_more_loads_in_flight() -> None:
    many = {**HIDING, "warps_per_scheduler": 12.0, "few_warps": False, "num_stages": None}
    figures = of("latency-hiding", hiding=many)
    assert short(figures).endswith("(L2 at 50 %); 12 of 16 warps per scheduler.")
    assert "More loads in flight (stages), or a shorter chain from a load to its use." == step(figures)
    unknown = of("latency-hiding", hiding={"num_stages": 3})
    assert short(unknown).endswith("no unit is busy (L2 at 50 %).")


def test_larger_tiles_are_advised_even_if_no_tensor_is_known() -> None:
    assert "Larger tiles, so that programs share more." == step(of("l2", most_through_l2=""))


def test_a_statement_is_both() -> None:
    assert "L1 and shared memory at 82 %. Larger tiles use" == words(Statement("note", "bound", of("l1")))[:46]


@pytest.mark.parametrize(
    ("count", "text"),
    [(6.42e9, "6.42 GB"), (81.5e6, "81.5 MB"), (1e6, "1 MB"), (2048, "2.05 kB"), (512, "512 bytes"), (0, "0 bytes")],
)
def test_amounts_have_three_digits(count: float, text: str) -> None:
    assert text == gigabytes(count)
