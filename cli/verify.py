"""`ssdprof verify`: compares our occupancy figures with the driver's and with Nsight Compute's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from ssdprof.cli import completion, console
from ssdprof.cli.options import (
    DEFAULT_KERNEL,
    Force,
    Json,
    Quiet,
    SubjectOptions,
    TargetOptions,
    grouped,
    option,
    results_option,
)
from ssdprof.cli.sweep import SPACE_HELP, VALUES_HELP, VARIANT_HELP
from ssdprof.kernels.errors import UsageError

EXIT_CODES = {"equal": 0, "differs": 3, "nothing": 1}
DEFAULT_SPACE, SPREAD_SPACES = "tensorrt-llm-pr", ("wide", "all")
NCU_PLACES = "from PATH, the CUDA toolkit or /opt/nvidia"
OnStep = Callable[[str, int, int], None]

_configs = partial(option, "Configs")
_ncu = partial(option, "Nsight Compute")


@dataclass(frozen=True, slots=True)
class VerifiedOptions:
    """Which configs to verify. None: not given."""

    space: Annotated[str | None, _configs(SPACE_HELP, default=f"{DEFAULT_SPACE}, or own", values=completion.spaces)] = (
        None
    )
    variant: Annotated[str | None, _configs(VARIANT_HELP, default="as in the space")] = None
    values: Annotated[list[str] | None, _configs(VALUES_HELP)] = None
    limit: Annotated[
        int | None, _configs("Only N configs: the first N, or for wide and all, N spread over the space.")
    ] = None

    @property
    def given(self) -> bool:
        """Whether the user chose any configs."""
        return any((self.space, self.variant, self.values, self.limit is not None))


@dataclass(frozen=True, slots=True)
class NcuOptions:
    """Whether and how to ask ncu."""

    ncu: Annotated[bool, _ncu("Profile the same launches with ncu, and compare every figure.", "--ncu")] = False
    ncu_path: Annotated[Path | None, _ncu("The ncu to run.", default=NCU_PLACES)] = None
    ncu_report: Annotated[
        Path | None, _ncu("Instead, compare with this CSV from ncu --csv --page raw. Needs no GPU.")
    ] = None

    def check(self, *, given: bool) -> None:
        """Raises UsageError for options that exclude each other; `given`: a kernel, problem or configs were named."""
        if self.ncu_report is not None and (self.ncu or self.ncu_path is not None):
            raise UsageError("--ncu-report reads a file, --ncu runs ncu: leave one of them out")
        if self.ncu_report is not None and given:
            raise UsageError("--ncu-report has its own launches: leave kernel, problem and configs out")

    def find(self) -> tuple[Path | None, tuple[str, ...]]:
        """(ncu, what to say if it is wanted but missing). Raises UsageError for a path that is not a program."""
        from ssdprof.profiling import api

        if self.ncu_path is None and not self.ncu:
            return None, ()
        found, looked = api.find_ncu(self.ncu_path)
        absent = f"Only the driver was asked: no ncu in {looked}; give --ncu-path"
        return found, () if found else (absent,)


@grouped
def verify(
    subject: SubjectOptions,
    configs: VerifiedOptions,
    target: TargetOptions,
    ncu: NcuOptions,
    csv: Annotated[
        Path | None, results_option("Write every comparison as CSV to this file; -: to stdout, instead of the tables.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compare our occupancy figures with the driver's occupancy API and, with --ncu, with ncu on this machine.

    Compiles each config and launches it once. Exit code 3 if anything differs, 1 if nothing could be verified.
    """
    from ssdprof.kernels.space import values_from
    from ssdprof.profiling import api
    from ssdprof.reports.text import verify as report

    ncu.check(given=bool(subject.arguments) or configs.given)
    console.check_csv(csv, json=json, force=force)
    if ncu.ncu_report is not None:
        found = api.verify_report(ncu.ncu_report, target.arch)
    else:
        path, notes = ncu.find()
        space = configs.space or (DEFAULT_SPACE if subject.kernel in (None, DEFAULT_KERNEL) else None)
        with steps(quiet=quiet) as on_step:
            found = api.verify(
                subject.build(),
                space=space,
                variant=configs.variant,
                values=values_from(configs.values or ()),
                limit=configs.limit,
                is_spread=space in SPREAD_SPACES,
                **asdict(target),
                ncu=path,
                notes=notes,
                on_step=on_step,
            )
    if csv == console.STDOUT:
        console.show(report.verify_csv(found))
        return EXIT_CODES[found.status]
    console.show(report.verify_json(found) if json else report.verify_report(found))
    if csv is not None:
        console.write_csv({csv: report.verify_csv(found)}, quiet=quiet)
    return EXIT_CODES[found.status]


@contextmanager
def steps(*, quiet: bool) -> Iterator[OnStep]:
    """Shows each step: in place on a terminal, elsewhere a line per step."""
    terminal = console.terminal(stderr=True)
    said: set[str] = set()

    def say(step: str, _done: int, total: int) -> None:
        if not quiet and step not in said:
            console.note(f"{step} ({console.configs(total)}) …")
        said.add(step)

    if quiet or not terminal.is_terminal:
        yield say
        return
    with terminal.status("starting") as status:
        yield lambda step, done, total: status.update(f"{step}: {done} of {total}")
