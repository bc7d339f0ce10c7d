"""Every sentence of a run's verdict: each statement worded by its code, from its figures."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.reports.columns import error_text, latency_text, pct_text
from ssdprof.reports.text.prose import Prose
from ssdprof.reports.words.agreement import agreement, several_answers

NAMED_TIES = 6
MARKS = {"good": "✓", "note": "•", "warning": "!"}
STYLES = {"good": "green", "note": "", "warning": "yellow"}
Figures = Mapping[str, Any]
Words = Callable[[Statement], str]


def words(statement: Statement) -> str:
    """The statement as sentences; the subject's own statements come worded."""
    message = statement.message or _WORDS[statement.code](statement.figures)
    return f"Recorded: {message}" if statement.figures.get("recorded") else message


def render(found: Sequence[Statement], words: Words = words) -> RenderableType:
    """The statements as lines, each with its mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for one in found:
        grid.add_row(Text(MARKS[one.status]), Prose(words(one)), style=STYLES[one.status])
    return Group(Text("Verdict", style="bold"), grid)


def as_dicts(found: Iterable[Statement], words: Words = words) -> list[dict[str, Any]]:
    """The statements for other programs, each with its sentences as `message`."""
    return [{**asdict(one), "message": words(one)} for one in found]


def listed(names: Iterable[str], limit: int = 4) -> str:
    """The names as an enumeration; of more than `limit`, all but the first `limit` less one are only counted."""
    names = list(names)
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def correlation_words(of: Figures) -> str:
    """Whether occupancy goes with latency, by its `finding`."""
    n = of["configs"]
    if of["finding"] == "one-occupancy":
        low, high = map(latency_text, of["latency_ms"])
        return (
            f"Occupancy does not explain latency here: all {n} correct configs have "
            f"{pct_text(of['theoretical_occupancy_pct'])} % and take {low} to {high} ms."
        )
    if of["finding"] == "too-few":
        return f"{n} correct configs are too few to say whether occupancy goes with latency."
    figures = f"Spearman rank correlation {of['spearman']:+.2f}, n = {n}"
    chance = f"chance alone gives up to ±{of['spearman_by_chance']:.2f}"
    return {
        "no-relation": f"Occupancy shows no relation to latency here: {figures} ({chance}).",
        "unclear": f"These {n} configs do not tell whether occupancy goes with latency: {figures}, and {chance}.",
        "higher-latency": f"Higher occupancy goes with higher latency here: {figures}."
        " More occupancy is not what is missing.",
        "strong": f"Higher occupancy goes with lower latency among these configs: {figures}.",
        "loose": f"Higher occupancy goes loosely with lower latency among these configs: {figures}.",
    }[of["finding"]]


def _occupancy_and_latency(of: Figures) -> str:
    text = correlation_words(of)
    if "highest_occupancy" in of:
        top, best = of["highest_occupancy"], of["best"]
        text += (
            f" The highest occupancy, {pct_text(top['theoretical_occupancy_pct'])} % in {top['config_id']}, takes "
            f"{latency_text(top['latency_ms'])} ms; the best latency, {latency_text(best['latency_ms'])} ms, has "
            f"{pct_text(best['theoretical_occupancy_pct'])} %."
        )
    if (equal := of.get("equal_occupancy")) and of["finding"] != "one-occupancy":
        low, high = map(latency_text, equal["latency_ms"])
        text += (
            f" At {pct_text(equal['theoretical_occupancy_pct'])} % alone, {equal['configs']} take {low} to {high} ms."
        )
    return text


def _fastest_correct(of: Figures) -> str:
    ids, baseline = of["config_ids"], of["baseline_id"]
    among, text = "itself: no other correct config is faster", f"The fastest correct config is {ids[0]}"
    if len(ids) > 1:
        among, text = "among them", f"The fastest correct configs are {listed(ids, NAMED_TIES + 1)}, tied"
    text += f": {_span(map(latency_text, of['latency_ms']))} ms"
    if of["baseline_is_among_them"]:
        return f"{text}, the baseline {among}."
    if of["speedup_vs_baseline"]:
        times = _span(f"{speedup:.2f}" for speedup in of["speedup_vs_baseline"])
        return f"{text}, {times} times as fast as the baseline {baseline}."
    if baseline:
        return f"{text}; the baseline {baseline} gave no latency to compare with."
    return f"{text}; no baseline was named to compare with."


def _span(texts: Iterable[str]) -> str:
    return " to ".join(dict.fromkeys(texts))


def _ties(of: Figures) -> str:
    run, how = "this run", f"give --budget more than {of['budget_s']:g} s"
    if of.get("recorded"):
        run, how = "that run", "measure them on a GPU"
    return (
        f"The {of['tied_configs']} tied configs differ by less than the noise of {run}, so that none of them is the "
        f"best: choose by another problem size or by fewer resources, or {how} to tell them apart."
    )


def _fastest_is_wrong(of: Figures) -> str:
    error, count = of["relative_error"], of["faster_configs"]
    why = of["reason"] if error is None or of["by_comparison"] else f"relative error {error_text(error)}"
    return (
        f"The fastest of all, {of['config_id']}, takes {latency_text(of['latency_ms'])} ms, "
        f"{of['less_than_best_pct']:.0f} % less than the fastest correct config, and is {of['status']} ({why}): it "
        "must not be used. An autotuner that looks at latency alone picks it; keep it out of the list you tune from."
    ) + (f" {count} configs that must not be used are faster than it." if count > 1 else "")


def _stands_out(of: Figures) -> str:
    configs = of["configs"]
    first = configs[0]
    named = [f"#{one['rank']} {one['config_id']} ({_error_in(one)})" for one in configs]
    has = "has a relative error that stands" if len(configs) == 1 else "have relative errors that stand"
    alike = first["alike_configs"]
    sharing = f", and {alike} {'shares' if alike == 1 else 'share'} its error" if alike else ""
    return (
        f"{listed(named)} {has} out, though within the tolerance {first['tolerance']:g}. "
        f"Of the {first['other_configs']} configs beside {first['config_id']}, {first['agreeing_configs']} agree on "
        f"{error_text(first['others_error'])} or less{sharing}. That is too little to call a config wrong (at least "
        "five must agree, most of the others, and fewer than five share its error): before you use one that stands "
        "out, find out what it computes differently, or sweep it among more configs."
    )


def _error_in(one: Figures) -> str:
    output = f"{one['output']}: " if one["output"] else ""
    return f"{output}{error_text(one['relative_error'])}"


def _disagrees(of: Figures) -> str:
    ids, check = of["config_ids"], "recorded check" if of.get("recorded") else "check"
    its, it_is = ("its output", "it is") if len(ids) == 1 else ("their outputs", "they are")
    then = (
        f"Nothing was checked here, so {it_is} listed as wrong: measure on a GPU to decide it."
        if of.get("recorded")
        else f"The check decides, so {it_is} not called wrong: report this, since one of the two is mistaken."
    )
    return f"{listed(ids)} must be wrong by construction ({of['reason']}), but the {check} found {its} correct. {then}"


def _left_out(of: Figures) -> str:
    count = of["left_out_configs"]
    reasons = [f"{one['reason']} ({one['configs']})" for one in of["reasons"]]
    why = of["reasons"][0]["reason"] if len(reasons) == 1 else listed(reasons)
    configs, are = ("config", "is") if count == 1 else ("configs", "are")
    return f"{count} {configs} of the kernel's own list {are} not in this space: {why}."


def _memory_floor(of: Figures) -> str:
    near = "No launch configuration can gain much more."
    far = (
        "Whether the kernel moves more than those bytes decides what to do next: compare ncu's dram__bytes_read.sum and"
        " dram__bytes_write.sum with them before working on occupancy."
    )
    return (
        f"The bytes this problem must move ({of['bytes_min'] / 1e9:.2f} GB) take {latency_text(of['floor_ms'])} ms at "
        f"this GPU's measured copy bandwidth ({of['copy_gbps']:.0f} GB/s); the best config takes "
        f"{of['times_the_floor']:.2f} times that. {near if of['near_the_floor'] else far}"
    )


def _limiters(of: Figures) -> str:
    most = ", ".join(f"{' and '.join(one['limiters'])} in {one['configs']}" for one in of["limiters"])
    text = f"Occupancy of the {of['configs']} listed configs is limited by: {most}."
    first = of["first"]
    if first:
        text += (
            f" The first, {first['config_id']}, has {pct_text(first['theoretical_occupancy_pct'])} % "
            f"({first['warps_per_scheduler']:.2f} of {first['max_warps_per_scheduler']} warps per scheduler), by "
            f"{' and '.join(first['limiters'])}."
        )
    return f"{text} {explain_command(of)} shows what would change it."


def explain_command(of: Figures) -> str:
    """The command that explains a config, as it can be typed; it takes the run kept last, and that run's kernel."""
    run = ["--run", of["run"]] if of["run"] else []
    return f"`{shlex.join(['ssdprof', 'explain', of['explain'], *run])}`"


def _noise(of: Figures) -> str:
    what = "the fastest" if of["rank"] == 1 else "one of those tied with the fastest"
    wide, leading = of["wide_configs"], of["leading_configs"]
    others = "" if wide == 1 else f" ({wide} of the {leading} leading configs exceed it)"
    return (
        f"The 95 % interval of {of['config_id']}, {what}, is {latency_text(of['interval_ms'])} ms wide, "
        f"{100 * of['interval_share']:.1f} % of its median {latency_text(of['latency_ms'])} ms; the aim is at most "
        f"{100 * of['interval_share_max']:.0f} %{others}: give --budget more than {of['budget_s']:g} s, or a quieter "
        "GPU."
    )


def _throttled(of: Figures) -> str:
    limit_w = of["power_limit_w"]
    limit = "" if limit_w is None else f" at {limit_w:.0f} W"
    why = ", ".join(f"{name}{limit if name == 'power cap' else ''}" for name in of["reasons"])
    if "config_ids" in of:
        ids, ranked = of["config_ids"], of["ranked_configs"]
        return (
            f"{len(ids)} of {ranked} ranked configs ({100 * len(ids) / ranked:.0f} %), {listed(ids)}, were timed with "
            f"lowered clocks alone ({why}); none is expected to be. Their latencies stand for want of better and may "
            f"be too high: {_REMEDY}."
        )
    dropped, samples = of["dropped_samples"], of["samples"]
    return (
        f"{dropped} of {samples} samples ({100 * dropped / samples:.1f} %) were taken while the "
        f"clocks were lowered ({why}) and dropped; none is expected to be: {_REMEDY}."
    )


_REMEDY = (
    "lock a clock that the GPU can hold (`nvidia-smi -lgc`, as root), cool it better, or raise its power limit"
    " (`nvidia-smi -pl`)"
)


def _clocks(of: Figures) -> str:
    low_mhz, max_mhz = of["sm_clock_mhz"], of["sm_clock_max_mhz"]
    return (
        f"{of['low_configs']} of {of['ranked_configs']} ranked configs were timed at an SM clock of less than "
        f"{100 * of['share']:.0f} % of the GPU's {max_mhz} MHz, the lowest {low_mhz} MHz "
        f"({100 * low_mhz / max_mhz:.0f} %): compare latencies only with those of other runs at such clocks. A power "
        "cap or clocks that someone set do that; `nvidia-smi -q -d CLOCK,POWER,PERFORMANCE` tells which."
    )


def _driver_differs(of: Figures) -> str:
    ids = [
        f"{one['config_id']} ({one['blocks_per_sm']} computed, {one['driver_blocks_per_sm']} by the driver)"
        for one in of["configs"]
    ]
    return (
        f"Blocks per SM differ from the driver's in {len(ids)} {'config' if len(ids) == 1 else 'configs'}, "
        f"{listed(ids)}: do not trust their occupancy figures. `ssdprof verify` shows every difference."
    )


_WORDS: Mapping[str, Callable[[Figures], str]] = {
    "agreement": agreement,
    "busy": lambda of: (
        ("Another process was" if len(of["processes"]) == 1 else f"{len(of['processes'])} other processes were")
        + f" on the GPU, and none is expected: {listed(of['processes'])}. What runs beside a config makes its latency "
        "higher and less certain: wait until the GPU is free, or choose another one with --device."
    ),
    "by-construction-disagrees": _disagrees,
    "clocks": _clocks,
    "driver-differs": _driver_differs,
    "fastest-correct": _fastest_correct,
    "fastest-is-wrong": _fastest_is_wrong,
    "interrupted": lambda of: (
        f"Interrupted: {of['left_configs']} of {of['configs']} configs were not reached; all that follows is of the "
        "others alone."
    ),
    "left-out": _left_out,
    "limiters": _limiters,
    "limits-differ": lambda of: f"The GPU is not what limits.json says: {of['difference']}. Occupancy may be wrong.",
    "memory-floor": _memory_floor,
    "noise": _noise,
    "not-measured": lambda of: (
        f"No latency was measured here: the configs were compiled for {of['arch']} without a GPU."
        + (f" Latencies are those {of['latency_source']}." if of["latency_source"] else "")
        + " Run the same command on a machine with a GPU to measure."
    ),
    "not-told": lambda of: (
        "NVML does not tell whether this GPU lowers its clocks for heat or power, as is usual on virtual GPUs: all "
        f"{of['samples']} samples count (100 %), throttled ones among them, if there are any. Repeat the "
        "run before you trust a difference of a few per cent."
    ),
    "nothing-correct": lambda of: (
        f"No config of {of['configs']} gave a correct output that could be timed "
        f"({', '.join(f'{count} {status}' for status, count in of['statuses'].items())}): nothing here may be used. "
        "The tables give each one's reason."
    ),
    "occupancy-and-latency": _occupancy_and_latency,
    "several-answers": several_answers,
    "stands-out": _stands_out,
    "stopped": lambda of: (
        f"Gave up: {of['reason']}. {of['left_configs']} of {of['configs']} configs were not compiled, and no best is "
        "named; continue with --resume once that is mended."
    ),
    "throttled": _throttled,
    "ties": _ties,
    "unordered": lambda of: (
        f"The bits of {listed(of['outputs'])} differ between launches, since the kernel sums them by atomics, in no "
        "fixed order: not their bits were compared, but the errors of each launch with the tolerance."
    ),
    "unstable": lambda of: (
        f"{listed(of['config_ids'])} gave different outputs from launch to launch, as a race or a miscompilation does: "
        "do not use; another Triton version may compile it correctly."
    ),
    "wrong-by-construction": lambda of: (
        f"{of['wrong_configs']} of {of['configs']} configs {'is' if of['wrong_configs'] == 1 else 'are'} wrong by "
        f"construction, on every GPU and for every input. {of['config_id']} {of['reason']}. Keep "
        f"{'it' if of['wrong_configs'] == 1 else 'them'} out of the list you tune from."
    ),
}
