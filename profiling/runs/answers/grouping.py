"""Which configs of a run give the same output but for rounding, by the sketches of their outputs.

Where no output is known to be correct, configs are put in groups by their outputs alone: by single linkage of the
distances of their sketches over the norm of the reference's, or the median norm if no config gives the reference's. The
heights at which groups merge are the edges of the minimum spanning tree. Rounding gives heights of one size, another
answer one that is far above them: the cut lies in the gap between two heights that is the widest as a factor, if it is
at least APART and its upper side is above the run's rounding. Each side is then looked at again, since a large gap may
hide a smaller one.

The first guess of the rounding is the tolerance: outputs that are linked within it are one answer. The second is the
spread of those that are linked so to the reference's, if they are ENOUGH: so that an answer just beyond the tolerance
is seen if the others agree far better. A gap counts from the rounding on: that some configs agree in all bits does not
make others another answer.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ssdprof.kernels.interface import Tolerances
from ssdprof.profiling.runs.model import Row

APART = 8.0
"""The least factor between the heights on both sides of the cut."""
ENOUGH = 3
"""Configs in the reference's group, from which on their spread says what rounding is."""
RESOLUTION = 1e-6
"""Distances below this are those of sketches' own digits."""
_Edge = tuple[float, int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Configs with the same output but for rounding, in the run's order, and the least distance from the first group's.

    `is_reference`: whether it is that of the reference.
    """

    config_ids: tuple[str, ...]
    distance: float
    is_reference: bool


def groups_of(rows: Sequence[Row], tolerances: Sequence[Tolerances]) -> tuple[Group, ...]:
    """The groups, the reference's first, then the larger ones; none if no output has a sketch."""
    sketches = {row.config_id: check.sketch for row in rows if (check := row.known_check) and _is_answer(row)}
    sketches = {name: sketch for name, sketch in sketches.items() if len(sketch) == len(next(iter(sketches.values())))}
    if not sketches:
        return ()
    points = list(dict.fromkeys(sketches.values()))
    reference = _reference(rows, sketches, points)
    norm = math.hypot(*points[reference]) if reference >= 0 else statistics.median(math.hypot(*one) for one in points)
    norm = norm or 1.0
    edges = [(length / norm, i, j) for length, i, j in _spanning_tree(points)]
    sizes = [list(sketches.values()).count(point) for point in points]
    tolerance = max((one.relative_error for one in tolerances if one.against), default=0.0)
    rounding = _rounding(edges, sizes, tolerance, reference)
    parts = sorted(
        _split(frozenset(range(len(points))), edges, tolerance, rounding),
        key=lambda part: (reference not in part, -sum(sizes[i] for i in part), min(part)),
    )
    return tuple(
        Group(
            tuple(name for name, point in sketches.items() if points.index(point) in part),
            min(math.dist(points[i], points[j]) for i in part for j in parts[0]) / norm,
            reference in part,
        )
        for part in parts
    )


def numbered(rows: Sequence[Row], tolerances: Sequence[Tolerances]) -> tuple[Row, ...]:
    """The rows with the number of their answer, from 1; None for those without a sketch."""
    groups = enumerate(groups_of(rows, tolerances), start=1)
    numbers = {name: number for number, group in groups for name in group.config_ids}
    return tuple(replace(row, answer=numbers.get(row.config_id)) for row in rows)


def _is_answer(row: Row) -> bool:
    """Whether it gave a whole output, and a sketch of it; one that a file has changed is none."""
    sketch = row.known_check.sketch if row.known_check else ()
    return row.known_status in ("ok", "differs") and len(sketch) > 0 and all(map(math.isfinite, sketch))


def _reference(rows: Sequence[Row], sketches: dict[str, tuple[float, ...]], points: list[tuple[float, ...]]) -> int:
    """The point that is nearest to the reference and not said to differ from it; -1 if there is none."""
    near = [row for row in rows if row.config_id in sketches and row.known_status == "ok"]
    if not near:
        return -1
    nearest = min(near, key=lambda row: row.known_check.relative_error if row.known_check else math.inf)
    return points.index(sketches[nearest.config_id])


def _spanning_tree(points: Sequence[Sequence[float]]) -> list[_Edge]:
    """The edges of the minimum spanning tree of the points (Prim)."""
    nearest = {i: (math.dist(points[0], points[i]), 0) for i in range(1, len(points))}
    edges = []
    while nearest:
        i = min(nearest, key=lambda one: nearest[one])
        length, j = nearest.pop(i)
        edges.append((length, i, j))
        for other, (known, _) in nearest.items():
            if (distance := math.dist(points[i], points[other])) < known:
                nearest[other] = distance, i
    return edges


def _rounding(edges: Sequence[_Edge], sizes: Sequence[int], tolerance: float, reference: int) -> float:
    """The spread of the configs that are linked to the reference's within the tolerance, or the tolerance."""
    linked = next((part for part in _components(range(len(sizes)), edges, tolerance) if reference in part), frozenset())
    if sum(sizes[i] for i in linked) < ENOUGH:
        return max(tolerance, RESOLUTION)
    return max((length for length, i, _ in edges if i in linked and length <= tolerance), default=RESOLUTION)


def _split(part: frozenset[int], edges: Sequence[_Edge], tolerance: float, rounding: float) -> list[frozenset[int]]:
    """The part, cut where the widest gap of its heights is, and each side of that again."""
    own = [(length, i, j) for length, i, j in edges if i in part and j in part]
    heights = sorted(length for length, _, _ in own)
    least = max(rounding, RESOLUTION)
    gaps = [
        (upper / max(lower, least), lower)
        for lower, upper in zip([0.0, *heights], heights, strict=False)
        if upper > tolerance and upper >= APART * max(lower, least)
    ]
    if not gaps:
        return [part]
    _, cut = max(gaps)
    sides = _components(part, own, cut)
    return [one for side in sides for one in _split(side, own, tolerance, rounding)]


def _components(points: Collection[int], edges: Sequence[_Edge], limit: float) -> list[frozenset[int]]:
    """The points that edges up to a length link, directly or over others."""
    part_of = {point: {point} for point in points}
    for length, i, j in edges:
        if length <= limit and part_of[i] is not part_of[j]:
            part_of[i] |= part_of[j]
            for point in part_of[j]:
                part_of[point] = part_of[i]
    return list(dict.fromkeys(frozenset(part) for part in part_of.values()))
