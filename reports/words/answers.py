"""The answers to a sweep and about a config, worded: for each statement a label and a sentence or two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.hardware.limiters import REGISTERS, SHARED_MEMORY
from ssdprof.reports.columns import error_text, latency_text, pct_text
from ssdprof.reports.text.occupancy import counted
from ssdprof.reports.words.agreement import NAME_IT, several_answers
from ssdprof.reports.words.bound import short
from ssdprof.reports.words.verdicts import Figures, explain_command, listed

BEST = "best"
EQUAL = "1.00 times "


def labelled(found: Iterable[Statement]) -> list[tuple[str, str]]:
    """Each statement's label and text."""
    return [(_LABELS.get(one.code) or one.figures["parameter"], words(one)) for one in found]


def words(statement: Statement) -> str:
    """A statement as a sentence or two."""
    return _WORDS[statement.code](statement.figures)


def _unfinished(of: Figures) -> str:
    left = f"{of['left_configs']} of {counted(of['configs'], 'config')} left"
    why = f"gave up: {of['reason']}; {left}" if of["reason"] else f"interrupted: {left}"
    return f"{why}. The same command with --resume goes on."


def _use(of: Figures) -> str:
    of_what = " of another binary" if of["is_another_binary"] else ""
    where = f", recorded on {of['recorded'].partition(' on ')[2].partition(',')[0]}{of_what}" if of["recorded"] else ""
    tied = of["tied_config_ids"]
    ties = f"; {len(tied)} {'is' if len(tied) == 1 else 'are'} tied" if tied else ""
    if of["is_baseline"]:
        gain = ": the baseline; no other correct config is faster" if not tied else ": the baseline"
    elif of["speedup_vs_baseline"]:
        times = f"{of['speedup_vs_baseline']:.2f} times "
        gain = f": {'' if times == EQUAL else times}as fast as the baseline {of['baseline_id']}"
    else:
        gain = ": there is no baseline's latency to compare with"
    checked = ""
    if of["relative_error"] is not None and not of["recorded"]:
        same = f"Same output as {of['against']}: error" if of.get("against") else "Error"
        checked = f". {same} {error_text(of['relative_error'])} in {of['checked_launches']} launches"
    return f"{of['config_id']}, {latency_text(of['latency_ms'])} ms{where}{gain}{ties}{checked}."


def _nothing_to_use(of: Figures) -> str:
    counted = [f"{count} {status}" for status, count in of["statuses"].items()]
    statuses = listed(counted) if counted else "nothing ran"
    count, reason = of["reason_configs"], of["reason"]
    which = "All" if count == of["configs"] else f"Most often ({count} of {of['configs']})"
    most = f" {which}: {reason}." if count else ""
    return f"nothing: no config of {of['configs']} is correct and timed; {statuses}.{most}"


def _compiled_only(of: Figures) -> str:
    compiled, usable = of["compiled_configs"], of["usable_configs"]
    if not compiled:
        return f"nothing: no config of {of['configs']} compiled for {of['arch']}."
    which = f"{usable} of {counted(of['configs'], 'config')}"
    return f"not known: nothing was measured here. {which} compiled for {of['arch']} and may be correct."


NOT_BOUND = "What bounds it is not known: ncu's dram__bytes_read.sum tells."


def _floor(of: Figures) -> str:
    moved = f"moving {of['bytes_min'] / 1e9:.2f} GB once takes {latency_text(of['floor_ms'])} ms"
    text = f"{100 / of['times_the_floor']:.0f} % of it reached: {moved} at {of['copy_gbps']:.0f} GB/s. "
    if of["near_the_floor"]:
        return text + "DRAM bounds it: no config gains much more."
    return text + (f"Bound by {short(of['bound'])}" if of["bound"] else NOT_BOUND)


def _occupancy(of: Figures) -> str:
    if "limiters" not in of:
        return "not known."
    text = (
        f"{pct_text(of['theoretical_occupancy_pct'])} % ({of['warps_per_scheduler']:g} of "
        f"{of['max_warps_per_scheduler']} warps per scheduler), by {' and '.join(of['limiters'])}"
    )
    found = of["correlation"]
    if found is None:
        return f"{text}: that of {of['config_id']}, the first to list."
    if higher := of.get("higher"):
        text += f"; {pct_text(higher['theoretical_occupancy_pct'])} % takes {latency_text(higher['latency_ms'])} ms"
    if "spearman" not in found:
        return f"{text}.{_GOES[found['finding']]}"
    relation = f"Correlation with latency {found['spearman']:+.2f} (n = {found['configs']})"
    return f"{text}. {relation}: {_GOES[found['finding']]}."


def _question(of: Figures) -> str:
    if "config_id" not in of:
        return f"no smaller tile than the whole {of['extent']} was tried."
    others, warps = listed(map(str, of["other_values"])), f"{of['warps_per_scheduler']:g}"
    wrong = " Smaller tiles are wrong." if of["all_are_wrong"] else ""
    if of["limits"]:
        most = f"{of['most_warps_per_scheduler']:g} with {of['most_value']}"
        but = ", which is wrong" if of["most_is_wrong"] else ""
        return f"a tile of {of['value']} limits {of['config_id']}: {warps} warps per scheduler, {most}{but}."
    return (
        f"{of['value']} is not the limit: {of['config_id']} has no more than {warps} warps per scheduler with {others}."
        f"{wrong}"
    )


def _not_used(of: Figures) -> str:
    counts = listed(f"{count} {status}" for status, count in of["statuses"].items())
    text, fastest = f"{counts} of {of['configs']}.", of["fastest"]
    if fastest is None:
        return f"{text} {of['config_id']} {of['reason']}." if "reason" in of else text
    error = "" if fastest["relative_error"] is None else f", error {error_text(fastest['relative_error'])}"
    if fastest["faster_than"] is None:
        latency = latency_text(fastest["latency_ms"])
        return f"{text} {fastest['config_id']} ({latency} ms{error}) is the fastest wrong one."
    tuner = "An autotuner" if fastest["faster_than"] == BEST else f"An autotuner of `{fastest['faster_than']}`"
    return f"{text} {tuner} picks {fastest['config_id']}: {fastest['less_pct']:.0f} % less time{error}."


def _limits(of: Figures) -> str:
    uses = {REGISTERS: f"{of['registers_per_thread']}", SHARED_MEMORY: f"{of['dynamic_shared_mem_bytes']} bytes"}
    by = " and ".join(f"{name} ({uses[name]})" if name in uses else name for name in of["limiters"])
    text = (
        f"{by}: {of['warps_per_scheduler']:g} of {of['max_warps_per_scheduler']} warps per scheduler, "
        f"{pct_text(of['theoretical_occupancy_pct'])} %."
    )
    step = of["step"]
    if step is None:
        return f"{text} One more block is blocked by {listed(of['blocked_by'])}." if of["blocked_by"] else text
    needs = [f"{step['registers_fewer']} registers fewer"] if step["registers_fewer"] else []
    if step["dynamic_shared_mem_fewer_bytes"]:
        needs.append(f"{step['dynamic_shared_mem_fewer_bytes']} bytes fewer")
    reached = f"{pct_text(step['theoretical_occupancy_pct'])} %"
    return f"{text} {' and '.join(needs)}: one more block, {reached}." if needs else f"{text} {reached} may fit."


def _matters(of: Figures) -> str:
    finding = of["finding"]
    if of["status"] == "differs":
        return f"not known, since it gives {of['reason']}"
    if finding == "not-usable":
        return f"no, it is {of['status']}: {of['reason']}"
    if finding == "not-known":
        return "not known: there is no latency of this config."
    if finding == "measured-with-changes":
        return "not known yet: this config is measured below, beside each change of it."
    best, of_what = of["best"], " of another binary" if of["is_another_binary"] else ""
    latency = f"{latency_text(of['latency_ms'])} ms{of_what}"
    place = f", #{of['rank']} of {of['correct_configs']}" if of["rank"] else ""
    floor = f", {of['floor']['times_the_floor']:.2f} times the floor" if of["floor"] else ""
    if finding in ("is-best", "tied"):
        which = "the best" if finding == "is-best" else f"tied with the best, {best['config_id']}"
        higher = of["higher"]
        more = (
            f" The fastest with more, {higher['config_id']} ({pct_text(higher['theoretical_occupancy_pct'])} %), takes "
            f"{latency_text(higher['latency_ms'])} ms."
            if higher
            else ""
        )
        return f"no: {latency}{place}{floor}, {which}.{more}"
    faster = f"{best['config_id']} is {best['times_as_fast']:.2f} times as fast"
    theirs = f"{pct_text(best['theoretical_occupancy_pct'])} %"
    if finding == "more":
        return f"perhaps: {latency}{place}{floor}; {faster} with {theirs}."
    how = "the same" if finding == "same" else "less,"
    return f"no: {latency}{place}{floor}; {faster} with {how} {theirs}."


def _do(of: Figures) -> str:
    best = f"take {of['best_id']} instead" if of["best_id"] and of["best_id"] != of["config_id"] else ""
    if of["finding"] == "use-another":
        return f"do not use it{'; ' + best if best else ': take another config'}."
    if of["finding"] == "name-the-answer":
        return "not decided: configs give different outputs. " + NAME_IT
    if of["finding"] == "measure":
        return "measure it: `ssdprof sweep` on a GPU. The table below says what each change costs."
    if of["finding"] == "see-changes":
        return "see below what each change gains; `ssdprof sweep` compares it with all others."
    if of["finding"] == "use-best":
        return f"{best}."
    if of["near_the_floor"]:
        return "use it: DRAM bounds it, and no change of the config gains much more."
    if of["bound"]:
        return "use it: no config that was tried is faster; what else would help is said below."
    return "use it; what bounds it is not known: compare ncu's dram__bytes_read.sum with the least bytes."


def _next(of: Figures) -> str:
    step = of["step"]
    explain = explain_command(of) if of["explain"] else ""
    if step == "measure-on-gpu":
        return f"the same command on a GPU measures{'; ' + explain + ' says why' if explain else ''}."
    return f"{explain} says why, and what to change." if explain else _TRY_FIRST[of["status"]]


_GOES: Mapping[str, str] = {
    "one-occupancy": " All correct configs have the same.",
    "too-few": "",
    "no-relation": "none",
    "unclear": "unclear",
    "higher-latency": "more occupancy takes longer",
    "strong": "more occupancy takes less",
    "loose": "loose",
}
_TRY_FIRST: Mapping[str, str] = {
    "wrong": "find out where the outputs differ: --wrong says it; then mend the kernel or its list of configs.",
    "differs": "find out which output is correct: give a reference, or trust another config.",
    "unstable": "look for a race: the same launch gave different outputs.",
    "compile-error": "read what the compiler says: --wrong lists each reason.",
    "out-of-resources": "take smaller tiles or fewer num_stages.",
    "launch-error": "read what the driver says (--wrong), and run one config under compute-sanitizer.",
    "timeout": "give --timeout more seconds, or leave the slowest configs out.",
    "not-run": "read the reasons below.",
}
"""Where nothing was correct, by what happened most often."""
_LABELS: Mapping[str, str] = {
    "limits": "limited by",
    "no-binary": "limited by",
    "matters": "matters",
    "do": "do",
    "unfinished": "state",
    "use": "use",
    "nothing-to-use": "use",
    "compiled-only": "use",
    "several-answers": "use",
    "floor": "floor",
    "occupancy": "occupancy",
    "not-used": "not used",
    "next": "next",
}
_WORDS: Mapping[str, Callable[[Figures], str]] = {
    "unfinished": _unfinished,
    "use": _use,
    "nothing-to-use": _nothing_to_use,
    "compiled-only": _compiled_only,
    "floor": _floor,
    "occupancy": _occupancy,
    "question": _question,
    "several-answers": lambda of: f"not decided: {several_answers(of)}",
    "not-used": _not_used,
    "limits": _limits,
    "no-binary": lambda of: f"not known, {of['status']}: {of['reason']}",
    "matters": _matters,
    "do": _do,
    "next": _next,
}
