"""The spaces of the chunk scan: the published tile lists, a wider one, and our own.

The published tile lists are facts about mamba-ssm, TensorRT-LLM (before and with pull request 11345) and vLLM 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

from ssdprof.kernels.config import Config, shown
from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.interface import Space
from ssdprof.kernels.ssd.params import (
    BLOCK_DSTATE,
    GROUPED,
    SPLIT,
    TILE,
    TILE_MAX,
    VARIANTS,
    chunk_scan_config,
    whole_tile,
)
from ssdprof.kernels.ssd.problem import ChunkScanProblem

# Published tiles: M, N, K, stages, warps.
_MAMBA = (
    (128, 256, 64, 3, 8),
    (64, 256, 32, 4, 4),
    (128, 128, 32, 4, 4),
    (128, 64, 32, 4, 4),
    (64, 128, 32, 4, 4),
    (128, 64, 64, 4, 4),
    (64, 128, 64, 4, 4),
    (128, 32, 32, 4, 4),
    (64, 32, 32, 5, 2),
    (32, 64, 32, 5, 2),
    (64, 64, 32, 4, 2),
)
_VLLM = (
    (32, 32, 32, 2, 8),
    (32, 64, 32, 2, 8),
    (64, 32, 32, 2, 8),
    (32, 32, 32, 3, 4),
    (32, 32, 64, 2, 4),
    (64, 64, 64, 1, 4),
    (64, 64, 32, 1, 4),
    (128, 64, 32, 1, 4),
    (32, 64, 32, 1, 4),
    (64, 64, 64, 2, 4),
    (64, 64, 32, 2, 4),
    (32, 64, 32, 2, 4),
    *_MAMBA,
)


DEFAULT_SPACE = "compare"
BOTH = "both"
PER_HEAD = (TILE, SPLIT)
"""The variants that take a list of tiles as it is: `both` stands for these."""


def space(name: str, problem: ChunkScanProblem, variant: str | None = None) -> Space:
    """The published space with that name on a problem, each config with its DSTATE tile filled in.

    `variant` replaces that of every config except those of `grouped`; "both" lists them under tile, then under split.
    Raises SpaceError for an unknown name or variant, a variant that the space cannot have, and a state dimension too
    large for one tile in a space that puts the whole state in one.
    """
    published = SPACES[name]
    if variant is not None and published.variant == GROUPED:
        raise SpaceError(f"{name} has only configs of the variant {GROUPED}: leave --variant out")
    configs = list(_with_whole_state(published.configs(problem), name, problem.dstate))
    variant = variant or published.variant
    if variant is not None:
        configs = under_variant(configs, variant)
    return Space(name, tuple(dict.fromkeys(configs)), published.description)


def descriptions() -> Mapping[str, str]:
    """Each space by name, with a description."""
    return {name: published.description for name, published in SPACES.items()}


def under_variant(configs: Iterable[Config], variant: str) -> list[Config]:
    """The configs under another variant; for "both" under tile, then under split.

    Configs of `grouped` fit no other variant: they stay, and come last. Raises SpaceError for an unknown variant.
    """
    if variant not in (BOTH, *VARIANTS):
        raise SpaceError(f"unknown variant {shown(variant)}: one of {', '.join(VARIANTS)}, {BOTH}")
    listed = list(configs)
    variants = PER_HEAD if variant == BOTH else (variant,)
    per_head = [config for config in listed if config.variant != GROUPED]
    replaced = [replace(config, variant=each) for each in variants for config in per_head]
    return [*replaced, *(config for config in listed if config.variant == GROUPED)]


@dataclass(frozen=True, slots=True)
class _Published:
    configs: Callable[[ChunkScanProblem], Iterable[Config]]
    variant: str | None  # None: each config has its own
    description: str


def _tiles(tiles: Iterable[tuple[int, int, int, int, int]], *dstate_tiles: int | None) -> list[Config]:
    return [chunk_scan_config(m, n, k, d, warps, stages) for m, n, k, stages, warps in tiles for d in dstate_tiles]


def _wide(problem: ChunkScanProblem) -> list[Config]:
    """Every combination except those that cannot be fast, for lack of work per warp or of registers."""
    whole = whole_tile(problem.dstate)
    dstate_tiles = [d for d in (32, 64, 128) if d <= whole] or [whole]
    crossed = product((32, 64, 128), (32, 64), (32, 64), dstate_tiles, (2, 4, 8), (1, 2, 3, 4))
    # Accumulator elements per warp of 32 threads, a 32-bit register each: 16 to 64 per thread.
    return [chunk_scan_config(m, n, k, d, w, s) for m, n, k, d, w, s in crossed if 512 <= m * n // w <= 2048]


def _grouped(problem: ChunkScanProblem) -> list[Config]:
    """Tiles of tokens, tiles of headdim if it is long, stages and heads, crossed.

    A tile of x is as long as a tile of tokens; four warps take 64 tokens, the rows of one wgmma. A program takes all
    heads of a group, or a half, a quarter, a fifth or an eighth of them, but at least four.
    """
    tiles = [m for m in (64, 128) if m <= problem.chunk_size] or [max(16, problem.chunk_size)]
    tiles_n = [n for n in (64, 128) if n <= whole_tile(problem.headdim)] or [whole_tile(problem.headdim)]
    shares = [problem.heads_per_group // part for part in (2, 4, 5, 8) if problem.heads_per_group % part == 0]
    crossed = product(tiles, tiles_n, (2, 3, 4), (None, *(heads for heads in shares if heads >= 4)))
    return [
        chunk_scan_config(m, n, m, None, max(4, m // 16), s, variant=GROUPED, heads=heads) for m, n, s, heads in crossed
    ]


def _all(problem: ChunkScanProblem) -> list[Config]:
    """All other spaces together, the pull request's list under both variants, for one run to compare."""
    pull_request = _tiles(_MAMBA, 32, 64, 128, None)
    split = [replace(c, variant=SPLIT) for c in (*pull_request, *_wide(problem))]
    return [*pull_request, *_tiles(_VLLM, None), *split, *_grouped(problem)]


SPACES: Mapping[str, _Published] = MappingProxyType(
    {
        "compare": _Published(
            lambda problem: [*_tiles(_MAMBA, 32, 64, 128), *_tiles(_VLLM, None), *_grouped(problem)],
            None,
            "the published lists, tensorrt-llm-pr and vllm, and ssdprof's own",
        ),
        "mamba": _Published(
            lambda _: _tiles(_MAMBA, None),
            TILE,
            "11 configs of mamba-ssm and of TensorRT-LLM before pull request 11345, the whole state in one tile",
        ),
        "tensorrt-llm-pr": _Published(
            lambda _: _tiles(_MAMBA, 32, 64, 128),
            TILE,
            "33 configs of TensorRT-LLM's pull request 11345: those of mamba with DSTATE tiles of 32, 64 and 128",
        ),
        "vllm": _Published(lambda _: _tiles(_VLLM, None), TILE, "23 configs of vLLM 0.33, the whole state in one tile"),
        "wide": _Published(_wide, SPLIT, "M, N, K and DSTATE tiles crossed with 2 to 8 warps and 1 to 4 stages"),
        "ssdprof": _Published(
            _grouped, GROUPED, "several heads of a group by one program: tiles of tokens, stages and heads crossed"
        ),
        "all": _Published(_all, None, "every config of the spaces above, tensorrt-llm-pr under both variants"),
    }
)


def _with_whole_state(configs: Iterable[Config], name: str, dstate: int) -> Iterator[Config]:
    tile = whole_tile(dstate)
    for config in configs:
        if config[BLOCK_DSTATE.name] is not None:
            yield config
            continue
        if tile > TILE_MAX:
            raise SpaceError(
                f"{name} takes the whole state in one tile, which is at most {TILE_MAX}: dstate {dstate} needs "
                "a space with DSTATE tiles, such as wide"
            )
        yield config.with_values({BLOCK_DSTATE.name: tile})
