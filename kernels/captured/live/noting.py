"""What a program launches: counted by kernel and shapes, timed, and some of it kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssdprof.kernels.captured.live.calls import Call, Frame, bound, parameters_of
from ssdprof.kernels.captured.live.choosing import ELSEWHERE, FURTHER, OTHERWISE
from ssdprof.kernels.captured.live.options import CaptureError, CaptureOptions
from ssdprof.kernels.captured.live.shapes import shapes_text
from ssdprof.kernels.captured.live.timing import Sample, Timer, timed
from ssdprof.kernels.captured.model import Seen
from ssdprof.kernels.errors import SsdprofError, first_line

MOST_ATTEMPTS = 3
"""So many launches of a kernel are tried to be kept, if the ones before could not be."""
MOST_GROUPS = 5000
"""Kernels with their shapes that are told apart; launches of more are not counted."""
LOCK_S = 10.0
"""How long the end of a program waits for a launch that is being kept by another thread."""
IN_GRAPH = "it was launched while a CUDA graph was captured: let the program launch it once outside a graph"
OF_INDUCTOR = "torch.compile generated it, and its launches are not kept"
OF_COMPILED = "the program launched it compiled, not by its function: call the function of triton.jit to keep it"
KEPT_BEFORE = f"{ELSEWHERE}; the program launched these compiled, not by its function"
NOT_ASKED = "it was not asked for"


@dataclass(slots=True)
class Group:
    """A kernel with the same shapes, as far as it was seen. `kept`: how many launches of it are in the file."""

    name: str
    source: str
    shapes: str
    first_number: int
    why_not: str = ""
    kept: int = 0
    sample: Sample = field(default_factory=Sample)

    def seen(self, elsewhere: bool) -> Seen:
        """What is told of it; `elsewhere`: a launch of the same kernel in another group is kept."""
        why = self.why_not or ("" if self.kept else ELSEWHERE if elsewhere else NOT_ASKED)
        if elsewhere and why == OF_COMPILED:
            why = KEPT_BEFORE
        total_ms = self.sample.total_ms()
        return Seen(self.name, self.source, self.shapes, self.sample.count, total_ms, self.first_number, why)


@dataclass(frozen=True, slots=True)
class _First:
    """The first launch of a kernel that is kept: its group, its arguments but for data, and its form."""

    group: Group
    arguments: Any
    form: str


class Noter:
    """Notes the launches of this process, and keeps those that the options ask for in a file at `path`.

    Whatever goes wrong with that is told by the group's `why_not`: the program itself goes on. `finish` ends the file;
    if `always`, there is one even if nothing was launched.
    """

    def __init__(self, path: Path, options: CaptureOptions, *, always: bool = True) -> None:
        self.path, self.options, self.always = path, options, always
        self.timer = Timer()
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._begin()
        if always:
            self._open()

    def _begin(self) -> None:
        self.groups: dict[tuple[Any, ...], Group] = {}
        self.number = 0
        self._fitting = 0
        self._attempts: dict[tuple[str, str], int] = {}
        self._kept: dict[tuple[str, str], _First] = {}
        self._keeper = 0  # the thread whose launch is being kept
        self._writer: Any = None

    def in_child(self, path: Path) -> None:
        """Begins anew in a forked process, with a file of its own; the parent's is left alone."""
        self._left_alone = (self._writer, self.groups)  # neither closed nor read: both are the parent's
        self.path, self._process, self._lock = path, os.getpid(), threading.RLock()
        self._begin()

    def launched(self, frames: tuple[Frame, ...], launch: Frame, grid: Any, original: Callable[..., Any]) -> Any:
        """Makes the program's launch, notes it, and keeps it if it is one of those that are asked for."""
        if os.getpid() != self._process:  # forked: the file is the parent's
            return original(launch.layer, *launch.args, grid=grid, warmup=False, **launch.kwargs)
        try:
            group, number, is_captured = self._noted(frames, launch)
            keeping = None
            if group and not is_captured:
                keeping = self._keeping(group, number, frames, launch, grid, original)
        except Exception:  # the program goes on, whatever is wrong with noting
            group, is_captured, keeping = None, True, None
        grids: list[tuple[int, ...]] = []

        def noted_grid(meta: Any) -> Any:
            grids.append(grid(meta))
            return grids[-1]

        pair = None if group is None or is_captured else self._pair(group)
        try:
            with timed(pair):
                compiled = original(
                    launch.layer,
                    *launch.args,
                    grid=noted_grid if callable(grid) else grid,
                    warmup=False,
                    **launch.kwargs,
                )
        except BaseException as error:
            if keeping:
                self._keeper = 0
                keeping.abandon(error)
            raise
        if keeping and group:
            self._keep(group, keeping, compiled, grids[-1] if grids else grid)
        return compiled

    def counted(self, name: str, source: str, why_not: str) -> None:
        """Counts a launch of which nothing else is noted."""
        with self._lock:
            self.number += 1
            group = self._group((name, source, why_not), lambda: (name, source, ""))
            if group:
                group.why_not = why_not
                group.sample.count += 1

    def finish(self, command: str = "", date: str = "") -> Path | None:
        """Ends the file and gives its path; None if there was nothing to note. Raises CaptureFileError."""
        if os.getpid() != self._process:
            return None
        given_up = time.monotonic() + LOCK_S
        while self._keeper not in (0, threading.get_ident()):
            if time.monotonic() > given_up:
                raise CaptureError(f"{self.path} was not finished: a launch of another thread does not end")
            time.sleep(0.01)
        with self._lock:
            if not self.groups and not self.always:
                return None
            seen = [group.seen((group.name, group.source) in self._kept) for group in self.groups.values()]
            self._open().finish(seen, command, date)
            return self.path

    def discard(self) -> None:
        """Leaves no file."""
        if self._writer is not None and os.getpid() == self._process:
            self._writer.discard()

    def _open(self) -> Any:
        if self._writer is None:
            from ssdprof.kernels.captured.file import Writer

            self._writer = Writer(self.path, self.options.limit_bytes)
        return self._writer

    def _noted(self, frames: tuple[Frame, ...], launch: Frame) -> tuple[Group | None, int, bool]:
        """The group of a launch, its number, and whether it is made inside a capture of a CUDA graph."""
        function = launch.layer.fn
        source = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
        outer = frames[0] if frames else launch
        values = bound(parameters_of(function), outer.args, outer.kwargs)
        key = (function.__name__, source, *(_shape_key(value) for value in values.values()))
        is_captured = _is_capturing()
        with self._lock:
            self.number += 1
            number = self.number
            group = self._group(key, lambda: (function.__name__, source, shapes_text(values)))
            if group:
                group.sample.count += 1
                if is_captured and group.kept < self.options.keep:
                    group.why_not = FURTHER + IN_GRAPH if group.kept else IN_GRAPH
        return group, number, is_captured

    def _group(self, key: tuple[Any, ...], about: Callable[[], tuple[str, str, str]]) -> Group | None:
        group = self.groups.get(key)
        if group is None and len(self.groups) < MOST_GROUPS:
            group = self.groups[key] = Group(*about(), self.number)
        return group

    def _pair(self, group: Group) -> tuple[Any, Any] | None:
        try:
            with self._lock:
                return self.timer.pair_for(group.sample)
        except Exception:
            return None

    def _is_asked_for(self, group: Group, function: Callable[..., Any], program: Frame) -> bool:
        if not self.options.fits(group.name):
            return False
        self._fitting += 1
        kernel = (group.name, group.source)
        if self.options.launch is not None:
            return self._fitting == self.options.launch
        if self._attempts.get(kernel, 0) - group.kept >= MOST_ATTEMPTS:
            return False
        first = self._kept.get(kernel)
        if first is None or first.group is not group or group.kept >= self.options.keep:
            return first is None
        if first.arguments != _arguments_key(function, program):
            group.why_not = group.why_not or FURTHER + OTHERWISE
            return False
        return True

    def _keeping(
        self,
        group: Group,
        number: int,
        frames: tuple[Frame, ...],
        launch: Frame,
        grid: Any,
        original: Callable[..., Any],
    ) -> Any:
        """A launch that is being kept, if it is asked for and can be: one at a time, whatever other threads launch."""
        with self._lock:
            if not self._is_asked_for(group, launch.layer.fn, frames[0] if frames else launch) or self._keeper:
                return None
            kernel = (group.name, group.source)
            like = self._kept[kernel].form if group.kept else ""
            self._attempts[kernel] = self._attempts.get(kernel, 0) + 1
            self._keeper = threading.get_ident()

        def again(*, compile_only: bool = False) -> Any:
            return original(launch.layer, *launch.args, grid=grid, warmup=compile_only, **launch.kwargs)

        keeping = None
        try:
            from ssdprof.kernels.captured.live.keeping import Keeping

            call = Call(launch.layer, launch.args, launch.kwargs, grid, frames, again)
            one = Keeping(call, self._open(), self.options, number, like)
            one.before()
            keeping = one
        except Exception as error:
            _not_kept(group, error)
        finally:
            if keeping is None:
                self._keeper = 0
        return keeping

    def _keep(self, group: Group, keeping: Any, compiled: Any, grid: Any) -> None:
        try:
            kept = keeping.after(compiled, grid)
        except Exception as error:
            _not_kept(group, error)
        else:
            with self._lock:
                if not group.kept:
                    from ssdprof.kernels.captured.alike import form

                    call = keeping.call
                    arguments = _arguments_key(call.kernel.fn, call.program) if self.options.keep > 1 else None
                    self._kept[group.name, group.source] = _First(group, arguments, form(kept))
                group.kept += 1
                if group.kept == 1 or group.kept >= self.options.keep:
                    group.why_not = ""
        finally:
            self._keeper = 0


def _not_kept(group: Group, error: Exception) -> None:
    """Says why a launch is not kept, in one line."""
    reason = first_line(str(error) if isinstance(error, SsdprofError) else f"{type(error).__name__}: {error}")
    group.why_not = FURTHER + reason if group.kept else reason


def _shape_key(value: Any) -> Any:
    shape = getattr(value, "shape", None)
    if shape is None:
        return tuple(_shape_key(one) for one in value) if isinstance(value, tuple) else None
    return tuple(shape), getattr(value, "dtype", None)


def _arguments_key(function: Callable[..., Any], program: Frame) -> Any:
    """What a program passes, but for the tensors' data: launches alike have it alike."""
    values = {**program.kwargs, **bound(parameters_of(function), program.args, program.kwargs)}
    return {name: _argument_key(value) for name, value in values.items()}


def _argument_key(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_argument_key(one) for one in value)
    if hasattr(value, "data_ptr") and hasattr(value, "storage_offset"):
        return tuple(value.shape), value.dtype, value.stride(), value.storage_offset()
    return repr(value) if isinstance(value, (bool, int, float, str)) else type(value)


def _is_capturing() -> bool:
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    return torch.cuda.is_current_stream_capturing()
