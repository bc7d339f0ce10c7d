"""Configuration spaces: the published tile lists, a wider one, and lists or crossed values from a file.

The published tile lists are facts about mamba-ssm, TensorRT-LLM (before and with pull request 11345) and vLLM 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from types import MappingProxyType

from ssdprof.kernels.config import TILE_RANGE, shown
from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.interface import Config
from ssdprof.kernels.space_file import PER_HEAD, SUFFIXES, read_space_file, with_variants
from ssdprof.kernels.ssd.subject import whole_state_tile

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


@dataclass(frozen=True, slots=True)
class Space:
    """A named list of configs, none of them twice, each with its DSTATE tile filled in."""

    name: str
    configs: tuple[Config, ...]
    description: str


def space(
    name_or_path: str,
    *,
    dstate: int,
    variant: str | None = None,
    chunk_size: int = 128,
    headdim: int = 64,
    heads_per_group: int = 16,
) -> Space:
    """The space of that name, or that of a .json, .yaml or .yml file, for a state dimension of `dstate` elements.

    `chunk_size` in tokens, `headdim` in elements and `heads_per_group` decide the configs of `grouped` alone. `variant`
    replaces that of every other config; "both" lists them under tile and split in turn. Raises SpaceError for an
    unknown name or variant, one that the space cannot have, an unreadable file, an entry that is no config (named), a
    space that is empty or too large, and a state dimension that no single tile holds where the space needs one that
    does.
    """
    if variant not in (None, "both", *PER_HEAD):
        raise SpaceError(f"unknown variant {shown(variant)}: one of {', '.join(PER_HEAD)}, both")
    path = Path(name_or_path)
    if name_or_path in SPACES:
        published = SPACES[name_or_path]
        if variant is not None and published.variant == "grouped":
            raise SpaceError(f"{name_or_path} has configs of the variant grouped alone: leave --variant out")
        variant = variant or published.variant
        name, description = name_or_path, published.description
        configs = published.configs(_Sizes(dstate, chunk_size, headdim, heads_per_group))
    elif path.suffix.lower() in SUFFIXES:
        name, configs = read_space_file(path, dstate)
        description = f"configs of {path.name}"
    else:
        near = get_close_matches(name_or_path, SPACES, n=1)
        guess = f", did you mean {near[0]}?" if near else ":"
        raise SpaceError(
            f"unknown space {shown(name_or_path)}{guess} One of {', '.join(SPACES)}, or the path of a file that "
            f"ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    whole = _with_whole_state(configs, name, dstate)
    return Space(name, tuple(dict.fromkeys(with_variants(whole, variant))), description)


@dataclass(frozen=True, slots=True)
class _Sizes:
    dstate: int
    chunk_size: int
    headdim: int
    heads_per_group: int


@dataclass(frozen=True, slots=True)
class _Published:
    configs: Callable[[_Sizes], Iterable[Config]]
    variant: str | None  # None: each config has its own
    description: str


def _tiles(tiles: Iterable[tuple[int, int, int, int, int]], *dstate_tiles: int | None) -> list[Config]:
    return [Config(m, n, k, d, warps, stages) for m, n, k, stages, warps in tiles for d in dstate_tiles]


def _wide(sizes: _Sizes) -> list[Config]:
    """Every crossing but those that cannot be good, for want of work per warp or of registers."""
    whole = whole_state_tile(sizes.dstate)
    dstate_tiles = [d for d in (32, 64, 128) if d <= whole] or [whole]
    crossed = product((32, 64, 128), (32, 64), (32, 64), dstate_tiles, (2, 4, 8), (1, 2, 3, 4))
    configs = (Config(m, n, k, d, num_warps=w, num_stages=s) for m, n, k, d, w, s in crossed)
    # Accumulator elements, of one 32-bit register each, per warp of 32 threads: 16 to 64 a thread.
    return [c for c in configs if 512 <= c.block_m * c.block_n // c.num_warps <= 2048]


def _grouped(sizes: _Sizes) -> list[Config]:
    """Tiles of tokens, of headdim where it is long, stages and heads crossed.

    A tile of x is as long as one of the tokens, of which four warps take 64: the rows of one wgmma. Of the heads of a
    group all, a half, a quarter, a fifth or an eighth, at least four, go together.
    """
    tiles = [m for m in (64, 128) if m <= sizes.chunk_size] or [max(16, sizes.chunk_size)]
    tiles_n = [n for n in (64, 128) if n <= whole_state_tile(sizes.headdim)] or [whole_state_tile(sizes.headdim)]
    shares = [sizes.heads_per_group // part for part in (2, 4, 5, 8) if sizes.heads_per_group % part == 0]
    crossed = product(tiles, tiles_n, (2, 3, 4), (None, *(heads for heads in shares if heads >= 4)))
    return [
        Config(m, n, m, None, num_warps=max(4, m // 16), num_stages=s, variant="grouped", heads=heads)
        for m, n, s, heads in crossed
    ]


def _all(sizes: _Sizes) -> list[Config]:
    """All other spaces together, the pull request's list under both variants: one run compares them."""
    pull_request = _tiles(_MAMBA, 32, 64, 128, None)
    split = [replace(c, variant="split") for c in (*pull_request, *_wide(sizes))]
    return [*pull_request, *_tiles(_VLLM, None), *split, *_grouped(sizes)]


SPACES: Mapping[str, _Published] = MappingProxyType(
    {
        "compare": _Published(
            lambda sizes: [*_tiles(_MAMBA, 32, 64, 128), *_tiles(_VLLM, None), *_grouped(sizes)],
            None,
            "the published lists, tensorrt-llm-pr and vllm, and ssdprof's own",
        ),
        "mamba": _Published(
            lambda _: _tiles(_MAMBA, None),
            "tile",
            "11 configs of mamba-ssm and of TensorRT-LLM before pull request 11345, the whole state in one tile",
        ),
        "tensorrt-llm-pr": _Published(
            lambda _: _tiles(_MAMBA, 32, 64, 128),
            "tile",
            "33 configs of TensorRT-LLM's pull request 11345: those of mamba with DSTATE tiles of 32, 64 and 128",
        ),
        "vllm": _Published(
            lambda _: _tiles(_VLLM, None), "tile", "23 configs of vLLM 0.33, the whole state in one tile"
        ),
        "wide": _Published(_wide, "split", "M, N, K and DSTATE tiles crossed with 2 to 8 warps and 1 to 4 stages"),
        "ssdprof": _Published(
            _grouped,
            "grouped",
            "several heads of a group by one program: tiles of tokens, stages and heads crossed",
        ),
        "all": _Published(_all, None, "every config of the spaces above, tensorrt-llm-pr under both variants"),
    }
)


def _with_whole_state(configs: Iterable[Config], name: str, dstate: int) -> Iterator[Config]:
    tile = whole_state_tile(dstate)
    for config in configs:
        if config.block_dstate is None and tile > TILE_RANGE[1]:
            raise SpaceError(
                f"{name} takes the whole state in one tile, which is at most {TILE_RANGE[1]}: dstate {dstate} needs "
                "a space with DSTATE tiles, such as wide"
            )
        yield replace(config, block_dstate=tile) if config.block_dstate is None else config
