"""Counts what launches do with Nsight Compute: which of its metrics we ask for, and what they say about a launch."""

from __future__ import annotations

import pickle
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.interface import Subject
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.ncu.matching import NEEDED
from ssdprof.profiling.ncu.program import NO_PERMISSION, Collect, NcuCellError, NcuCsvError, NcuError, NcuRow, profile
from ssdprof.profiling.runs.counters import Counters
from ssdprof.profiling.workers.fork_server import child_env, python_command
from ssdprof.profiling.workers.pool import WORKER_ENV

SECTOR_BYTES = 32
"""Bytes of a sector, the unit in which L1 and L2 move data (Nsight Compute's documentation, metrics reference)."""
START_S, LAUNCH_S = 300.0, 60.0
"""How long ncu may take to start a process and make its inputs, and for each launch, which it runs several times."""
PERMISSION_HINT = (
    "run as root, give the container --cap-add=SYS_ADMIN, or load the driver with "
    "NVreg_RestrictProfilingToAdminUsers=0 (developer.nvidia.com/ERR_NVGPUCTRPERM)"
)
_DEVICE = "cuda:0"
_TARGET = "from ssdprof.profiling.ncu.target import main_on_inputs; main_on_inputs(*sys.argv[1:])"
_ELAPSED, _ACTIVE = "avg.pct_of_peak_sustained_elapsed", "avg.pct_of_peak_sustained_active"
_DURATION = "gpu__time_duration.sum"
_MS = {
    "s": 1e3, "second": 1e3, "ms": 1.0, "msecond": 1.0, "us": 1e-3, "usecond": 1e-3, "ns": 1e-6, "nsecond": 1e-6,
    "": 1e-6,
}  # fmt: skip
_SUMS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "dram_bytes": (1, ("dram__bytes_read.sum", "dram__bytes_write.sum")),
    "l2_to_sm_bytes": (SECTOR_BYTES, ("lts__t_sectors_srcunit_tex.sum",)),
}
"""By field, of which metrics it is the sum, in which unit of bytes."""
_SHARES: Mapping[str, str] = {
    "dram_pct": f"dram__throughput.{_ELAPSED}",
    "l2_pct": f"lts__throughput.{_ELAPSED}",
    "l1tex_pct": f"l1tex__throughput.{_ELAPSED}",
    "tensor_pipe_pct": f"sm__pipe_tensor_cycles_active.{_ELAPSED}",
    "issue_active_pct": f"smsp__issue_active.{_ELAPSED}",
    "achieved_occupancy_pct": f"sm__warps_active.{_ACTIVE}",
    "l1_hit_pct": "l1tex__t_sector_hit_rate.pct",
    "l2_hit_pct": "lts__t_sector_hit_rate.pct",
}
_STALL = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
_SELECTED = "selected"
_REASONS = (
    "long_scoreboard", "short_scoreboard", "barrier", "wait", "math_pipe_throttle", "mio_throttle", "lg_throttle",
    "tex_throttle", "gmma", "no_instruction", "branch_resolving", "dispatch_stall", "drain", "imc_miss", "membar",
    "misc", "sleeping", "not_selected", _SELECTED,
)  # fmt: skip
"""What ncu calls the states of a warp between two of its instructions; selected: it issues one (no stall)."""
METRICS = (
    _DURATION,
    *(metric for _, metrics in _SUMS.values() for metric in metrics),
    *_SHARES.values(),
    *map(_STALL.format, _REASONS),
)
"""What our columns need. Those that an ncu or a GPU does not have are left out."""
TOLD_BY = NEEDED[1:]
"""What else is asked for, so that a page of ncu's can be read again as an export; it needs no counters."""
_NAME = re.compile(r"[A-Za-z0-9_]+__[A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class Launches:
    """Launches to count, by their configs' ids: of a subject, on the inputs of a seed, on the GPU `visible`."""

    subject: Subject
    seed: int
    plans: Mapping[str, LaunchPlan]
    visible: str


def metric_names(text: str | Sequence[str]) -> tuple[str, ...]:
    """The metrics that `--metrics` names, each once. Raises UsageError for what cannot be a metric's name."""
    named = text.split(",") if isinstance(text, str) else text
    names = tuple(dict.fromkeys(name.strip() for name in named))
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"--metrics {name!r} is no metric's name: give ncu's names, such as "
                "dram__bytes_read.sum,sm__inst_executed.sum"
            )
    return names


class Counting:
    """Counts launches with one ncu; what that ncu does not have is asked for once."""

    def __init__(self, ncu: Path, metrics: Sequence[str] = ()) -> None:
        self._ncu, self._more = ncu, tuple(metrics)
        self._asked = list(dict.fromkeys((*TOLD_BY, *METRICS, *metrics)))

    def count(self, launches: Launches) -> dict[str, Counters]:
        """The counters of each launch, on its real inputs, by id; a launch that failed under ncu is missing.

        ncu flushes the caches before each pass and restores what the launch writes between passes; clocks stay as they
        are. Raises NcuError if it counts nothing.
        """
        try:
            return self._counted(launches)
        except NcuCsvError as error:  # no launch ran
            raise NcuError(str(error)) from None
        except NcuError as error:
            if NO_PERMISSION in str(error):
                raise NcuError(f"{error}: {PERMISSION_HINT}") from None
            refused = {name for name in self._asked if _is_refused(name, error.said)}
            if refused & set(self._more):
                raise NcuError(f"{error}: `ncu --query-metrics` lists those of this GPU") from None
            if not refused or refused & set(TOLD_BY):
                raise
        self._asked = [name for name in self._asked if name not in refused]
        return self.count(launches)

    def _counted(self, launches: Launches) -> dict[str, Counters]:
        with tempfile.TemporaryDirectory(prefix="ssdprof-ncu-") as name:
            folder = Path(name)
            work, done = folder / "work.pickle", folder / "launched.txt"
            work.write_bytes(pickle.dumps((launches.subject, launches.seed, dict(launches.plans))))
            version, rows = profile(
                self._ncu,
                [*python_command(_TARGET), str(work), str(done), _DEVICE],
                Collect((("--metrics", ",".join(self._asked), "--apply-rules", "no"),), flush=True),
                kernels={plan.function for plan in launches.plans.values()},
                folder=folder,
                env=child_env({**WORKER_ENV, "CUDA_VISIBLE_DEVICES": launches.visible}),
                timeout_s=START_S + LAUNCH_S * len(launches.plans),
            )
            names = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
        if len(names) != len(rows):
            raise NcuError(f"ncu reports {len(rows)} launches of {len(names)}: it is unknown which ones")
        pairs = zip(names, rows, strict=True)
        return {name: counters_of(row, f"ncu {version}", self._more) for name, row in pairs}


def counters_of(row: NcuRow, source: str, metrics: Sequence[str] = ()) -> Counters:
    """What ncu says about a launch, and these metrics besides, without those that it has no number for."""
    fields: dict[str, Any] = {name: _number(row, metric) for name, metric in _SHARES.items()}
    for name, (unit_bytes, parts) in _SUMS.items():
        found = [number for metric in parts if (number := _number(row, metric)) is not None]
        fields[name] = round(unit_bytes * sum(found)) if len(found) == len(parts) else None
    if (duration := _number(row, _DURATION)) is not None:
        ms = _MS.get(row.units.get(_DURATION, ""))
        fields["ncu_duration_ms"] = None if ms is None else duration * ms
    stalls = {name: number for name in _REASONS if (number := _number(row, _STALL.format(name))) is not None}
    waiting = {name: number for name, number in stalls.items() if name != _SELECTED}
    if waiting and sum(stalls.values()) > 0:
        fields["top_stall"] = max(waiting, key=waiting.__getitem__)
        fields["top_stall_pct"] = 100 * waiting[fields["top_stall"]] / sum(stalls.values())
    more = [(name, number) for name in metrics if (number := _number(row, name)) is not None]
    return Counters(source, **fields, metrics=tuple(more))


def has_any(counters: Counters) -> bool:
    """Whether anything at all was counted."""
    return counters != Counters(counters.source)


def _number(row: NcuRow, column: str) -> float | None:
    try:
        number = row.number(column)
    except NcuCellError:  # a text, or several numbers
        return None
    return None if number is None else number.value


def _is_refused(name: str, said: str) -> bool:
    """Whether an error of ncu names this metric."""
    errors = (line for line in said.splitlines() if line.startswith("==ERROR=="))
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.]*\w)", line) for line in errors)
