"""The kernels that ssdprof knows: a subject by the kernel's name or path, or by what a run's header says.

To add a kernel with other parameters, write its `Subject` and name it in `subject`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssdprof.kernels.captured import is_captured
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.interface import ListedPreset, Subject
from ssdprof.kernels.ssd import params
from ssdprof.kernels.ssd.format2 import upgraded as upgraded
from ssdprof.kernels.ssd.presets import DEFAULT_PRESET, DEFAULT_SEQLEN, listed_presets, problem_from
from ssdprof.kernels.ssd.problem import X_DTYPES, ChunkScanProblem
from ssdprof.kernels.ssd.spaces import descriptions
from ssdprof.kernels.ssd.subject import NAME, ChunkScan

CHUNK_SCAN = "chunk-scan"
"""Our own chunk scan, the default kernel."""
DTYPES = X_DTYPES
"""The dtypes that a problem's inputs may have."""
_OWN = (CHUNK_SCAN, NAME)
_RECORDED = Path(__file__).parent / "ssd" / "recorded"


def subject(
    kernel: str = CHUNK_SCAN,
    *,
    preset: str = DEFAULT_PRESET,
    tp: int | None = None,
    reference: str | None = None,
    trust: str | None = None,
    **problem: Any,
) -> Subject:
    """A kernel on a problem: `chunk-scan`, an engine's chunk scan by the engine's name, or a file that has one.

    The problem is that of a published model (`preset`), with any field of `ChunkScanProblem` overridden (None: not
    given) and its heads and groups divided by `tp`. Or a captured launch, FILE.launch or FILE.launch:NUMBER, which has
    its own problem; `reference`, FILE:FUNCTION, or `trust`, a config, then says which output is correct.
    Raises UsageError for an unknown kernel, preset or field, an engine that is not installed, a file without a chunk
    scan, a problem that cannot exist, and a launch that is not there.
    """
    if is_captured(kernel):
        from ssdprof.kernels.captured.subject import captured_subject

        other_preset = preset if preset != DEFAULT_PRESET else None
        if given := [
            name for name, value in {"preset": other_preset, **problem, "tp": tp}.items() if value is not None
        ]:
            option = given[0].replace("_", "-")
            raise UsageError(f"--{option}: a captured launch has the problem that it was captured with: leave it out")
        return captured_subject(kernel, reference or "", trust or "")
    for option, value in {"--reference": reference, "--trust": trust}.items():
        if value is not None:
            raise UsageError(f"{option} is for captured launches: {kernel} has a reference of its own, leave it out")
    chosen = problem_from(preset, **problem)
    return on_problem(kernel, chosen if tp is None else chosen.divided(tp))


def on_problem(kernel: str, problem: ChunkScanProblem) -> Subject:
    """A kernel, named as for `subject`, on a chunk scan's problem."""
    if kernel in _OWN:
        return ChunkScan(problem)
    from ssdprof.kernels.foreign.subject import foreign_chunk_scan

    return foreign_chunk_scan(kernel, problem)


def subject_of_run(kernel: str, identity: Mapping[str, Any], file: str = "") -> Subject:
    """The subject that a run's header names, from its source `file` if that is here. Raises UsageError if unknown."""
    if is_captured(file):
        from ssdprof.kernels.captured.subject import captured_again

        return captured_again(file, kernel, identity)
    name = file if file and Path(file).is_file() else kernel.partition(":")[0]
    try:
        return on_problem(name, ChunkScanProblem(**identity))
    except (TypeError, UsageError):  # not a chunk scan's problem, or an engine or file that is not here
        raise UsageError(f"the run is of kernel {kernel}, which is unknown here: name its file with --kernel") from None


def todays_id(kernel: str, config_id: str) -> str:
    """The id that a config of that kernel has today; a run file may have one that an earlier ssdprof gave it."""
    return params.todays_id(config_id) if kernel == NAME else config_id


def presets() -> tuple[ListedPreset, ...]:
    """The published models whose problems `preset` names, the default first."""
    return listed_presets()


def space_names() -> tuple[str, ...]:
    """The spaces of our own kernel, and the name of a foreign kernel's own list. Loads no kernel."""
    return *descriptions(), "own"


def recorded_files() -> list[Path]:
    """The run files that ship with ssdprof, each measured on a named GPU."""
    return sorted(_RECORDED.glob("*.jsonl"))


def recorded_names() -> dict[str, Path]:
    """The same by name: `recorded` is that of the default problem, `recorded:2048` another, by its length."""
    files = {path.stem.rpartition("_")[2]: path for path in recorded_files()}
    default = files.pop(str(DEFAULT_SEQLEN))
    return {"recorded": default, **{f"recorded:{length}": path for length, path in files.items()}}
