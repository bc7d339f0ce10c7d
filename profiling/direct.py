"""A kernel swept where it is launched, in a program or a notebook: captured into a temporary file, then swept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.errors import UsageError
from ssdprof.profiling.api import sweep

if TYPE_CHECKING:
    from ssdprof.profiling.runs.model import Run


def sweep_kernel(
    kernel: Any,
    grid: Any,
    *args: Any,
    reference: str | None = None,
    trust: str | None = None,
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Run:
    """Launches `kernel[grid](*args, **kwargs)` once, and sweeps that launch; the arguments are as after the launch.

    - `kernel`: jitted, with its autotuner and heuristics if it has some; `grid`: numbers, or a function of all
      arguments, so that other tiles get a grid of their own;
    - `reference`: FILE:FUNCTION, `trust`: a config; which output is correct, as for `ssdprof.subject`;
    - `options`: those of `ssdprof.sweep`, such as {"values": {"BLOCK": [64, 128]}}.

    Keeps nothing unless `options` name a file. Returns the run, ranked. Raises UsageError for a launch that cannot be
    kept, and what the launch raises.
    """
    from ssdprof.kernels.captured import SUFFIX
    from ssdprof.kernels.captured.file import read
    from ssdprof.kernels.captured.live.hooks import capture
    from ssdprof.kernels.captured.subject import captured_subject

    with TemporaryDirectory(prefix="ssdprof-") as folder:
        path = Path(folder, f"kernel{SUFFIX}")
        with capture(path):
            kernel[grid](*args, **kwargs)
        captured = read(path)
        if not captured.launches:
            whys = [one.why_not for one in captured.seen if one.why_not]
            raise UsageError(f"the launch cannot be kept: {whys[0] if whys else 'no Triton kernel was launched'}")
        return sweep(captured_subject(str(path), reference or "", trust or ""), **(options or {}))
