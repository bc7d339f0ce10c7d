"""The options that have ncu count: of which configs, what besides, with which ncu, or from an export instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ssdprof.cli.options import option
from ssdprof.kernels.errors import UsageError

COUNTERS, BEST_COUNTED = "--counters", 5
"""How many are counted if that is not said; ssdprof.profiling.sweep.added.counting has it."""
COUNTING_COMMANDS = ("sweep", "explain")
PANEL = "Nsight Compute"

_ncu = partial(option, PANEL)


@dataclass(frozen=True, slots=True)
class CountersOptions:
    """What ncu counts in the end. None: not given."""

    counters: Annotated[
        str | None,
        typer.Option(
            COUNTERS,
            metavar="[all|N]",
            help="Have ncu count: the N best and the baseline, all, or what is explained. Alone it means "
            f"{COUNTERS}={BEST_COUNTED}.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None
    counters_from: Annotated[Path | None, _ncu("Instead, take counters from this CSV of ncu --csv --page raw.")] = None
    metrics: Annotated[str | None, _ncu("NAME,…: what else ncu counts, by its own names.")] = None
    ncu_path: Annotated[Path | None, _ncu("The ncu to run.", default="from PATH, the CUDA toolkit or /opt/nvidia")] = (
        None
    )

    def asked(self) -> dict[str, Any]:
        """The arguments of `sweep` and `explain` that say so. Raises UsageError for options that exclude each other."""
        from ssdprof.profiling import api

        if self.counters is not None and self.counters_from is not None:
            raise UsageError("--counters runs ncu, --counters-from reads a file: leave one of them out")
        if self.ncu_path is not None and self.counters is None:
            raise UsageError("--ncu-path is the ncu that counts: give --counters too")
        number = self.counters and self.counters.strip()
        counters = int(number) if number and re.fullmatch(r"[+-]?[0-9]{1,9}", number) else number
        ncu = None if self.ncu_path is None else api.find_ncu(self.ncu_path)[0]
        return {"counters": self.counters_from or counters, "metrics": self.metrics or (), "ncu": ncu}


def with_counters_value(arguments: Sequence[str]) -> list[str]:
    """The arguments with the value that `--counters` has if it stands alone; what follows it may be a config."""
    found = list(arguments)
    if not found or found[0] not in COUNTING_COMMANDS:
        return found
    end = found.index("--") if "--" in found else len(found)
    for i in range(end):
        following = found[i + 1] if i + 1 < end else ""
        if found[i] == COUNTERS and not re.fullmatch(r"all|[+-]?[0-9]+", following):
            found[i] = f"{COUNTERS}={BEST_COUNTED}"
    return found
