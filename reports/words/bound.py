"""What bounds a latency, in words: one line for the answer, and a paragraph with what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.reports.words.verdicts import listed

Figures = Mapping[str, Any]
UNITS: Mapping[str, str] = {
    "dram": "DRAM",
    "l2": "L2",
    "l1": "L1 and shared memory",
    "tensor": "tensor cores",
    "issue": "issue",
}
"""What each unit is called."""


def words(statement: Statement) -> str:
    """The statement as a whole."""
    return f"{short(statement.figures)} {step(statement.figures)}"


def short(of: Figures) -> str:
    """One line: what bounds it, how much of what it can do that unit does, and what DRAM moves."""
    return _SHORT[of["code"]](of)


def step(of: Figures) -> str:
    """What would help, in a sentence or two; empty if nothing in the launch would."""
    return _STEPS[of["code"]](of)


def gigabytes(count: float) -> str:
    """An amount of bytes with three digits: 6.42 GB, 81.5 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def _most(of: Figures) -> str:
    unit, share = next(iter(of["shares"].items()))
    return f"{UNITS[unit]} at {100 * share:.0f} %"


def _moved(of: Figures) -> str:
    return f"{gigabytes(of['dram_bytes'])} where {gigabytes(of['least_bytes'])} would do"


def _again(of: Figures) -> str:
    said: list[str] = []
    for axis, names in _by_axis(of).items():
        verb = "" if said else " is read again" if len(names) == 1 else " are read again"
        said.append(f"{listed(names)}{verb}{f' for each {axis}' if axis else ''}")
    return f"; {', '.join(said)}" if said else ""


def _by_axis(of: Figures) -> dict[str, list[str]]:
    """The tensors that are read again by the axis along which they are, most first."""
    groups: dict[str, list[str]] = {}
    for one in of["read_again"]:
        groups.setdefault(one["axis"], []).append(one["tensor"])
    return groups


def _hiding(of: Figures) -> str:
    hiding = of["hiding"]
    if "warps_per_scheduler" not in hiding:
        return ""
    stages = f" and {hiding['num_stages']} stages" if hiding["num_stages"] else ""
    return f"; {hiding['warps_per_scheduler']:g} of {hiding['max_warps_per_scheduler']} warps per scheduler{stages}"


_SHORT: Mapping[str, Callable[[Figures], str]] = {
    "dram": lambda of: f"DRAM at {100 * of['share']:.0f} %: {_moved(of)}.",
    "dram-reread": lambda of: f"DRAM re-reads at {100 * of['share']:.0f} %: {_moved(of)}{_again(of)}.",
    "l2": lambda of: f"L2 at {100 * of['share']:.0f} %: {gigabytes(of['l2_to_sm_bytes'])} to the SMs.",
    "l1": lambda of: f"L1 and shared memory at {100 * of['share']:.0f} %.",
    "tensor": lambda of: f"the tensor cores at {100 * of['share']:.0f} %.",
    "issue": lambda of: f"instruction issue at {100 * of['share']:.0f} %.",
    "latency-hiding": lambda of: f"latency that nothing hides: no unit is busy ({_most(of)}){_hiding(of)}.",
    "launch": lambda of: f"the launch itself: {of['latency_ms'] * 1e3:.0f} µs, of which the GPU works little.",
    "tail": lambda of: f"the last wave: {of['waves']:.2f} waves; busiest is {_most(of)}.",
}


def _reorder(of: Figures) -> str:
    if not of["read_again"]:
        return "Move fewer bytes: the launch options do not change that."
    parts = []
    for axis, names in _by_axis(of).items():
        group = [one for one in of["read_again"] if one["axis"] == axis]
        again = gigabytes(sum(one["again_bytes"] for one in group))
        where = f"along the {axis} axis, " if axis else ""
        parts.append(
            f"{again} of it is {listed(names)} read again, {where}{group[0]['again_after_programs']} programs later"
        )
    left = gigabytes(max(of["least_bytes"], of["dram_bytes"] - _sum(of)))
    return (
        f"{'; '.join(parts)}: L2 has dropped it by then. Order the grid so that programs that read the same run "
        f"together, or handle several of them in one program: that would leave {left}."
    )


def _sum(of: Figures) -> float:
    return float(sum(one["again_bytes"] for one in of["read_again"]))


def _hide(of: Figures) -> str:
    hiding = of["hiding"]
    if hiding.get("few_warps"):
        warps = hiding["warps_per_scheduler"]
        return (
            f"With {warps:g} warp{'' if warps == 1 else 's'} per scheduler there is little to switch to while one "
            "waits: more blocks per SM (fewer registers, less shared memory) or more warps per block."
        )
    return "More loads in flight (stages), or a shorter chain from a load to its use."


_STEPS: Mapping[str, Callable[[Figures], str]] = {
    "dram": lambda _: "No config of this kernel gains much more; only a kernel that moves fewer bytes would.",
    "dram-reread": _reorder,
    "l2": lambda of: (
        f"Larger tiles, so that programs share more: most of it is {of['most_through_l2']}."
        if of["most_through_l2"]
        else "Larger tiles, so that programs share more."
    ),
    "l1": lambda _: "Larger tiles use each byte of shared memory for more products; fewer layout conversions help too.",
    "tensor": lambda _: "Only fewer operations, or a dtype with a higher rate, would help.",
    "issue": lambda _: "Larger tiles have fewer instructions per element: address arithmetic and masks are shared.",
    "latency-hiding": _hide,
    "launch": lambda _: "Launch it in a CUDA graph, or let one launch do the work of several.",
    "tail": lambda of: (
        f"{of['waves']:.2f} waves leave SMs idle in the last one: smaller tiles or fewer blocks per SM change that."
    ),
}
