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
    counts = f"{count} of {count} figures of {launches_text(of['launches_compared'])}"
    return f"All equal: {counts}, compared with {_by(of)}.{_besides(of)}"


def _differs(of: Figures) -> str:
    counts = (
        f"{of['figures_differing']} of {of['figures']} figures, in {of['launches_differing']} of "
        f"{launches_text(of['launches_compared'])}"
    )
    if of["limits_differing"]:
        counts += f", and {of['limits_differing']} of {of['limits']} limits"
    return f"Different: {counts}, compared with {_by(of)}.{_besides(of)}"


def _nothing(of: Figures) -> str:
    return f"Nothing could be verified: none of {launches_text(of['launches'])}."


def _by(of: Figures) -> str:
    ncu = "an exported ncu report" if of["ncu"] is None else f"ncu {of['ncu']}"
    names = [{"driver": "the driver", "ncu": ncu}[source] for source in of["sources"]]
    return " and ".join(names) + (" alone" if of["sources"] == ["driver"] else "") if names else "the driver"


def _besides(of: Figures) -> str:
    known, text = of["figures_differing_on_purpose"], ""
    if known:
        sentences = "1 sentence differs" if known == 1 else f"{known} sentences differ"
        text = f" {sentences} on purpose: ncu drops names if three or more limiters tie, and has none for barriers."
    if of["launches_unchecked"]:
        text += f" {of['launches_unchecked']} of {launches_text(of['launches'])} could not be checked."
    return text


_WORDS: Mapping[str, Callable[[Figures], str]] = {
    "differs": _differs,
    "equal": _equal,
    "not-asked": lambda of: f"{of['why']}.",
    "nothing": _nothing,
}
