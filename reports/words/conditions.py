"""How a run was measured, in words: the lines above its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ssdprof.profiling.diagnosis.conditions import conditions
from ssdprof.profiling.runs.measured import TimedBy
from ssdprof.profiling.runs.model import Run
from ssdprof.reports.words.verdicts import Figures

TIMED_BY: Mapping[TimedBy, str] = {"events": "CUDA events", "graph": "CUDA graphs", "host": "the host's clock"}


def measured_lines(run: Run) -> list[tuple[str, str]]:
    """How the ranked rows were measured and the GPU's state meanwhile, each with its label; nothing if none is."""
    found = [(one.code.replace("-", " "), _WORDS[one.code](one.figures)) for one in conditions(run)]
    return [(label, text) for label, text in found if text]


def _measured(of: Figures) -> str:
    total = sum(of["timed_by"].values())
    by = [TIMED_BY[how] + (f" ({count} of {total})" if count < total else "") for how, count in of["timed_by"].items()]
    timed = f"timed by {' and '.join(by)}, {_counted(of['samples'], 'sample')} each"
    if not of["launches"]:
        return timed
    sets = _counted(of["seeds"], "seed") if of["drawn"] else _counted(of["seeds"], "set", " of inputs")
    return f"checked on {_span(of['launches'])} launches and {sets} each, {timed}"


def _state(of: Figures) -> str:
    """Each quantity as the range of the rows' medians; those that NVML does not tell are named at the end."""
    limit = "" if of["power_limit_w"] is None else f" of at most {of['power_limit_w']:.0f}"
    forms = {
        "SM clock": ("SM {} MHz", of["sm_clock_mhz"]),
        "memory clock": ("memory {} MHz", of["memory_clock_mhz"]),
        "power": ("{} W" + limit, of["power_w"]),
        "temperature": ("{} °C", of["temperature_c"]),
    }
    told = [form.format(_span(span)) for form, span in forms.values() if span]
    missing = [what for what, (_, span) in forms.items() if not span]
    if of["throttled_samples"]:
        count, samples = str(of["throttled_samples"]), str(of["samples"])
        told.append(f"throttled ({', '.join(of['reasons'])}) in {count} of {samples} samples")
    elif of["throttling_told"]:
        told.append("not throttled")
    else:
        missing.append("throttling")
    not_told = [f"not told by NVML: {', '.join(missing)}"] if missing else []
    return "; ".join(([", ".join(told)] if told else []) + not_told)


def _allowed(of: Figures) -> str:
    """What each correct output may be off by; an output is named if there are several."""
    several = len(of["tolerances"]) > 1
    return "; ".join(
        f"{one['output'] + ': ' if several and one['output'] else ''}errors of at most {one['relative_error']:g} in "
        f"all and {one['row_error']:g} in a row: {one['reason']}"
        for one in of["tolerances"]
    )


def _span(extremes: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{value:.0f}" for value in extremes))


def _counted(extremes: Sequence[float], noun: str, more: str = "") -> str:
    span = _span(extremes)
    return f"{span} {noun}{'' if span == '1' else 's'}{more}"


_WORDS: Mapping[str, Callable[[Figures], str]] = {
    "measured": _measured,
    "timed-at": _state,
    "allowed": _allowed,
    "held-against": lambda of: str(of["reference"]),
}
