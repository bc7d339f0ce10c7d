"""Every sentence of an explanation: each statement worded by its code, from its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ssdprof.kernels.config import Param
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.hardware.limiters import SHARED_MEMORY
from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.runs.model import Explanation
from ssdprof.reports.columns import error_text, latency_text, pct_text
from ssdprof.reports.text.occupancy import headroom_lines
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
    column = explanation.question.parameter if explanation.question else ""
    return f"{next((one.heading for one in explanation.header.params if one.column == column), column)} tile"


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
    texts = [str(value) for value in values]
    return f"{what} stay at {texts[0]}" if len(set(texts)) == 1 else f"{what} go {' → '.join(texts)}"


def _blocks_change(of: Figures, _: str) -> str:
    before, after = of["blocks_per_sm_before"], of["blocks_per_sm"]
    verbs = {SHARED_MEMORY: "allows"}
    causes = [
        f"{one['limiter']} {verbs.get(one['limiter'], 'allow')} {one['after']} instead of {one['before']}"
        for one in of["causes"]
    ]
    change = f"At {of['value']} the blocks per SM {'drop' if after < before else 'rise'} from {before} to {after}"
    return f"{change}: {' and '.join(causes)}." if causes else f"{change}."


def _does_not_limit(of: Figures, tile: str) -> str:
    by = [f"by {' and '.join(one['limiters'])}" for one in of["limiters"]]
    if len(by) > 1:
        by = [f"{b} at {' and '.join(map(str, one['values']))}" for b, one in zip(by, of["limiters"], strict=True)]
    more = of["registers_more"]
    still = f" The {more} registers more still allow as many blocks." if more > 0 else ""
    return (
        f"So {tile.removesuffix(' tile')} does not limit the occupancy of this config: every tile that compiled gives "
        f"{of['warps_per_scheduler']:.2f} of {of['max_warps_per_scheduler']} warps per scheduler, limited "
        f"{'; '.join(by)}.{still}"
    )


def _in_shared_memory(of: Figures, _: str) -> str:
    more = of["registers_more"]
    registers = f"hardly registers ({more:+d} per thread)" if more else "no registers"
    return (
        f"With {of['num_warps']} warps the products compile to wgmma, which reads operands from shared memory: a "
        f"larger tile costs shared memory ({of['dynamic_shared_mem_more_bytes']} bytes more per block), "
        f"{registers}."
    )


def _smaller_is_wrong(of: Figures, _: str) -> str:
    errors, how = ", ".join(map(error_text, of["relative_errors"])), (of["latency_source"] or "").partition(" ")[0]
    found = f" (relative error {errors} as {how})" if errors else ""
    tiles = " or ".join(map(str, of["values"]))
    wrong = f"A smaller tile is no way out: {tiles} is wrong by construction{found}."
    return f"{wrong} A tile of {of['reason_value']} {of['reason']}."


def _smaller_is_a_choice(of: Figures, _: str) -> str:
    tiles = f"tile of {' or '.join(map(str, of['values']))} is a real choice"
    start, kernel = (f"In the `{of['variant']}` variant a", "it") if of["variant"] else ("A", "the kernel")
    return f"{start} {tiles}: {kernel} loops over the tiles of the {of['extent']} elements."


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
    "carve-out": lambda of, _: (
        f"At {of['value']} shared memory is named only because the driver configures "
        f"{of['shared_mem_config_bytes']} bytes of it for that many blocks"
        f"{', assumed' if of['shared_mem_config_source'] == 'assumed' else ''}; the largest size, "
        f"{of['largest_config_bytes']} bytes, would hold {of['blocks_at_largest']}, so it is "
        f"{' and '.join(of['other_limiters'])} that must change first."
    ),
    "does-not-limit-occupancy": _does_not_limit,
    "growth": _growth,
    "higher-occupancy": _higher,
    "limits-occupancy": lambda of, tile: (
        f"So the {tile} of {of['value']} does limit this config: {of['warps_per_scheduler']:.2f} of "
        f"{of['max_warps_per_scheduler']} warps per scheduler, while {of['least_value']} would have "
        f"{of['warps_per_scheduler_at_least']:.2f}."
    ),
    "missing-value": lambda of, _: f"Tile {of['value']} is missing here: {of['status']} ({of['reason']}).",
    "no-higher-occupancy": _no_higher,
    "no-latency": lambda of, _: (
        f"Cannot be said: {of['config_id']} "
        f"{'was not measured' if of['status'] in ('ok', 'not-run') else 'is ' + of['status']}, so there is no latency "
        "to compare occupancy with."
    ),
    "no-other-value": lambda _, tile: (
        f"The kernel takes this config with one {tile} alone: there is no other to compare."
    ),
    "occupancy-and-latency": lambda of, _: correlation_words(of),
    "operands-in-registers": lambda of, _: (
        f"With {of['num_warps']} warps the products compile to mma.sync, whose operands are fragments in registers: a "
        f"larger tile costs registers ({of['registers_more']} more per thread), not shared memory."
    ),
    "operands-in-shared-memory": _in_shared_memory,
    "smaller-is-a-choice": _smaller_is_a_choice,
    "smaller-is-wrong": _smaller_is_wrong,
    "too-few-values": lambda of, tile: (
        f"What the {tile} changes cannot be said: "
        f"{'only tile ' + str(of['values'][0]) if of['values'] else 'no tile'} compiled for this config."
    ),
}
