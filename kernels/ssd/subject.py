"""Our own chunk scan as a `Subject`: three variants of one kernel on a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Question, Remark, Space
from ssdprof.kernels.launch import FIRST_WITH_TMA, LaunchPlan, has_tma
from ssdprof.kernels.sources import source_hash
from ssdprof.kernels.ssd import spaces
from ssdprof.kernels.ssd.on_problem import ChunkScanOnProblem
from ssdprof.kernels.ssd.params import (
    BLOCK_DSTATE,
    GROUPED,
    HEADS,
    PARAMS,
    SPLIT,
    TILE,
    Numbers,
    chunk_scan_config,
    whole_tile,
)
from ssdprof.kernels.ssd.partial import remedy_of_partial_state
from ssdprof.kernels.ssd.problem import ChunkScanProblem

NAME = "chunk_scan"
INT32_MAX = 2**31 - 1
_LAUNCHES = Path(__file__).with_name("launches.py")
_SOURCES = {TILE: "_per_head", SPLIT: "_per_head", GROUPED: "_grouped"}
QUESTION_TITLE = "Why DSTATE matters here, or does not"


@dataclass(frozen=True)
class ChunkScan(ChunkScanOnProblem):
    """The chunk scan of Mamba-2's SSD on a problem."""

    name: str = NAME
    params: ParamTable = PARAMS
    default_space: str = spaces.DEFAULT_SPACE

    def baseline(self) -> Config:
        """64×64×32, 2 warps, 4 stages, whole state: the fastest correct config of the published kernel on an H100."""
        return chunk_scan_config(64, 64, 32, whole_tile(self.problem.dstate), num_warps=2, num_stages=4)

    def resolve(self, config: Config) -> Config:
        """Fills in the DSTATE tile that holds the whole state, and for `grouped` the heads of a whole group.

        Raises ConfigError for a launch beyond the kernel's 32-bit limits, for heads with a variant that takes one at a
        time, and with `grouped` for a tile of part of the state or heads that do not divide a group.
        """
        problem = self.problem
        config = self.params.validated(config)
        if config[BLOCK_DSTATE.name] is None:
            config = self.params.validated(config.with_values({BLOCK_DSTATE.name: whole_tile(problem.dstate)}))
        if config.variant == GROUPED:
            config = _resolve_grouped(config, problem)
        elif config[HEADS.name] is not None:
            raise ConfigError(
                f"{config.variant} takes one head at a time: leave heads out, or take the variant {GROUPED}"
            )
        blocks = self.launch(config).grid_blocks
        if blocks > INT32_MAX:
            raise ConfigError(f"the launch has {blocks} blocks, CUDA takes at most {INT32_MAX}: choose larger tiles")
        rows = max(problem.chunk_size, Numbers.of(config).m)
        elements = rows * max(problem.nheads * problem.headdim, problem.chunk_size)
        if elements > INT32_MAX:
            raise ConfigError(
                f"one chunk spans {elements} elements of x, 32-bit offsets reach {INT32_MAX}: choose a smaller "
                "chunk_size"
            )
        return config

    def source_hashes(self) -> Mapping[str, str]:
        """By variant, a hash of the source of its kernel and launch, and of all they use."""
        return _source_hashes()

    def grid_axes(self, config: Config) -> Sequence[tuple[str, int]]:
        """Tiles, chunks, heads; of `grouped` tiles of columns, blocks of heads, tiles of rows, groups, chunks."""
        from ssdprof.kernels.ssd import launches

        return launches.grid_axes(self.problem, config)

    def launch(self, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        from ssdprof.kernels.ssd import launches

        return launches.launch(self.problem, config)

    def wrong_by_construction(self, config: Config) -> str | None:
        """Says that `tile` sums only part of the state if its DSTATE tile is smaller than that."""
        tile, dstate = Numbers.of(config).dstate, self.problem.dstate
        if config.variant != TILE or tile is None or tile >= dstate:
            return None
        return (
            f"sums only the first {tile} of {dstate} state elements (dstate) and does not loop over the rest: "
            f"{remedy_of_partial_state(dstate)}"
        )

    def question(self, config: Config) -> Question:
        """Why DSTATE limits the warps per scheduler, or does not."""
        absent = f"The variant {config.variant} takes the whole state in one DSTATE tile: there is no other to compare."
        return Question(
            parameter=BLOCK_DSTATE.column,
            title=QUESTION_TITLE,
            extent=self.problem.dstate,
            absent=absent if config.variant == GROUPED else "",
        )

    def remarks(self, configs: Sequence[Config], arch: str) -> Sequence[Remark]:
        """Says that the variant made for TMA runs without it, on a GPU that has none."""
        made_for_it = sum(config.variant == GROUPED for config in configs)
        if not made_for_it or has_tma(arch):
            return ()
        message = (
            f"{arch} has no tensor memory accelerator ({FIRST_WITH_TMA} is the first with one): configs of {GROUPED}, "
            f"{made_for_it} here, load and store through pointers, not tensor descriptors."
        )
        return (Remark("note", "without-tma", message, {"arch": arch, "configs": made_for_it}),)

    def space_names(self) -> Mapping[str, str]:
        """The published lists and our own."""
        return spaces.descriptions()

    def space(self, name: str, variant: str | None = None) -> Space:
        """The space with that name on this problem. Raises SpaceError."""
        return spaces.space(name, self.problem, variant)

    def under_variant(self, configs: Sequence[Config], variant: str) -> Sequence[Config]:
        """The configs under `tile`, `split` or both; those of `grouped` stay. Raises SpaceError."""
        return spaces.under_variant(configs, variant)


@lru_cache(maxsize=1)
def _source_hashes() -> Mapping[str, str]:
    return {variant: source_hash(_LAUNCHES, [name]) for variant, name in _SOURCES.items()}


def _resolve_grouped(config: Config, problem: ChunkScanProblem) -> Config:
    """The config, with all heads of a group unless it names some. Raises ConfigError."""
    whole, numbers = whole_tile(problem.dstate), Numbers.of(config)
    if numbers.dstate != whole:
        raise ConfigError(
            f"{GROUPED} takes the whole state: {BLOCK_DSTATE.column} must be {whole}, got {numbers.dstate}"
        )
    in_group = problem.nheads // problem.ngroups
    heads = in_group if numbers.heads is None else numbers.heads
    if in_group % heads:
        raise ConfigError(f"heads must divide the {in_group} heads of a group, got {heads}")
    return config.with_values({HEADS.name: heads})
