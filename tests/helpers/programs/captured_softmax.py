"""A capture file of a softmax over rows, made without running a program; and its outputs under Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ssdprof.kernels.captured.arguments import kept_tensor, memoryview_of
from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import (
    Autotune,
    CapturedLaunch,
    KeptStorage,
    ListedConfig,
    Origin,
    Ref,
    Seen,
    Sources,
    TensorArg,
)
from ssdprof.kernels.captured.subject import captured_subject

ROWS, COLS = 6, 5
TEXT = """
import triton
import triton.language as tl


@triton.jit
def softmax(x_ptr, o_ptr, stride_x, n_rows, n_cols, BLOCK: tl.constexpr, BLOCK_M: tl.constexpr, EVEN: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.arange(0, BLOCK)
    mask = (rows < n_rows)[:, None] & (cols < n_cols)[None, :]
    offsets = rows[:, None] * stride_x + cols[None, :]
    x = tl.load(x_ptr + offsets, mask=mask, other=-1e30)
    e = tl.exp(x - tl.max(x, axis=1)[:, None])
    tl.store(o_ptr + offsets, e / tl.sum(e, axis=1)[:, None], mask=mask)


def grid(meta):
    return (triton.cdiv(meta["n_rows"], meta["BLOCK_M"]),)


def even(args):
    return args["n_rows"] % args["BLOCK_M"] == 0
"""
SOURCES = Sources({"m0": TEXT}, Ref("m0", "softmax"), Ref("m0", "grid"), "", (("EVEN", Ref("m0", "even")),))
LISTED = tuple(
    ListedConfig({"BLOCK_M": rows, "num_warps": warps, "num_stages": 3, "num_ctas": 1}, pruned=rows == 4)
    for rows in (1, 2, 4)
    for warps in (2, 4)
)
BEST, OTHER = "BLOCK_M=2,num_warps=4,num_stages=3", "BLOCK_M=1,num_warps=2,num_stages=3"
"""The captured config, and another of its list."""
Make = Callable[[Writer], CapturedLaunch]


def softmax_launch(writer: Writer | None = None, rows: int = ROWS, cols: int = COLS, **changes: Any) -> CapturedLaunch:
    """The launch with BLOCK_M 2 and 4 warps; its data goes to the writer, if there is one."""
    x = torch.linspace(-2.0, 3.0, rows * cols).reshape(rows, cols)
    out = torch.softmax(x, 1)
    blobs = [writer.add_blob(memoryview_of(one)) if writer else "" for one in (x, torch.zeros_like(x), out)]
    launch = CapturedLaunch(
        name="softmax",
        sources=SOURCES,
        origin=Origin("softmax", "program", "/somewhere/program.py", 7, "0" * 16),
        parameters=("x_ptr", "o_ptr", "stride_x", "n_rows", "n_cols", "BLOCK", "BLOCK_M", "EVEN"),
        constexprs=("BLOCK", "BLOCK_M", "EVEN"),
        args={
            "x_ptr": TensorArg(0),
            "o_ptr": TensorArg(1),
            "stride_x": cols,
            "n_rows": rows,
            "n_cols": cols,
            "BLOCK": 8,
        },
        config={"BLOCK_M": 2, "num_warps": 4, "num_stages": 3, "num_ctas": 1},
        options={},
        grid=(-(-rows // 2),),
        tensors=(kept_tensor(x, 0), kept_tensor(out, 1, "out")),
        storages=(KeptStorage(4 * x.numel(), blobs[0]), KeptStorage(4 * x.numel(), blobs[1], blobs[2])),
        autotune=Autotune(LISTED, ("n_cols",)),
    )
    return replace(launch, **changes)


def other_launch(writer: Writer) -> CapturedLaunch:
    """Another kernel on the same arguments and data."""
    text = TEXT.replace("def softmax", "def other")
    sources = replace(SOURCES, modules={"m0": text}, kernel=Ref("m0", "other"))
    return softmax_launch(writer, name="other", sources=sources)


def write_file(path: Path, *makes: Make, seen: tuple[Seen, ...] = ()) -> Path:
    """A finished file with these launches; without any, with the softmax."""
    writer = Writer(path)
    for make in makes or (softmax_launch,):
        writer.add_launch(make(writer))
    writer.finish(seen, "python program.py", "2026-01-01")
    return path


def reference_here(name: str, reference: str, trust: str) -> dict[str, list[Any]]:
    """What the outputs of a captured launch are held against; for a process with the interpreter."""
    subject = captured_subject(name, reference, trust)
    found = subject.reference(subject.inputs("cpu", 0))
    return {output: one.tolist() for output, one in found.items()}


def checked_here(name: str, config: str) -> tuple[int, int, str]:
    """Sets of inputs, launches and verdict of a config's check; for a process with the interpreter."""
    from host_timer import HOST

    from ssdprof.kernels.config_text import parse_config
    from ssdprof.profiling.measuring import measure
    from ssdprof.profiling.measuring.check import judge

    subject = captured_subject(name)
    chosen = subject.resolve(parse_config(config, subject.params))
    measure.prepare(subject, HOST, seed=0)
    check = measure.measure(subject.launch(chosen), chosen, config).check
    return check.seeds, check.launches, judge(check, {one.output: one for one in subject.tolerances()})[0]


def outputs_here(name: str, config: str) -> dict[str, list[Any]]:
    """What a captured launch writes under a config, in copies; for a process with the interpreter."""
    from ssdprof.kernels.captured import references
    from ssdprof.kernels.config_text import parse_config

    subject = captured_subject(name)
    plan = subject.launch(subject.resolve(parse_config(config, subject.params)))
    found = references.of_launch(plan, subject.tensors(), subject.inputs("cpu", 0))
    return {output: one.tolist() for output, one in found.items()}
