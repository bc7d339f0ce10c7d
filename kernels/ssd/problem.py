"""Problems: shape, dtypes and options of one chunk scan, and the published models' presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from ssdprof.kernels.errors import ProblemError

X_DTYPES = ("bfloat16", "float16", "float32")
STATES_DTYPES = ("bfloat16", "float32")
D_FORMS = ("none", "head", "head-dim")
DTYPE_ALIASES = MappingProxyType(
    {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
)


@dataclass(frozen=True, slots=True)
class ChunkScanProblem:
    """One chunk scan. Sizes are in elements; dtypes are torch's names.

    `d_form`: no D, one value per head, or one per head and dimension. `z`: whether the output is gated by z·sigmoid(z).
    `seq_idx`: whether sequences are packed, with an int32 index per token that names its sequence.
    Raises ProblemError if no such problem can exist.
    """

    seqlen: int
    batch: int = 1
    nheads: int = 128
    headdim: int = 64
    ngroups: int = 8
    dstate: int = 128
    chunk_size: int = 128
    dtype: str = "bfloat16"
    states_dtype: str = "bfloat16"
    d_form: str = "head"
    z: bool = False
    seq_idx: bool = False

    def __post_init__(self) -> None:
        for name in ("seqlen", "batch", "nheads", "headdim", "ngroups", "dstate", "chunk_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise ProblemError(f"{name} must be a whole number above 0, got {value!r}")
        for name, known in (("dtype", X_DTYPES), ("states_dtype", STATES_DTYPES), ("d_form", D_FORMS)):
            value = getattr(self, name)
            if value not in known:
                raise ProblemError(f"unknown {name} {value!r}: one of {', '.join(known)}")
        if self.nheads % self.ngroups:
            raise ProblemError(
                f"nheads must be a multiple of ngroups, got {self.nheads} heads and {self.ngroups} groups"
            )
        if self.chunk_size & (self.chunk_size - 1):
            lower = 1 << (self.chunk_size.bit_length() - 1)
            raise ProblemError(f"chunk_size must be a power of two, got {self.chunk_size}: try {lower} or {2 * lower}")

    @property
    def nchunks(self) -> int:
        """Chunks per sequence; the last may be partly filled."""
        return -(-self.seqlen // self.chunk_size)

    @property
    def heads_per_group(self) -> int:
        """Heads that share B and C."""
        return self.nheads // self.ngroups

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, JSON-ready."""
        return asdict(self)

    def divided(self, tp: int) -> ChunkScanProblem:
        """The share of one GPU under tensor parallelism: heads and groups divided by `tp`.

        With fewer groups than GPUs each GPU has one, which several hold, as engines do it. Raises ProblemError if `tp`
        does not divide the heads, or neither divides the groups nor is a multiple of them.
        """
        if tp <= 0 or self.nheads % tp or (self.ngroups % tp and tp % self.ngroups):
            raise ProblemError(
                "--tp must divide the heads, and divide the groups or be a multiple of them, got --tp "
                f"{tp} for {self.nheads} heads and {self.ngroups} groups"
            )
        return replace(self, nheads=self.nheads // tp, ngroups=max(1, self.ngroups // tp))
