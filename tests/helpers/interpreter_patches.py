"""Two repairs of Triton's interpreter, for the worker that interprets. Neither changes what a kernel computes.

And one launch with its check, since interpreting is slow: the whole check is tested with other kernels.
"""

from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.measuring.check import merge
from ssdprof.profiling.measuring.compare import output_errors, row_norm_rms
from ssdprof.profiling.measuring.guard import Fingerprints, GuardedOutput
from ssdprof.profiling.runs.measured import Check, Finding

_create_dot = InterpreterBuilder.create_dot
_patch_lang_tensor = interpreter._patch_lang_tensor


def apply() -> bool:
    """Repairs the interpreter in this process."""
    InterpreterBuilder.create_dot = lambda self, a, b, *rest: _create_dot(self, _widened(a), _widened(b), *rest)
    interpreter._patch_lang_tensor = _patch_tensor
    return True


def checked(subject: ChunkScan, plan: LaunchPlan) -> Check:
    """One launch on the CPU: its output, between guard zones, against the reference, and its inputs as they were."""
    inputs = subject.inputs("cpu", 0)
    [tolerances] = subject.tolerances()
    name, reference = tolerances.output, subject.reference(inputs)[tolerances.output]
    before = Fingerprints(inputs)
    guarded = GuardedOutput({name: subject.tensors()[name]}, "cpu", 1 << 16)
    guarded.poison()
    plan.bind({**inputs, **guarded.tensors})()
    errors = output_errors(guarded.tensors[name], reference, tolerances, row_norm_rms(reference))
    findings = [Finding("input-changed", changed) for changed in before.changed()]
    outside = guarded.damage()
    return merge([errors], True, 1, 1, tuple(findings + ([outside] if outside else [])))


def _widened(tile: Any) -> Any:
    """bfloat16 as the float32 it stands for: Triton 3.6 to 3.9 keep its 16 bits and multiply those as integers."""
    if tile.dtype.scalar != tl.bfloat16:
        return tile
    return TensorHandle((tile.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def _patch_tensor(tensor: Any, scope: Any) -> None:
    """Lets a scalar bound a loop: Triton 3.6 holds it as an array of one element, which NumPy 2.4 makes no int of."""
    _patch_lang_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))
