"""Which launches of a whole program stay, once the files of its processes are together; no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ssdprof.kernels.captured.alike import form
from ssdprof.kernels.captured.live.options import CaptureOptions
from ssdprof.kernels.captured.live.shapes import kept_shapes
from ssdprof.kernels.captured.model import Captured, CapturedLaunch, Seen

ELSEWHERE = "another launch of it is kept"
FURTHER = "further launches of it: "
"""Before the reason why fewer launches are kept than were asked for."""
OTHERWISE = "they have other arguments, strides or grids"
_Kernel = tuple[str, str]


def chosen(captured: Captured, options: CaptureOptions) -> Captured:
    """What the options ask for of what all processes kept: the first launch of each kernel, or of the slowest alone.

    With it stay those that are alike but for their data, up to as many as are to be kept.
    The slowest is the one that took most GPU time in all; without times, the one that was launched most. A launch that
    was asked for by its number stays of each process. Kernels that a launch was kept of and that nobody counted, since
    their process was killed, are among those that were seen.
    """
    launches = captured.launches
    if options.launch is None:
        kept_of: dict[_Kernel, list[CapturedLaunch]] = {}
        for launch in launches:
            same = kept_of.setdefault(_kernel(launch), [])
            if not same or (len(same) < options.keep and form(launch) == form(same[0])):
                same.append(launch)
        launches = tuple(launch for same in kept_of.values() for launch in same)
    if options.slowest and launches:
        times = _times(captured.seen)
        slowest = max((_kernel(launch) for launch in launches), key=lambda kernel: times.get(kernel, (0.0, 0)))
        launches = tuple(launch for launch in launches if _kernel(launch) == slowest)
    kernels = {_kernel(launch) for launch in launches}
    kept = Counter((*_kernel(launch), kept_shapes(launch)) for launch in launches)
    before = {(*_kernel(launch), kept_shapes(launch)) for launch in captured.launches}
    seen = []
    for one in (*captured.seen, *_uncounted(captured)):
        kernel = (one.name, one.source)
        key = (*kernel, one.shapes)
        if key in kept:
            is_told = one.why_not.startswith(FURTHER) and kept[key] < options.keep
            seen.append(one if is_told else replace(one, why_not=""))
        elif key in before or not one.why_not:
            why_not = ELSEWHERE if kernel in kernels else f"{launches[0].name} is slower"
            seen.append(replace(one, why_not=why_not))
        else:
            seen.append(one)
    return replace(captured, launches=launches, seen=tuple(seen))


def _kernel(launch: CapturedLaunch) -> _Kernel:
    return launch.name, f"{launch.origin.file}:{launch.origin.line}"


def _times(seen: tuple[Seen, ...]) -> dict[_Kernel, tuple[float, int]]:
    times: dict[_Kernel, tuple[float, int]] = {}
    for one in seen:
        ms, count = times.get((one.name, one.source), (0.0, 0))
        times[one.name, one.source] = (ms + (one.total_ms or 0.0), count + one.count)
    return times


def _uncounted(captured: Captured) -> list[Seen]:
    counted = {(one.name, one.source, one.shapes) for one in captured.seen}
    more = {(*_kernel(launch), kept_shapes(launch)): launch.number for launch in captured.launches}
    return [Seen(*key, 1, None, number) for key, number in more.items() if key not in counted]
