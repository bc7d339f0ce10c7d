"""What a sweep will take, told before its work: device memory and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ssdprof.kernels.interface import Referenced, Subject
from ssdprof.kernels.launch import DTYPE_BYTES, LaunchPlan, TensorMeta
from ssdprof.profiling.gpu.devices import DeviceError, GpuInfo
from ssdprof.profiling.measuring.amounts import COPY_BYTES, GUARD_BYTES, LOAD_BYTES, input_sets, written_storages
from ssdprof.profiling.runs.state import RunState
from ssdprof.profiling.sweep.begin import cores
from ssdprof.profiling.sweep.estimate import Shown, cached_number, duration_s
from ssdprof.profiling.sweep.records import is_untried, resolved_id
from ssdprof.profiling.sweep.request import SweepRequest

GIB = 1 << 30
FLUSH_BYTES = 256 << 20
"""The most that flushes L2: FLUSH_L2_FACTOR times the 126 MiB of the largest known L2 (B200)."""
CONTEXT_BYTES = 512 << 20
"""A CUDA context with its loaded modules (assumed)."""
MINUTES_ABOVE_S = 90.0
EXACT_BELOW_S = 3.0


@dataclass(frozen=True, slots=True)
class Left:
    """The configs that the kernel takes, by id, and those of them left to compile and to measure."""

    configs: tuple[str, ...]
    to_compile: Mapping[str, LaunchPlan]
    to_measure: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is ahead of a sweep: configs that the kernel takes, those left to compile and to measure, and estimates.

    `cached`, in words: how many of those to compile Triton has cached; empty if none. Memory is None if nothing is
    measured. `resumed`: part of the run exists already.
    """

    configs: int
    to_compile: int
    to_measure: int
    memory_bytes: int | None
    memory_free_bytes: int | None
    duration_s: float
    arch: str
    resumed: bool = False
    cached: str = ""

    @property
    def line(self) -> str:
        """All that in words: `33 configs, 30 of them in Triton's cache, about 9.1 of 78.6 GiB of GPU memory, …`."""
        cached = f", {self.cached}" if self.cached else ""
        if self.memory_bytes is None or self.memory_free_bytes is None:
            if self.resumed and not self.to_compile:
                return f"nothing left to compile of {_configs(self.configs)}"
            return f"{self._left(self.to_compile)} to compile for {self.arch}{cached}, {about(self.duration_s)}"
        memory = f"about {self.memory_bytes / GIB:.1f} of {self.memory_free_bytes / GIB:.1f} GiB of GPU memory"
        return f"{self._left(self.to_measure)}{cached}, {memory}, {about(self.duration_s)}"

    def _left(self, number: int) -> str:
        return f"{number} of {_configs(self.configs)} left" if self.resumed else _configs(number)


def left(request: SweepRequest, state: RunState | None = None) -> Left:
    """What is left of the sweep; `state` is what a resumed run holds already."""
    rows = state.rows if state else {}
    taken = {name: config for config in request.configs if (name := resolved_id(request.subject, config))}
    to_measure = [name for name in taken if name not in rows or is_untried(rows[name])]
    to_compile = [name for name in to_measure if name not in rows or rows[name].compiled is None]
    launch, resolve = request.subject.launch, request.subject.resolve
    plans = {name: launch(resolve(taken[name])) for name in to_compile}
    return Left(tuple(taken), plans, tuple(to_measure) if request.gpu else ())


def preflight(request: SweepRequest, ahead: Left, shown: Shown, *, resumed: bool = False) -> Preflight:
    """What the sweep will take, from what is left of it and what this machine has shown."""
    to_compile = tuple(ahead.to_compile)
    return Preflight(
        configs=len(ahead.configs),
        to_compile=len(to_compile),
        to_measure=len(ahead.to_measure),
        memory_bytes=needed_memory_bytes(request.subject) if request.gpu else None,
        memory_free_bytes=request.gpu.memory_free_bytes if request.gpu else None,
        duration_s=duration_s(request, to_compile, ahead.to_measure, shown, cores()),
        arch=request.arch,
        resumed=resumed,
        cached=_cached(to_compile, shown),
    )


def _cached(to_compile: tuple[str, ...], shown: Shown) -> str:
    if shown.cached is None:
        return "which Triton may have cached"
    number, is_exact = cached_number(to_compile, shown)
    if not number:
        return ""
    if is_exact:
        return "all in Triton's cache" if number == len(to_compile) else f"{number} of them in Triton's cache"
    return f"about {number} of them in Triton's cache"


def needed_memory_bytes(subject: Subject) -> int:
    """The peak device memory of the measuring process, an upper estimate.

    The peak comes either when the last set of inputs and its reference are made, beside the other sets, two of each
    output (one between guards) and the buffers; or before, when bandwidth is measured with buffers that are then freed.
    """
    metas = subject.tensors().values()
    outs = [meta for meta in metas if meta.is_written]
    read_bytes = sum(meta.size_bytes for meta in metas if meta.role != "out")
    references_bytes = sum(meta.numel * max(DTYPE_BYTES["float32"], DTYPE_BYTES[meta.dtype]) for meta in outs)
    sets = subject.memory_bytes() + (input_sets(subject) - 1) * (read_bytes + references_bytes)
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
            f"the problem needs about {needed_bytes / GIB:.1f} GiB ({_counted(subject)}), {gpu.name} has "
            f"{gpu.memory_free_bytes / GIB:.1f} of {gpu.memory_bytes / GIB:.1f} GiB free{users}: "
            "make the problem smaller, or use another GPU with --device"
        )


def _counted(subject: Subject) -> str:
    """What the memory is needed for."""
    number = input_sets(subject)
    sets = (
        "1 set of inputs with its reference"
        if number == 1
        else f"{number} sets of inputs with their float32 references"
    )
    return f"{sets}, 2 outputs, buffers, workspace and the CUDA context"


def about(duration_s: float) -> str:
    """A rough time in words: seconds, with tenths below three, in steps of five from ten on; minutes above 90 s."""
    if duration_s > MINUTES_ABOVE_S:
        return f"about {duration_s / 60:.0f} minutes"
    if duration_s < EXACT_BELOW_S:
        return f"about {duration_s:.1f} s"
    return f"about {duration_s:.0f} s" if duration_s < 10 else f"about {5 * round(duration_s / 5)} s"


def _configs(number: int) -> str:
    return "1 config" if number == 1 else f"{number} configs"
