"""What `ssdprof.capture` keeps of a launch in Triton's interpreter: arguments, configs, memory, roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from triton.runtime.autotuner import Autotuner

import ssdprof
from ssdprof.kernels.captured.arguments import read_launch_inputs, read_launch_outputs
from ssdprof.kernels.captured.file import Reader, read
from ssdprof.kernels.captured.model import CapturedLaunch, TensorArg
from ssdprof.kernels.captured.source.load import load


def kept(path: Path) -> dict[str, CapturedLaunch]:
    return {launch.name: launch for launch in read(path).launches}


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
