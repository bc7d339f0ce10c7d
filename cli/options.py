"""Options that commands share, in groups; a command takes a whole group as one parameter."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.kernels.interface import Subject
    from ssdprof.profiling.workers.pool import Pool

DEFAULT_PRESET, DEFAULT_SEQLEN = "nemotron-3-super", 50_000  # said in the help; ssdprof.kernels.ssd.presets has them
DEFAULT_KERNEL = "chunk-scan"  # said in the help; ssdprof.kernels.registry has it
OTHER_SPELLINGS = {
    "d-state": "dstate",
    "d-head": "headdim",
    "n-heads": "nheads",
    "n-groups": "ngroups",
    "seq-len": "seqlen",
}

KERNEL_HELP = "chunk-scan, or a foreign chunk scan: mamba_ssm, vllm, sglang, tensorrt_llm, a file or a checkout."
Function = TypeVar("Function", bound=Callable[..., Any])
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


def normal_name(name: str) -> str:
    """Our name of an option that is spelled as tritonbench spells it; other names as they are."""
    return OTHER_SPELLINGS.get(name, name)


def option(panel: str, *names: str, help: str, default: str | bool = False) -> Any:  # noqa: A002  # typer's own word
    """An option in a panel of the help. `default`: the default as the help words it, or whether it shows the value."""
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=default)


_problem = partial(option, "Problem")
_target = partial(option, "Target", default=True)


@dataclass(frozen=True, slots=True)
class SubjectOptions:
    """The kernel and its problem: a preset, and what differs from it. None: as in the preset."""

    kernel: Annotated[str | None, option("Kernel", "--kernel", help=KERNEL_HELP, default=DEFAULT_KERNEL)] = None
    preset: Annotated[
        str | None, _problem("--preset", help="Published model to start from.", default=DEFAULT_PRESET)
    ] = None
    seqlen: Annotated[int | None, _problem("--seqlen", help="Tokens.", default=str(DEFAULT_SEQLEN))] = None
    batch: Annotated[int | None, _problem("--batch", help="Sequences.", default="1")] = None
    nheads: Annotated[int | None, _problem("--nheads", help="Heads.")] = None
    headdim: Annotated[int | None, _problem("--headdim", help="Dimension of a head.")] = None
    ngroups: Annotated[int | None, _problem("--ngroups", help="Groups of heads that share B and C.")] = None
    dstate: Annotated[int | None, _problem("--dstate", help="State dimension.")] = None
    chunk_size: Annotated[int | None, _problem("--chunk-size", help="Tokens per chunk, a power of two.")] = None
    dtype: Annotated[str | None, _problem("--dtype", help="Dtype of x, C and z: bfloat16, float16 or float32.")] = None
    states_dtype: Annotated[
        str | None, _problem("--states-dtype", help="Dtype of the states: bfloat16 or float32.")
    ] = None
    d_form: Annotated[str | None, _problem("--d-form", help="Form of D: none, head or head-dim.")] = None
    z: Annotated[bool | None, _problem("--z/--no-z", help="Gate the output by z.")] = None
    seq_idx: Annotated[bool | None, _problem("--seq-idx/--no-seq-idx", help="Packed sequences.")] = None
    tp: Annotated[int | None, _problem("--tp", help="GPUs to divide heads and groups among.")] = None

    @property
    def given(self) -> bool:
        """Whether the user named a kernel or any part of a problem."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    @property
    def arguments(self) -> str:
        """What the user gave, as on the command line."""
        words: list[str] = []
        for field in fields(self):
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{name}" if value else f"--no-{name}")
            elif value is not None:
                words += [f"--{name}", str(value)]
        return shlex.join(words)

    def build(self) -> Subject:
        """The kernel on the problem. Raises UsageError if either does not exist."""
        from ssdprof.kernels.registry import subject

        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kernel, preset = values.pop("kernel") or DEFAULT_KERNEL, values.pop("preset") or DEFAULT_PRESET
        return subject(kernel, preset=preset, **values)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Which architecture to compile for, which GPU to measure on, how many jobs, and how long to wait."""

    arch: Annotated[
        str | None, _target("--arch", help="Architecture to compile for.", default="the GPU's, else sm_90")
    ] = None
    device: Annotated[str, _target("--device", "--gpu", help="GPU to measure on: auto, none or an index.")] = "auto"
    jobs: Annotated[int | None, _target("--jobs", "-j", help="Configs compiled at once.", default="CPU cores")] = None
    timeout_s: Annotated[float, _target("--timeout", help="Seconds for one config to compile or to measure.")] = 300

    def started(self) -> Pool:
        """The processes that compile and measure, started at once."""
        from ssdprof.profiling.api import started

        return started(self.device)


def check_writable(path: Path, option: str) -> None:
    """Raises UsageError if a file cannot be written at `path`; leaves an existing file as it is."""
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}, create it first")
    there = path.exists()
    if there and not path.is_file():
        raise UsageError(f"{option} {path} is not a regular file: name one")
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror or error}") from None
    if not there:
        path.unlink()


def command_line() -> str:
    """The command line as typed, for the run file."""
    return shlex.join(["ssdprof", *sys.argv[1:]])


def grouped(function: Function) -> Function:
    """Shows typer each field of a group (a parameter that is a dataclass of annotated options) as an option."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type] = {
        name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)
    }
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in groups:
            parameters += _options_of(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY))

    def command(**values: Any) -> Any:
        for name, group in groups.items():
            names = [field.name for field in fields(group)]
            values[name] = group(**{field: values.pop(field) for field in names})
        return function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command  # type: ignore[return-value]


@cache
def _options_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
