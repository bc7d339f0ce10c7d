"""`ssdprof.capture` around a part of a program: what it notes, what it keeps, and what it leaves as it was."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import triton
from triton.runtime.autotuner import Autotuner, Heuristics
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

import ssdprof
from ssdprof.kernels.captured.arguments import read_launch_inputs, read_launch_outputs
from ssdprof.kernels.captured.file import CaptureFileError, Reader, read
from ssdprof.kernels.captured.live.options import CaptureError
from ssdprof.kernels.captured.load import load
from ssdprof.kernels.captured.model import CapturedLaunch, TensorArg

PROGRAM = Path(__file__).parents[4] / "helpers" / "fakes" / "launching_program.py"
PATCHED = [
    (Autotuner, "run"),
    (Autotuner, "_bench"),
    (Heuristics, "run"),
    (JITFunction, "run"),
    (InterpretedFunction, "run"),
]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The program, to run in Triton's interpreter."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    spec = spec_from_file_location("launching_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "launches.ssdprof"


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
    assert captured.seen[0].source.startswith(f"{PROGRAM}:")


def test_a_launch_is_kept_with_its_autotuner_and_without_what_that_and_heuristics_set(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(300)

    launch = kept(path)["scale_kernel"]
    assert {"x_ptr": TensorArg(0), "y_ptr": TensorArg(1), "n": 300, "factor": 2.5} == launch.args
    assert {"BLOCK": 64, "num_warps": 2, "num_ctas": 1, "num_stages": 3} == launch.config
    assert ("x_ptr", "y_ptr", "n", "factor", "BLOCK", "EVEN") == launch.parameters
    assert ("BLOCK", "EVEN") == launch.constexprs
    assert (5,) == launch.grid
    assert [(5,), (5,), (3,), (3,), (2,), (2,)] == [grid for _, grid in launch.grids]
    assert launch.autotune is not None
    assert ("n",) == launch.autotune.key
    assert [64, 64, 128, 128, 256, 256] == [one.values["BLOCK"] for one in launch.autotune.configs]
    assert [False] * 4 + [True] * 2 == [one.pruned for one in launch.autotune.configs]


def test_a_launch_without_an_autotuner_has_a_config_of_its_constants_and_options(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.add(torch.ones(100), torch.ones(100), num_warps=8)

    launch = kept(path)["add_kernel"]
    assert {"BLOCK": 64, "num_warps": 8, "num_stages": 3, "num_ctas": 1} == launch.config
    assert {"num_warps": 8} == launch.options
    assert 64 == launch.args["BLOCK"]
    assert launch.autotune is None
    assert () == launch.grids


def test_the_sources_launch_again_on_what_was_kept_and_give_the_same_bytes(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(300)

    with Reader(path) as reader:
        launch = kept(path)["scale_kernel"]
        loaded = load(launch.sources)
        inputs, outputs = (of(reader, launch, "cpu") for of in (read_launch_inputs, read_launch_outputs))
    given = {name: inputs[one.index] if isinstance(one, TensorArg) else one for name, one in launch.args.items()}
    inputs[1].zero_()
    config = {"BLOCK": launch.config["BLOCK"]}
    computed = {name: compute({**given, **config}) for name, compute in loaded.heuristics}
    assert {"EVEN": False} == computed
    assert loaded.grid is not None

    loaded.kernel[loaded.grid](**given, **config, **computed)

    assert torch.equal(2.5 * torch.arange(300.0), inputs[1])
    assert torch.equal(outputs[1], inputs[1])


def test_roles_are_found_without_a_compiler(program: Any, path: Path) -> None:
    with ssdprof.capture(path):
        program.main(300)

    assert ["in", "out"] == [tensor.role for tensor in kept(path)["scale_kernel"].tensors]
    assert ["in-out", "in"] == [tensor.role for tensor in kept(path)["add_kernel"].tensors]


def test_what_an_output_has_between_the_bytes_that_are_written_stays_and_is_told_apart(
    program: Any, path: Path
) -> None:
    x, out = torch.rand(8, 16), torch.rand(8, 16)
    before = out.clone()
    expected = out.clone()
    expected[::2, :10] = x[::2, :10] + 1

    with ssdprof.capture(path):
        program.even_rows(x, out, 10)

    launch = kept(path)["even_rows_kernel"]
    storage = launch.storages[launch.tensors[1].storage]
    with Reader(path) as reader:
        bits = np.unpackbits(np.frombuffer(reader.blob(storage.written), np.uint8)).reshape(8, 16, 4)
        assert before.numpy().tobytes() == bytes(reader.blob(storage.before))
        assert expected.numpy().tobytes() == bytes(reader.blob(storage.after))
    should = np.zeros_like(bits)
    should[::2, :10] = 1
    assert np.array_equal(should, bits)
    assert torch.equal(expected, out)


def test_a_kernel_that_works_in_place_reads_what_it_writes(program: Any, path: Path) -> None:
    x = torch.ones(128)

    with ssdprof.capture(path):
        program.scale(x, x)

    launch = kept(path)["scale_kernel"]
    assert ["in-out"] == [tensor.role for tensor in launch.tensors]
    assert launch.args["x_ptr"] == launch.args["y_ptr"] == TensorArg(0)


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


def test_without_data_statistics_are_kept_in_place_of_bytes(program: Any, path: Path) -> None:
    with ssdprof.capture(path, data=False):
        program.add(torch.full((64,), 2.0), torch.tensor([3.0] * 63 + [torch.nan]))

    launch = kept(path)["add_kernel"]
    facts = [json.loads(note.removeprefix("data: ")) for note in launch.notes if note.startswith("data: ")]
    assert [("total_ptr", 2.0, 0.0), ("x_ptr", 3.0, 1 / 64)] == [
        (one["name"], one["max"], one["nan_share"]) for one in facts
    ]
    assert any("no data was kept" in note for note in launch.notes)
    assert {""} == {blob for one in launch.storages for blob in (one.before, one.after, one.written)}


def test_what_does_not_fit_into_the_file_is_not_kept_and_the_program_goes_on(program: Any, path: Path) -> None:
    with ssdprof.capture(path, limit_gib=1e-6):
        program.main(300)

    captured = read(path)
    assert () == captured.launches
    assert all("raise the limit, or keep no data" in one.why_not for one in captured.seen)
    assert [3, 2] == [one.count for one in captured.seen]


def test_a_part_of_a_large_storage_is_kept_if_the_whole_does_not_fit(program: Any, path: Path) -> None:
    memory = torch.zeros(1_000_000)

    with ssdprof.capture(path, limit_gib=1e-3):
        program.add(memory[500_000:500_100], torch.ones(100))

    launch = kept(path)["add_kernel"]
    assert max(storage.size_bytes for storage in launch.storages) < 1000
    assert any("bytes of its storages are left out" in note for note in launch.notes)
    assert torch.equal(torch.ones(100), memory[500_000:500_100])


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


def test_a_config_hook_has_run_before_the_memory_is_kept(program: Any, path: Path) -> None:
    def zero(arguments: dict[str, Any]) -> None:
        arguments["total_ptr"].zero_()

    config = triton.Config({"BLOCK": 64}, pre_hook=zero)
    tuned = Autotuner(program.add_kernel, program.add_kernel.arg_names, [config], ["n"], None, None)
    total = torch.full((64,), 5.0)

    with ssdprof.capture(path):
        tuned[(1,)](total, torch.ones(64), 64)

    launch = kept(path)["add_kernel"]
    with Reader(path) as reader:
        assert torch.equal(torch.zeros(64), read_launch_inputs(reader, launch, "cpu")[0])
    assert torch.equal(torch.ones(64), total)
    assert any("pre_hook" in note for note in launch.notes)


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
