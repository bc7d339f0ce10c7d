"""GPUs by name: their architecture and, where NVIDIA published it, their number of SMs; `gpus.json` has the sources."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

_FILE = Path(__file__).with_name("gpus.json")
_BRANDS = re.compile(r"^(?:nvidia|tesla|geforce)+")


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """A GPU that a name means. `sms` None: not published. `others`: variants whose names say more, with their SMs."""

    name: str
    arch: str
    sms: int | None
    others: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SmCount:
    """A number of SMs, and the GPU that has it; without one, the user gave the number."""

    number: int
    gpu: NamedGpu | None = None

    @property
    def words(self) -> str:
        """The number, whose it is, and what other variants of that name have."""
        if self.gpu is None:
            return f"on {self.number} SMs"
        others = "".join(f"; {name}: {sms}" for name, sms in self.gpu.others)
        return f"on the {self.number} SMs of {self.gpu.name}{others}"


@functools.cache
def _known() -> Mapping[str, NamedGpu]:
    """By each name as the table spells it."""
    table = json.loads(_FILE.read_text(encoding="utf-8"))["gpus"]
    known = {}
    for name, entry in table.items():
        for spelled in (name, *entry.get("also", ())):
            others = ((one, other["sms"]) for one, other in table.items() if one.startswith(f"{spelled} "))
            varying = tuple((one, sms) for one, sms in others if one != name and sms is not None)
            known[spelled] = NamedGpu(name, entry["arch"], entry["sms"], varying)
    return known


@functools.cache
def _by_key() -> Mapping[str, str]:
    return {name_key(name): name for name in _known()}


def gpu_names() -> tuple[str, ...]:
    """The names that are known."""
    return tuple(_known())


def named_gpu(text: str) -> NamedGpu | None:
    """The GPU with that name, in any case, with or without blanks, dashes and the brand; None if there is none."""
    name = _by_key().get(name_key(text))
    return None if name is None else _known()[name]


def near_names(text: str) -> list[str]:
    """Up to three known names that are near to a text."""
    return [_by_key()[key] for key in get_close_matches(name_key(text), _by_key(), n=3, cutoff=0.6)]


def sm_count(arch: str | None, given: int | None = None) -> SmCount | None:
    """The number of SMs that was given, else that of the GPU that `arch` names, else None."""
    if given is not None:
        return SmCount(given)
    gpu = named_gpu(arch) if arch is not None else None
    return SmCount(gpu.sms, gpu) if gpu is not None and gpu.sms is not None else None


def name_key(text: str) -> str:
    """A GPU's name without the brand, blanks, dashes and case: what two spellings of it share."""
    return _BRANDS.sub("", re.sub(r"[^a-z0-9]", "", text.lower()))
