"""What the engine asks of a kernel bound to a problem: `Subject`, and optional protocols; no torch, no triton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.launch import LaunchPlan, TensorMeta

if TYPE_CHECKING:
    import torch

HELD_AGAINST = "held against"
"""The key of an identity with what outputs are held against, which a run says elsewhere; no name of a parameter."""
Tensors: TypeAlias = "Mapping[str, torch.Tensor]"


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of an output: what one index along it is called, and how many make a chunk, if there are chunks."""

    name: str
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """The least that a problem needs: each input read once, each output written once, and the products' operations."""

    bytes_min: int
    flops: int


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest relative errors of a correct output: of the whole (Frobenius norm) and of any row; `reason`: why.

    `against`: what the output is held against if that is not known to be correct, such as "the launch as captured".
    """

    relative_error: float
    row_error: float
    reason: str
    output: str = ""
    against: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A config of the kernel's own list that its pruning drops from a space, and why."""

    config_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Space:
    """A named list of distinct configs, and those left out of it."""

    name: str
    configs: tuple[Config, ...]
    description: str
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedSpace:
    """A space as a list of spaces has it. `configs`: how many; None if it has none on the problem, and why `absent`."""

    name: str
    configs: int | None
    description: str
    is_default: bool = False
    absent: str = ""


@dataclass(frozen=True, slots=True)
class ListedPreset:
    """A published model's problem as a list of presets has it: the fields that the model sets, and its source."""

    name: str
    fields: Mapping[str, int | str]
    model: str
    source: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What users ask about one parameter (a column): whether its tile limits occupancy; `title` heads the answer.

    `extent`: the dimension that it tiles, in elements. `absent`: why there is nothing to compare, if that is so.
    """

    parameter: str
    title: str
    extent: int
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """A kernel's own statement about its configs on an architecture, in the words of its field."""

    status: Literal["good", "note", "warning"]
    code: str
    message: str
    figures: dict[str, Any] = field(default_factory=dict)


class Subject(Protocol):
    """A kernel bound to a problem: all that the engine needs to compile and launch it.

    Implementations are picklable and cheap to make.
    """

    @property
    def name(self) -> str:
        """The kernel's name in run files."""

    @property
    def params(self) -> ParamTable:
        """The parameters that a config sets."""

    def identity(self) -> dict[str, Any]:
        """The problem, JSON-ready: latencies of equal identities may be compared."""

    def resolve(self, config: Config) -> Config:
        """`config` with what depends on the problem filled in. Raises ConfigError if the kernel cannot take it."""

    def source_hashes(self) -> Mapping[str, str]:
        """By variant, a hash of the source behind its binary and its launch."""

    def tensors(self) -> Mapping[str, TensorMeta]:
        """Every tensor that a launch reads or writes, by name."""

    def inputs(self, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Valid random inputs on `device`, by name: every tensor whose role is in or in-out."""

    def launch(self, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""

    def memory_bytes(self) -> int:
        """Device memory for making one set of inputs and its reference, with the CUDA context: an upper estimate."""


@runtime_checkable
class Located(Protocol):
    """A subject whose kernel is loaded from a source file, by which a run finds it again."""

    @property
    def file(self) -> str:
        """The file's path."""


@runtime_checkable
class Spaced(Protocol):
    """A subject with spaces of its own."""

    @property
    def default_space(self) -> str:
        """The space to sweep if the user names none."""

    def space_names(self) -> Mapping[str, str]:
        """Each space by name, with a description."""

    def space(self, name: str, variant: str | None = None) -> Space:
        """The space with that name; `variant` replaces the variant of its configs. Raises SpaceError."""

    def under_variant(self, configs: Sequence[Config], variant: str) -> Sequence[Config]:
        """The configs under a variant, or under several if `variant` is a word for them. Raises SpaceError."""


@runtime_checkable
class Referenced(Protocol):
    """A subject that knows the correct outputs. Only configs of such a subject can be ranked."""

    def reference(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        """The correct outputs by name, each in the shape of its output, computed without the kernel."""

    def tolerances(self) -> tuple[Tolerances, ...]:
        """How far each correct output may be from the reference, and why."""

    def axes(self, output: str) -> Sequence[Axis]:
        """The dimensions of an output in order, to say where it is wrong; the last one runs within a row."""


@runtime_checkable
class NamedReference(Protocol):
    """A subject that says in words what its outputs are held against."""

    @property
    def reference_name(self) -> str:
        """What that is, such as the launch as captured, or a function of a file."""


@runtime_checkable
class GivenInputs(Protocol):
    """A subject whose inputs are given, not drawn: there are so many sets of them, whatever the seed."""

    @property
    def input_sets(self) -> int:
        """How many sets there are, at least one: `inputs` gives one for each seed from the first on."""


@runtime_checkable
class Peekable(Protocol):
    """A subject with given inputs that can be read without torch: its kernel's addresses may depend on them."""

    def contents(self) -> Mapping[str, Any]:
        """By name, what integer tensors hold, as NumPy arrays of one dimension: all from the first element to the last.

        Elements between, which a strided tensor leaves out, are among them. Tensors whose data is not known, or is
        large, are left out.
        """


@runtime_checkable
class Unordered(Protocol):
    """A subject with outputs that its kernel sums by floating-point atomics, so that equal launches give other bits."""

    def unordered(self) -> frozenset[str]:
        """The names of these outputs."""


@runtime_checkable
class Costed(Protocol):
    """A subject that knows the least its problem needs."""

    def work(self) -> Work:
        """The fewest bytes moved through DRAM, and the operations done."""


@runtime_checkable
class Baselined(Protocol):
    """A subject with a default config for speed-ups to be relative to."""

    def baseline(self) -> Config:
        """The default baseline."""


@runtime_checkable
class Gridded(Protocol):
    """A subject that says what the programs of its grid are, in the words of its field."""

    def grid_axes(self, config: Config) -> Sequence[tuple[str, int]]:
        """What a resolved config's programs count, the fastest first, and how many of each: tiles, chunks, heads."""


@runtime_checkable
class Constrained(Protocol):
    """A subject with configs that are known to be wrong without running them."""

    def wrong_by_construction(self, config: Config) -> str | None:
        """Why a resolved config gives a wrong output on every GPU and for every input; None if that is not known."""


@runtime_checkable
class Diagnosing(Protocol):
    """A subject that can say more about its configs than the engine, in the words of its field."""

    def question(self, config: Config) -> Question | None:
        """What users of this kernel ask first."""

    def remarks(self, configs: Sequence[Config], arch: str) -> Sequence[Remark]:
        """What to say about these configs on an architecture."""

    def cause(self, config: Config, inputs: Tensors, reference: Tensors, outputs: Tensors) -> str | None:
        """Why a wrong output is wrong; None if unknown. Decided by computing, not from the config alone."""
