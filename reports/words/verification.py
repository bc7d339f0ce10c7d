"""Every sentence of a verification's verdict: each statement worded by its code, from its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ssdprof.profiling.diagnosis.statement import Statement
from ssdprof.reports.words.verdicts import Figures


def words(statement: Statement) -> str:
    """The statement as sentences."""
    return _WORDS[statement.code](statement.figures)


def launches_text(count: int) -> str:
    """A number of launches."""
    return "1 launch" if count == 1 else f"{count} launches"


def _equal(of: Figures) -> str:
    count = of["figures"] - of["figures_differing_on_purpose"]
    return f"All equal: {count} of {count} figures of {launches_text(of['launches_compared'])}{_compared(of)}"


def _differs(of: Figures) -> str:
    figures = f"{of['figures_differing']} of {of['figures']} figures"
    launches = f"{of['launches_differing']} of {launches_text(of['launches_compared'])}"
    limits = f", and {of['limits_differing']} of {of['limits']} limits" if of["limits_differing"] else ""
    return f"Different: {figures}, in {launches}{limits}{_compared(of)}"


def _compared(of: Figures) -> str:
    """With whom it was compared, what differs on purpose, and what could not be checked."""
    names = {"driver": "the driver", "ncu": "an exported ncu report" if of["ncu"] is None else f"ncu {of['ncu']}"}
    by = " and ".join(names[source] for source in of["sources"] or ["driver"])
    text = f", compared with {by}{' alone' if of['sources'] == ['driver'] else ''}."
    if known := of["figures_differing_on_purpose"]:
        sentences = "1 sentence differs" if known == 1 else f"{known} sentences differ"
        text += f" {sentences} on purpose: ncu drops names if three or more limiters tie, and has none for barriers."
    if of["launches_unchecked"]:
        text += f" {of['launches_unchecked']} of {launches_text(of['launches'])} could not be checked."
    return text


_WORDS: Mapping[str, Callable[[Figures], str]] = {
    "differs": _differs,
    "equal": _equal,
    "not-asked": lambda of: f"{of['why']}.",
    "nothing": lambda of: f"Nothing could be verified: none of {launches_text(of['launches'])}.",
}
