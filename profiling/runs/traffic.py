"""What one launch moves, as values: modelled, not measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorTraffic:
    """What one tensor has of a launch's traffic, in bytes, reads and writes together.

    `least_bytes`: each sector touched once. `again_bytes`: of `dram_bytes` what is read more than once. `again_after`:
    so many programs later, in the order of the grid, the same is read from DRAM again; None if none is.
    """

    name: str
    least_bytes: int
    l2_to_sm_bytes: int
    dram_bytes: int
    again_bytes: int
    again_after: int | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a launch moves between L2 and the SMs, and between DRAM and L2, as its addresses say.

    `least_bytes`: each sector that it touches read once and written once. `dependent`: operations whose addresses
    depend on data, and what on; their bytes are left out if they are not known. `programs`: how many of the grid's
    programs were followed. `masked_pct`: elements that loads and stores leave out, of all in their tiles.
    `tensor_flops`: of the source's products, each multiplication and addition one. `special_results`: results of
    exponentials, divisions and the like, whatever the compiler makes of them.
    """

    least_bytes: int
    l2_to_sm_read_bytes: int
    l2_to_sm_write_bytes: int
    dram_read_bytes: int
    dram_write_bytes: int
    tensors: tuple[TensorTraffic, ...] = ()
    dependent: tuple[str, ...] = ()
    programs: int = 0
    masked_pct: float = 0.0
    tensor_flops: float = 0.0
    special_results: float = 0.0

    @property
    def l2_to_sm_bytes(self) -> int:
        """Both directions."""
        return self.l2_to_sm_read_bytes + self.l2_to_sm_write_bytes

    @property
    def dram_bytes(self) -> int:
        """Both directions."""
        return self.dram_read_bytes + self.dram_write_bytes
