"""Triton kernels, their plain-PyTorch references, problem shapes, input makers and configuration spaces.

`from ssdprof.kernels import chunk_scan` gives the kernel as a function on tensors. It imports torch and triton, so it
loads only when asked for: the help must stay quick.
"""

from typing import TYPE_CHECKING

__all__ = ["chunk_scan"]

if TYPE_CHECKING:
    from ssdprof.kernels.ssd.function import chunk_scan
else:

    def __getattr__(name: str) -> object:
        if name != "chunk_scan":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ssdprof.kernels.ssd.function import chunk_scan

        return chunk_scan
