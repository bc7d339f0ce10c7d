"""The spaces of the chunk scan: the published tile lists, a wider one, and our own.

The published tile lists are facts about mamba-ssm, TensorRT-LLM (before and with pull request 11345) and vLLM 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from ssdprof.kernels.config import Config, shown
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.interface import Space
from ssdprof.kernels.ssd.params import BLOCK_DSTATE, GROUPED, PARAMS, SPLIT, TILE, chunk_scan_config, whole_tile
from ssdprof.kernels.ssd.problem import ChunkScanProblem

# Published configs by their ids, without the DSTATE tile, which each space sets.
_MAMBA = """
m128n256k64w8s3 m64n256k32w4s4 m128n128k32w4s4 m128n64k32w4s4 m64n128k32w4s4 m128n64k64w4s4 m64n128k64w4s4
m128n32k32w4s4 m64n32k32w2s5 m32n64k32w2s5 m64n64k32w2s4
"""
_VLLM = f"""
m32n32k32w8s2 m32n64k32w8s2 m64n32k32w8s2 m32n32k32w4s3 m32n32k64w4s2 m64n64k64w4s1 m64n64k32w4s1 m128n64k32w4s1
m32n64k32w4s1 m64n64k64w4s2 m64n64k32w4s2 m32n64k32w4s2 {_MAMBA}
"""
DEFAULT_SPACE = "compare"
BOTH = "both"


def space(name: str, problem: ChunkScanProblem, variant: str | None = None) -> Space:
    """The published space with that name on a problem, each config with its DSTATE tile filled in.

    `variant` replaces that of every config except those of `grouped`; "both" lists them under tile, then under split.
    Raises SpaceError for a variant that the space cannot have, and a state too large for one tile if it is to be one.
    """
    published = SPACES[name]
    if variant is not None and published.variant == GROUPED:
        raise SpaceError(f"{name} has only configs of the variant {GROUPED}: leave --variant out")
    configs, whole = list(published.configs(problem)), whole_tile(problem.dstate)
    if whole > BLOCK_DSTATE.high and any(config[BLOCK_DSTATE.name] is None for config in configs):
        raise SpaceError(
            f"{name} takes the whole state in one tile, which is at most {BLOCK_DSTATE.high}: dstate {problem.dstate} "
            "needs a space with DSTATE tiles, such as wide"
        )
    configs = [config.with_values({BLOCK_DSTATE.name: config[BLOCK_DSTATE.name] or whole}) for config in configs]
    if variant := variant or published.variant:
        configs = under_variant(configs, variant)
    return Space(name, tuple(dict.fromkeys(configs)), published.description)


def descriptions() -> Mapping[str, str]:
    """Each space by name, with a description."""
    return {name: published.description for name, published in SPACES.items()}


def under_variant(configs: Iterable[Config], variant: str) -> list[Config]:
    """The configs under another variant, "both": tile, then split; those of `grouped` come last. Raises SpaceError."""
    known = (*PARAMS.variants, BOTH)
    if variant not in known:
        raise SpaceError(f"unknown variant {shown(variant)}: one of {', '.join(known)}")
    listed = list(configs)
    variants = (TILE, SPLIT) if variant == BOTH else (variant,)
    replaced = [replace(config, variant=each) for each in variants for config in listed if config.variant != GROUPED]
    return [*replaced, *(config for config in listed if config.variant == GROUPED)]


class _Published(NamedTuple):
    configs: Callable[[ChunkScanProblem], Iterable[Config]]
    variant: str | None  # None: each config has its own
    description: str


def _listed(tiles: str, *dstate_tiles: int | None) -> list[Config]:
    configs = [parse_config(text, PARAMS) for text in tiles.split()]
    return [config.with_values({BLOCK_DSTATE.name: tile}) for config in configs for tile in dstate_tiles]


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
    pull_request = _listed(_MAMBA, 32, 64, 128, None)
    split = [replace(c, variant=SPLIT) for c in (*pull_request, *_wide(problem))]
    return [*pull_request, *_listed(_VLLM, None), *split, *_grouped(problem)]


SPACES: Mapping[str, _Published] = {
    "compare": _Published(
        lambda problem: [*_listed(_MAMBA, 32, 64, 128), *_listed(_VLLM, None), *_grouped(problem)],
        None,
        "the published lists, tensorrt-llm-pr and vllm, and ssdprof's own",
    ),
    "mamba": _Published(
        lambda _: _listed(_MAMBA, None),
        TILE,
        "mamba-ssm's list, also TensorRT-LLM's before pull request 11345: the whole state in one tile",
    ),
    "tensorrt-llm-pr": _Published(
        lambda _: _listed(_MAMBA, 32, 64, 128),
        TILE,
        "TensorRT-LLM's pull request 11345: the configs of mamba with DSTATE tiles of 32, 64 and 128",
    ),
    "vllm": _Published(lambda _: _listed(_VLLM, None), TILE, "vLLM 0.33's list: the whole state in one tile"),
    "wide": _Published(_wide, SPLIT, "M, N, K and DSTATE tiles crossed with 2 to 8 warps and 1 to 4 stages"),
    "ssdprof": _Published(
        _grouped, GROUPED, "several heads of a group by one program: tiles of tokens, stages and heads crossed"
    ),
    "all": _Published(_all, None, "every config of the spaces above, tensorrt-llm-pr under both variants"),
}
