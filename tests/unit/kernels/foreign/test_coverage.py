"""Whether a kernel sums the whole state is told from its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_files import lone

from ssdprof.kernels.foreign.coverage import sums_one_tile

HEAD = "def _chunk_scan_fwd_kernel(c_ptr, dstate, chunk, FLAG, TILE, K):\n    "
ONE = "o = tl.arange(0, TILE)\n    acc = tl.dot(tl.load(c_ptr + o), 1)\n    "
TOKENS = "top = min(chunk, pid)\n    for k in range(0, top, K):\n        acc += tl.dot(1, 2)\n    "


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ONE, True),
        (ONE + TOKENS, True),
        (f"o = tl.arange(0, TILE if TILE <= 128 else K)\n    {TOKENS}", True),
        (ONE + "if pid > 1 or not FLAG:\n        for d in range(0, dstate, K):\n            ...", False),
        (ONE + "if FLAG and TILE + 0 > 128 - 1:\n        for d in range(0, dstate, K):\n            ...", True),
        (ONE + "if FLAG is None:\n        for d in tl.range(0, dstate, K):\n            ...", True),
        (ONE + "if c_ptr is not None:\n        for d in tl.range(0, dstate, K):\n            ...", False),
        (ONE + "if -TILE < 0 != 1:\n        for d in tl.range(0, dstate, K):\n            ...", False),
        (ONE + "if TILE % 0:\n        for d in tl.range(0, dstate, K):\n            ...", False),
        (ONE + "n = tl.cdiv(dstate, K)\n    m = n\n    for d in range(m):\n        ...", False),
        (ONE + "for k in range(chunk):\n        for d in range(TILE, 2 * TILE):\n            ...", False),
        (ONE + "while left > 0:\n        left -= 1", False),
        (ONE + "acc = state_product(acc, o, dstate)", False),
        (ONE + "acc *= fast_exp(chunk)", True),
        ("FLAG = pid\n    " + ONE + "if FLAG:\n        for d in range(dstate):\n            ...", False),
        ("o = tl.arange(0, K)", False),
        ("o = tl.arange(0, TILE if pid else K)", False),
    ],
)
def test_loops_over_the_state_are_seen_where_the_arguments_lead(body: str, expected: bool, tmp_path: Path) -> None:
    file = str(lone(tmp_path, HEAD + body))
    arguments = {"c_ptr": object(), "dstate": 128, "chunk": 64, "FLAG": True, "TILE": 32, "K": 16}
    assert expected is sums_one_tile(file, "TILE", arguments)


def test_nothing_is_said_of_a_kernel_that_is_not_understood(tmp_path: Path) -> None:
    file = str(lone(tmp_path, HEAD + ONE))
    assert sums_one_tile(file, "TILE", {"dstate": 128, "TILE": 32})
    assert not sums_one_tile(file, "TILE", {"TILE": 32})
    assert not sums_one_tile(file, "TILE", {"dstate": 128})
    assert not sums_one_tile(
        str(lone(tmp_path, "_chunk_scan_fwd_kernel = 1", "b.py")), "TILE", {"dstate": 1, "TILE": 1}
    )
