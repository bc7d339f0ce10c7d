"""What a captured launch is held against: its own outputs, a function's, another config's; and its inputs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from captured_softmax import COLS, ROWS, SOURCES, TEXT, softmax_launch, write_file

from ssdprof.kernels.captured import references
from ssdprof.kernels.captured.file import Writer
from ssdprof.kernels.captured.model import CapturedLaunch, KeptStorage, KeptTensor, Origin, TensorArg
from ssdprof.kernels.captured.source.texts import text_hash
from ssdprof.kernels.captured.subject import CapturedSubject
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.launch import TensorMeta

X = torch.linspace(-2.0, 3.0, ROWS * COLS).reshape(ROWS, COLS)
DATACLASS = """from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Soft:
    dim: int

def f(x_ptr):
    return torch.softmax(x_ptr, Soft(1).dim)
"""
FLOATS, WHOLE = ("float32", (2, 3)), ("int16", (2, 3))


@pytest.fixture
def softmax(tmp_path: Path) -> CapturedSubject:
    return CapturedSubject(str(write_file(tmp_path / "one.launch")), 0)


def reference(folder: Path, body: str) -> str:
    """FILE:FUNCTION of a file with this text."""
    (folder / "mine.py").write_text(f"{body}\nimport torch\n")
    return f"{folder / 'mine.py'}:f"


def of_function(subject: CapturedSubject, named: str) -> dict[str, torch.Tensor]:
    return CapturedSubject(subject.file, 0, named).reference(subject.inputs("cpu", 0))


def partly_written(writer: Writer, dtype: str, written: Sequence[int]) -> CapturedLaunch:
    """A launch that writes these elements of a tensor of ones with six elements."""
    ones = torch.ones(6, dtype=getattr(torch, dtype))
    size = ones.element_size()
    flags = [byte // size in written for byte in range(6 * size)]
    bits = [sum(flag << 7 - i for i, flag in enumerate(flags[at : at + 8])) for at in range(0, len(flags), 8)]
    before = writer.add_blob(bytes(ones.view(torch.uint8).tolist()))
    storage = KeptStorage(6 * size, before, before, writer.add_blob(bytes(bits)))
    return softmax_launch(
        args={"o_ptr": TensorArg(0)}, tensors=(KeptTensor(0, dtype, (2, 3), (3, 1), 0, "out"),), storages=(storage,)
    )


def test_inputs_are_the_programs_own_and_what_is_only_written_is_none(softmax: CapturedSubject) -> None:
    inputs = softmax.inputs("cpu", 5)
    assert ["x_ptr"] == list(inputs)
    assert torch.equal(X, inputs["x_ptr"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64", "float8_e5m2", "float8_e4m3fn"])
def test_what_a_launch_writes_of_a_partly_written_tensor_is_nan(tmp_path: Path, dtype: str) -> None:
    path = write_file(tmp_path / "part.launch", lambda writer: partly_written(writer, dtype, [1, 4]))
    found = CapturedSubject(str(path), 0).inputs("cpu", 0)["o_ptr"].float().flatten()
    assert [1, 4] == found.isnan().nonzero().flatten().tolist()
    assert [1.0] * 4 == found[~found.isnan()].tolist()


@pytest.mark.parametrize(("dtype", "bad"), [("int32", 0xA5A5A5A5 - 2**32), ("uint8", 0xA5), ("int64", None)])
def test_what_it_writes_of_integers_is_a_pattern(tmp_path: Path, dtype: str, bad: int | None) -> None:
    path = write_file(tmp_path / "part.launch", lambda writer: partly_written(writer, dtype, [0]))
    first, *others = CapturedSubject(str(path), 0).inputs("cpu", 0)["o_ptr"].flatten().tolist()
    assert (bad or 0xA5A5A5A5A5A5A5A5 - 2**64, [1] * 5) == (first, others)


def test_as_captured_are_the_outputs_that_the_program_saw(softmax: CapturedSubject) -> None:
    found = softmax.reference(softmax.inputs("cpu", 0))
    assert ["o_ptr"] == list(found)
    assert torch.equal(torch.softmax(X, 1), found["o_ptr"])


def test_copies_share_storages_and_leave_the_program_its_own() -> None:
    metas = {
        "a": TensorMeta((2, 3), "float32", "in-out", (3, 1), "0"),
        "part": TensorMeta((3,), "float32", "in", (1,), "0", 3),
        "other": TensorMeta((2,), "float32", "in", (1,), "1"),
    }
    given = torch.arange(6.0).reshape(2, 3)
    made = references.copies(metas, {"a": given, "part": given[1], "other": torch.ones(2)})
    made["a"][1] = 7.0
    assert ["a", "part"] == list(made)
    assert ([7.0] * 3, [3.0, 4.0, 5.0]) == (made["part"].tolist(), given[1].tolist())


def test_a_copy_of_what_is_not_read_is_there_and_is_zero() -> None:
    made = references.copies({"o": TensorMeta((2,), "int64", "out", (3,), "0", 1)}, {"x": torch.ones(2)})
    assert ((3,), 1, [0, 0]) == (made["o"].stride(), made["o"].storage_offset(), made["o"].tolist())


@pytest.mark.parametrize(
    "body",
    [
        "def f(x_ptr): return torch.softmax(x_ptr, 1)",
        "def f(x_ptr, n_rows, n_cols): return [torch.softmax(x_ptr, 1).reshape(n_rows, n_cols)]",
        "def f(x_ptr): return {'o_ptr': torch.softmax(x_ptr, 1), 'unused': None}",
        "def f(x_ptr, o_ptr): o_ptr.copy_(torch.softmax(x_ptr, 1))",
        "def f(**arguments): return torch.softmax(arguments['x_ptr'], 1)",
        "def f(x_ptr, scale=1.0): return torch.softmax(x_ptr * scale, 1)",
        "def f(x_ptr, BLOCK_M, EVEN): return torch.softmax(x_ptr, 1) if (BLOCK_M, EVEN) == (2, True) else None",
        DATACLASS,
    ],
)
def test_a_function_returns_its_outputs_or_writes_them(softmax: CapturedSubject, tmp_path: Path, body: str) -> None:
    found = of_function(softmax, reference(tmp_path, body))
    assert ["o_ptr"] == list(found)
    assert torch.equal(torch.softmax(X, 1), found["o_ptr"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "def f(x): pass",
            "wants x, which is no argument of softmax: name its parameters as the kernel's: x_ptr, o_ptr",
        ),
        ("def f(x_ptr): return x_ptr[0]", r"gave a tensor of \(5,\) for o_ptr, whose shape is \(6, 5\)"),
        ("def f(x_ptr): return []", "gave None for o_ptr"),
        ("def f(x_ptr): return 3", "gave 3 for o_ptr"),
        ("def f(x_ptr): return {'o': x_ptr}", "gave None for o_ptr"),
        ("def f(x_ptr): return [[1.0]]", r"gave \[1.0\] for o_ptr"),
        ("def f(x_ptr): raise ValueError('no\\nway')", "fails on the arguments of softmax: ValueError: no"),
        ("f = 3", "has no function f"),
        ("1 // 0\ndef f(x_ptr): pass", "cannot be loaded: ZeroDivisionError"),
        ("raise SystemExit('done')\ndef f(x_ptr): pass", "cannot be loaded: SystemExit: done"),
    ],
)
def test_a_function_that_gives_something_else_is_refused_in_one_line(
    softmax: CapturedSubject, tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        of_function(softmax, reference(tmp_path, body))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        "from {name} import soft\ndef f(x_ptr): return soft(x_ptr)",
        "def f(x_ptr):\n  import {name}\n  return {name}.soft(x_ptr)",
    ],
    ids=["as it is loaded", "as it runs"],
)
def test_a_reference_imports_its_neighbours_as_a_script_does(
    softmax: CapturedSubject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    name, folder, before = f"neighbour_{tmp_path.name}", tmp_path / "real", list(sys.path)
    folder.mkdir()
    (folder / f"{name}.py").write_text("import sys\nsys.path.append('more')\ndef soft(x):\n  return x.softmax(1)\n")
    real = Path(reference(folder, body.format(name=name)).rpartition(":")[0])
    (tmp_path / "linked.py").symlink_to(real)
    for file in (real, tmp_path / "linked.py"):
        found = of_function(softmax, f"{file}:f")
        monkeypatch.delitem(sys.modules, name)
        assert torch.equal(X.softmax(1), found["o_ptr"])
        assert before == sys.path


def test_the_path_is_as_before_also_after_a_reference_that_fails(softmax: CapturedSubject, tmp_path: Path) -> None:
    before = list(sys.path)
    for body in ("import no_such_module\ndef f(): pass", "def f(x_ptr): 1 / 0"):
        with pytest.raises(UsageError):
            of_function(softmax, reference(tmp_path, body))
        assert before == sys.path


def test_a_function_cannot_change_the_programs_outputs(softmax: CapturedSubject, tmp_path: Path) -> None:
    inputs = softmax.inputs("cpu", 0)
    of_function(softmax, reference(tmp_path, "def f(x_ptr, o_ptr): o_ptr.zero_()"))
    assert torch.equal(torch.softmax(X, 1), softmax.reference(inputs)["o_ptr"])


def test_a_reference_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = reference(tmp_path, "def f(): pass")
    monkeypatch.chdir(tmp_path)
    assert named == references.absolute("mine.py:f")


@pytest.mark.parametrize(
    "body", ["f = lambda x: x", "from torch import *", "from torch import relu as f", "if True:\n    def f(): pass"]
)
def test_a_function_may_be_bound_in_any_way(tmp_path: Path, body: str) -> None:
    assert references.absolute(reference(tmp_path, body))


@pytest.mark.parametrize(
    ("body", "said"), [("def g(f): pass", "has no function f"), ("def f(:", "is not Python: invalid syntax")]
)
def test_a_function_that_is_not_there_is_told_without_running_the_file(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        references.absolute(reference(tmp_path, f"raise SystemExit\n{body}"))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("mine.py", "give FILE:FUNCTION, such as reference.py:scan"),
        ("mine.py:", "give FILE:FUNCTION"),
        (":f", "give FILE:FUNCTION"),
        ("mine.py:f(x)", "give FILE:FUNCTION"),
        ("absent.py:f", "there is no file .*absent.py"),
    ],
)
def test_a_reference_that_names_no_function_of_a_file_is_refused(named: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"--reference .*{said}"):
        references.absolute(named)


def tolerance_of(
    output: tuple[str, Any], *inputs: tuple[str, Any], text: str = "", spread: float = 0.0, blocks: int = 1
) -> tuple[float, float, str]:
    metas = {f"in{i}": TensorMeta(shape, dtype) for i, (dtype, shape) in enumerate(inputs)}
    metas["out"] = TensorMeta(output[1], output[0], "out")
    launch = softmax_launch(sources=replace(SOURCES, modules={"m0": text}), grid=(blocks, 1, 1))
    (found,) = references.tolerances(launch, metas, "", {"out": spread})
    assert "out" == found.output
    return found.relative_error, found.row_error, found.reason


def test_an_integer_output_must_be_equal() -> None:
    assert (0.0, 0.0, "int16 must be equal") == tolerance_of(WHOLE, FLOATS)


@pytest.mark.parametrize(
    ("output", "given", "bits", "coarsest"),
    [
        ("float32", "float32", 18, "float32"),
        ("float32", "bfloat16", 8, "bfloat16"),
        ("bfloat16", "float32", 8, "bfloat16"),
        ("float64", "float64", 45, "float64"),
    ],
)
def test_a_float_output_may_be_a_few_roundings_of_the_least_precise_floats_off(
    output: str, given: str, bits: int, coarsest: str
) -> None:
    whole, row, reason = tolerance_of((output, (2,)), (given, (2,)), WHOLE)
    assert (pytest.approx(2.6 * 2.0**-bits, rel=0.05), pytest.approx(13 * 2.0**-bits, rel=0.05)) == (whole, row)
    assert f"the least precise floats here are {coarsest}, each off by up to" in reason


def test_sums_by_atomics_may_be_apart_by_some_times_what_the_programs_launches_were() -> None:
    half = ("float16", (2,))
    whole, row, reason = tolerance_of(half, half, spread=0.0018, blocks=1024)
    assert (pytest.approx(0.0072), pytest.approx(0.036)) == (whole, row)
    assert reason.startswith("atomics sum it in float16 in no fixed order, and equal launches in the program left")


@pytest.mark.parametrize(("spread", "blocks"), [(0.0002, 1024), (0.5, 1024), (0.0018, 4)])
def test_spreads_that_are_small_or_larger_than_rounding_explains_change_nothing(spread: float, blocks: int) -> None:
    half = ("float16", (2,))
    assert tolerance_of(half, half) == tolerance_of(half, half, spread=spread, blocks=blocks)


@pytest.mark.parametrize("parts", [16, 128])
def test_sums_of_numbers_in_other_orders_are_apart_by_what_is_taken_for_rounding(parts: int) -> None:
    numbers = torch.randn(parts, 4096, generator=torch.Generator().manual_seed(0)).half()
    sums = []
    for seed in (1, 2):
        order = torch.rand(numbers.shape, generator=torch.Generator().manual_seed(seed)).argsort(0)
        total = torch.zeros(4096, dtype=torch.float16)
        for part in numbers.gather(0, order):
            total += part
        sums.append(total.double())
    apart = float((sums[0] - sums[1]).norm() / numbers.double().sum(0).norm())
    assert pytest.approx(references.WALK_ROUNDINGS * parts**0.5 * 2.0**-11, rel=0.15) == apart


def test_products_of_float32_may_be_roundings_of_tf32_off() -> None:
    whole, _, reason = tolerance_of(FLOATS, FLOATS, text="acc += tl.dot(a, b)")
    assert (0.0025, True) == (whole, "TF32" in reason)
    assert whole < tolerance_of(FLOATS, ("bfloat16", (2,)), text="tl.dot(a, b)")[0]


def test_the_source_that_runs_is_named(softmax: CapturedSubject) -> None:
    assert "runs the source of softmax as it was captured from /somewhere/program.py, line 7" == (
        references.source_line(softmax.captured)
    )


@pytest.mark.parametrize(("text", "says"), [(TEXT, False), (TEXT.replace("-1e30", "0.0"), True), ("", False)])
def test_a_kernel_that_has_changed_since_is_told(tmp_path: Path, text: str, says: bool) -> None:
    body = TEXT[TEXT.index("def softmax") : TEXT.index("def grid")].strip() + "\n"
    (tmp_path / "program.py").write_text(text)
    origin = Origin("softmax", "program", str(tmp_path / "program.py"), 6, text_hash(body))
    line = references.changed_line(softmax_launch(origin=origin))
    assert says == ("softmax in" in line and "has changed since it was captured" in line)
    assert says == bool(line)


def test_the_launch_of_a_plan_needs_no_more_than_its_inputs(softmax: CapturedSubject) -> None:
    class Plan:
        @staticmethod
        def bind(tensors: dict[str, torch.Tensor]) -> Any:
            return lambda: tensors["o_ptr"].copy_(tensors["x_ptr"] + 1)

    inputs = softmax.inputs("cpu", 0)
    found = references.of_launch(Plan(), softmax.tensors(), inputs)  # type: ignore[arg-type]
    assert torch.equal(X + 1, found["o_ptr"])
    assert torch.equal(X, inputs["x_ptr"])
