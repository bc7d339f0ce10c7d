"""What a config of the chunk scan sets, and its variants."""

from __future__ import annotations

from typing import NamedTuple

from ssdprof.kernels.config import MAXNREG, NUM_CTAS, NUM_STAGES, NUM_WARPS, Config, Param, ParamTable
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import ConfigError

TILE_MIN, TILE_MAX = 16, 512
"""Elements: `tl.dot` takes at least 16 in each dimension; 512 is twice the largest published tile."""
TILE, SPLIT, GROUPED = "tile", "split", "grouped"
VARIANTS = (TILE, SPLIT, GROUPED)
"""The first is the default."""


def _tile(name: str, letter: str, description: str, axis: str = "") -> Param:
    heading = name.upper()
    return Param(
        f"BLOCK_SIZE_{heading}", column=f"block_{name}", letter=letter, heading=heading, unit="elements",
        description=description, low=TILE_MIN, high=TILE_MAX, power_of_two=True, required=name != "dstate", axis=axis,
        around=(32, 64, 128) if name == "dstate" else (), aliases=(name,) if name == "dstate" else (),
    )  # fmt: skip


BLOCK_M = _tile("m", "m", "tile of the chunk's tokens", "token")
BLOCK_N = _tile("n", "n", "tile of the head dimension", "dim")
BLOCK_K = _tile("k", "k", "tile of the sum over the chunk's tokens")
BLOCK_DSTATE = _tile("dstate", "d", "tile of the state dimension")
"""Not set, it means the whole state: Triton's printed form of the published kernels leaves it out."""
HEADS = Param(
    "HEADS", column="heads", letter="h", unit="heads",
    description="heads of a group that one program takes; empty: one at a time",
    low=1, high=1024, around=(1, 2, 4, 8, 16),
)  # fmt: skip
"""Not set, it means all heads of a group, if the variant takes several."""

_COLUMNS = (BLOCK_M, BLOCK_N, BLOCK_K, BLOCK_DSTATE, NUM_WARPS, NUM_STAGES, MAXNREG, HEADS, NUM_CTAS)
_NO_EXAMPLE = ParamTable(_COLUMNS, VARIANTS)


def chunk_scan_config(
    m: int,
    n: int,
    k: int,
    dstate: int | None,
    num_warps: int,
    num_stages: int,
    *,
    variant: str = TILE,
    heads: int | None = None,
    maxnreg: int | None = None,
    num_ctas: int = 1,
) -> Config:
    """A config of the chunk scan: tiles in elements, warps per block, stages, heads per program. Raises ConfigError."""
    numbers = (m, n, k, dstate, num_warps, num_stages, maxnreg, heads, num_ctas)
    values = {param.name: number for param, number in zip(_COLUMNS, numbers, strict=True)}
    return _NO_EXAMPLE.config(values, variant)


class Numbers(NamedTuple):
    """The values of a config of the chunk scan by short names, in the order of its table."""

    m: int
    n: int
    k: int
    dstate: int | None
    num_warps: int
    num_stages: int
    maxnreg: int | None
    heads: int | None
    num_ctas: int

    @classmethod
    def of(cls, config: Config) -> Numbers:
        """The numbers of a config."""
        return cls(*(value for _, value in config.values))  # type: ignore[arg-type]


FUNCTIONS = ("_chunk_scan_fwd_kernel", "chunk_scan_kernel", "grouped_chunk_scan_kernel")
"""What the chunk scan is called in Triton's log: the published kernel, and ours."""
PARAMS = ParamTable(_COLUMNS, VARIANTS, chunk_scan_config(64, 64, 32, 128, num_warps=2, num_stages=4), FUNCTIONS)
"""The chunk scan's table."""


def todays_id(config_id: str) -> str:
    """The id that a config has today: it once spelled out how many heads, as in `grouped:…w4s3,heads=16`."""
    if f",{HEADS.column}=" not in config_id:
        return config_id
    try:
        return PARAMS.id(parse_config(config_id, PARAMS))
    except ConfigError:  # not an id at all
        return config_id


def whole_tile(size: int) -> int:
    """The smallest tile for tl.dot that holds a whole dimension: a power of two, at least 16."""
    return max(TILE_MIN, 1 << (size - 1).bit_length())
