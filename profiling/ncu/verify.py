"""Compares our occupancy figures with the driver's and ncu's: which agree, which do not. Values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ssdprof.profiling.hardware.limits import SmLimits
from ssdprof.profiling.hardware.occupancy import Launch, Occupancy
from ssdprof.profiling.hardware.rule import means_the_same
from ssdprof.profiling.ncu.program import REGISTERS, NcuRow
from ssdprof.profiling.runs.measured import Loaded

Source = Literal["driver", "ncu"]
Outcome = Literal["equal", "differs", "known"]
Status = Literal["equal", "differs", "nothing"]

BLOCKS, CAN_LAUNCH, RULE_SENTENCE = "blocks_per_sm", "can_launch", "rule_sentence"
DRIVER_CALLS = {BLOCKS: "cuOccupancyMaxActiveBlocksPerMultiprocessor", CAN_LAUNCH: "(the launch itself)"}
_SILENT = "(no sentence)"
DYNAMIC, STATIC = "launch__shared_mem_per_block_dynamic", "launch__shared_mem_per_block_static"
CONFIG_SIZE = "launch__shared_mem_config_size"


@dataclass(frozen=True, slots=True)
class Ours:
    """One launch as we see it: what it needs, and every figure that follows from that."""

    name: str
    launch: Launch
    limits: SmLimits
    occupancy: Occupancy
    sentence: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of one launch, ours and theirs, as text. `known`: a difference that is deliberate and documented."""

    launch: str
    source: Source
    figure: str
    ours: str
    theirs: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A launch that could not be checked, or not fully, and why."""

    launch: str
    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a figure was equal, and how often it differed in the known way."""

    source: Source
    figure: str
    equal: int
    known: int
    compared: int


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was compared. `ncu` is its version; None if it was not asked.

    `limits_compared` device attributes were compared with limits.json, with `limits_differences`. `notes` say what
    could not be asked, and why.
    """

    of: str
    arch: str
    gpu: str | None
    ncu: str | None
    launches: int
    comparisons: tuple[Comparison, ...]
    unchecked: tuple[Unchecked, ...] = ()
    limits_compared: int = 0
    limits_differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Comparison, ...]:
        """The comparisons that differ, including known ones."""
        return tuple(one for one in self.comparisons if one.outcome != "equal")

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Counts of the comparisons by source and figure, in the order in which they first came up."""
        counted: dict[tuple[Source, str], list[Outcome]] = {}
        for one in self.comparisons:
            counted.setdefault((one.source, one.figure), []).append(one.outcome)
        return tuple(
            Agreement(source, figure, outcomes.count("equal"), outcomes.count("known"), len(outcomes))
            for (source, figure), outcomes in counted.items()
        )

    @property
    def status(self) -> Status:
        """Whether anything differs that should not; `nothing` if nothing was compared."""
        if self.limits_differences or any(one.outcome == "differs" for one in self.comparisons):
            return "differs"
        return "equal" if self.comparisons else "nothing"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: our name, ncu's metric, and the part of `Ours` that has it under our name."""

    name: str
    metric: str
    part: Literal["launch", "limits", "occupancy"] = "occupancy"

    def ours(self, one: Ours) -> float | None:
        """Our value for a launch."""
        value: float | None = getattr(getattr(one, self.part), self.name)
        return value


FIGURES = (
    Figure("threads_per_block", "launch__block_size", "launch"),
    Figure("grid_blocks", "launch__grid_size", "launch"),
    Figure("registers_per_thread", REGISTERS, "launch"),
    Figure("dynamic_shared_mem_bytes", DYNAMIC, "launch"),
    Figure("static_shared_mem_bytes", STATIC, "launch"),
    Figure("shared_mem_reserved_bytes", "launch__shared_mem_per_block_driver", "limits"),
    Figure("shared_mem_allocated_bytes", "launch__shared_mem_per_block_allocated"),
    Figure("registers_allocated_per_thread", "launch__registers_per_thread_allocated"),
    Figure("shared_mem_config_bytes", CONFIG_SIZE),
    Figure("limit_registers_blocks", "launch__occupancy_limit_registers"),
    Figure("limit_shared_mem_blocks", "launch__occupancy_limit_shared_mem"),
    Figure("limit_warps_blocks", "launch__occupancy_limit_warps"),
    Figure("limit_blocks_blocks", "launch__occupancy_limit_blocks"),
    Figure("limit_barriers_blocks", "launch__occupancy_limit_barriers"),
    Figure("theoretical_occupancy_pct", "sm__maximum_warps_per_active_cycle_pct"),
    Figure("warps_per_sm", "sm__maximum_warps_avg_per_active_cycle"),
    Figure("warps_per_scheduler", "smsp__maximum_warps_avg_per_active_cycle"),
    Figure("waves_per_sm", "launch__waves_per_multiprocessor"),
)
"""What ncu is asked for: facts about the launch and results of its occupancy calculator, no hardware counters."""
RESULTS = tuple(figure for figure in FIGURES if figure.part != "launch")
"""What follows from what a launch needs: if that comes from ncu, comparing it says nothing."""


def against_driver(ours: Ours, loaded: Loaded) -> list[Comparison]:
    """Compares the compiled registers with those of the loaded kernel, and our blocks per SM with the driver's."""
    pairs = [
        (CAN_LAUNCH, "no" if ours.occupancy.cannot_launch else "yes", "yes"),
        ("registers_per_thread", str(ours.launch.registers_per_thread), str(loaded.registers_per_thread)),
    ]
    if loaded.blocks_per_sm is not None:
        pairs.append((BLOCKS, str(ours.occupancy.blocks_per_sm), str(loaded.blocks_per_sm)))
    return [_compared(ours, "driver", figure, mine, theirs, mine == theirs) for figure, mine, theirs in pairs]


def against_refusal(ours: Ours, reason: str) -> Comparison:
    """Compares whether we say that a launch is possible with its refusal."""
    ours_too = bool(ours.occupancy.cannot_launch)
    mine = f"no: {ours.occupancy.cannot_launch}" if ours_too else "yes"
    return _compared(ours, "driver", CAN_LAUNCH, mine, f"no: {reason}", ours_too)


def against_ncu(ours: Ours, row: NcuRow, figures: Sequence[Figure] = FIGURES) -> list[Comparison]:
    """Compares those of `figures` that ncu gives, and its rule's sentence if the rule was applied."""
    found = []
    for figure in figures:
        mine, theirs = figure.ours(ours), row.number(figure.metric)
        if mine is not None and theirs is not None:
            text = str(mine) if isinstance(mine, int) else f"{mine:.2f}"
            found.append(_compared(ours, "ncu", figure.name, text, theirs.text, theirs.agrees(mine)))
    if row.sentence is not None:
        our_words, their_words = ours.sentence or _SILENT, row.sentence or _SILENT
        are_equal = our_words == their_words or means_the_same(our_words, their_words)
        one = _compared(ours, "ncu", RULE_SENTENCE, our_words, their_words, are_equal)
        found.append(replace(one, outcome="known") if _differs_on_purpose(ours, one) else one)
    return found


def missing_notes(rows: Sequence[NcuRow], why: str, figures: Sequence[Figure] = FIGURES) -> list[str]:
    """A note that names the metrics of `figures` that none of the rows has, and says why; none if all are there."""
    absent = [one.metric for one in figures if not any(row.cells.get(one.metric, "").strip() for row in rows)]
    return [f"Not compared, because {why}: {', '.join(absent)}"] if absent else []


def _compared(ours: Ours, source: Source, figure: str, mine: str, theirs: str, is_equal: bool) -> Comparison:
    return Comparison(ours.name, source, figure, mine, theirs, "equal" if is_equal else "differs")


def _differs_on_purpose(ours: Ours, sentence: Comparison) -> bool:
    """Whether only the limiters differ: ncu drops names when it joins three or more, and has no name for barriers."""
    same_figures = sentence.ours.partition(" limited by ")[0] == sentence.theirs.partition(" limited by ")[0]
    return sentence.outcome == "differs" and same_figures and len(ours.occupancy.limiters) not in (1, 2)
