"""`ssdprof.capture` around a part of a program: what it notes, what it keeps, and what it leaves as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import triton
from triton.runtime.autotuner import Autotuner, Heuristics
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

import ssdprof
from ssdprof.kernels.captured.file import CaptureFileError, read
from ssdprof.kernels.captured.live.noting import KEPT_BEFORE, OF_COMPILED, Group
from ssdprof.kernels.captured.live.options import CaptureError
from ssdprof.kernels.captured.model import CapturedLaunch

PATCHED = [
    (Autotuner, "run"),
    (Autotuner, "_bench"),
    (Heuristics, "run"),
    (JITFunction, "run"),
    (InterpretedFunction, "run"),
]


def kept(path: Path) -> dict[str, CapturedLaunch]:
    return {launch.name: launch for launch in read(path).launches}


def test_the_first_launch_of_each_kernel_is_kept_and_all_are_counted(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(300)

    captured = read(path)
    assert [("scale_kernel", 1), ("add_kernel", 4)] == [(one.name, one.number) for one in captured.launches]
    told = [(one.name, one.shapes, one.count, one.first_number, one.why_not) for one in captured.seen]
    assert [
        ("scale_kernel", "x_ptr[300] f32, y_ptr[300] f32", 3, 1, ""),
        ("add_kernel", "total_ptr[300] f32, x_ptr[300] f32", 2, 4, ""),
    ] == told
    assert captured.seen[0].source.startswith(f"{program.__file__}:")


def test_the_name_of_a_kernel_may_be_asked_for_by_a_pattern(program: Any, path: Path) -> None:
    with ssdprof.capture(path, kernel="add_*"):
        program.main(100)

    captured = read(path)
    assert ["add_kernel"] == [launch.name for launch in captured.launches]
    assert ["it was not asked for", ""] == [one.why_not for one in captured.seen]


def test_a_launch_may_be_asked_for_by_its_number_among_those_that_fit(program: Any, path: Path) -> None:
    with ssdprof.capture(path, kernel="add_*", launch=2):
        program.main(100)

    [launch] = read(path).launches
    assert ("add_kernel", 5, {"num_warps": 8}) == (launch.name, launch.number, launch.options)


def test_of_the_slowest_kernel_alone_a_launch_stays(program: Any, path: Path) -> None:
    with ssdprof.capture(path, slowest=True):
        program.main(100)

    captured = read(path)
    assert ["scale_kernel"] == [launch.name for launch in captured.launches]  # launched most, since nothing was timed
    assert ["", "scale_kernel is slower"] == [one.why_not for one in captured.seen]


def test_other_shapes_of_a_kernel_are_told_apart_and_not_kept_again(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(100)
        program.main(200)

    captured = read(path)
    assert ["x_ptr[100] f32, y_ptr[100] f32", "x_ptr[200] f32, y_ptr[200] f32"] == [
        one.shapes for one in captured.seen if one.name == "scale_kernel"
    ]
    assert ["", "", "another launch of it is kept", "another launch of it is kept"] == [
        one.why_not for one in captured.seen
    ]


def test_an_argument_that_cannot_be_kept_is_said_and_the_program_goes_on(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.add(torch.ones(64), torch.ones(64), extern_libs=[object()])

    [seen] = read(path).seen
    assert "extern_libs: an argument of type list cannot be kept, only numbers, strings and tensors" == seen.why_not


def test_an_error_of_a_launch_reaches_the_program_and_nothing_of_it_is_kept(program: Any, path: Path) -> None:
    total = torch.ones(64)

    launch, x = program.add_kernel[(1,)], torch.ones(64)

    with ssdprof.capture(path):
        with pytest.raises(Exception, match=r"pow2|power of 2"):
            launch(total, x, 64, BLOCK=48)
        program.add(total, x)

    captured = read(path)
    assert [2] == [launch.number for launch in captured.launches]
    assert torch.equal(torch.full((64,), 2.0), total)


def test_an_error_of_the_program_reaches_it_and_what_was_kept_stays(program: Any, path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), ssdprof.capture(path):  # noqa: PT012
        program.main(64)
        raise KeyError("mine")

    assert 2 == len(read(path).launches)


def test_launches_of_several_threads_are_noted(program: Any, path: Path) -> None:
    with ssdprof.capture(path, kernel="none"):
        threads = [threading.Thread(target=program.add, args=(torch.ones(64), torch.ones(64))) for _ in range(4)]
        for thread in threads:  # one after the other: the interpreter has one state for all
            thread.start()
            thread.join()

    assert [4] == [one.count for one in read(path).seen]


def test_compiling_alone_is_no_launch(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.add_kernel.run(torch.ones(4), torch.ones(4), 4, grid=(1,), warmup=True)

    assert () == read(path).seen


def test_triton_is_afterwards_as_it_was(program: Any, path: Path) -> None:
    before = [vars(owner)[name] for owner, name in PATCHED]

    with ssdprof.capture(path):
        during = [vars(owner)[name] for owner, name in PATCHED]

    assert all(one is not other for one, other in zip(before, during, strict=True))
    assert before == [vars(owner)[name] for owner, name in PATCHED]
    assert [] == triton.knobs.runtime.launch_enter_hook.calls


def test_there_is_one_capture_at_a_time(path: Path) -> None:
    with (
        ssdprof.capture(path),
        pytest.raises(CaptureError, match="under way already"),
        ssdprof.capture(path.with_name("other")),
    ):
        pass

    assert not path.with_name("other").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"launch": 0}, "counted from 1"),
        ({"launch": 1, "slowest": True}, "exclude each other"),
        ({"limit_gib": 0.0}, "more than 0"),
        ({"limit_gib": float("nan")}, "more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(CaptureError, match=reason), ssdprof.capture(path, **options):
        pass

    assert not path.exists()


def test_a_folder_that_is_not_there_is_said_before_the_program_runs(tmp_path: Path) -> None:
    with pytest.raises(CaptureFileError), ssdprof.capture(tmp_path / "none" / "file"):
        raise AssertionError


def test_a_forked_child_leaves_the_file_alone(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.add(torch.ones(64), torch.ones(64))
        child = os.fork()
        if not child:
            program.add(torch.ones(32), torch.ones(32))
            os._exit(0)
        assert (child, 0) == os.waitpid(child, 0)

    assert [1] == [one.count for one in read(path).seen]


def test_a_class_of_autotuners_with_a_run_of_its_own_is_noted_once(program: Any, path: Path) -> None:
    class Counting(Autotuner):
        launches = 0

        def run(self, *args: Any, **kwargs: Any) -> Any:
            Counting.launches += 1
            return super().run(*args, **kwargs)

    tuned = Counting(
        program.scale_kernel.fn, program.scale_kernel.fn.arg_names, [triton.Config({"BLOCK": 64})], ["n"], None, None
    )
    x, y = torch.ones(64), torch.zeros(64)

    with ssdprof.capture(path):
        tuned[(1,)](x, y, 64, 3.0)

    assert 1 == Counting.launches
    assert [1] == [one.count for one in read(path).seen]
    assert 64 == kept(path)["scale_kernel"].config["BLOCK"]
    assert torch.equal(torch.full((64,), 3.0), y)


def test_kernels_of_torch_compile_are_counted_with_the_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssdprof.kernels.captured.live import hooks

    class CachingAutotuner:
        fn = staticmethod(lambda: None)
        filename = "generated.py"

        def run(self) -> str:
            return "launched"

    module = ModuleType(hooks._INDUCTOR)
    module.__dict__["CachingAutotuner"] = CachingAutotuner
    monkeypatch.setitem(hooks.sys.modules, hooks._INDUCTOR, module)

    with ssdprof.capture(path):
        assert "launched" == CachingAutotuner().run()

    [seen] = read(path).seen
    assert (1, "generated.py") == (seen.count, seen.source)
    assert "torch.compile generated it, and its launches are not kept" == seen.why_not


def test_compiled_kernels_that_a_program_launches_itself_are_counted_with_the_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssdprof.kernels.captured.live import hooks

    class CompiledKernel:
        name = "softmax"

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., object]:
            return lambda *args: (grid, args)

    module = ModuleType(hooks._COMPILER)
    module.__dict__["CompiledKernel"] = CompiledKernel
    monkeypatch.setitem(hooks.sys.modules, hooks._COMPILER, module)

    with ssdprof.capture(path):
        assert ((4,), (1, 2)) == CompiledKernel()[(4,)](1, 2)

    [seen] = read(path).seen
    assert ("softmax", 1) == (seen.name, seen.count)
    assert seen.why_not.startswith("the program launched it compiled")


def test_compiled_launches_of_a_kernel_that_is_kept_are_told_so() -> None:
    group = Group("softmax", "program.py:7", "", 2, OF_COMPILED)
    assert (OF_COMPILED, KEPT_BEFORE) == (group.seen(elsewhere=False).why_not, group.seen(elsewhere=True).why_not)
