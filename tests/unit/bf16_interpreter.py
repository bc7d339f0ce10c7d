"""Teaches Triton's interpreter the product of bfloat16 tiles; imported by the worker that interprets.

The interpreter (Triton 3.6 to 3.9) keeps bfloat16 as its 16 bits and multiplies those bits as integers in `tl.dot`.
Each value is widened to the float32 it stands for first, which changes no rounding of the kernel.
"""

from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from ssdprof.profiling import measure

_create_dot = InterpreterBuilder.create_dot


def _widened(tile: Any) -> Any:
    if tile.dtype.scalar != tl.bfloat16:
        return tile
    return TensorHandle((tile.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def apply(checked_launches: int) -> bool:
    """Replaces the interpreter's product in this process, and has fewer launches checked: interpreting is slow."""
    measure.CHECKED_LAUNCHES = checked_launches
    InterpreterBuilder.create_dot = lambda self, a, b, *rest: _create_dot(self, _widened(a), _widened(b), *rest)
    return True
