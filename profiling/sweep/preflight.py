"""What a sweep will take, told before it starts: device memory and time. Pure, except that it reads recorded runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from ssdprof.kernels.interface import Costed, Referenced, Subject
from ssdprof.kernels.launch import DTYPE_BYTES, TensorMeta
from ssdprof.profiling.gpu.devices import DeviceError, GpuInfo
from ssdprof.profiling.measuring.amounts import COPY_BYTES, GUARD_BYTES, LOAD_BYTES, SEEDS, written_storages
from ssdprof.profiling.runs.recorded import recorded_runs
from ssdprof.profiling.runs.state import RunState
from ssdprof.profiling.sweep.records import is_untried, resolved_id
from ssdprof.profiling.sweep.request import SweepRequest

GIB = 1 << 30
MEMORY_COUNTED = (
    f"{SEEDS} sets of inputs with their float32 references, 2 outputs, buffers, workspace and the CUDA context"
)
FLUSH_BYTES = 256 << 20
"""The most that flushes L2: FLUSH_L2_FACTOR times the 126 MiB of the largest known L2 (B200)."""
CONTEXT_BYTES = 512 << 20
"""A CUDA context with its loaded modules (assumed)."""
START_S = 4.0
"""Python, Triton, torch and a CUDA context in new processes (measured)."""
UNKNOWN_COMPILE_S = 2.0
"""One config of a kernel without a recorded run (assumed)."""
LAUNCHES_PER_CONFIG = 20
"""One config's check and first timing take as long as this many launches; with CONFIG_S about 0.1 s at 50 000 tokens,
as measured on an H100."""
CONFIG_S = 0.03
COPY_BYTES_PER_S = 2.5e12
BYTES_OVER_MIN = 3
"""A launch is assumed to move this many times the least bytes, at the bandwidth above (an H100's)."""
ROUNDS_S = 2.5
"""The time after which most sweeps know the best well enough."""
MINUTES_ABOVE_S = 90.0


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is ahead of a sweep: configs that the kernel takes, those left to compile and to measure, and estimates.

    Memory is None if nothing is measured. `resumed`: part of the run exists already.
    """

    configs: int
    to_compile: int
    to_measure: int
    memory_bytes: int | None
    memory_free_bytes: int | None
    duration_s: float
    arch: str
    resumed: bool = False

    @property
    def line(self) -> str:
        """All that in words: `33 configs, about 9.1 of 78.6 GiB of GPU memory, about 15 s (…)`."""
        if self.memory_bytes is None or self.memory_free_bytes is None:
            if self.resumed and not self.to_compile:
                return f"nothing left to compile of {_configs(self.configs)}"
            return f"{self._left(self.to_compile)} to compile for {self.arch}, {about(self.duration_s)}"
        memory = f"about {self.memory_bytes / GIB:.1f} of {self.memory_free_bytes / GIB:.1f} GiB of GPU memory"
        cached = " (less if Triton has them cached)" if self.to_compile else ""
        return f"{self._left(self.to_measure)}, {memory}, {about(self.duration_s)}{cached}"

    def _left(self, number: int) -> str:
        return f"{number} of {_configs(self.configs)} left" if self.resumed else _configs(number)


def preflight(request: SweepRequest, state: RunState | None = None) -> Preflight:
    """What the sweep will take; `state` is what a resumed run holds already.

    The time covers the start, compiling and measuring side by side, and the rounds. Assumptions: each config takes as
    long to compile as in a recorded run of the same kernel (or as its median config), spread over `jobs`; measuring
    time grows with the bytes that the problem moves, at an H100's bandwidth; nothing hangs.
    """
    rows = state.rows if state else {}
    names = {name: None for config in request.configs if (name := resolved_id(request.subject, config))}
    to_measure = [name for name in names if name not in rows or is_untried(rows[name])]
    to_compile = [name for name in to_measure if name not in rows or rows[name].compiled is None]
    if request.gpu is None:
        to_measure = []
    compile_s = _compile_s(request, to_compile)
    launch_s = BYTES_OVER_MIN * _bytes_min(request.subject) / COPY_BYTES_PER_S
    measure_s = len(to_measure) * (CONFIG_S + LAUNCHES_PER_CONFIG * launch_s)
    rounds_s = min(request.budget_s, ROUNDS_S) if request.gpu else 0.0
    return Preflight(
        configs=len(names),
        to_compile=len(to_compile),
        to_measure=len(to_measure),
        memory_bytes=needed_memory_bytes(request.subject) if request.gpu else None,
        memory_free_bytes=request.gpu.memory_free_bytes if request.gpu else None,
        duration_s=START_S + max(compile_s, measure_s) + rounds_s,
        arch=request.arch,
        resumed=state is not None,
    )


def needed_memory_bytes(subject: Subject) -> int:
    """The peak device memory of the measuring process, an upper estimate.

    The peak comes either when the last set of inputs and its reference are made, beside the other sets, two of each
    output (one between guards) and the buffers; or before, when bandwidth is measured with buffers that are then freed.
    """
    metas = subject.tensors().values()
    outs = [meta for meta in metas if meta.is_written]
    read_bytes = sum(meta.size_bytes for meta in metas if meta.role != "out")
    references_bytes = sum(meta.numel * DTYPE_BYTES["float32"] for meta in outs)
    sets = subject.memory_bytes() + (SEEDS - 1) * (read_bytes + references_bytes)
    outs_bytes = sum(meta.size_bytes for meta in outs) + sum(map(_guarded_bytes, written_storages(subject.tensors())))
    return FLUSH_BYTES + 2 * LOAD_BYTES + max(sets + outs_bytes, 2 * COPY_BYTES + CONTEXT_BYTES)


def _guarded_bytes(storage: Mapping[str, TensorMeta]) -> int:
    """What a storage takes between its guards; if it has gaps, flags of its bytes and two comparisons of them too."""
    size_bytes = max(meta.extent * DTYPE_BYTES[meta.dtype] for meta in storage.values())
    has_gaps = sum(meta.size_bytes for meta in storage.values()) < size_bytes
    return 2 * GUARD_BYTES + size_bytes * (4 if has_gaps else 1)


def check_measurable(subject: Subject, gpu: GpuInfo) -> None:
    """Raises DeviceError if measuring needs more memory than `gpu` has free, or the subject has no reference."""
    if not isinstance(subject, Referenced):
        raise DeviceError(
            f"{subject.name} has no reference to check its outputs against, so nothing could be ranked: give --device "
            "none to compile only"
        )
    needed_bytes = needed_memory_bytes(subject)
    if needed_bytes > gpu.memory_free_bytes:
        users = f" (used by {', '.join(gpu.others)})" if gpu.others else ""
        raise DeviceError(
            f"the problem needs about {needed_bytes / GIB:.1f} GiB ({MEMORY_COUNTED}), {gpu.name} has "
            f"{gpu.memory_free_bytes / GIB:.1f} of {gpu.memory_bytes / GIB:.1f} GiB free{users}: "
            "make the problem smaller, or use another GPU with --device"
        )


def about(duration_s: float) -> str:
    """A rough time in words: seconds, in steps of five from ten on, and minutes above 90 s."""
    if duration_s > MINUTES_ABOVE_S:
        return f"about {duration_s / 60:.0f} minutes"
    return f"about {duration_s:.0f} s" if duration_s < 10 else f"about {5 * round(duration_s / 5)} s"


def _configs(number: int) -> str:
    return "1 config" if number == 1 else f"{number} configs"


def _bytes_min(subject: Subject) -> int:
    """The least that a launch moves, or all its tensors if the subject does not say."""
    if isinstance(subject, Costed):
        return subject.work().bytes_min
    return sum(meta.size_bytes for meta in subject.tensors().values())


def _compile_s(request: SweepRequest, names: list[str]) -> float:
    """Time to compile them all, `jobs` at once, judging by the first recorded run of the same kernel.

    One run is enough: reading it takes about 40 ms, and a config takes the same time to compile for any problem.
    """
    recorded = recorded_runs() if names else iter(())
    run = next((run for run in recorded if run.header.kernel == request.subject.name), None)
    known = {row.config_id: row.compiled.compile_s for row in run.rows if row.compiled} if run else {}
    typical_s = statistics.median(known.values()) if known else UNKNOWN_COMPILE_S
    each_s = [known.get(name, typical_s) for name in names]
    return max(sum(each_s) / max(1, min(request.jobs, len(names))), max(each_s, default=0.0))
