"""Why a config has the occupancy and the latency it has: its limits, what one changed parameter does, and in words.

In two parts, as it becomes known: what the config itself tells, then what its neighbours do. A section is a function
that takes the explanation and returns what it shows, nothing if it has nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from ssdprof.kernels.config import triton_config
from ssdprof.profiling.diagnosis.advice import advice
from ssdprof.profiling.diagnosis.bound import bound_statement
from ssdprof.profiling.diagnosis.correlation import among_neighbours
from ssdprof.profiling.diagnosis.rows import of_another_binary
from ssdprof.profiling.diagnosis.why import answer
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.profiling.runs.model import Explanation
from ssdprof.reports.columns import latency_text
from ssdprof.reports.text import bound, counterfactuals, tables
from ssdprof.reports.text import ledger as ledger_report
from ssdprof.reports.text import occupancy as occupancy_report
from ssdprof.reports.text import registers as registers_report
from ssdprof.reports.text.counters import counters_lines
from ssdprof.reports.text.prose import Labelled, Prose
from ssdprof.reports.text.sweep import STYLES
from ssdprof.reports.text.tables import dimmed, label_grid
from ssdprof.reports.words import answers
from ssdprof.reports.words.bound import short
from ssdprof.reports.words.explanation import headroom, sentences

Section: TypeAlias = Callable[[Explanation], list[RenderableType]]
NOTHING_SAID = ("no-higher-occupancy", "no-latency")
"""What there is no need to say of the neighbours: the answer compares with the whole run."""


def explain_report(explanation: Explanation) -> RenderableType:
    """Everything that `explain` prints."""
    return _shown(explanation, (*FIRST, *REST))


def first_part(explanation: Explanation) -> RenderableType:
    """What is printed as soon as the config itself is compiled."""
    return _shown(explanation, FIRST)


def second_part(explanation: Explanation) -> RenderableType:
    """The rest, once its neighbours are."""
    return _shown(explanation, REST)


def _shown(explanation: Explanation, sections: Iterable[Section]) -> RenderableType:
    return Group(*chain.from_iterable(section(explanation) for section in sections))


def _answer(explanation: Explanation) -> list[RenderableType]:
    given = advice(explanation)
    lines = [("config", explanation.row.config_id), *answers.labelled(given)]
    found = bound_statement(explanation.row, explanation.header)
    if found is not None:
        lines.insert(1, ("bound by", short(found.figures)))
    lines.append(("to paste", triton_config(explanation.header.params, explanation.row.config)))
    lines.append(("of", explanation.whose))
    first = ("dim", STYLES[found.status]) if found else ("dim",)
    styles = (*first, *(STYLES[one.status] for one in given), "dim", "dim")
    return [Labelled(tuple(lines), styles), Text()]


def _occupancy(explanation: Explanation) -> list[RenderableType]:
    row = explanation.row
    if row.compiled is None or row.occupancy is None:
        return [Prose(f"No binary to look at: {row.status_reason or row.status}."), Text()]
    sentence = rule_sentence(row.occupancy)
    lines = [*([sentence, ""] if sentence else []), *headroom(explanation), ""]
    limits = limits_for(explanation.header.device.arch)
    allowances = occupancy_report.allowances(row.compiled.launch, limits)
    return [occupancy_report.section(row.occupancy), Text(), *map(Prose, lines), allowances, Text()]


def _ledger(explanation: Explanation) -> list[RenderableType]:
    if explanation.row.compiled is None or explanation.row.occupancy is None:
        return []
    return ledger_report.parts(explanation.ledger, explanation.ledger_absent)


def _registers(explanation: Explanation) -> list[RenderableType]:
    if explanation.row.compiled is None or explanation.row.occupancy is None:
        return []
    return registers_report.parts(explanation.registers, explanation.registers_absent)


def _counters(explanation: Explanation) -> list[RenderableType]:
    return counters_lines(explanation.row)


def _changes(explanation: Explanation) -> list[RenderableType]:
    found = counterfactuals.parts(explanation)
    return [*found, Text()] if found else []


def _question(explanation: Explanation) -> list[RenderableType]:
    if explanation.question is None:
        return []
    text = sentences(explanation, answer(explanation))
    return [Prose(explanation.question.title, "bold"), Prose(text), Text()]


def _occupancy_and_latency(explanation: Explanation) -> list[RenderableType]:
    found = among_neighbours(explanation)
    if any(one.code in NOTHING_SAID for one in found):
        return []
    return [Prose("Is occupancy what limits the latency?", "bold"), Prose(sentences(explanation, found)), Text()]


def _provenance(explanation: Explanation) -> list[RenderableType]:
    return [label_grid(_header(explanation)), *dimmed(tables.another_binary_notes([explanation.row]))]


FIRST: tuple[Section, ...] = (_answer, bound.parts, _occupancy, _ledger, _registers)
"""What the config itself tells, in order."""
REST: tuple[Section, ...] = (_counters, _changes, _question, _occupancy_and_latency, _provenance)
"""What needs a GPU or its neighbours, in order, and where everything is from."""


def _header(explanation: Explanation) -> list[tuple[str, str]]:
    row, header = explanation.row, explanation.header
    latency = "not measured"
    if row.known_timing is not None:
        source = f", {explanation.latency_source}" if explanation.latency_source else ""
        latency = f"{latency_text(row.known_latency_ms)} ms{'*' if of_another_binary(row) else ''}{source}"
    lines = [*tables.source_lines(header), ("arch", header.device.arch), ("latency", latency)]
    if row.known_status not in ("ok", "not-run") or row.compiled is None:
        lines.append(("status", f"{row.known_status}: {row.known_reason}"))
    return lines
