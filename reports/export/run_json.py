"""Runs and explanations as JSON for other programs. A number that is not finite is null: JSON has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ssdprof.kernels.config import triton_config, triton_kwargs
from ssdprof.profiling.diagnosis.advice import advice
from ssdprof.profiling.diagnosis.answers import answer as answers_of
from ssdprof.profiling.diagnosis.bound import bound_statement
from ssdprof.profiling.diagnosis.correlation import among_neighbours
from ssdprof.profiling.diagnosis.counterfactuals import Counterfactual, counterfactuals, most_helpful
from ssdprof.profiling.diagnosis.rows import NOT_TO_USE, listed_rows, of_another_binary
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.diagnosis.why import answer
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.profiling.runs.codec import plain
from ssdprof.profiling.runs.model import Explanation, Row, Run, RunHeader
from ssdprof.profiling.runs.recorded import latency_source
from ssdprof.profiling.runs.registers import Registers
from ssdprof.reports.columns import Column, columns_of, metric_columns, values
from ssdprof.reports.export.json_text import SCHEMA as SCHEMA
from ssdprof.reports.export.json_text import json_text as json_text
from ssdprof.reports.words import answers
from ssdprof.reports.words import bound as bound_words
from ssdprof.reports.words import counterfactuals as change_words
from ssdprof.reports.words import explanation as explanation_words
from ssdprof.reports.words.verdicts import as_dicts


def run_json(run: Run, found: Sequence[Statement]) -> str:
    """A whole run: the answer, header, rows under the CSV's column names and in its order, and `found` as verdicts."""
    return json_text(_run_dict(run, found))


def runs_json(runs: Sequence[tuple[Run, Sequence[Statement]]]) -> str:
    """Several runs, each with what was found, in order: a list of what `run_json` gives of each."""
    return json_text({"schema": SCHEMA, "runs": [_run_dict(run, found) for run, found in runs]})


def _run_dict(run: Run, found: Sequence[Statement]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "answer": as_dicts(answers_of(run), answers.words),
        "header": header_dict(run.header),
        "rows": [_row_dict(row, run.header, metric_columns(run.rows)) for row in ordered_rows(run)],
        "recorded": _recorded_dict(run),
        "verdicts": as_dicts(found),
    }


def ordered_rows(run: Run) -> list[Row]:
    """The rows to choose from, best first, then the others in the space's order, wrong ones last."""
    listed = listed_rows(run)
    chosen = {row.config_id for row in listed}
    rest = [row for row in run.rows if row.config_id not in chosen]
    return [*listed, *sorted(rest, key=lambda row: row.known_status in NOT_TO_USE)]


def explanation_json(explanation: Explanation) -> str:
    """An explanation: the config's row, its neighbours' rows, and what the screen says of them.

    `counterfactuals` has every change, most helpful first. `bound` says what bounds the latency, `model` is what the
    config moves and executes; null if that is not known.
    """
    helpful = most_helpful(explanation)
    answered, latency = answer(explanation), among_neighbours(explanation)
    bound = bound_statement(explanation.row, explanation.header)
    row, header, question = explanation.row, explanation.header, explanation.question
    stated = as_dicts([*answered, *latency], lambda statement: explanation_words.words(explanation, statement))
    return json_text(
        {
            "schema": SCHEMA,
            "answer": as_dicts(advice(explanation), answers.words),
            "bound": bound and as_dicts([bound], bound_words.words)[0],
            "model": asdict(row.model) if row.model else None,
            "header": header_dict(header),
            "row": _row_dict(row, header, metric_columns([row])),
            "neighbours": [
                {"parameter": one.param.column, "rows": [_row_dict(row, header) for row in one.rows]}
                for one in explanation.neighbours
            ],
            "counterfactuals": [_counterfactual_dict(explanation, one) for one in counterfactuals(explanation)],
            "most_helpful": helpful
            and as_dicts([helpful], lambda statement: change_words.most_helpful(explanation, statement))[0],
            "latency_source": explanation.latency_source,
            "whose": explanation.whose,
            "rule": rule_sentence(row.occupancy) if row.occupancy else None,
            "headroom": explanation_words.headroom(explanation),
            "ledger": asdict(explanation.ledger) if explanation.ledger else None,
            "ledger_absent": explanation.ledger_absent,
            "registers": _registers_dict(explanation.registers) if explanation.registers else None,
            "registers_absent": explanation.registers_absent,
            "question": question
            and {
                "parameter": question.parameter,
                "title": question.title,
                "answer": explanation_words.sentences(explanation, answered),
                "figures": next((one.figures for one in answered if one.code == "growth"), {}),
            },
            "occupancy_and_latency": explanation_words.sentences(explanation, latency),
            "statements": stated,
        }
    )


def _registers_dict(registers: Registers) -> dict[str, Any]:
    return {
        **asdict(registers),
        "estimated_registers": registers.estimated_registers,
        "rest_registers": registers.rest_registers,
    }


def _counterfactual_dict(explanation: Explanation, one: Counterfactual) -> dict[str, Any]:
    return {
        "change": change_words.change(explanation, one),
        "parameter": one.param.column,
        "before": one.before,
        "value": one.value,
        "finding": one.finding,
        "times_as_fast": one.times_as_fast,
        "more_blocks_per_sm": one.more_blocks_per_sm,
        "fewer_spill_bytes": one.fewer_spill_bytes,
        "row": _row_dict(one.row, explanation.header),
    }


def header_dict(header: RunHeader) -> dict[str, Any]:
    """Every field of a header by name."""
    return dict(plain(header))


def _row_dict(row: Row, header: RunHeader, metrics: Sequence[Column] = ()) -> dict[str, Any]:
    """The CSV's columns, and what a cell cannot hold: lists as lists, where the wrong rows are, what is assumed.

    `triton_config` is the config as source, `triton_kwargs` the arguments of that call; neither has the variant.
    """
    return {
        **values(row, (*columns_of(header.params), *metrics)),
        "triton_config": triton_config(header.params, row.config),
        "triton_kwargs": triton_kwargs(header.params, row.config),
        "limiters": list(row.occupancy.limiters) if row.occupancy else None,
        "shared_mem_config_source": row.occupancy.shared_mem_config_source if row.occupancy else None,
        "throttled": list(row.timing.throttled) if row.timing and row.timing.throttled is not None else None,
        "only_throttled": row.timing.only_throttled if row.timing else None,
        "findings": [asdict(finding) for finding in row.check.findings] if row.check else None,
        "by_construction": row.by_construction or None,
        "recorded": asdict(row.recorded) if row.recorded else None,
        "counters_source": row.counters.source if row.counters else None,
    }


def _recorded_dict(run: Run) -> dict[str, Any] | None:
    """Where the recorded latencies are from, of how many rows, and of how many they are another binary's."""
    source = latency_source(run)
    if source is None:
        return None
    other = sum(map(of_another_binary, run.rows))
    return {"source": source, "rows": sum(row.recorded is not None for row in run.rows), "other_binaries": other}
