"""What a run says, in words: each verdict is a status, a code and a message with its figures and the next step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ssdprof.kernels.interface import FIRST_WITH_TMA, has_tma
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.profiling.runs.rank import spearman
from ssdprof.reports.columns import error_text, latency_text, pct_text
from ssdprof.reports.text.tables import compiled_rows
from ssdprof.reports.words.warnings import listed, measurement_warnings, occupancy_warnings

MIN_PAIRS = 5
LOOSE, STRONG = 0.4, 0.7
NEAR_FLOOR = 1.2
NAMED_TIES = 6
MARKS = {"good": "✓", "note": "•", "warning": "!"}
STYLES = {"good": "green", "note": "", "warning": "yellow"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One statement about a run. `code` is stable, for programs; `message` is for people."""

    status: Literal["good", "note", "warning"]
    code: str
    message: str


def verdicts(run: Run, *, recorded: Run | None = None) -> list[Verdict]:
    """Everything that the figures of `run` allow to say; of one without a GPU, what the recorded latencies say.

    `recorded` holds rows of this run's configs alone, ranked among themselves.
    """
    found = _interrupted(run)
    if run.measured:
        found += _of_latencies(run)
    else:
        found.append(_not_measured(run, recorded))
        if recorded is not None:
            found += [replace(one, message=f"Recorded: {one.message}") for one in _of_latencies(recorded)]
    warned = [*measurement_warnings(run), *occupancy_warnings(run)]
    found += [Verdict("warning", one.code, one.message) for one in warned]
    found += _limiters(run, recorded)
    return found + _without_tma(run)


def render(found: Sequence[Verdict]) -> RenderableType:
    """The verdicts as lines, each with its mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for one in found:
        grid.add_row(Text(MARKS[one.status]), Text(one.message), style=STYLES[one.status])
    return Group(Text("Verdict", style="bold"), grid)


def correlation_words(rows: Sequence[Row]) -> str | None:
    """Whether occupancy goes with latency in these rows, by Spearman's rank correlation; None below two rows.

    The limit of chance is the 5 % one of a correlation of 0, ±1.96 / √(n − 1) (Kendall and Gibbons, "Rank Correlation
    Methods", chapter 4), an approximation for small n.
    """
    pairs = [
        (row.occupancy.theoretical_occupancy_pct, row.timing.latency_ms) for row in rows if row.occupancy and row.timing
    ]
    n = len(pairs)
    if n < 2:
        return None
    occupancies, latencies = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    span = f"{latency_text(min(latencies))} to {latency_text(max(latencies))} ms"
    if len(set(occupancies)) == 1:
        return (
            f"Occupancy does not explain latency here: all {n} correct configs have {pct_text(occupancies[0])} % "
            f"and take {span}."
        )
    rho = spearman(occupancies, latencies) if n >= MIN_PAIRS else None
    if rho is None:
        return f"{n} correct configs are too few to say whether occupancy goes with latency."
    chance = 1.96 / math.sqrt(n - 1)
    figures = f"Spearman rank correlation {rho:+.2f}, n = {n}"
    if abs(rho) < chance and abs(rho) < LOOSE:
        return f"Occupancy shows no relation to latency here: {figures} (chance alone gives up to ±{chance:.2f})."
    if abs(rho) < chance:
        return (
            f"These {n} configs do not tell whether occupancy goes with latency: {figures}, and chance alone gives up "
            f"to ±{chance:.2f}."
        )
    if rho > 0:
        return f"Higher occupancy goes with higher latency here: {figures}. More occupancy is not what is missing."
    strength = "goes" if rho <= -STRONG else "goes loosely"
    return f"Higher occupancy {strength} with lower latency among these configs: {figures}."


def _without_tma(run: Run) -> list[Verdict]:
    """That the kernel made for TMA does without it, where the GPU has none."""
    made_for_it = sum(row.config.variant == "grouped" for row in run.rows)
    arch = run.header.device.arch
    if not made_for_it or has_tma(arch):
        return []
    message = (
        f"{arch} has no tensor memory accelerator ({FIRST_WITH_TMA} is the first with one): configs of grouped, "
        f"{made_for_it} here, load and store through pointers, not tensor descriptors."
    )
    return [Verdict("note", "without-tma", message)]


def _of_latencies(run: Run) -> list[Verdict]:
    ranked = run.ranked
    if not ranked:
        return [_nothing_correct(run)]
    best = ranked[0]
    found = [_fastest_correct(best, run), *_ties(run), *_fastest_is_wrong(best, run)]
    found += _unstable(run)
    words = correlation_words(ranked)
    if words is not None:
        found.append(Verdict("note", "occupancy-and-latency", words + _highest_occupancy(best, ranked)))
    return found + _floor(best, run)


def _fastest_correct(best: Row, run: Run) -> Verdict:
    """The fastest config, or all that are tied for it: where there are ties no single one is the best."""
    tied = _tied(run.ranked)
    ids = [row.config_id for row in tied]
    if len(tied) == 1:
        message = f"The fastest correct config is {best.config_id}: {_span_ms(tied)} ms"
    else:
        message = f"The fastest correct configs are {listed(ids, NAMED_TIES + 1)}, tied: {_span_ms(tied)} ms"
    speedups = sorted(row.speedup_vs_baseline for row in tied if row.speedup_vs_baseline is not None)
    if run.header.baseline_id in ids:
        among = "itself: no other correct config is faster" if len(tied) == 1 else "among them"
        message += f", the baseline {among}."
    elif speedups:
        times = " to ".join(dict.fromkeys(f"{speedup:.2f}" for speedup in (speedups[0], speedups[-1])))
        message += f", {times} times as fast as the baseline {run.header.baseline_id}."
    elif run.header.baseline_id:
        message += f"; the baseline {run.header.baseline_id} gave no latency to compare with."
    else:
        message += "; no baseline was named to compare with."
    return Verdict("good", "fastest-correct", message)


def _nothing_correct(run: Run) -> Verdict:
    counts = Counter(row.status for row in run.rows)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return Verdict(
        "warning",
        "nothing-correct",
        f"No config of {len(run.rows)} gave a right output that could be timed ({statuses}): nothing here may be used."
        " The tables give each one's reason.",
    )


def _fastest_is_wrong(best: Row, run: Run) -> list[Verdict]:
    assert best.timing is not None
    best_ms = best.timing.latency_ms
    faster = sorted(
        (row.timing.latency_ms, row.config_id, row)
        for row in run.rows
        if row.status in ("wrong", "unstable") and row.timing and row.timing.latency_ms < best_ms
    )
    if not faster:
        return []
    latency_ms, config_id, row = faster[0]
    error = f"relative error {error_text(row.check.relative_error)}" if row.check else row.status_reason
    others = f" {len(faster)} configs that must not be used are faster than it." if len(faster) > 1 else ""
    return [
        Verdict(
            "warning",
            "fastest-is-wrong",
            f"The fastest of all, {config_id}, takes {latency_text(latency_ms)} ms, "
            f"{100 * (1 - latency_ms / best_ms):.0f} % less than the fastest correct config, and is {row.status} "
            f"({error}): it must not be used. An autotuner that looks at latency alone picks it; keep it out of the "
            f"list you tune from.{others}",
        )
    ]


def _ties(run: Run) -> list[Verdict]:
    count = len(_tied(run.ranked))
    if count == 1:
        return []
    return [
        Verdict(
            "note",
            "ties",
            f"The {count} tied configs differ by less than the noise of this run, so that none of them is the best: "
            "choose by another problem size or by fewer resources, or give --budget more than "
            f"{run.header.budget_s:g} s to tell them apart.",
        )
    ]


def _tied(ranked: Sequence[Row]) -> list[Row]:
    """The best row and those that cannot be told from it."""
    return [row for row in ranked if row.rank == 1 or row.tied_with_best]


def _span_ms(rows: Sequence[Row]) -> str:
    """From the first row's latency to the last one's; the rows are in the order of their latencies."""
    first, last = rows[0].timing, rows[-1].timing
    assert first is not None
    assert last is not None
    return " to ".join(dict.fromkeys((latency_text(first.latency_ms), latency_text(last.latency_ms))))


def _unstable(run: Run) -> list[Verdict]:
    unstable = [row.config_id for row in run.rows if row.status == "unstable"]
    if not unstable:
        return []
    return [
        Verdict(
            "warning",
            "unstable",
            f"{listed(unstable)} gave different outputs from launch to launch, as a race or a miscompilation does: "
            "do not use; another Triton version may compile it right.",
        )
    ]


def _highest_occupancy(best: Row, ranked: Sequence[Row]) -> str:
    """The row of highest occupancy beside the best one, where they are not of the same occupancy."""
    rows = [row for row in ranked if row.occupancy]
    top = max(rows, key=_occupancy_pct, default=best)
    if best.occupancy is None or top.timing is None or _occupancy_pct(top) <= _occupancy_pct(best):
        return ""
    assert best.timing is not None
    return (
        f" The highest occupancy, {pct_text(_occupancy_pct(top))} % in {top.config_id}, takes "
        f"{latency_text(top.timing.latency_ms)} ms; the best latency, {latency_text(best.timing.latency_ms)} ms, has "
        f"{pct_text(_occupancy_pct(best))} %."
    )


def _floor(best: Row, run: Run) -> list[Verdict]:
    copy_gbps = run.header.device.copy_gbps
    if not copy_gbps or best.timing is None:
        return []
    floor_ms = run.header.bytes_min / copy_gbps / 1e6
    times = best.timing.latency_ms / floor_ms
    message = (
        f"The bytes this problem must move ({run.header.bytes_min / 1e9:.2f} GB) take {latency_text(floor_ms)} ms at "
        f"this GPU's measured copy bandwidth ({copy_gbps:.0f} GB/s); the best config takes {times:.2f} times that."
    )
    if times <= NEAR_FLOOR:
        message += " No launch configuration can gain much more."
    else:
        message += (
            " Whether the kernel moves more than those bytes decides what to do next: compare ncu's"
            " dram__bytes_read.sum and dram__bytes_write.sum with them before working on occupancy."
        )
    return [Verdict("good" if times <= NEAR_FLOOR else "note", "memory-floor", message)]


def _not_measured(run: Run, recorded: Run | None) -> Verdict:
    message = f"No latency was measured here: the configs were compiled for {run.header.device.arch} without a GPU."
    if recorded is not None:
        message += f" Latencies are those recorded on {recorded.header.provenance}."
    return Verdict("note", "not-measured", message + " Run the same command on a machine with a GPU to measure.")


def _interrupted(run: Run) -> list[Verdict]:
    if not run.header.interrupted:
        return []
    left = sum(row.status == "not-run" and (run.measured or row.compiled is None) for row in run.rows)
    message = (
        f"Interrupted: {left} of {len(run.rows)} configs were not reached; all that follows is of the others alone."
    )
    return [Verdict("warning", "interrupted", message)]


def _limiters(run: Run, recorded: Run | None) -> list[Verdict]:
    rows = [row for row in (run.ranked or compiled_rows(run, recorded)) if row.occupancy]
    if not rows:
        return []
    counts = Counter(_limiter_names(row) for row in rows)
    most = ", ".join(f"{names} in {count}" for names, count in counts.most_common())
    message = f"Occupancy of the {len(rows)} listed configs is limited by: {most}."
    first = rows[0]
    if (run.measured or recorded is not None) and first.occupancy:
        occ = first.occupancy
        message += (
            f" The first, {first.config_id}, has {pct_text(occ.theoretical_occupancy_pct)} % "
            f"({occ.warps_per_scheduler:.2f} of {occ.max_warps_per_scheduler} warps per scheduler), by "
            f"{_limiter_names(first)}."
        )
    next_step = "best" if run.ranked or recorded is not None else first.config_id
    return [Verdict("note", "limiters", f"{message} `ssdprof explain {next_step}` shows what would change it.")]


def _limiter_names(row: Row) -> str:
    assert row.occupancy is not None
    return " and ".join(row.occupancy.limiters) or "barriers"


def _occupancy_pct(row: Row) -> float:
    return row.occupancy.theoretical_occupancy_pct if row.occupancy else 0.0
