"""The answer to what users of a kernel ask of one parameter: whether its tile limits occupancy, and what else it does.

Says only what the rows with other values show: what grows, which limit it moves, at which value the blocks drop,
whether a smaller tile is a way out, and where the operands lie if the figures agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ssdprof.kernels.interface import Question
from ssdprof.profiling.diagnosis.rows import fields, found_correct, limiter_names
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.hardware.limiters import LIMITERS, REGISTERS, SHARED_MEMORY, WARPS
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Occupancy
from ssdprof.profiling.runs.measured import Compiled
from ssdprof.profiling.runs.model import Explanation, Row

WARPS_OF_WGMMA = 4
HARDLY = 0.1
_USES: Mapping[str, Callable[[Occupancy], int]] = {
    REGISTERS: lambda occ: occ.registers_allocated_per_thread,
    SHARED_MEMORY: lambda occ: occ.shared_mem_allocated_bytes,
    WARPS: lambda occ: occ.warps_per_block,
}
"""What a block is given of what each limiter limits."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A row that compiled, and its value of the parameter."""

    value: int
    compiled: Compiled
    occ: Occupancy


def answer(explanation: Explanation) -> list[Statement]:
    """The answer to the explanation's question, in order; nothing if nobody asks."""
    question = explanation.question
    if question is None:
        return []
    found = next((one for one in explanation.neighbours if one.param.column == question.parameter), None)
    if found is None:
        return [Statement("note", "no-other-value", {"parameter": question.parameter}, message=question.absent)]
    group = [(row.config.number(found.param.name), row) for row in found.rows]
    cases = [_Case(value, row.compiled, row.occupancy) for value, row in group if row.compiled and row.occupancy]
    cases.sort(key=lambda case: case.value)
    missing = [
        Statement("note", "missing-value", {"value": value, "status": row.known_status, "reason": row.known_reason})
        for value, row in group
        if row.compiled is None or row.occupancy is None
    ]
    if len(cases) < 2:
        return [*missing, Statement("note", "too-few-values", {"values": [case.value for case in cases]})]
    said = [_growth(cases), *_moves(cases), *_carveout(explanation, found.param.name)]
    said += _operands(cases) if explanation.header.device.arch.startswith("sm_90") else ()
    return [*said, *_smaller(explanation, question, group), *missing]


def _growth(cases: Sequence[_Case]) -> Statement:
    of_compiled = ("registers_per_thread", "spill_bytes", "dynamic_shared_mem_bytes")
    figures = {
        "values": [case.value for case in cases],
        **{name: [getattr(case.compiled, name) for case in cases] for name in of_compiled},
        **{name: [getattr(case.occ, name) for case in cases] for name in ("blocks_per_sm", "warps_per_scheduler")},
    }
    return Statement("note", "growth", figures)


def _moves(cases: Sequence[_Case]) -> Iterator[Statement]:
    """Where the number of blocks changes, and by which limit; or that it does not."""
    first, last = cases[0], cases[-1]
    moves = [_move(a, b) for a, b in pairwise(cases) if a.occ.blocks_per_sm != b.occ.blocks_per_sm]
    yield from moves
    if not moves:
        values_by_limiters: dict[tuple[str, ...], list[int]] = {}
        for case in cases:
            values_by_limiters.setdefault(tuple(limiter_names(case.occ)), []).append(case.value)
        figures = {
            **fields(first.occ, "warps_per_scheduler", "max_warps_per_scheduler"),
            "limiters": [{"limiters": list(names), "values": values} for names, values in values_by_limiters.items()],
            "registers_more": last.compiled.registers_per_thread - first.compiled.registers_per_thread,
        }
        yield Statement("note", "does-not-limit-occupancy", figures)
    elif last.occ.blocks_per_sm < first.occ.blocks_per_sm:
        of_last = {"value": last.value, **fields(last.occ, "warps_per_scheduler", "max_warps_per_scheduler")}
        of_first = {"least_value": first.value, "warps_per_scheduler_at_least": first.occ.warps_per_scheduler}
        yield Statement("note", "limits-occupancy", {**of_last, **of_first})


def _move(before: _Case, after: _Case) -> Statement:
    falls = after.occ.blocks_per_sm < before.occ.blocks_per_sm
    # the limit that binds is the smaller side's: what came down to it, or what was lifted off it
    binding, other = (after.occ, before.occ) if falls else (before.occ, after.occ)
    causes = [
        {"limiter": name, "before": _limit(name, before.occ), "after": _limit(name, after.occ)}
        for name, use in _USES.items()
        # a limit also moves with the carve-out, which follows the number of blocks: that is no cause
        if name in binding.limiters and use(binding) > use(other)
    ]
    blocks = {"blocks_per_sm_before": before.occ.blocks_per_sm, "blocks_per_sm": after.occ.blocks_per_sm}
    return Statement("note", "blocks-change", {"value": after.value, **blocks, "causes": causes})


def _limit(limiter: str, occ: Occupancy) -> int:
    limit: int = getattr(occ, LIMITERS[limiter].field)
    return limit


def _carveout(explanation: Explanation, name: str) -> Iterator[Statement]:
    """Where shared memory is a limiter only because of the size that the driver configures for that few blocks."""
    row, occ = explanation.row, explanation.row.occupancy
    if occ is None or SHARED_MEMORY not in occ.limiters or len(occ.limiters) < 2:
        return
    largest_bytes = limits_for(explanation.header.device.arch).max_config_bytes
    blocks = largest_bytes // occ.shared_mem_allocated_bytes
    if blocks > occ.blocks_per_sm:
        figures = {
            "value": row.config.number(name),
            **fields(occ, "shared_mem_config_bytes", "shared_mem_config_source"),
            "largest_config_bytes": largest_bytes,
            "blocks_at_largest": blocks,
            "other_limiters": [one for one in occ.limiters if one != SHARED_MEMORY],
        }
        yield Statement("note", "carve-out", figures)


def _operands(cases: Sequence[_Case]) -> Iterator[Statement]:
    """Where the operands of sm_90's products lie, if the growth is of that kind."""
    warps = [case.compiled.num_warps for case in cases]
    first, last = cases[0].compiled, cases[-1].compiled
    more_registers = last.registers_per_thread - first.registers_per_thread
    more_bytes = last.dynamic_shared_mem_bytes - first.dynamic_shared_mem_bytes
    figures = {"registers_more": more_registers, "dynamic_shared_mem_more_bytes": more_bytes}
    if max(warps) < WARPS_OF_WGMMA and more_registers > 0 and more_bytes <= 0:
        yield Statement("note", "operands-in-registers", {"num_warps": max(warps), **figures})
    hardly = more_registers <= HARDLY * first.registers_per_thread
    if min(warps) >= WARPS_OF_WGMMA and more_bytes > 0 and hardly:
        yield Statement("note", "operands-in-shared-memory", {"num_warps": min(warps), **figures})


def _smaller(explanation: Explanation, question: Question, group: Sequence[tuple[int, Row]]) -> Iterator[Statement]:
    """Whether a tile smaller than what it tiles is a way out."""
    smaller = [(value, row) for value, row in group if value < question.extent]
    wrong = [(value, row) for value, row in smaller if row.by_construction and not found_correct(row)]
    if wrong:
        figures = {
            "values": [value for value, _ in wrong],
            "reason_value": wrong[0][0],
            "reason": wrong[0][1].by_construction,
            "relative_errors": [row.known_check.relative_error for _, row in wrong if row.known_check],
            "latency_source": explanation.latency_source,
        }
        yield Statement("note", "smaller-is-wrong", figures, "drop-from-list")
    elif smaller and all(not row.by_construction and row.known_status in ("ok", "not-run") for _, row in smaller):
        values = [value for value, _ in smaller]
        figures = {"values": values, "variant": explanation.row.config.variant, "extent": question.extent}
        yield Statement("note", "smaller-is-a-choice", figures)
