"""Failures that no config is to blame for: the operating system refuses what every compilation needs."""

from __future__ import annotations

import errno
import re

from ssdprof.profiling.workers.worker import Failure

SYSTEM_ERRORS = frozenset(
    ("OSError", "PermissionError", "FileNotFoundError", "FileExistsError", "NotADirectoryError", "IsADirectoryError")
)
"""What Python calls a full disk, a folder that cannot be written and a program that is gone."""
IN_A_ROW = 8
"""So many configs in a row are no accident; a single one may be a file that another process removed."""
AT_THE_END = 2


class Trouble:
    """The configs that failed in a row with such an error, and what stopped the sweep: empty while nothing has."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.reason = ""
        self._last: Failure | None = None

    def stops(self, name: str, failure: Failure | None) -> bool:
        """Whether the sweep is to compile nothing more, now that config `name` compiled (None) or failed like this."""
        if failure is None or failure.error not in SYSTEM_ERRORS:
            if not self.reason:
                self.failed.clear()
            return False
        self.failed.append(name)
        self._last = failure
        return self._gives_up_at(IN_A_ROW)

    def ends(self) -> bool:
        """The same once all were tried: several at the end are no accident either."""
        return self._gives_up_at(AT_THE_END)

    def _gives_up_at(self, number: int) -> bool:
        if self._last is not None and len(self.failed) >= number and not self.reason:
            count = len(self.failed)
            self.reason = f"{count} configs in a row failed to compile: {self._last.line}{_way_out(self._last)}"
        return self.reason != ""


def _way_out(failure: Failure) -> str:
    number = re.match(r"\[Errno (\d+)\]", failure.message)
    if number and int(number[1]) in (errno.ENOSPC, errno.EDQUOT):
        return ": make room for Triton's cache and temporary files, or set TRITON_CACHE_DIR and TMPDIR to other folders"
    return ": see whether TRITON_CACHE_DIR and TMPDIR name folders that can be written, and Triton's files are there"
