"""Two repairs of Triton's interpreter, for the worker that interprets. Neither changes what a kernel computes."""

from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from ssdprof.profiling import measure

_create_dot = InterpreterBuilder.create_dot
_patch_lang_tensor = interpreter._patch_lang_tensor


def apply(launches_per_seed: int) -> bool:
    """Repairs the interpreter in this process, and has fewer launches checked: interpreting is slow."""
    measure.LAUNCHES_PER_SEED = measure.LAUNCHES_IF_WRONG = launches_per_seed
    InterpreterBuilder.create_dot = lambda self, a, b, *rest: _create_dot(self, _widened(a), _widened(b), *rest)
    interpreter._patch_lang_tensor = _patch_tensor
    return True


def _widened(tile: Any) -> Any:
    """bfloat16 as the float32 it stands for: Triton 3.6 to 3.9 keep its 16 bits and multiply those as integers."""
    if tile.dtype.scalar != tl.bfloat16:
        return tile
    return TensorHandle((tile.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def _patch_tensor(tensor: Any, scope: Any) -> None:
    """Lets a scalar bound a loop: Triton 3.6 holds it as an array of one element, which NumPy 2.4 makes no int of."""
    _patch_lang_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))
