"""What the outputs of a captured launch are held against, and its inputs: tensors by the names of a plan."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.captured import made_up
from ssdprof.kernels.captured.arguments import has_data, read_launch_inputs, read_launch_outputs, written_mask
from ssdprof.kernels.captured.model import CapturedLaunch
from ssdprof.kernels.captured.source.texts import changed_since
from ssdprof.kernels.errors import UsageError, first_line
from ssdprof.kernels.interface import Tensors, Tolerances
from ssdprof.kernels.launch import DescriptorRef, LaunchPlan, TensorMeta, pattern

if TYPE_CHECKING:
    import torch

    from ssdprof.kernels.captured.file import Reader
    from ssdprof.kernels.captured.launching import Launching

ROUNDOFFS: Mapping[str, float] = {
    "float8_e5m2": 2.0**-3, "float8_e5m2fnuz": 2.0**-3, "float8_e4m3fn": 2.0**-4, "float8_e4m3fnuz": 2.0**-4,
    "bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-18, "float64": 2.0**-45,
}  # fmt: skip
"""The largest relative error of a value by its dtype: half a unit in the last place; of float32 and float64, whose sums
show another order of their terms, 64 and 256 of these."""
TF32_ROUNDOFF = 2.0**-10
"""That of an operand of `tl.dot` on float32, which runs in TF32 unless the kernel says otherwise."""
WHOLE_ROUNDINGS, ROW_ROUNDINGS = 2.6, 13.0
"""How many such errors an output may be off, in the whole and in a row: as for the chunk scan (docs/measurement.md)."""
SPREADS = 4.0
"""How many times the spread of the program's own launches a sum by atomics may be off: another config may add up 16
times as many parts, and rounding grows with the square root of their number."""
WALK_ROUNDINGS = 0.42
"""Two sums of n parts in random orders, each partial sum rounded, are apart by this times √n roundings (parts around
zero; simulated in float16: 0.40 to 0.45 for n from 8 to 1024)."""


def inputs(
    reader: Reader,
    launch: CapturedLaunch,
    names: Mapping[str, int],
    partial: Collection[int],
    device: str | torch.device,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Every tensor that the launch reads, or that is one of `partial`, as the program had it, or made up without data.

    What it writes of a tensor that it does not read is NaN, or bytes of 0xA5 if integers, which no config may leave.
    """
    found = read_launch_inputs(reader, launch, device) if has_data(launch) else made_up.inputs(launch, device, seed)
    tensors = {}
    for name, index in names.items():
        if launch.tensors[index].role == "out" and index not in partial:
            continue
        tensors[name] = found[index]
        if index in partial:
            poison(found[index], written_mask(reader, launch, index, device))
    return tensors


def poison(tensor: torch.Tensor, mask: torch.Tensor) -> None:
    """Fills the elements under the mask with what no kernel writes on purpose."""
    import torch

    if tensor.is_floating_point():
        value = torch.full((), math.nan, device=tensor.device).to(tensor.dtype)
    else:
        value = pattern(tensor)
    tensor.copy_(torch.where(mask, value, tensor))


def as_captured(
    reader: Reader,
    launch: CapturedLaunch,
    metas: Mapping[str, TensorMeta],
    names: Mapping[str, int],
    device: torch.device | str,
) -> dict[str, torch.Tensor]:
    """The outputs as the launch left them in the program."""
    found = read_launch_outputs(reader, launch, device)
    return {name: found[names[name]] for name in outputs_of(metas)}


def of_launch(plan: LaunchPlan, metas: Mapping[str, TensorMeta], tensors: Tensors) -> dict[str, torch.Tensor]:
    """The outputs of a plan, launched on copies of what it writes."""
    own = copies(metas, tensors)
    plan.bind({**tensors, **own})()
    return {name: own[name].clone() for name in outputs_of(metas)}


def of_function(
    reference: str, launch: CapturedLaunch, metas: Mapping[str, TensorMeta], tensors: Tensors, launching: Launching
) -> dict[str, torch.Tensor]:
    """The outputs that FILE:FUNCTION returns for the launch's arguments by name; it may import its neighbours.

    It may return one tensor, several in the order of the launch's outputs, or some by name; or None if it writes into
    the tensors that it is given, which are copies. Raises UsageError for anything else.
    """
    import torch

    own = {**tensors, **copies(metas, tensors)}
    plan = launching.plan(launching.params.example or launching.params.config(launch.config))
    passed = {name: None if isinstance(value, DescriptorRef) else value for name, value in plan.args.items()}
    values = replace(plan, args=passed).arguments(lambda ref: own[ref.name], tma=False)
    values |= {name: own[name] for name in metas}
    with _importing_neighbours(reference):
        given = _called(reference, _function(reference), values, launch.name)
    names = list(outputs_of(metas))
    if given is None:
        found = {name: own[name] for name in names}
    elif isinstance(given, torch.Tensor):
        found = {names[0]: given}
    else:
        several = given if isinstance(given, (tuple, list)) else [given]
        found = dict(given) if isinstance(given, Mapping) else dict(zip(names, several, strict=False))
    for name in names:
        one = found.get(name)
        if not isinstance(one, torch.Tensor) or tuple(one.shape) != metas[name].shape:
            got = f"a tensor of {tuple(one.shape)}" if isinstance(one, torch.Tensor) else f"{one!r:.40}"
            raise UsageError(
                f"--reference {reference} gave {got} for {name}, whose shape is {metas[name].shape}: return the "
                f"outputs {', '.join(names)} in this order or by name"
            )
    return {name: found[name] for name in names}


@contextmanager
def _importing_neighbours(reference: str) -> Iterator[None]:
    """Puts the file's folder in front of `sys.path`, as Python does for a script, and leaves the list as it was."""
    before = list(sys.path)
    sys.path.insert(0, os.path.dirname(os.path.realpath(reference.rpartition(":")[0])))
    try:
        yield
    finally:
        sys.path[:] = before


def _called(reference: str, function: Any, values: Mapping[str, Any], kernel: str) -> Any:
    """What a function returns for those of the values, by name, that it takes. Raises UsageError."""
    takes = inspect.signature(function).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    if unknown := [name for name, one in takes.items() if name not in values and _is_needed(one)]:
        raise UsageError(
            f"--reference {reference} wants {unknown[0]}, which is no argument of {kernel}: name its parameters as the "
            f"kernel's: {', '.join(values)}"
        )
    try:
        return function(**{name: value for name, value in values.items() if takes_all or name in takes})
    except Exception as error:
        said = first_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"--reference {reference} fails on the arguments of {kernel}: {said}") from error


def copies(metas: Mapping[str, TensorMeta], tensors: Tensors) -> dict[str, torch.Tensor]:
    """New tensors in place of all that share a storage with an output, holding what `tensors` hold of them."""
    import torch

    written = {meta.storage for meta in metas.values() if meta.is_written}
    groups = {name: meta for name, meta in metas.items() if meta.storage in written}
    device = next(iter(tensors.values())).device if tensors else torch.device("cuda")
    sizes: dict[str, int] = {}
    for meta in groups.values():
        size = meta.extent * getattr(torch, meta.dtype).itemsize
        sizes[meta.storage] = max(sizes.get(meta.storage, 0), size)
    memory = {key: torch.zeros(size, dtype=torch.uint8, device=device) for key, size in sizes.items()}
    made = {}
    for name, meta in groups.items():
        dtype = getattr(torch, meta.dtype)
        empty = torch.empty(0, dtype=dtype, device=device)
        made[name] = empty.set_(memory[meta.storage].untyped_storage(), meta.offset, meta.shape, meta.stride)
        if name in tensors:
            made[name].copy_(tensors[name])
    return made


def outputs_of(metas: Mapping[str, TensorMeta]) -> Iterable[str]:
    """The names of the tensors that are written."""
    return [name for name, meta in metas.items() if meta.is_written]


def tolerances(
    launch: CapturedLaunch, metas: Mapping[str, TensorMeta], against: str, spreads: Mapping[str, float]
) -> tuple[Tolerances, ...]:
    """How far each output may be from its reference: a few roundings of the least precise dtype of floats.

    An integer output must be equal. One that is summed by atomics, and that equal launches left apart by one of
    `spreads`, may be some times as far.
    """
    floats = {meta.dtype: ROUNDOFFS[meta.dtype] for meta in metas.values() if meta.dtype in ROUNDOFFS}
    has_dot = any("dot(" in text for text in launch.sources.modules.values())
    if has_dot and "float32" in floats:
        floats["float32"] = TF32_ROUNDOFF
    coarsest = max(floats, key=lambda dtype: floats[dtype], default="")
    found = []
    for name in outputs_of(metas):
        dtype = metas[name].dtype
        if dtype not in ROUNDOFFS:
            found.append(Tolerances(0.0, 0.0, f"{dtype} must be equal", name, against))
            continue
        size = floats[coarsest]
        what = "TF32, in which dots of float32 run" if coarsest == "float32" and has_dot else coarsest
        reason = (
            f"the least precise floats here are {what}, each off by up to {size:.2g}: {WHOLE_ROUNDINGS} such roundings "
            f"for the whole, {ROW_ROUNDINGS:g} for a row"
        )
        apart = spreads.get(name, 0.0)
        if SPREADS * apart > WHOLE_ROUNDINGS * size and apart <= _walk(math.prod(launch.grid), dtype):
            size = SPREADS * apart / WHOLE_ROUNDINGS
            reason = (
                f"atomics sum it in {dtype} in no fixed order, and equal launches in the program left it apart by "
                f"{apart:.2g}: {SPREADS:g} times that for the whole, {SPREADS * ROW_ROUNDINGS / WHOLE_ROUNDINGS:g} "
                "times for a row"
            )
        whole, row = (float(f"{roundings * size:.2g}") for roundings in (WHOLE_ROUNDINGS, ROW_ROUNDINGS))
        found.append(Tolerances(whole, row, reason, name, against))
    return tuple(found)


def _walk(blocks: int, dtype: str) -> float:
    """The largest spread of a sum by atomics that rounding explains: twice that of one part from each block."""
    return 2 * WALK_ROUNDINGS * math.sqrt(blocks) * ROUNDOFFS[dtype]


def absolute(reference: str) -> str:
    """FILE:FUNCTION with the file's whole path. Raises UsageError if either is not there; the file is only read."""
    file, _, name = reference.rpartition(":")
    path = Path(file).absolute()
    if not file or not name.isidentifier():
        raise UsageError(f"--reference {reference}: give FILE:FUNCTION, such as reference.py:scan")
    if not path.is_file():
        raise UsageError(f"--reference {reference}: there is no file {path}")
    try:
        names = set(_bound_names(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"--reference {reference}: {path} is not Python: {first_line(str(error))}") from None
    if not names & {name, "*"}:
        raise UsageError(f"--reference {reference}: {path} has no function {name}")
    return f"{path}:{name}"


def _bound_names(module: ast.Module) -> Iterator[str]:
    """The names that a module may bind, those inside its functions included; `*` if it imports all of another."""
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def source_line(launch: CapturedLaunch) -> str:
    """Which source a sweep runs, in words."""
    origin = launch.origin
    return f"runs the source of {origin.qualname} as it was captured from {origin.file}, line {origin.line}"


def changed_line(launch: CapturedLaunch) -> str:
    """That the kernel's file has another text by now; empty if it has not, or is not here."""
    if changed_since(launch.origin) != "changed":
        return ""
    where = f"{launch.origin.qualname} in {launch.origin.file}"
    return f"{where} has changed since it was captured: these results are of the captured text; capture it again"


def same_inputs_line(launches: int, sets: int) -> str:
    """That some of several launches alike read the same data."""
    return f"of its {launches} launches some read the same data: there are {sets} different sets of inputs"


def _function(reference: str) -> Any:
    file, _, name = reference.rpartition(":")
    spec = importlib.util.spec_from_file_location(f"ssdprof_reference_{Path(file).stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"--reference {reference}: {file} is not a Python file")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        said = first_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"--reference {reference}: {file} cannot be loaded: {said}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"--reference {reference}: {file} has no function {name}")
    return function


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    )
