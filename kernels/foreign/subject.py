"""A chunk scan of an inference engine, or of a file, as a `Subject`: launched as its own Python entry launches it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.foreign.coverage import STATE, sums_one_tile
from ssdprof.kernels.foreign.files import ENTRY, KERNEL, find
from ssdprof.kernels.interface import Question, Remark, Space
from ssdprof.kernels.launch import LaunchPlan, TensorMeta
from ssdprof.kernels.sources import source_hash
from ssdprof.kernels.ssd import spaces
from ssdprof.kernels.ssd.on_problem import ChunkScanOnProblem
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, BLOCK_K, BLOCK_M, BLOCK_N
from ssdprof.kernels.ssd.partial import LOOP_ENDS, remedy_of_partial_state
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import NAME, QUESTION_TITLE

if TYPE_CHECKING:
    import torch

    from ssdprof.kernels.foreign.listed import Listed

OWN = "own"
"""The space that is the kernel's own autotune list."""
PUBLISHED = ("tensorrt-llm-pr", "mamba", "vllm", "wide")
"""Our spaces that fit any kernel with tiles of M, N and K."""
_TILES = {BLOCK_M.name, BLOCK_N.name, BLOCK_K.name}
_BASELINE = {BLOCK_M.name: 64, BLOCK_N.name: 64, BLOCK_K.name: 32, "num_warps": 2, "num_stages": 4}


def foreign_chunk_scan(kernel: str, problem: ChunkScanProblem) -> ForeignChunkScan:
    """The chunk scan of an installed engine, of a checkout or of a file. Raises UsageError if it cannot be launched."""
    found = find(kernel)
    subject = ForeignChunkScan(problem, found.file, found.module, f"{found.owner}:{NAME}")
    subject.baseline()  # loads it and prepares its launch
    return subject


@dataclass(frozen=True)
class ForeignChunkScan(ChunkScanOnProblem):
    """The chunk scan that a file defines, on a problem; the file is loaded alone, as part of `module`'s package."""

    file: str
    module: str
    name: str
    default_space: str = OWN

    @property
    def params(self) -> ParamTable:
        """What its autotune list and its entry set, and launch options."""
        return self._listed.table

    @property
    def owner(self) -> str:
        """Whose it is: an engine's name, or the file's."""
        return self.name.partition(":")[0]

    @property
    def _listed(self) -> Listed:
        from ssdprof.kernels.foreign.listed import listed_in

        return listed_in(self.file, self.module, self.problem, os.stat(self.file).st_mtime_ns)

    @property
    def _takes_our_tiles(self) -> bool:
        """Whether a config is complete with tiles of M, N and K and the launch options."""
        names = {param.name for param in self.params.shape_params}
        return names >= _TILES and all(self._listed.noted.given(name) is not None for name in names - _TILES)

    def tensors(self) -> Mapping[str, TensorMeta]:
        """Every tensor of its launch."""
        return self._listed.noted.tensors

    def inputs(self, device: str, seed: int) -> dict[str, torch.Tensor]:
        """Ours, and those that its layout adds."""
        from ssdprof.kernels.foreign.layouts import added_inputs

        added = {name: one for name, one in added_inputs(self.problem, device).items() if name in self.tensors()}
        return super().inputs(device, seed) | added

    def resolve(self, config: Config) -> Config:
        """Fills in what is not set as its entry sets it, such as a whole DSTATE tile. Raises ConfigError."""
        return self._listed.filled(self.params.validated(config), self.params)

    def grid_axes(self, config: Config) -> Sequence[tuple[str, int]]:
        """All of these kernels count tiles of a chunk, then chunks, then heads."""
        return tuple(zip(("tile", "chunk", "head"), self.launch(config).grid, strict=False))

    def launch(self, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        noted = self._listed.noted
        given = {name: value for name, value in config.values if value is not None}
        values = noted.values(given)
        args = {name: noted.refs.get(name, values[name]) for name in noted.parameters}
        options = {**noted.options, **{name: value for name, value in given.items() if name not in noted.parameters}}
        return LaunchPlan(self.module, KERNEL, noted.grid_of(values), args, options, self.file)

    def source_hashes(self) -> Mapping[str, str]:
        """A hash of its kernel's and its entry's own text and of all they use beside it."""
        return {"": source_hash(Path(self.file), [KERNEL, ENTRY])}

    def baseline(self) -> Config:
        """64×64×32, 2 warps, 4 stages, whole state, as of our kernel; the first of its list if that does not fit it."""
        ours = self._takes_our_tiles
        return self.resolve(self.params.config(_BASELINE)) if ours else self.space(OWN).configs[0]

    def space_names(self) -> Mapping[str, str]:
        """Its own list, and ours if it takes tiles of M, N and K."""
        ours = spaces.descriptions()
        fitting = {name: ours[name] for name in PUBLISHED if self._takes_our_tiles}
        return {OWN: f"{self.owner}'s own autotune list, as its pruning leaves it", **fitting}

    def space(self, name: str, variant: str | None = None) -> Space:
        """The space of that name. Raises SpaceError."""
        self.under_variant((), variant or "")
        if name == OWN:
            return self._listed.space(name, self.owner)
        published = spaces.space(name, self.problem)
        configs = dict.fromkeys(self.resolve(self.params.config(dict(one.values))) for one in published.configs)
        return Space(name, tuple(configs), published.description)

    def under_variant(self, configs: Sequence[Config], variant: str) -> Sequence[Config]:
        """The configs as they are. Raises SpaceError for a variant, since there are none."""
        if variant:
            raise SpaceError(f"{self.name} has no variants: leave --variant out")
        return configs

    def wrong_by_construction(self, config: Config) -> str | None:
        """That it sums a part of the state only: a DSTATE tile smaller than the state, and no loop over it."""
        dstate, tile = self.problem.dstate, dict(config.values).get(BLOCK_DSTATE.name)
        if not isinstance(tile, int) or tile >= dstate:
            return None
        arguments = self.launch(config).args
        if arguments.get(STATE) != dstate or not sums_one_tile(self.file, BLOCK_DSTATE.name, arguments):
            return None
        cut = f"sums only the first {tile} of {dstate} state elements (dstate) and does not loop over the rest"
        return f"{cut}: {remedy_of_partial_state(dstate, '')}"

    def remedy(self, config: Config) -> str:
        """A larger tile if the kernel takes the state in one; otherwise its loop is at fault."""
        return remedy_of_partial_state(self.problem.dstate, "") if self.wrong_by_construction(config) else LOOP_ENDS

    def question(self, config: Config) -> Question | None:  # noqa: ARG002
        """Why DSTATE limits the warps per scheduler, or does not, if it has a tile of it."""
        has_tile = BLOCK_DSTATE.name in self.params.by_name
        return Question(BLOCK_DSTATE.column, QUESTION_TITLE, self.problem.dstate) if has_tile else None

    def remarks(self, configs: Sequence[Config], arch: str) -> Sequence[Remark]:  # noqa: ARG002
        return ()
