"""Every sentence of an explanation: each statement worded by its code, from its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ssdprof.kernels.config import Param
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.hardware.limiters import SHARED_MEMORY
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.runs.model import Explanation
from ssdprof.reports.columns import error_text, latency_text, pct_text
from ssdprof.reports.text.occupancy import headroom_lines, thousands
from ssdprof.reports.words.verdicts import Figures, correlation_words

_Words = Callable[[Figures, str], str]


def sentences(explanation: Explanation, found: Iterable[Statement]) -> str:
    """The statements as one text."""
    return " ".join(words(explanation, one) for one in found)


def words(explanation: Explanation, statement: Statement) -> str:
    """A statement about the config or its neighbours as sentences; the subject's own statements come worded."""
    return statement.message or _WORDS[statement.code](statement.figures, asked_tile(explanation))


def asked_tile(explanation: Explanation) -> str:
    """What the parameter that the explanation's question is of is called: `DSTATE tile`."""
    question = explanation.question
    column = question.parameter if question else ""
    headings = [param.heading for param in explanation.header.params if param.column == column]
    return f"{headings[0] if headings else column} tile"


def parameter_name(explanation: Explanation, param: Param) -> str:
    """What a parameter is called: a launch option by its name, any other by its heading, with what it is."""
    is_asked = explanation.question is not None and param.column == explanation.question.parameter
    if is_asked or param.unit == "elements":
        return f"{param.heading} tile"
    return param.name if param.is_option else param.heading


def headroom(explanation: Explanation) -> list[str]:
    """What the config would have to give up for one more block per SM; nothing if it did not compile."""
    row = explanation.row
    if row.compiled is None or row.occupancy is None:
        return []
    return headroom_lines(row.compiled.launch, row.occupancy, limits_for(explanation.header.device.arch))


def _growth(of: Figures, tile: str) -> str:
    spilled = f"{_series('bytes spilled per thread', of['spill_bytes'])}, " if any(of["spill_bytes"]) else ""
    warps = [f"{value:.2f}" for value in of["warps_per_scheduler"]]
    return (
        f"From a {tile} of {' to '.join(map(str, of['values']))}, "
        f"{_series('registers per thread', of['registers_per_thread'])}, {spilled}"
        f"{_series('bytes of shared memory per block', of['dynamic_shared_mem_bytes'])}, "
        f"{_series('blocks per SM', of['blocks_per_sm'])} and {_series('warps per scheduler', warps)}."
    )


def _series(what: str, values: Sequence[int | str]) -> str:
    texts = [thousands(value) if isinstance(value, int) else value for value in values]
    return f"{what} stay at {texts[0]}" if len(set(texts)) == 1 else f"{what} go {' → '.join(texts)}"


def _blocks_change(of: Figures, _: str) -> str:
    before, after = of["blocks_per_sm_before"], of["blocks_per_sm"]
    causes = [
        f"{one['limiter']} {'allows' if one['limiter'] == SHARED_MEMORY else 'allow'} {one['after']} instead of "
        f"{one['before']}"
        for one in of["causes"]
    ]
    why = f": {' and '.join(causes)}" if causes else ""
    verb = "drop" if after < before else "rise"
    return f"At {of['value']} the blocks per SM {verb} from {before} to {after}{why}."


def _limits(of: Figures, tile: str) -> str:
    return (
        f"So the {tile} of {of['value']} does limit this config: {of['warps_per_scheduler']:.2f} of "
        f"{of['max_warps_per_scheduler']} warps per scheduler, while {of['least_value']} would have "
        f"{of['warps_per_scheduler_at_least']:.2f}."
    )


def _does_not_limit(of: Figures, tile: str) -> str:
    by = "; ".join(
        f"by {' and '.join(one['limiters'])} at {' and '.join(map(str, one['values']))}" for one in of["limiters"]
    )
    if len(of["limiters"]) == 1:
        by = f"by {' and '.join(of['limiters'][0]['limiters'])}"
    more = of["registers_more"]
    still = f" The {more} registers more still allow as many blocks." if more > 0 else ""
    return (
        f"So {tile.removesuffix(' tile')} does not limit the occupancy of this config: every tile that compiled gives "
        f"{of['warps_per_scheduler']:.2f} of {of['max_warps_per_scheduler']} warps per scheduler, limited {by}.{still}"
    )


def _carve_out(of: Figures, _: str) -> str:
    assumed = ", assumed" if of["shared_mem_config_source"] == "assumed" else ""
    return (
        f"At {of['value']} shared memory is named only because the driver configures "
        f"{thousands(of['shared_mem_config_bytes'])} bytes of it for that many blocks{assumed}; the largest size, "
        f"{thousands(of['largest_config_bytes'])} bytes, would hold {of['blocks_at_largest']}, so it is "
        f"{' and '.join(of['other_limiters'])} that must change first."
    )


def _in_registers(of: Figures, _: str) -> str:
    return (
        f"With {of['num_warps']} warps the products compile to mma.sync, whose operands are fragments in registers: a "
        f"larger tile costs registers ({of['registers_more']} more per thread), not shared memory."
    )


def _in_shared_memory(of: Figures, _: str) -> str:
    more = of["registers_more"]
    registers = f"hardly registers ({more:+d} per thread)" if more else "no registers"
    return (
        f"With {of['num_warps']} warps the products compile to wgmma, which reads operands from shared memory: a "
        f"larger tile costs shared memory ({thousands(of['dynamic_shared_mem_more_bytes'])} bytes more per block), "
        f"{registers}."
    )


def _smaller_is_wrong(of: Figures, _: str) -> str:
    tiles = " or ".join(map(str, of["values"]))
    errors = ", ".join(map(error_text, of["relative_errors"]))
    how = (of["latency_source"] or "").partition(" ")[0]
    found = f" (relative error {errors} as {how})" if errors else ""
    return (
        f"A smaller tile is no way out: {tiles} is wrong by construction{found}. A tile of {of['reason_value']} "
        f"{of['reason']}."
    )


def _smaller_is_a_choice(of: Figures, _: str) -> str:
    tiles = f"tile of {' or '.join(map(str, of['values']))} is a real choice"
    start, kernel = (f"In the `{of['variant']}` variant a", "it") if of["variant"] else ("A", "the kernel")
    return f"{start} {tiles}: {kernel} loops over the tiles of the {of['extent']} elements."


def _missing(of: Figures, _: str) -> str:
    return f"Tile {of['value']} is missing here: {of['status']} ({of['reason']})."


def _too_few(of: Figures, tile: str) -> str:
    compiled = f"only tile {of['values'][0]} compiled" if of["values"] else "no tile compiled"
    return f"What the {tile} changes cannot be said: {compiled} for this config."


def _no_other(_: Figures, tile: str) -> str:
    return f"The kernel takes this config with one {tile} alone: there is no other to compare."


def _no_latency(of: Figures, _: str) -> str:
    state = "was not measured" if of["status"] in ("ok", "not-run") else f"is {of['status']}"
    return f"Cannot be said: {of['config_id']} {state}, so there is no latency to compare occupancy with."


def _no_higher(of: Figures, _: str) -> str:
    count = of["neighbours"]
    who = f"none of the {count} correct neighbours with a latency has" if count > 1 else "no correct neighbour has"
    return f"Cannot be said: {who} a higher occupancy than {pct_text(of['theoretical_occupancy_pct'])} %."


def _higher(of: Figures, _: str) -> str:
    count, fastest, own = of["neighbours"], of["fastest"], of["own"]
    which = "the correct neighbour" if count == 1 else f"the fastest of the {count} correct neighbours"
    figures = (
        f"{which} with a higher occupancy, {fastest['config_id']} ({pct_text(fastest['theoretical_occupancy_pct'])} % "
        f"against {pct_text(own['theoretical_occupancy_pct'])} %), takes {latency_text(fastest['latency_ms'])} ms "
        f"against {latency_text(own['latency_ms'])} ms"
    )
    if of["finding"] == "faster":
        return f"It may be: {figures}. The changed parameter changes more than occupancy, so this is no proof."
    return f"No: {figures}{', which is no difference within the noise' if of['finding'] == 'same' else ''}."


_WORDS: Mapping[str, _Words] = {
    "blocks-change": _blocks_change,
    "carve-out": _carve_out,
    "does-not-limit-occupancy": _does_not_limit,
    "growth": _growth,
    "higher-occupancy": _higher,
    "limits-occupancy": _limits,
    "missing-value": _missing,
    "no-higher-occupancy": _no_higher,
    "no-latency": _no_latency,
    "no-other-value": _no_other,
    "occupancy-and-latency": lambda of, _: correlation_words(of),
    "operands-in-registers": _in_registers,
    "operands-in-shared-memory": _in_shared_memory,
    "smaller-is-a-choice": _smaller_is_a_choice,
    "smaller-is-wrong": _smaller_is_wrong,
    "too-few-values": _too_few,
}
