"""Values as text, by what they are: latencies, ratios, amounts. Light: knows no run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | None
NOT_KNOWN = "–"
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def as_text(value: Value) -> str:
    """Plain text of any value: a dash for none, yes or no, numbers as short as they are."""
    if value is None:
        return NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(form: Callable[[float], str]) -> Callable[[Value], str]:
    return lambda value: form(value) if isinstance(value, (int, float)) else NOT_KNOWN


ratio_text = _number("{:.2f}×".format)
"""How many times, with two decimals."""
latency_text = _number(lambda ms: f"{ms:.3f}" if ms >= 0.1 else f"{ms:.4f}")
"""Milliseconds to the microsecond, and one digit more below 0.1 ms, so that near ones stay apart."""
error_text = _number("{:#.2g}".format)
"""A relative error with two significant digits."""
one_decimal = _number("{:.1f}".format)
"""A number with one decimal."""
two_decimals = _number("{:.2f}".format)
"""A number with two decimals, as ncu prints warps."""
pct_text = _number(lambda pct: f"{pct:.2f}".rstrip("0").rstrip("."))
"""A percentage without its sign, with the decimals it needs, two at most: 12.5, 43.75, 100."""
amount_text = _number(
    lambda amount: next((f"{amount / of:.3g} {name}" for of, name in _SCALES if amount >= 0.9995 * of), f"{amount:g}")
)
"""A large amount with three significant digits and its scale: 2.82 G."""
rate_text = _number(lambda rate: f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}")
"""So many a second, with three significant digits or all before the point."""
