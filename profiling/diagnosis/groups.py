"""Which different outputs the configs of a run give, and what tells them apart, if none is known to be correct."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ssdprof.kernels.config import Value
from ssdprof.profiling.diagnosis.rows import latency_ms
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.runs.answers.grouping import groups_of
from ssdprof.profiling.runs.model import Row, Run

VARIANT = "variant"


@dataclass(frozen=True, slots=True)
class Answer:
    """An output that some configs of a run give, the same but for rounding.

    `config_ids` in the run's order; `fastest` of them with its latency, None if none was timed. `distance`: from the
    first answer, relative to the reference's norm. `is_reference`: whether it is that of the reference.
    """

    config_ids: tuple[str, ...]
    fastest: str | None
    latency_ms: float | None
    distance: float
    is_reference: bool


@dataclass(frozen=True, slots=True)
class Apart:
    """A parameter, by its name, whose value alone tells which answer a config gives; for each answer, its values."""

    parameter: str
    values: tuple[tuple[Value, ...], ...]


def answers_of(run: Run) -> tuple[Answer, ...]:
    """The different outputs of a run's configs, the reference's first; none if the reference is known to be correct."""
    rows = {row.config_id: row for row in run.rows}
    found = []
    for group in groups_of(run.rows, run.header.tolerances):
        timed = [rows[name] for name in group.config_ids if rows[name].known_timing]
        fastest = min(timed, key=lambda row: (latency_ms(row), row.config_id), default=None)
        found.append(
            Answer(
                config_ids=group.config_ids,
                fastest=fastest.config_id if fastest else None,
                latency_ms=latency_ms(fastest) if fastest else None,
                distance=group.distance,
                is_reference=group.is_reference,
            )
        )
    return tuple(found)


def apart(run: Run, answers: Sequence[Answer]) -> tuple[Apart, ...] | None:
    """The parameters, or the variant, of which each value goes with one answer alone; None if there is none."""
    rows = {row.config_id: row for row in run.rows}
    parts = [[rows[name] for name in answer.config_ids] for answer in answers]
    found = [
        one
        for name, value_of in _readers(run).items()
        if (one := _by_value(name, value_of, parts)) and len(parts) > 1 and parts[0]
    ]
    return tuple(found) or None


def against(run: Run) -> str:
    """What the outputs are held against that is not known to be correct; empty if it is known to be."""
    return next((one.against for one in run.header.tolerances if one.against), "")


def several_answers(run: Run) -> Statement | None:
    """That the run cannot say which of its outputs is correct; None if all are the reference's."""
    answers = answers_of(run)
    if all(one.is_reference for one in answers):
        return None
    figures: dict[str, Any] = {
        "answers": [
            {
                "configs": len(one.config_ids),
                "fastest": one.fastest,
                "latency_ms": one.latency_ms,
                "distance": one.distance,
                "is_reference": one.is_reference,
            }
            for one in answers
        ],
        "parameters": [
            {"parameter": one.parameter, "values": [list(values) for values in one.values]}
            for one in apart(run, answers) or ()
        ],
        "against": against(run),
    }
    return Statement("warning", "several-answers", figures, "name-the-answer")


def agreement(run: Run) -> Statement | None:
    """That all configs with a rank give the reference's output, of which nobody knows whether it is correct."""
    answers = answers_of(run)
    if not answers or not all(one.is_reference for one in answers) or not run.ranked:
        return None
    return Statement("note", "agreement", {"configs": len(run.ranked), "against": against(run)}, "name-the-answer")


def _readers(run: Run) -> dict[str, Callable[[Row], Value]]:
    """How each parameter's value is read from a row, and the variant's."""

    def of(name: str) -> Callable[[Row], Value]:
        return lambda row: row.config[name]

    return {VARIANT: lambda row: row.config.variant, **{param.name: of(param.name) for param in run.header.params}}


def _by_value(name: str, value_of: Callable[[Row], Value], parts: Sequence[Sequence[Row]]) -> Apart | None:
    """The values of each part, if no two parts have one in common."""
    values = [tuple(dict.fromkeys(map(value_of, part))) for part in parts]
    every = [value for of_part in values for value in of_part]
    return Apart(name, tuple(values)) if len(set(every)) == len(every) else None
