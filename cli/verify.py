"""`ssdprof verify`: our occupancy figures held against the driver's, and against Nsight Compute's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssdprof.cli.options import Json, ProblemOptions, Quiet, TargetOptions, check_writable, grouped, option
from ssdprof.cli.sweep import SPACE_HELP, SpaceOptions
from ssdprof.kernels.errors import SsdprofError, UsageError

if TYPE_CHECKING:
    from ssdprof.kernels.interface import Config
    from ssdprof.kernels.ssd.problem import ChunkScanProblem
    from ssdprof.profiling.ncu.verify import Verification
    from ssdprof.profiling.ncu.verify_run import OnStep, VerifyRequest

EXIT_CODES = {"equal": 0, "differs": 3, "nothing": 1}
DEFAULT_SPACE, SPREAD_SPACES = "tensorrt-llm-pr", ("wide", "all")


class NothingToVerifyError(SsdprofError):
    """Neither a GPU nor a report to hold the figures against; says what to do."""


_configs = partial(option, "Configs")
_ncu = partial(option, "Nsight Compute")


@dataclass(frozen=True, slots=True)
class VerifiedOptions:
    """Which configs to verify. None: not given."""

    space: Annotated[
        str | None,
        _configs("--space", help=SPACE_HELP, default=DEFAULT_SPACE),
    ] = None
    variant: Annotated[
        str | None, _configs("--variant", help="tile, split or both.", default="as the space has it")
    ] = None
    limit: Annotated[
        int | None, _configs("--limit", help="Only N configs: the first, or of wide and all N spread over them.")
    ] = None

    @property
    def given(self) -> bool:
        """Whether the user chose anything."""
        return (self.space, self.variant, self.limit) != (None, None, None)

    @property
    def name(self) -> str:
        """The space's name."""
        return self.space or DEFAULT_SPACE

    def configs(self, problem: ChunkScanProblem) -> tuple[Config, ...]:
        """The configs to verify. Raises SpaceError or UsageError."""
        from ssdprof.profiling.ncu.verify_run import spread

        configs = SpaceOptions(space=self.name, variant=self.variant).configs(problem)
        if self.limit is None:
            return configs
        if self.limit < 1:
            raise UsageError(f"--limit must be at least 1, got {self.limit}")
        return spread(configs, self.limit) if self.name in SPREAD_SPACES else configs[: self.limit]


@dataclass(frozen=True, slots=True)
class NcuOptions:
    """Whether and how to ask ncu."""

    ncu: Annotated[bool, _ncu("--ncu", help="Profile the same launches with ncu, and compare every figure.")] = False
    ncu_path: Annotated[
        Path | None, _ncu("--ncu-path", help="The ncu to run.", default="of PATH, the CUDA toolkit or /opt/nvidia")
    ] = None
    ncu_report: Annotated[
        Path | None,
        _ncu("--ncu-report", help="Instead: hold this CSV of ncu --csv --page raw against us. Needs no GPU."),
    ] = None

    def check(self, *, given: bool) -> None:
        """Raises UsageError for what excludes each other; `given`: a problem or configs were named."""
        if self.ncu_report is not None and (self.ncu or self.ncu_path is not None):
            raise UsageError("--ncu-report holds a file against us, --ncu runs ncu: leave one of them out")
        if self.ncu_report is not None and given:
            raise UsageError("--ncu-report has its own launches: leave the problem and the configs out")

    def find(self) -> tuple[Path | None, tuple[str, ...]]:
        """(ncu, what to tell where it is wanted and not there). Raises UsageError for a path that is no program."""
        import os

        from ssdprof.profiling.ncu.program import FALLBACK_FOLDERS, find_ncu

        if self.ncu_path is not None:
            if not self.ncu_path.is_file() or not os.access(self.ncu_path, os.X_OK):
                raise UsageError(f"--ncu-path {self.ncu_path} is no program that can be run")
            return self.ncu_path, ()
        if not self.ncu:
            return None, ()
        found = find_ncu()
        where = f"PATH, {', '.join(FALLBACK_FOLDERS)}"
        return found, () if found else (f"Only the driver was asked, since there is no ncu ({where}): give --ncu-path",)


@grouped
def verify(
    problem: ProblemOptions,
    configs: VerifiedOptions,
    target: TargetOptions,
    ncu: NcuOptions,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every comparison as CSV to this file.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Hold our occupancy figures against the driver's occupancy API and, with --ncu, against ncu on this machine.

    Each config is compiled, then launched once. Exit code 3 where anything differs, 1 where nothing could be verified.
    """
    from ssdprof.profiling.ncu.verify_run import verify as run_verification

    ncu.check(given=problem.given or configs.given)
    if csv is not None:
        check_writable(csv, "--csv")
    if ncu.ncu_report is not None:
        found = against_report(ncu.ncu_report, target.arch)
    else:
        request = verify_request(problem, configs, target, ncu)
        with steps(quiet=quiet) as on_step:
            found = run_verification(request, on_step)
    show(found, csv, json=json, quiet=quiet)
    return EXIT_CODES[found.status]


def against_report(path: Path, arch: str | None) -> Verification:
    """An exported report held against us. Raises UsageError where it cannot be read or is none."""
    from ssdprof.profiling.hardware.limits import canonical_arch
    from ssdprof.profiling.ncu.export import against_export
    from ssdprof.profiling.ncu.program import EXPORT_HINT, read_raw
    from ssdprof.reports.export.occupancy_export import MAX_FILE_BYTES
    from ssdprof.reports.text.occupancy import rule_sentence

    arch = canonical_arch(arch) if arch is not None else None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--ncu-report {path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"--ncu-report {path} is larger than {MAX_FILE_BYTES >> 20} MiB: export fewer launches")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"--ncu-report {path} is no text: export the report with {EXPORT_HINT}")
    return against_export(read_raw(text, str(path)), str(path), arch, rule_sentence)


def verify_request(
    problem_options: ProblemOptions, configs: VerifiedOptions, target: TargetOptions, ncu_options: NcuOptions
) -> VerifyRequest:
    """What the options ask for. Raises UsageError, and NothingToVerifyError without a GPU."""
    from ssdprof.kernels.ssd.subject import ChunkScan
    from ssdprof.profiling.gpu.devices import check_memory
    from ssdprof.profiling.ncu.verify_run import VerifyRequest
    from ssdprof.reports.text.occupancy import rule_sentence

    spec, problem = ChunkScan(), problem_options.build()
    chosen, jobs = configs.configs(problem), target.checked_jobs()
    ncu, notes = ncu_options.find()
    arch, gpu = target.choose()
    if gpu is None:
        what = f"a GPU of {arch}" if target.arch else "an NVIDIA GPU"
        raise NothingToVerifyError(
            f"nothing to verify against: this needs {what}, and none is "
            f"{'used' if target.device == 'none' else 'here'}; give --ncu-report FILE, an export made where one is"
        )
    check_memory(spec, problem, gpu)
    return VerifyRequest(
        spec=spec,
        problem=problem,
        of=configs.name,
        configs=chosen,
        gpu=gpu,
        jobs=jobs,
        timeout_s=target.timeout_s,
        ncu=ncu,
        sentence=rule_sentence,
        notes=notes,
    )


@contextmanager
def steps(*, quiet: bool) -> Iterator[OnStep]:
    """Shows what is being done: in place on a terminal, a line a step elsewhere."""
    from ssdprof.cli.console import note, stderr

    console = stderr()
    said: set[str] = set()

    def say(step: str, _done: int, total: int) -> None:
        if not quiet and step not in said:
            note(f"{step} ({total} configs) …")
        said.add(step)

    if quiet or not console.is_terminal:
        yield say
        return
    with console.status("starting") as status:
        yield lambda step, done, total: status.update(f"{step}: {done} of {total}")


def show(found: Verification, csv: Path | None, *, json: bool, quiet: bool) -> None:
    """Prints the verification, and writes its CSV where one is asked for."""
    from ssdprof.cli.console import note, stdout
    from ssdprof.reports.text import verify as report

    if json:
        typer.echo(report.verify_json(found), nl=False)
    else:
        stdout().print(report.verify_report(found))
    if csv is not None:
        try:
            csv.write_text(report.verify_csv(found), encoding="utf-8")
        except OSError as error:
            note(f"--csv {csv} could not be written: {error.strerror or error}")
        else:
            if not quiet:
                note(f"wrote {csv}")
