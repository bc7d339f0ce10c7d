"""Noting a program's launches by functions put around Triton's own; `capture` does it for a part of a program."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ssdprof.kernels.captured.live.calls import Frame, inner
from ssdprof.kernels.captured.live.noting import OF_COMPILED, OF_INDUCTOR, Noter
from ssdprof.kernels.captured.live.options import DEFAULT_LIMIT_GIB, CaptureError, CaptureOptions

_INDUCTOR = "torch._inductor.runtime.triton_heuristics"
_INTERPRETER = "triton.runtime.interpreter"
_COMPILER = "triton.compiler.compiler"
_AUTOTUNER = "triton.runtime.autotuner"


@contextmanager
def capture(
    path: str | os.PathLike[str],
    *,
    kernel: str | None = None,
    launch: int | None = None,
    slowest: bool = False,
    data: bool = True,
    limit_gib: float = DEFAULT_LIMIT_GIB,
    keep: int = 1,
) -> Iterator[None]:
    """Notes every launch of a Triton kernel meanwhile, and keeps the first of each kernel in a file at `path`.

    What is kept is the kernel's source, its arguments, the bytes of its tensors before and after, and its autotuner's
    list: all that a sweep of it needs. `kernel`: only kernels whose name fits the pattern, such as `"*_scan*"`.
    `launch`: only the launch with that number, counted from 1 over the kernels that fit. `slowest`: only the kernel
    that took most GPU time. `data=False`: statistics of the tensors in place of their bytes. `limit_gib`: the largest
    size of the file. `keep`: how many launches of each kernel; after its first, those that differ from it in their data
    alone, for a sweep to check every config on each.
    A launch that cannot be kept does not disturb the program; the file says why. A kept launch takes longer, since the
    kernel is launched some more times on copies; memory is then as the program's own launch left it.
    Raises CaptureError for options that exclude each other and inside another capture, CaptureFileError if the file
    cannot be written.
    """
    options = CaptureOptions(kernel, launch, slowest, data, limit_gib, keep)
    if _Hooks.active is not None:
        raise CaptureError("a capture is under way already: end it first, there is one at a time")
    noter = Noter(Path(path), options)
    try:
        install(noter)
        try:
            yield
        finally:
            uninstall()
    except BaseException:
        with suppress(Exception):
            _finish(noter)
        noter.discard()
        raise
    _finish(noter)


def _finish(noter: Noter) -> None:
    noter.finish(" ".join(sys.argv), now())
    if noter.options.slowest:
        from ssdprof.kernels.captured.file import merge
        from ssdprof.kernels.captured.live.choosing import chosen

        merge([noter.path], noter.path, lambda captured: chosen(captured, noter.options))


def now() -> str:
    """The date and time, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class _OfThread(threading.local):
    """The layers that this thread is in, and whether what it launches now is to be noted."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.is_noting = True


class _Hooks:
    """What is patched, and for whom."""

    active: Noter | None = None
    undo: list[tuple[type, str, Any]] = []  # noqa: RUF012  # one for the process
    finder: _OnImport | None = None
    of_thread = _OfThread()


def install(noter: Noter) -> None:
    """Has `noter` told of every launch from now on, of modules that are imported later too."""
    _Hooks.active = noter
    names = {
        _AUTOTUNER: _patch_triton,
        _INTERPRETER: _patch_interpreter,
        _COMPILER: _patch_compiler,
        _INDUCTOR: _patch_inductor,
    }
    late: dict[str, Callable[[ModuleType], None]] = {}
    for name, patch in names.items():
        if name in sys.modules and not getattr(getattr(sys.modules[name], "__spec__", None), "_initializing", False):
            patch(sys.modules[name])
        else:
            late[name] = patch
    _Hooks.finder = _OnImport(late)
    sys.meta_path.insert(0, _Hooks.finder)


def uninstall() -> None:
    """Leaves Triton as it was before `install`."""
    if _Hooks.finder in sys.meta_path:
        sys.meta_path.remove(_Hooks.finder)
    for owner, name, original in reversed(_Hooks.undo):
        setattr(owner, name, original)
    if _Hooks.active:
        _Hooks.active.timer.detach()
    _Hooks.undo.clear()
    _Hooks.active = _Hooks.finder = None


def _patch_triton(module: ModuleType) -> None:
    jit = sys.modules["triton.runtime.jit"]
    for base in (module.Autotuner, module.Heuristics):
        _patch_family(base, "run", _layer_run)
    _patch_family(module.Autotuner, "_bench", _unnoted)
    _patch_family(jit.JITFunction, "run", _kernel_run)
    if _Hooks.active:
        _Hooks.active.timer.attach()


def _patch_interpreter(module: ModuleType) -> None:
    _patch_family(module.InterpretedFunction, "run", _kernel_run)


def _patch_compiler(module: ModuleType) -> None:
    _patch_family(module.CompiledKernel, "__getitem__", _compiled_run)


def _patch_inductor(module: ModuleType) -> None:
    _patch_family(module.CachingAutotuner, "run", _inductor_run)


def _patch_family(base: type, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Puts a function around the method of a class and of all its subclasses that have their own."""
    for owner in (base, *base.__subclasses__()):
        if name in vars(owner) and not any(one is owner and what == name for one, what, _ in _Hooks.undo):
            original = vars(owner)[name]
            _Hooks.undo.append((owner, name, original))
            setattr(owner, name, around(original))
        if owner is not base:
            _patch_family(owner, name, around)


def _layer_run(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        here = _Hooks.of_thread
        if not here.is_noting or kwargs.get("warmup") or (here.frames and here.frames[-1].layer is self):
            return original(self, *args, **kwargs)
        here.frames.append(Frame(self, args, _without_grid(kwargs)))
        try:
            return original(self, *args, **kwargs)
        finally:
            here.frames.pop()

    return run


def _kernel_run(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        here, noter = _Hooks.of_thread, _Hooks.active
        if noter is None or not here.is_noting or kwargs.get("warmup") or "grid" not in kwargs:
            return original(self, *args, **kwargs)
        if here.frames and not _is_in(here.frames[0].layer, self):  # what a hook or a model of an autotuner launches
            return original(self, *args, **kwargs)
        here.is_noting = False
        try:
            frame = Frame(self, args, _without_grid(kwargs))
            return noter.launched(tuple(here.frames), frame, kwargs["grid"], original)
        finally:
            here.is_noting = True

    return run


def _is_in(layer: Any, kernel: Any) -> bool:
    with suppress(AttributeError):
        return inner(layer) is kernel
    return False


def _unnoted(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around what launches only to compare configs."""

    @functools.wraps(original)
    def bench(*args: Any, **kwargs: Any) -> Any:
        here = _Hooks.of_thread
        before, here.is_noting = here.is_noting, False
        try:
            return original(*args, **kwargs)
        finally:
            here.is_noting = before

    return bench


def _inductor_run(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        here, noter = _Hooks.of_thread, _Hooks.active
        if noter is None or not here.is_noting:
            return original(self, *args, **kwargs)
        with suppress(Exception):
            noter.counted(
                getattr(self.fn, "__name__", "unnamed"), str(getattr(self, "filename", "") or ""), OF_INDUCTOR
            )
        here.is_noting = False
        try:
            return original(self, *args, **kwargs)
        finally:
            here.is_noting = True

    return run


def _compiled_run(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around what gives the launcher of a compiled kernel on a grid."""

    @functools.wraps(original)
    def launcher(self: Any, grid: Any) -> Callable[..., Any]:
        launch, function = original(self, grid), getattr(getattr(self, "src", None), "fn", None)

        def counted(*args: Any, **kwargs: Any) -> Any:
            noter = _Hooks.active
            if noter is not None and _Hooks.of_thread.is_noting:
                with suppress(Exception):
                    code = function.fn.__code__ if function else None
                    source = f"{code.co_filename}:{code.co_firstlineno}" if code else ""
                    noter.counted(self.name, source, OF_COMPILED)
            return launch(*args, **kwargs)

        return counted

    return launcher


def _without_grid(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in ("grid", "warmup")}


class _OnImport(MetaPathFinder):
    """Calls a function with each module of `late`, by name, right after it is imported."""

    def __init__(self, late: dict[str, Callable[[ModuleType], None]]) -> None:
        self._late = late

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that also calls the function."""
        if fullname not in self._late:
            return None
        patch = self._late.pop(fullname)
        spec = find_spec(fullname)
        loader = getattr(spec, "loader", None)
        if spec is None or loader is None:
            return None
        execute = loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            with suppress(Exception):  # a Triton that has none of what is patched: its launches go unnoted
                patch(module)

        loader.exec_module = executed
        return spec
