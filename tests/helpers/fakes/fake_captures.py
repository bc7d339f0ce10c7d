"""Small capture files for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import (
    Captured,
    CapturedLaunch,
    DtypeArg,
    KeptStorage,
    KeptTensor,
    Origin,
    Ref,
    Seen,
    Sources,
    TensorArg,
)

SOURCES = Sources({"m0": "def kernel(x_ptr, n, BLOCK): ..."}, Ref("m0", "kernel"))
ORIGIN = Origin("kernel", "mine", "/somewhere/mine.py", 7, "0" * 16)
SEEN = Seen("kernel", "mine.py:7", "x[8] fp32", 3, 0.25, 1)


def launch(*blobs: str, size: int = 32, **changes: Any) -> CapturedLaunch:
    """A launch with one tensor of fp32 for each blob."""
    tensors = tuple(KeptTensor(i, "float32", (size // 4,), (1,), 0) for i in range(len(blobs)))
    return replace(
        CapturedLaunch(
            name="kernel",
            sources=SOURCES,
            origin=ORIGIN,
            parameters=("x_ptr", "n", "BLOCK"),
            constexprs=("BLOCK",),
            args={"x_ptr": TensorArg(0) if blobs else None, "n": 8, "BLOCK": DtypeArg("fp32")},
            config={"BLOCK": 8, "num_warps": 4},
            options={},
            grid=(1,),
            tensors=tensors,
            storages=tuple(KeptStorage(size, blob) for blob in blobs),
        ),
        **changes,
    )


def write(path: Path, *contents: bytes, finish: bool = True, seen: tuple[Seen, ...] = (SEEN,)) -> Captured:
    """A file with one launch for each of the contents; without `finish`, as a killed program leaves it."""
    writer = Writer(path)
    launches = []
    for number, data in enumerate(contents, 1):
        launches.append(launch(writer.add_blob(data), size=len(data), number=number))
        writer.add_launch(launches[-1])
    if finish:
        writer.finish(seen, "python train.py", "2025-01-01")
    else:
        writer._close()
    return Captured(tuple(launches), seen, "python train.py", "2025-01-01")
