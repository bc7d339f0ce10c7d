"""The launches of a program as a whole: what they took as they were captured, and take with the best configs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.kernels.config import triton_config
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.reports.columns import latency_text
from ssdprof.reports.text.fitted import FittedTable, ScreenColumn
from ssdprof.reports.text.prose import Labelled, Prose


@dataclass(frozen=True, slots=True)
class Whole:
    """One launch of several: what it took as captured, and takes with its best correct config; None if not known."""

    kernel: str
    before_ms: float | None
    best: Row | None

    @property
    def after_ms(self) -> float | None:
        """With the best config, or as before if there is none."""
        return self.best.known_latency_ms if self.best is not None else self.before_ms


def whole_report(runs: Sequence[Run]) -> RenderableType:
    """A table of the launches with their sum, and a list to paste for each kernel whose config should change."""
    found = [_whole(run) for run in runs]
    kernels = tuple(one.kernel for one in found)
    before = tuple(latency_text(one.before_ms) for one in found)
    after = tuple(latency_text(one.after_ms) for one in found)
    gains = tuple(_gain(one.before_ms, one.after_ms) for one in found)
    best = tuple(one.best.config_id if one.best is not None else "as captured" for one in found)
    sums = [_sum(one.before_ms for one in found), _sum(one.after_ms for one in found)]
    columns = (
        ScreenColumn("kernel", (*kernels, "in all"), right=False),
        ScreenColumn("captured ms", (*before, latency_text(sums[0]))),
        ScreenColumn("best ms", (*after, latency_text(sums[1]))),
        ScreenColumn("speed up", (*gains, _gain(*sums))),
        ScreenColumn("config", (*best, ""), right=False),
    )
    styles = (*("" for _ in found), "bold")
    lines = tuple(
        (one.kernel, triton_config(run.header.params, one.best.config))
        for one, run in zip(found, runs, strict=True)
        if one.best is not None and one.best.config_id != run.header.baseline_id
    )
    missing = [one.kernel for one in found if one.before_ms is None]
    parts: list[RenderableType] = [Prose("The whole", "bold"), FittedTable(columns, styles, elsewhere="--json")]
    if missing:
        parts.append(Prose(f"not in the sums, since the captured config has no latency: {', '.join(missing)}", "dim"))
    if lines:
        parts += [Text(), Prose("To paste", "bold"), Labelled(lines)]
    return Group(*parts, Text())


def _whole(run: Run) -> Whole:
    """Of one run: nothing replaces the captured config where several answers leave open which is correct."""
    baseline = next((row for row in run.rows if row.config_id == run.header.baseline_id), None)
    before_ms = baseline.known_latency_ms if baseline is not None else None
    decided = all(row.known_status != "differs" for row in run.rows)
    best = run.ranked[0] if run.ranked and decided and before_ms is not None else None
    return Whole(run.header.kernel.partition(":")[2] or run.header.kernel, before_ms, best)


def _sum(latencies_ms: Iterable[float | None]) -> float | None:
    """Of those that are known; None if none is."""
    known = [one for one in latencies_ms if one is not None]
    return sum(known) if known else None


def _gain(before_ms: float | None, after_ms: float | None) -> str:
    return f"{before_ms / after_ms:.2f}×" if before_ms and after_ms else ""
