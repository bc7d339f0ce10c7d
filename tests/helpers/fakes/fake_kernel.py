"""A subject whose parameters are none of the chunk scan's, and that needs neither Triton nor a GPU.

Of `x` (rows, lanes) it makes two outputs: `scaled` = 2 · x, and `total`, which is read and written: it grows by
weights · x. Both lie with `weights`, which is read only, in one storage that has a gap after each row. Each variant is
a kernel of `fake_launches`: correct, wrong or broken in a way of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fake_launches import KERNELS, TURNS, abort

from ssdprof.kernels.config import NUM_STAGES, NUM_WARPS, Config, Param, ParamTable, Value
from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.interface import Axis, Question, Remark, Space, Tolerances, Work
from ssdprof.kernels.launch import LaunchPlan, TensorMeta, TensorRef

if TYPE_CHECKING:
    import torch

GAP = 3
"""Elements of the outputs' storage after each row that belong to no tensor."""
ROWS = Param(
    "ROWS", column="rows", unit="rows", description="rows of a tile", low=1, high=1024, required=True, axis="row"
)
LANES = Param(
    "LANES", heading="lanes", unit="elements", description="lanes of a tile; empty: all of them",
    low=1, high=256, power_of_two=True, axis="lane", around=(32, 64, 128), aliases=("width",),
)  # fmt: skip
PARAMS = ParamTable((ROWS, LANES, NUM_WARPS, NUM_STAGES), tuple(KERNELS))


def fake(variant: str = "right", rows: int = 16, **values: Value) -> Config:
    """A config of the fake subject, whether it takes it or not; `rows` tells several of one variant apart."""
    return Config(tuple(({"ROWS": rows, "LANES": 16, "num_warps": 4, "num_stages": 2} | values).items()), variant)


def fake_id(variant: str = "right", rows: int = 16, **values: Value) -> str:
    """The id of that config."""
    return PARAMS.id(fake(variant, rows, **values))


def rows_of(config: Config) -> int:
    """What tells configs of one variant apart."""
    return config.number("ROWS")


@dataclass(frozen=True, slots=True)
class BareSubject:
    """What a subject must have and no more: it knows no correct output.

    `log`: a file that gets a line with the process id for each set of inputs that is made. `trouble`: how making its
    reference fails, "raise", or "abort" from the second process on; empty: it does not.
    """

    rows: int = 8
    columns: int = 16
    log: str = ""
    trouble: str = ""

    name: ClassVar[str] = "fake"
    params: ClassVar[ParamTable] = PARAMS

    def identity(self) -> dict[str, Any]:
        return asdict(self)

    def resolve(self, config: Config) -> Config:
        config = PARAMS.validated(config)
        return config.with_values({"LANES": self.columns}) if config["LANES"] is None else config

    def source_hashes(self) -> Mapping[str, str]:
        return dict.fromkeys(KERNELS, "fa4e" * 4)

    def tensors(self) -> Mapping[str, TensorMeta]:
        shape, step = (self.rows, self.columns), 2 * self.columns + 1 + GAP
        shared = TensorMeta(shape, "float32", "out", strides=(step, 1), storage="outputs")
        return {
            "x": TensorMeta(shape, "float32"),
            "scaled": shared,
            "total": replace(shared, role="in-out", offset=self.columns),
            "weights": replace(shared, shape=shape[:1], role="in", strides=(step,), offset=2 * self.columns),
        }

    def inputs(self, device: str, seed: int) -> dict[str, torch.Tensor]:
        import torch

        if self.log:
            with Path(self.log).open("a") as log:
                log.write(f"{os.getpid()}\n")
        generator = torch.Generator(device=device).manual_seed(seed)
        metas = self.tensors()
        return {
            name: torch.randn(metas[name].shape, generator=generator, device=device)
            for name in ("x", "total", "weights")
        }

    def launch(self, config: Config) -> LaunchPlan:
        return LaunchPlan(
            module="fake_launches",
            function=config.variant,
            grid=(rows_of(config), 2),
            args={**{name: TensorRef(name, "float32") for name in self.tensors()}, "LANES": config["LANES"]},
            options={"num_warps": config["num_warps"], "num_stages": config["num_stages"]},
        )

    def memory_bytes(self) -> int:
        return 5 << 30


SPACES: Mapping[str, Space] = {
    "few": Space("few", (fake(), fake(rows=32), fake("wrong_scaled")), "two correct configs and a wrong one"),
    "one": Space("one", (fake(),), "one correct config"),
}


@dataclass(frozen=True, slots=True)
class FakeSubject(BareSubject):
    """With everything that a subject may have besides."""

    default_space: ClassVar[str] = "few"

    def space_names(self) -> Mapping[str, str]:
        return {name: space.description for name, space in SPACES.items()}

    def space(self, name: str, variant: str | None = None) -> Space:
        found = SPACES[name]
        return replace(found, configs=tuple(self.under_variant(found.configs, variant))) if variant else found

    def under_variant(self, configs: Sequence[Config], variant: str) -> Sequence[Config]:
        if variant not in KERNELS:
            raise SpaceError(f"unknown variant {variant}")
        return [replace(config, variant=variant) for config in configs]

    def reference(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.trouble == "raise":
            raise RuntimeError("no reference today")
        if self.trouble == "abort" and len(set(Path(self.log).read_text().split())) > 1:
            abort("the reference went down")
        x = inputs["x"]
        return {"scaled": 2 * x, "total": inputs["total"] + inputs["weights"][:, None] * x}

    def tolerances(self) -> tuple[Tolerances, ...]:
        reason = "it suits the tests"
        return (Tolerances(1e-2, 5e-2, reason, output="scaled"), Tolerances(2e-2, 0.1, reason, output="total"))

    def axes(self, output: str) -> Sequence[Axis]:
        return (Axis("row", chunk=3), Axis("lane"))

    def work(self) -> Work:
        elements = self.rows * self.columns
        return Work(bytes_min=4 * (4 * elements + self.rows), flops=3 * elements)

    def baseline(self) -> Config:
        return fake()

    def wrong_by_construction(self, config: Config) -> str | None:
        """Says so of every variant, though only `narrow` leaves lanes out."""
        covered = TURNS * config.number("LANES")
        return None if covered >= self.columns else f"covers only {covered} of {self.columns} lanes"

    def question(self, config: Config) -> Question:
        absent = "The variant half has one tile of lanes: there is no other to compare."
        title = "Why LANES matters here, or does not"
        return Question("LANES", title, self.columns, absent if config.variant == "half" else "")

    def remarks(self, configs: Sequence[Config], arch: str) -> Sequence[Remark]:
        sleepers = sum(config.variant == "slow" for config in configs)
        message = f"On {arch}, {sleepers} of these configs sleep before they end."
        return (Remark("note", "sleepers", message, {"configs": sleepers}),) if sleepers else ()

    def cause(
        self,
        config: Config,
        inputs: Mapping[str, torch.Tensor],
        reference: Mapping[str, torch.Tensor],
        outputs: Mapping[str, torch.Tensor],
    ) -> str | None:
        import torch

        covered = TURNS * config.number("LANES")
        if torch.equal(outputs["scaled"], inputs["x"]):
            return "only half of two"
        if covered < self.columns and not outputs["scaled"][:, covered:].any():
            return f"only {covered} of {self.columns} lanes"
        return None


HELD_AGAINST = "the launch as captured"


@dataclass(frozen=True, slots=True)
class CapturedSubject(FakeSubject):
    """With one set of inputs, which is given, and a reference that is not known to be correct."""

    input_sets: ClassVar[int] = 1
    reference_name: ClassVar[str] = "the outputs of the program's own launch"

    def tolerances(self) -> tuple[Tolerances, ...]:
        return tuple(replace(one, against=HELD_AGAINST) for one in FakeSubject.tolerances(self))
