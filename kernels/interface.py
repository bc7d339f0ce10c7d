"""What the engine asks of a kernel bound to a problem: the `Subject` protocol, and what a subject may have besides.

Nothing here imports torch or triton, so that command-line help and compile-only runs stay quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.launch import LaunchPlan, TensorMeta

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of an output: what one index along it is called, and how many together make a chunk, if they do."""

    name: str
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a problem needs at least: each input read once, each output written once, and the products' operations."""

    bytes_min: int
    flops: int


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest relative errors of a correct output: of the whole (Frobenius norm), of any single row; `reason`: why."""

    relative_error: float
    row_error: float
    reason: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A config that a kernel's own list has and its pruning leaves out of a space, and why."""

    config_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Space:
    """A named list of configs, none of them twice, and those that were left out of it."""

    name: str
    configs: tuple[Config, ...]
    description: str
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What users of this kernel ask of one parameter: whether its tile is what limits occupancy.

    `parameter` is a column. `extent` is the dimension that it tiles, in elements; `title` heads the answer. `absent`
    says why there is nothing to compare, if a variant has one value alone.
    """

    parameter: str
    title: str
    extent: int
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """A statement of the kernel's own about its configs on an architecture, in the words of its field."""

    status: Literal["good", "note", "warning"]
    code: str
    message: str
    figures: dict[str, Any] = field(default_factory=dict)


class Subject(Protocol):
    """A kernel bound to a problem: all that the engine needs to compile and launch it.

    Implementations are picklable and cheap to make. What makes a latency comparable is its `identity`.
    """

    @property
    def name(self) -> str:
        """The kernel's name in run files."""
        ...

    @property
    def params(self) -> ParamTable:
        """The parameters that a config sets."""
        ...

    def identity(self) -> dict[str, Any]:
        """The problem, JSON-ready: with equal identities latencies may be compared."""
        ...

    def resolve(self, config: Config) -> Config:
        """`config` with what depends on the problem filled in. Raises ConfigError if the kernel cannot take it."""
        ...

    def source_hashes(self) -> Mapping[str, str]:
        """By variant, a hash of the source that makes its binary and its launch."""
        ...

    def tensors(self) -> Mapping[str, TensorMeta]:
        """Every tensor that a launch reads or writes, by name."""
        ...

    def inputs(self, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Valid random inputs on `device`, by name: all tensors whose role is in or in-out."""
        ...

    def launch(self, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        ...

    def memory_bytes(self) -> int:
        """Device memory to make one set of inputs and its reference, at its peak (an estimate from above).

        Workspaces and the CUDA context are in it; what the engine holds besides is not.
        """
        ...


@runtime_checkable
class Spaced(Protocol):
    """A subject with spaces of its own."""

    @property
    def default_space(self) -> str:
        """The space that is swept if the user names none."""
        ...

    def space_names(self) -> Mapping[str, str]:
        """Each space's name and what it is."""
        ...

    def space(self, name: str, variant: str | None = None) -> Space:
        """The space of that name; `variant` replaces that of its configs. Raises SpaceError."""
        ...

    def under_variant(self, configs: Sequence[Config], variant: str) -> Sequence[Config]:
        """The configs under a variant, or under several that the kernel has a word for. Raises SpaceError."""
        ...


@runtime_checkable
class Referenced(Protocol):
    """A subject that knows the correct outputs. Only such a subject's configs can be ranked."""

    def reference(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The correct outputs by name, each in its output's shape, computed without the kernel."""
        ...

    def tolerances(self) -> tuple[Tolerances, ...]:
        """How far each correct output may be from the reference, and why that far."""
        ...

    def axes(self, output: str) -> Sequence[Axis]:
        """The dimensions of an output in order, for saying where it is wrong; the last is a row's own."""
        ...


@runtime_checkable
class Costed(Protocol):
    """A subject that knows what its problem needs at least."""

    def work(self) -> Work:
        """Least bytes moved through DRAM and operations done."""
        ...


@runtime_checkable
class Baselined(Protocol):
    """A subject with a config that speed-ups are relative to if the user names none."""

    def baseline(self) -> Config:
        """That config."""
        ...


@runtime_checkable
class Constrained(Protocol):
    """A subject of which some configs are known to be wrong without running."""

    def wrong_by_construction(self, config: Config) -> str | None:
        """Why a resolved config gives a wrong output on every GPU and for every input; None if nothing says so."""
        ...


@runtime_checkable
class Diagnosing(Protocol):
    """A subject that can say more of its configs than the engine, in the words of its field."""

    def question(self, config: Config) -> Question | None:
        """What users ask of this kernel first."""
        ...

    def remarks(self, configs: Sequence[Config], arch: str) -> Sequence[Remark]:
        """What is to be said of these configs on an architecture."""
        ...

    def cause(
        self,
        config: Config,
        inputs: Mapping[str, torch.Tensor],
        reference: Mapping[str, torch.Tensor],
        outputs: Mapping[str, torch.Tensor],
    ) -> str | None:
        """Why a wrong output is wrong, to be decided by computing, not from the config alone; None if unknown."""
        ...
