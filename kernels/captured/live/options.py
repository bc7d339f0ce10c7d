"""What a capture keeps, as one value that also travels to child processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from ssdprof.kernels.errors import UsageError

DEFAULT_LIMIT_GIB = 16.0
"""Largest size of a file of captured launches, if nothing else is asked for."""


class CaptureError(UsageError):
    """A capture that cannot be: options that contradict each other, or one inside another."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Which launches are kept, and how much of each.

    Without `kernel`, `launch` and `slowest`: the first launch of each kernel. `kernel`: only of kernels whose name fits
    this pattern (`*`, `?`, `[…]`; case counts). `launch`: only the launch with that number, counted from 1 over the
    launches of the kernels that fit. `slowest`: only of the kernel that took most GPU time in all. `data`: whether the
    tensors' bytes are kept, or statistics of them alone. `limit_gib`: the largest size of the file. `keep`: how many
    launches of each kernel, those after the first only if they are like it in all but the tensors' data.
    Raises CaptureError for options that exclude each other or are out of range.
    """

    kernel: str | None = None
    launch: int | None = None
    slowest: bool = False
    data: bool = True
    limit_gib: float = DEFAULT_LIMIT_GIB
    keep: int = 1

    def __post_init__(self) -> None:
        if self.launch is not None and self.launch < 1:
            raise CaptureError(f"launch {self.launch}: launches are counted from 1, ask for 1 or more")
        if self.launch is not None and self.slowest:
            raise CaptureError("a launch by number and the slowest kernel exclude each other, ask for one of them")
        if type(self.keep) is not int or self.keep < 1:
            raise CaptureError(f"keep {self.keep}: say how many launches of each kernel, a whole number from 1 on")
        if self.launch is not None and self.keep > 1:
            raise CaptureError("a launch by number and several to keep exclude each other, ask for one of them")
        if not self.limit_gib > 0:
            raise CaptureError(f"limit {self.limit_gib:g} GiB: a file needs room, ask for more than 0")

    @property
    def limit_bytes(self) -> int:
        """The limit in bytes."""
        return int(min(self.limit_gib, 1 << 30) * (1 << 30))

    def fits(self, name: str) -> bool:
        """Whether launches of the kernel of that name may be kept."""
        return self.kernel is None or fnmatchcase(name, self.kernel)

    def text(self) -> str:
        """The options as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> CaptureOptions:
        """The options that `text` gave that line for."""
        return cls(**json.loads(text))
