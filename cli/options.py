"""Options that commands share, in groups; a command takes a whole group as one parameter."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from ssdprof.cli import completion
from ssdprof.kernels.errors import UsageError

if TYPE_CHECKING:
    from ssdprof.kernels.interface import Subject

DEFAULT_PRESET, DEFAULT_SEQLEN = "nemotron-3-super", 50_000  # said in the help; ssdprof.kernels.ssd.presets has them
DEFAULT_KERNEL = "chunk-scan"  # said in the help; ssdprof.kernels.registry has it
OTHER_SPELLINGS = {
    "d-state": "dstate",
    "d-head": "headdim",
    "n-heads": "nheads",
    "n-groups": "ngroups",
    "seq-len": "seqlen",
}

KERNEL_HELP = (
    "chunk-scan; a captured launch (scan.launch); or a foreign chunk scan: mamba_ssm, vllm, sglang, tensorrt_llm, a "
    "file or a checkout."
)
REFERENCE_HELP = (
    "FILE:FUNCTION that gives a captured launch's correct outputs from its arguments by name, or captured: the launch "
    "itself."
)
RUN_HELP = "A run file, a number that runs prints, last, or recorded or recorded:2048, which ship with ssdprof."
Completion: TypeAlias = Callable[[str], list[str]]
Function = TypeVar("Function", bound=Callable[..., Any])


def normal_name(name: str) -> str:
    """Our name of an option that is spelled as tritonbench spells it; other names as they are."""
    return OTHER_SPELLINGS.get(name, name)


def option(panel: str, text: str, *names: str, default: str | bool = False, values: Completion | None = None) -> Any:
    """An option in a panel of the help; without `names` it has the parameter's.

    `default`: the default as the help words it, or whether it shows the value. `values`: what a shell completes.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=default, autocompletion=values)


results_option = partial(option, "Results")
Json = Annotated[bool, results_option("Print JSON on stdout instead of tables.", "--json")]
Quiet = Annotated[bool, results_option("No progress and no notes.", "--quiet", "-q")]
Force = Annotated[bool, results_option("Replace result files that exist already.", "--force")]

_problem = partial(option, "Problem")
_target = partial(option, "Target", default=True)


@dataclass(frozen=True, slots=True)
class SubjectOptions:
    """The kernel and its problem: a preset, and what differs from it. None: as in the preset."""

    kernel: Annotated[str | None, option("Kernel", KERNEL_HELP, default=DEFAULT_KERNEL)] = None
    preset: Annotated[
        str | None, _problem("Published model to start from.", default=DEFAULT_PRESET, values=completion.presets)
    ] = None
    seqlen: Annotated[
        str | None, _problem("Tokens; for sweep also several, such as 2048,50000.", default=str(DEFAULT_SEQLEN))
    ] = None
    dstate: Annotated[int | None, _problem("State dimension.")] = None
    batch: Annotated[int | None, _problem("Sequences.", default="1")] = None
    nheads: Annotated[int | None, _problem("Heads.")] = None
    headdim: Annotated[int | None, _problem("Dimension of a head.")] = None
    ngroups: Annotated[int | None, _problem("Groups of heads that share B and C.")] = None
    chunk_size: Annotated[int | None, _problem("Tokens per chunk, a power of two.")] = None
    tp: Annotated[int | None, _problem("GPUs to divide heads and groups among.")] = None
    dtype: Annotated[
        str | None, _problem("Dtype of x, C and z: bfloat16, float16 or float32.", values=completion.dtypes)
    ] = None
    states_dtype: Annotated[str | None, _problem("Dtype of the states: bfloat16 or float32.")] = None
    d_form: Annotated[str | None, _problem("Form of D: none, head or head-dim.")] = None
    z: Annotated[bool | None, _problem("Gate the output by z.")] = None
    seq_idx: Annotated[bool | None, _problem("Packed sequences.")] = None
    reference: Annotated[str | None, option("Kernel", REFERENCE_HELP, default="captured, unless recognised")] = None
    trust: Annotated[str | None, option("Kernel", "Config of a captured launch whose output is correct.")] = None

    @property
    def title(self) -> str:
        """What it is among several: the captured launch, or the length."""
        return f"{self.kernel}" if self.is_captured else f"seqlen {self.seqlen}"

    @property
    def is_captured(self) -> bool:
        """Whether the kernel is a captured launch, or a file of several."""
        from ssdprof.kernels.captured import is_captured

        return self.kernel is not None and is_captured(self.kernel)

    @property
    def file_stem(self) -> str:
        """The name of its run's file among several."""
        return self.title.rpartition(":")[2] if self.is_captured else f"seqlen-{self.seqlen}"

    @property
    def arguments(self) -> str:
        """What the user gave, as on the command line; empty if neither a kernel nor any part of a problem."""
        words: list[str] = []
        for field, value in asdict(self).items():
            name = field.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{name}" if value else f"--no-{name}")
            elif value is not None:
                words += [f"--{name}", str(value)]
        return shlex.join(words)

    def each_captured(self) -> list[SubjectOptions]:
        """The same for each launch of a capture file. Raises UsageError if the file cannot be read, or has none."""
        from ssdprof.kernels.captured import SUFFIX
        from ssdprof.kernels.captured.subject import captured_names

        if self.kernel is None or not self.kernel.endswith(SUFFIX):
            return [self]
        if self.reference or self.trust:
            raise UsageError("--reference and --trust are for one launch: name it as FILE.launch:NUMBER")
        return [replace(self, kernel=name) for name in captured_names(Path(self.kernel))]

    def each(self) -> list[SubjectOptions]:
        """The same for each of the lengths. Raises UsageError for what is no whole number, and one that is repeated."""
        if self.is_captured and self.seqlen is not None:
            raise UsageError("--seqlen: a captured launch has the problem that it was captured with: leave it out")
        lengths = [] if self.seqlen is None else [text.strip() for text in self.seqlen.split(",")]
        for text in lengths:
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                raise UsageError(f"--seqlen {self.seqlen}: give a whole number of tokens, or several as in 2048,50000")
        numbers = [int(text) for text in lengths]
        if len(set(numbers)) < len(numbers):
            raise UsageError(f"--seqlen {self.seqlen} names a length twice: name each once")
        return [replace(self, seqlen=str(number)) for number in numbers] or [self]

    def build(self) -> Subject:
        """The kernel on the problem. Raises UsageError if either does not exist, or if there are several lengths."""
        from ssdprof.kernels.registry import subject

        problems = self.each()
        if len(problems) > 1:
            raise UsageError(
                f"--seqlen {self.seqlen} names {len(problems)} lengths: only sweep takes several, name one"
            )
        values = asdict(problems[0])
        kernel, preset = values.pop("kernel") or DEFAULT_KERNEL, values.pop("preset") or DEFAULT_PRESET
        seqlen = values.pop("seqlen")
        return subject(kernel, preset=preset, seqlen=None if seqlen is None else int(seqlen), **values)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Which architecture to compile for, which GPU to measure on, how many jobs, and how long to wait."""

    arch: Annotated[
        str | None,
        _target(
            "Architecture to compile for, or a GPU such as H100.",
            default="the GPU's, else sm_90",
            values=completion.archs,
        ),
    ] = None
    device: Annotated[str, _target("GPU to measure on: auto, none or an index.", "--device", "--gpu")] = "auto"
    jobs: Annotated[int | None, _target("Configs compiled at once.", "--jobs", "-j", default="CPU cores")] = None
    timeout_s: Annotated[float, _target("Seconds for one config to compile or to measure.", "--timeout")] = 300


def command_line() -> str:
    """The command line as typed, for the run file."""
    return shlex.join(["ssdprof", *sys.argv[1:]])


def grouped(function: Function) -> Function:
    """Shows typer each field of a group (a parameter that is a dataclass of annotated options) as an option."""
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in _parameters(function):
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _parameters(parameter.annotation)
        else:
            parameters.append(parameter)

    def command(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command  # type: ignore[return-value]


def _parameters(of: Any) -> list[inspect.Parameter]:
    found = inspect.signature(of, eval_str=True).parameters.values()
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in found]
