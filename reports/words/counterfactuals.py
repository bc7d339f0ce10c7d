"""What one changed parameter does to a config, worded: the change itself, and which one helps most."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ssdprof.kernels.config import Value
from ssdprof.profiling.diagnosis.counterfactuals import Counterfactual
from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.profiling.runs.model import Explanation
from ssdprof.reports.columns import latency_text, pct_text
from ssdprof.reports.words.explanation import parameter_name
from ssdprof.reports.words.verdicts import Figures


def change(explanation: Explanation, one: Counterfactual) -> str:
    """The change in short: `num_stages 4 → 3`."""
    return f"{parameter_name(explanation, one.param)} {_value(one.before)} → {_value(one.value)}"


def most_helpful(explanation: Explanation, statement: Statement) -> str:
    """Which change helps most and what it gains, or that none does."""
    of = statement.figures
    param = next((one for one in explanation.header.params if one.column == of["change"]["parameter"]), None)
    name = parameter_name(explanation, param) if param else of["change"]["parameter"]
    what = f"{name} {_value(of['change']['before'])} → {_value(of['change']['value'])} ({of['change']['config_id']})"
    return _WORDS[statement.code](of, what)


def _helps(of: Figures, what: str) -> str:
    gain = f"{of['change']['times_as_fast']:.2f} times as fast"
    return f"Most helpful: {what}, {gain}: {_took(of, of['change'])} against {latency_text(of['latency_ms'])} ms."


def _mends(of: Figures, what: str) -> str:
    found = of["change"]
    if found["latency_ms"] is not None:
        return f"Most helpful: {what}. It is correct and takes {_took(of, found)}."
    return f"Most helpful: {what}. It compiles, {pct_text(found['theoretical_occupancy_pct'])} % occupancy."


def _fastest(of: Figures, what: str) -> str:
    took = _took(of, of["change"])
    return f"The fastest: {what}, {took}. There is no latency of {of['config_id']} to compare with."


def _promises(of: Figures, what: str) -> str:
    found, own = of["change"], of["own"]
    ours, theirs = (pct_text(one["theoretical_occupancy_pct"]) for one in (own, found))
    gains = [f"{theirs} % occupancy" + (f" instead of {ours} %" if ours != theirs else " as before")]
    if found["spill_bytes"] != own["spill_bytes"]:
        gains.append(f"{found['spill_bytes']} bytes spilled per thread instead of {own['spill_bytes']}")
    before = "No change with a latency is faster. " if of["changes_with_latency"] else ""
    way_out = "" if of["measured"] else ": the same command on a GPU tells"
    return f"{before}Most promising: {what}, {' and '.join(gains)}. Whether it is faster is not known{way_out}."


def _none_helps(of: Figures, _: str) -> str:
    fastest = of["fastest"]
    if of["changes_not_usable"] == of["changes"]:
        return "No single change can be used: each is wrong or fails."
    if fastest is None or fastest["times_as_fast"] is None:
        return "No single change gives more occupancy without more spills, or spills less."
    took = f"{fastest['config_id']}, takes {_took(of, fastest)} against {latency_text(of['latency_ms'])} ms"
    noise = ", which is no difference within the noise" if fastest["finding"] == "same" else ""
    return f"No single change helps: the fastest, {took}{noise}."


def _took(of: Figures, found: Figures) -> str:
    of_what = " of another binary" if found["is_another_binary"] else ""
    how = " as recorded" if (of["latency_source"] or "").startswith("recorded") else ""
    return f"{latency_text(found['latency_ms'])} ms{of_what}{how}"


def _value(value: Value) -> str:
    return "none" if value is None else str(value)


_WORDS: Mapping[str, Callable[[Figures, str], str]] = {
    "change-helps": _helps,
    "change-mends": _mends,
    "fastest-change": _fastest,
    "change-promises": _promises,
    "no-change-helps": _none_helps,
}
