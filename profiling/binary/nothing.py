"""A kernel that does nothing, to see whether anything compiles. Importing this module imports Triton."""

from __future__ import annotations

import triton


def _nothing() -> None:
    """The kernel."""


NOTHING = triton.jit(_nothing)
