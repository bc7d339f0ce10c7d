"""What compiling needs, as values, and the folder for temporary files, which every process needs; quick to import."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

from ssdprof.kernels.errors import UsageError, first_line

TEMPORARY_VARIABLES = ("TMPDIR", "TEMP", "TMP")


class ToolchainError(UsageError):
    """Something that compiling needs is missing or broken, so that no config could compile."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The ptxas that compiles, as its version and, unless it is Triton's own, its path; and what else to tell."""

    ptxas: str
    warnings: tuple[str, ...] = ()


def temporary_files() -> list[str]:
    """A warning if a variable names a folder for temporary files that cannot be used. Raises ToolchainError without
    any such folder, since ptxas reads its input from one.
    """
    try:
        used = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ToolchainError(
            f"no folder for temporary files can be written ({first_line(str(error))}), and ptxas reads its input from "
            "one: make room, or set TMPDIR to a folder that can be written"
        ) from None
    for variable in TEMPORARY_VARIABLES:
        named = os.environ.get(variable)
        if named:
            if os.path.abspath(named) != used:
                return [f"{variable}={named} cannot be written: temporary files go to {used}; correct or unset it"]
            break
    return []
