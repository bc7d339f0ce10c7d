"""What configs say of the output that they agree on, or do not, where none is known to be correct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssdprof.reports.columns import error_text, latency_text

NAMED_ANSWERS = 4
NAME_IT = "Name the one to trust: --trust CONFIG, or --reference FILE:FUNCTION."


def several_answers(of: Mapping[str, Any]) -> str:
    """How many configs give which output, how far apart these are, and what tells them apart."""
    answers = of["answers"]
    first, *others = answers
    if not others:
        return f"1 answer, another than {of['against']}: {_gives(first)} it{_fastest(first)}. {NAME_IT}"
    which = f"that of {of['against']}" if first["is_reference"] else "one"
    named = [f"{_gives(first)} {which}{_fastest(first)}"]
    named += [
        f"{one['configs']} another{_fastest(one)}, apart by {error_text(one['distance'])}"
        for one in others[: NAMED_ANSWERS - 1]
    ]
    rest = len(answers) - len(named)
    named += [f"and {rest} more"] if rest else []
    parameters = of["parameters"]
    tells = ""
    if len(parameters) == 1:
        values = " / ".join(" or ".join(map(str, one)) for one in parameters[0]["values"])
        tells = f"; {parameters[0]['parameter']} tells them apart ({values})"
    elif parameters:
        tells = f"; each of {', '.join(one['parameter'] for one in parameters)} tells them apart"
    none = "" if first["is_reference"] else f", none of them that of {of['against']}"
    return f"{len(answers)} answers{none}: {', '.join(named)}{tells}. {NAME_IT}"


def agreement(of: Mapping[str, Any]) -> str:
    """That agreement is not truth."""
    return (
        f"Outputs are held against {of['against']}, which is not known to be correct: that configs agree with it is no "
        "proof. --reference FILE:FUNCTION holds them against a function that you trust."
    )


def _gives(one: Mapping[str, Any]) -> str:
    return "1 config gives" if one["configs"] == 1 else f"{one['configs']} configs give"


def _fastest(one: Mapping[str, Any]) -> str:
    """The fastest config of an answer; nothing if none was timed."""
    if one["fastest"] is None:
        return ""
    which = "fastest " if one["configs"] > 1 else ""
    return f" ({which}{one['fastest']}, {latency_text(one['latency_ms'])} ms)"
