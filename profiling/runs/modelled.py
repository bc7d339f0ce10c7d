"""What is computed of a config's binary on its problem, as a record of a run."""

from __future__ import annotations

from dataclasses import dataclass

from ssdprof.profiling.runs.traffic import Traffic
from ssdprof.profiling.runs.work import Executed


@dataclass(frozen=True, slots=True)
class Model:
    """What one launch moves and executes. None: that could not be followed, for the reason in `absent`."""

    traffic: Traffic | None
    executed: Executed | None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Modelled:
    """The model of a config, as a record of a run; a later one replaces it."""

    config_id: str
    model: Model
