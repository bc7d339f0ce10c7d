"""Ncu's Theoretical Occupancy rule: when it fires, and its sentence."""

from __future__ import annotations

import re

from ssdprof.profiling.hardware.limiters import BARRIER_LIMITER, LIMITERS
from ssdprof.profiling.hardware.occupancy import Occupancy

RULE_FIRES_BELOW_PCT = 80.0


def rule_sentence(occ: Occupancy) -> str | None:
    """The rule's sentence; None at or above 80 % and for a block that cannot launch.

    Unlike ncu, which drops names when it joins three or more, this names all tied limiters, and barriers, which have no
    name in ncu, if they alone limit.
    """
    if occ.cannot_launch or _rule_pct(occ) >= RULE_FIRES_BELOW_PCT:
        return None
    phrases = [LIMITERS[name].phrase for name in occ.limiters] or [BARRIER_LIMITER.phrase]
    return (
        f"The {occ.warps_per_scheduler:.2f} theoretical warps per scheduler this kernel can issue according "
        f"to its occupancy are below the hardware maximum of {occ.max_warps_per_scheduler}. This kernel's "
        f"theoretical occupancy ({_rule_pct(occ):.1f}%) is limited by {joined(phrases)}."
    )


def means_the_same(ours: str, theirs: str) -> bool:
    """Whether the sentence of an older ncu, with one for each limiter or without the warps, says what ours does."""
    if theirs.count(" is limited by ") == 1 and " theoretical warps " in theirs:
        return False  # today's wording, which is compared to the letter
    (pcts, named, warps), (their_pcts, they_named, their_warps) = (
        (
            set(re.findall(r"theoretical occupancy \(([0-9.]+)%\)", sentence)),
            {limiter.name for limiter in LIMITERS.values() if limiter.phrase in sentence},
            re.findall(r"The ([0-9.]+) theoretical warps .*? maximum of ([0-9]+)", sentence),
        )
        for sentence in (ours, theirs)
    )
    return bool(pcts) and (pcts, named) == (their_pcts, they_named) and their_warps in ([], warps)


def estimated_local_speedup_pct(occ: Occupancy) -> float:
    """The estimate that ncu prints beside the sentence: how far occupancy is from 100 %."""
    return 100.0 - _rule_pct(occ)


def joined(phrases: list[str]) -> str:
    """Phrases joined as ncu joins two: with a comma before the last."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])}, and {phrases[-1]}"


def _rule_pct(occ: Occupancy) -> float:
    """The rule's own percentage, in terms of warps per scheduler.

    With 2 warps on an SM ncu 2025.3.1 says 1.00 of 16 and 6.2 % in the sentence, and 3.12 % in the section.
    """
    return 100.0 * occ.warps_per_scheduler / occ.max_warps_per_scheduler
