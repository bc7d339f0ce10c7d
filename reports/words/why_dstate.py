"""In words, from the rows alone: what the DSTATE tile of a config does to the warps per scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from ssdprof.profiling.hardware.limits import limits_for
from ssdprof.profiling.hardware.occupancy import Occupancy
from ssdprof.profiling.runs.model import Explanation, Row
from ssdprof.reports.columns import error_text
from ssdprof.reports.text.occupancy import grouped

WARPS_OF_WGMMA = 4
HARDLY = 0.1
_LIMITS_AND_USES: dict[str, tuple[Callable[[Occupancy], int], Callable[[Occupancy], int]]] = {
    "registers": (lambda occ: occ.limit_registers_blocks, lambda occ: occ.registers_allocated_per_thread),
    "shared memory": (lambda occ: occ.limit_shared_mem_blocks, lambda occ: occ.shared_mem_allocated_bytes),
    "warps": (lambda occ: occ.limit_warps_blocks, lambda occ: occ.warps_per_block),
}
"""Each limiter's block limit, and what a block is given of it."""


def why_dstate(explanation: Explanation) -> str:
    """Why the DSTATE tile limits, or does not limit, the warps per scheduler of this config.

    Says only what the rows with other DSTATE tiles show: what grows, which limit it moves, at which tile the blocks
    drop, whether a smaller tile is right, and where the operands lie if the figures agree with it.
    """
    group = next((one.rows for one in explanation.neighbours if one.parameter == "block_dstate"), ())
    if not group:
        variant = explanation.row.config.variant
        return f"The variant {variant} takes the whole state in one DSTATE tile: there is no other to compare with."
    rows = sorted((row for row in group if row.compiled and row.occupancy), key=_tile)
    failed = [row for row in group if row not in rows]
    sentences = [f"Tile {_tile(row)} is missing here: {row.status} ({row.status_reason})." for row in failed]
    if len(rows) < 2:
        compiled = f"only tile {_tile(rows[0])} compiled" if rows else "no tile compiled"
        sentences.append(f"What the DSTATE tile changes cannot be said: {compiled} for this config.")
        return " ".join(sentences)
    said = [_growth(rows), *_moves(rows), *_carveout(explanation), *_operands(explanation, rows)]
    return " ".join([*said, *_smaller(explanation, group), *sentences])


def _growth(rows: Sequence[Row]) -> str:
    tiles = " to ".join(str(_tile(row)) for row in rows)
    spills = [row.compiled.spill_bytes if row.compiled else 0 for row in rows]
    spilled = f"{_series('bytes spilled per thread', spills)}, " if any(spills) else ""
    return (
        f"From a DSTATE tile of {tiles}, {_series('registers per thread', [_registers(row) for row in rows])}, "
        f"{spilled}{_series('bytes of shared memory per block', [_smem_bytes(row) for row in rows])}, "
        f"{_series('blocks per SM', [_occ(row).blocks_per_sm for row in rows])} and "
        f"{_series('warps per scheduler', [f'{_occ(row).warps_per_scheduler:.2f}' for row in rows])}."
    )


def _series(what: str, values: Sequence[int | str]) -> str:
    texts = [grouped(value) if isinstance(value, int) else value for value in values]
    return f"{what} stay at {texts[0]}" if len(set(texts)) == 1 else f"{what} go {' → '.join(texts)}"


def _moves(rows: Sequence[Row]) -> list[str]:
    """Where the number of blocks changes, and by which limit; or that it does not."""
    changes = [(a, b) for a, b in pairwise(rows) if _occ(a).blocks_per_sm != _occ(b).blocks_per_sm]
    if not changes:
        return [_no_move(rows)]
    sentences = []
    for before, after in changes:
        falls = _occ(after).blocks_per_sm < _occ(before).blocks_per_sm
        # the limit that binds is the smaller side's: what came down to it, or what was lifted off it
        binding, other = (after, before) if falls else (before, after)
        causes = [
            f"{name} {'allows' if name == 'shared memory' else 'allow'} {limit(_occ(after))} instead of "
            f"{limit(_occ(before))}"
            for name, (limit, use) in _LIMITS_AND_USES.items()
            # a limit also moves with the carve-out, which follows the number of blocks: that is no cause
            if name in _occ(binding).limiters and use(_occ(binding)) > use(_occ(other))
        ]
        verb = "drop" if falls else "rise"
        why = f": {' and '.join(causes)}" if causes else ""
        sentences.append(
            f"At {_tile(after)} the blocks per SM {verb} from {_occ(before).blocks_per_sm} to "
            f"{_occ(after).blocks_per_sm}{why}."
        )
    first, last = _occ(rows[0]), _occ(rows[-1])
    if last.blocks_per_sm < first.blocks_per_sm:
        sentences.append(
            f"So the DSTATE tile of {_tile(rows[-1])} does limit this config: {last.warps_per_scheduler:.2f} of "
            f"{last.max_warps_per_scheduler} warps per scheduler where {_tile(rows[0])} would have "
            f"{first.warps_per_scheduler:.2f}."
        )
    return sentences


def _no_move(rows: Sequence[Row]) -> str:
    occ = _occ(rows[0])
    tiles_by_limiters: dict[str, list[str]] = {}
    for row in rows:
        tiles_by_limiters.setdefault(" and ".join(_occ(row).limiters) or "barriers", []).append(str(_tile(row)))
    by = "; ".join(f"by {names} at {' and '.join(tiles)}" for names, tiles in tiles_by_limiters.items())
    if len(tiles_by_limiters) == 1:
        by = f"by {next(iter(tiles_by_limiters))}"
    grown = _registers(rows[-1]) - _registers(rows[0])
    still = f" The {grown} registers more still allow as many blocks." if grown > 0 else ""
    return (
        f"So DSTATE does not limit the occupancy of this config: every tile that compiled gives "
        f"{occ.warps_per_scheduler:.2f} of {occ.max_warps_per_scheduler} warps per scheduler, limited {by}.{still}"
    )


def _carveout(explanation: Explanation) -> list[str]:
    """Where shared memory is a limiter only because of the size that the driver configures for that few blocks."""
    row = explanation.row
    if row.occupancy is None or "shared memory" not in row.occupancy.limiters or len(row.occupancy.limiters) < 2:
        return []
    occ, largest = row.occupancy, limits_for(explanation.header.device.arch).max_config_bytes
    blocks = largest // occ.shared_mem_allocated_bytes
    if blocks <= occ.blocks_per_sm:
        return []
    others = " and ".join(name for name in occ.limiters if name != "shared memory")
    assumed = ", assumed" if occ.shared_mem_config_source == "assumed" else ""
    sentence = (
        f"At {_tile(row)} shared memory is named only because the driver configures "
        f"{grouped(occ.shared_mem_config_bytes)} bytes of it for that many blocks{assumed}; the largest size, "
        f"{grouped(largest)} bytes, would hold {blocks}, so it is {others} that must change first."
    )
    return [sentence]


def _operands(explanation: Explanation, rows: Sequence[Row]) -> list[str]:
    """Where the operands lie, on sm_90 and where the growth is of that kind."""
    if not explanation.header.device.arch.startswith("sm_90"):
        return []
    warps = {row.compiled.num_warps for row in rows if row.compiled}
    more_registers = _registers(rows[-1]) - _registers(rows[0])
    more_bytes = _smem_bytes(rows[-1]) - _smem_bytes(rows[0])
    if max(warps) < WARPS_OF_WGMMA and more_registers > 0 and more_bytes <= 0:
        sentence = (
            f"With {max(warps)} warps the products compile to mma.sync, whose operands are fragments in registers: "
            f"a larger tile costs registers ({more_registers} more per thread), not shared memory."
        )
    elif min(warps) >= WARPS_OF_WGMMA and more_bytes > 0 and more_registers <= HARDLY * _registers(rows[0]):
        sentence = (
            f"With {min(warps)} warps the products compile to wgmma, which reads operands from shared memory: a "
            f"larger tile costs shared memory ({grouped(more_bytes)} bytes more per block), hardly registers "
            f"({more_registers:+d} per thread)."
        )
    else:
        return []
    return [sentence]


def _smaller(explanation: Explanation, group: Sequence[Row]) -> list[str]:
    """Whether a tile smaller than the state dimension is a way out."""
    dstate = explanation.header.problem.get("dstate")
    smaller = [row for row in group if isinstance(dstate, int) and _tile(row) < dstate]
    if not smaller:
        return []
    tiles = " or ".join(str(_tile(row)) for row in smaller)
    variant = explanation.row.config.variant
    if variant == "tile" and all(row.status != "ok" for row in smaller):
        errors = [row.check for row in smaller if row.status == "wrong" and row.check]
        found = ", ".join(error_text(check.relative_error) for check in errors)
        sentence = (
            f"A smaller tile is no way out in the `tile` variant: {tiles} covers only that much of the {dstate} "
            f"states, so the output is wrong{f' (relative error {found})' if found else ''}. The `split` variant "
            "loops over the tiles and is right with each."
        )
    elif variant == "split" and all(row.status in ("ok", "not-run") for row in smaller):
        sentence = (
            f"In the `split` variant a tile of {tiles} is a real choice: it loops over the tiles of the {dstate} "
            "states."
        )
    else:
        return []
    return [sentence]


def _tile(row: Row) -> int:
    return row.config.block_dstate or 0


def _occ(row: Row) -> Occupancy:
    assert row.occupancy is not None
    return row.occupancy


def _registers(row: Row) -> int:
    return row.compiled.registers_per_thread if row.compiled else 0


def _smem_bytes(row: Row) -> int:
    return row.compiled.dynamic_shared_mem_bytes if row.compiled else 0
