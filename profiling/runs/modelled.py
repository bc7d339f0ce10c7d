"""What is computed of a config's binary on its problem, as a record of a run."""

from __future__ import annotations

from dataclasses import dataclass

from ssdprof.profiling.runs.traffic import Traffic
from ssdprof.profiling.runs.work import Executed


@dataclass(frozen=True, slots=True)
class Model:
    """What one launch moves and executes on a GPU. None: that could not be followed, for the reason in `absent`.

    `gpu`: the one it is computed for: the run's, or the one that stands for its architecture. `axes`: what the
    programs of its grid count, the fastest first, and how many of each.
    """

    gpu: str
    traffic: Traffic | None
    executed: Executed | None
    absent: str = ""
    axes: tuple[tuple[str, int], ...] = ()

    def axis_of(self, programs: int) -> str:
        """The axis along which programs are so many apart; empty if that is not known."""
        found, stride = "", 1
        for name, size in self.axes:
            if programs >= stride and size > 1:
                found = name
            stride *= size
        return found


@dataclass(frozen=True, slots=True)
class Modelled:
    """The model of a config, as a record of a run; a later one replaces it."""

    config_id: str
    model: Model
