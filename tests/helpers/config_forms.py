"""Configs of a space by their ids, and configs in the forms that Triton and its users write them in."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ssdprof.kernels.config import Config, ParamTable, Value
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

PRINTED_ORDER = ("num_warps", "num_ctas", "num_stages", "maxnreg")
_TILES = st.sampled_from([16, 32, 64, 128, 256, 512])
launch_options = {
    "num_warps": st.sampled_from([1, 2, 4, 8, 16, 32]),
    "num_stages": st.integers(1, 32),
    "maxnreg": st.none() | st.integers(16, 255),
    "num_ctas": st.sampled_from([1, 2, 4, 8, 16]),
}
chunk_scan_configs = st.builds(
    chunk_scan_config,
    m=_TILES,
    n=_TILES,
    k=_TILES,
    dstate=st.none() | _TILES,
    heads=st.none() | st.integers(1, 1024),
    variant=st.sampled_from(["tile", "split", "grouped"]),
    **launch_options,
)
"""Any config of the chunk scan."""
UNSET = {("num_ctas", 1), ("num_ctas", None), ("maxnreg", None)}


def triton_form(table: ParamTable, config: Config) -> str:
    """As Triton prints it: `BLOCK_SIZE_M: 64, …, maxnreg: None`. It has no place for the variant."""
    return ", ".join(f"{name}: {value}" for name, value in _printed(table, config))


def autotune_form(table: ParamTable, config: Config) -> str:
    """As in an `@triton.autotune` list: `triton.Config({…}, num_stages=4, num_warps=2)`, no variant."""
    printed = dict(_printed(table, config))
    options = [(name, printed.pop(name, None)) for name in ("num_stages", "num_warps", "num_ctas", "maxnreg")]
    given = ", ".join(f"{name}={value}" for name, value in options if (name, value) not in UNSET)
    return f"triton.Config({printed!r}, {given})"


def key_value_form(table: ParamTable, config: Config) -> str:
    """`BLOCK_SIZE_M=64,…,num_stages=4`, then values that are not at their defaults, and the variant."""
    pairs = [*_printed(table, config), ("variant", config.variant)]
    unset = {*UNSET, ("variant", table.variants[0])}
    return ",".join(f"{name}={value}" for name, value in pairs if (name, value) not in unset)


def _printed(table: ParamTable, config: Config) -> list[tuple[str, Value]]:
    """Names and values in the order in which Triton prints them, without meta-parameters that are not set."""
    meta = [(p.name, config[p.name]) for p in table.shape_params if config[p.name] is not None]
    return meta + [(name, config[name]) for name in PRINTED_ORDER if name in table.by_name]


def scan(**sizes: Any) -> ChunkScan:
    """A problem of 1000 tokens with these sizes."""
    return ChunkScan(ChunkScanProblem(seqlen=1000, **sizes))


def ids(name: str, variant: str | None = None, **sizes: Any) -> list[str]:
    return [PARAMS.id(config) for config in space_of(scan(**sizes), name, variant=variant).configs]
