"""Nsight Compute's command line: finding it, handing it launches, profiling them, and reading the CSV it exports."""

from __future__ import annotations

import csv
import glob
import io
import os
import pickle
import re
import shutil
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssdprof.kernels.errors import SsdprofError, UsageError
from ssdprof.kernels.launch import LaunchPlan, TensorMeta

RULE = "TheoreticalOccupancy"
RULE_COLUMN = "theoretical_occupancy_rule"
"""A column for the rule's sentence, which ncu's raw page lacks; read if somebody has added it."""
REGISTERS = "launch__registers_per_thread"
FALLBACK_FOLDERS = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute/*")
EXPORT_HINT = "ncu --import REPORT --csv --page raw --print-units base"
NO_PERMISSION = "ERR_NVGPUCTRPERM"

_IMPORT_TIMEOUT_S = 300.0
_BYTES = {"byte": 1.0, "kbyte": 1e3, "kb": 1e3, "kib": 1024.0, "mbyte": 1e6, "mb": 1e6, "mib": 1024.0**2, "gbyte": 1e9}
_NO_VALUE = ("", "-", "n/a", "nan", "(nan)", "none", "no data")
_DECIMAL_COMMA = re.compile(r"-?[0-9]+(\.[0-9]{3})*,([0-9]{1,2}|[0-9]{4,})")
"""A number that only a locale writes in which a comma comes before the decimals, and points between thousands."""
_PRINTED_STEP = 0.01


class NcuError(SsdprofError):
    """ncu gave no figures: it was refused, failed or was too late; the message says which.

    `said`: everything that it printed.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class NcuCsvError(UsageError):
    """A file that is not the raw page of an ncu report; says what is wrong and how to export one."""


class NcuCellError(NcuCsvError):
    """A cell that cannot be read: its launch cannot be compared."""


@dataclass(frozen=True, slots=True)
class NcuNumber:
    """A figure as ncu printed it. `value` is in base units; ncu's exact figure is within `half_step` of it."""

    text: str
    value: float
    half_step: float

    def agrees(self, ours: float) -> bool:
        """Whether `ours`, rounded as ncu rounds, is this figure."""
        return abs(ours - self.value) <= self.half_step * (1 + 1e-9) + 1e-9


@dataclass(frozen=True, slots=True)
class NcuRow:
    """One profiled launch: ncu's columns as text, and their units; `source` and `line` say where it came from.

    `sentence` is that of the Theoretical Occupancy rule; empty if the rule was silent, None if that is unknown.
    `decimal_comma`: whether one of its figures can only have a comma before its decimals, and so all of them have.
    """

    source: str
    line: int
    cells: Mapping[str, str]
    units: Mapping[str, str]
    sentence: str | None = None
    decimal_comma: bool = False

    def number(self, column: str) -> NcuNumber | None:
        """The figure in a column; None if there is none. Raises NcuCellError for text and an unknown unit of bytes."""
        text, where = self.cells.get(column, "").strip(), f"{self.source}, line {self.line}: {column}"
        if text.lower() in _NO_VALUE:
            return None
        plain = text.replace(".", "").replace(",", ".") if self.decimal_comma else text.replace(",", "")
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", plain, re.IGNORECASE):
            raise NcuCellError(f"{where} is not a number: {text[:40]!r}")
        unit = self.units.get(column, "").split("/")[0]
        scale = _BYTES.get(unit.lower(), 1.0)
        if "shared_mem" in column and unit and unit.lower() not in (*_BYTES, "block", "warp"):
            raise NcuCellError(f"{where} is in an unknown unit, {unit}: export it with {EXPORT_HINT}")
        if unit == "byte" and not float(plain).is_integer():
            raise NcuCellError(f"{where} is {text} bytes, and bytes are whole: export it with LC_ALL=C {EXPORT_HINT}")
        decimals = len(plain.partition(".")[2])
        step = _PRINTED_STEP if decimals == 0 else 10.0**-decimals  # a whole number has no decimals printed
        half_step = 0.0 if decimals == 0 and scale == 1 else scale * step / 2
        return NcuNumber(f"{text} {unit}" if scale != 1 else text, float(plain) * scale, half_step)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended and what it printed on stdout and stderr; `code` None: it was late and was killed."""

    code: int | None
    text: str


Launches = tuple[dict[str, TensorMeta], dict[str, LaunchPlan]]


def write_launches(path: Path, tensors: Mapping[str, TensorMeta], plans: Mapping[str, LaunchPlan]) -> None:
    """Writes every tensor by name and every launch by its config's id, in order, for a process that ncu starts."""
    path.write_bytes(pickle.dumps((dict(tensors), dict(plans))))


def read_launches(path: Path) -> Launches:
    """The tensors and launches in a file from `write_launches`. Read no other file: reading can run code."""
    launches: Launches = pickle.loads(path.read_bytes())  # noqa: S301  # our own file
    return launches


def find_ncu(folders: Sequence[str] = FALLBACK_FOLDERS) -> Path | None:
    """Ncu from PATH, else from the CUDA toolkit, else the newest in /opt; None if there is none."""
    if on_path := shutil.which("ncu"):
        return Path(on_path)
    for folder in folders:
        found = [Path(path) for path in glob.glob(f"{folder}/ncu")]
        runnable = [path for path in found if path.is_file() and os.access(path, os.X_OK)]
        if runnable:
            return max(runnable, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)])
    return None


def run_program(command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> Finished:
    """Runs a program, and what it starts, for at most `timeout_s`. Raises NcuError if it cannot be run at all."""
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise NcuError(f"{command[0]} cannot be run: {error.strerror or error}") from None
    try:
        text, _ = process.communicate(timeout=timeout_s)
        return Finished(process.returncode, text)
    except subprocess.TimeoutExpired:
        return Finished(None, "")
    finally:
        if process.poll() is None:  # late or interrupted: the program under ncu must not keep running
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@dataclass(frozen=True, slots=True)
class Collect:
    """What to ask ncu for: options, the next ones if it gives no report for those before.

    `flush`: the caches before each pass, as ncu does if nobody says otherwise. `sentences`: also those of the rule.
    """

    options: tuple[tuple[str, ...], ...]
    flush: bool = False
    sentences: bool = False


def launch_figures(metrics: Collection[str]) -> Collect:
    """`metrics`, which must need no hardware counters, and sections and their rule unless counters are refused."""
    asked = ("--metrics", ",".join(metrics))
    return Collect(
        (
            # the sections and their rule; the Occupancy section also has achieved occupancy, a counter
            ("--section", "Occupancy", "--section", "LaunchStats", *asked, "--rule", RULE),
            # if counters are refused: no section, and the rule if ncu applies it anyway
            (*asked, "--rule", RULE),
            (*asked, "--apply-rules", "no"),
        ),
        sentences=True,
    )


def profile(
    ncu: Path,
    target: Sequence[str],
    collect: Collect,
    *,
    kernels: Collection[str],
    folder: Path,
    env: Mapping[str, str],
    timeout_s: float,
) -> tuple[str, tuple[NcuRow, ...]]:
    """Profiles every launch of the functions `kernels` in one run of the command `target`.

    Returns ncu's version and what it said about each launch, in launch order, with sentences if its rule was applied.
    Keeps the report in `folder`. Raises NcuError if ncu gives nothing.
    """
    env = {**env, "LC_ALL": "C"}
    pattern = "|".join(re.escape(name) for name in sorted(kernels))
    report = folder / "report.ncu-rep"
    common = ["--kernel-name-base", "function", "--kernel-name", f"regex:^({pattern})$"]
    common += ["--clock-control", "none", "--cache-control", "all" if collect.flush else "none"]
    common += ["--target-processes", "application-only"]
    reasons, said = list[str](), ""
    for options in collect.options:
        finished = run_program([str(ncu), "-f", "-o", str(report), *common, *options, *target], env, timeout_s)
        if finished.code is None:
            raise NcuError(f"ncu gave no report within {timeout_s:.0f} s")
        if report.exists():
            break
        reasons.append(_reason(finished))
        said += finished.text
    else:
        raise NcuError(next((reason for reason in reasons if NO_PERMISSION in reason), reasons[-1]), said)

    def page(name: str) -> str:
        command = [str(ncu), "--import", str(report), "--csv", "--page", name, "--print-units", "base"]
        finished = run_program(command, env, _IMPORT_TIMEOUT_S)
        if finished.code != 0:
            raise NcuError(f"ncu could not export its report: {_reason(finished)}")
        return finished.text

    rows = read_raw(page("raw"), "ncu's raw page")
    sentences = read_sentences(page("details")) if collect.sentences else {}
    if sentences:
        rows = tuple(replace(row, sentence=sentences.get(row.cells.get("ID", ""), "")) for row in rows)
    version = re.search(r"Version ([0-9]+(?:\.[0-9]+){1,2})", run_program([str(ncu), "--version"], env, 60.0).text)
    return version.group(1) if version else "of unknown version", rows


def read_raw(text: str, source: str) -> tuple[NcuRow, ...]:
    """The launches of a raw page in CSV, or of one with a line per metric; skips what is printed above its header.

    Raises NcuCsvError for a text without the page's columns, a broken line and a file without launches.
    """
    reader = csv.reader(io.StringIO(text))
    units: dict[str, str] = {}
    rows: list[NcuRow] = []
    by_launch: dict[str, tuple[dict[str, str], dict[str, str], int]] = {}  # cells, units and line
    try:
        header = next((cells for cells in reader if REGISTERS in cells or "Metric Name" in cells), None)
        if header is None and NO_PERMISSION in text:
            raise NcuCsvError(
                f"{source} has no launches, ncu says {NO_PERMISSION}: let it read the GPU's counters, or ask only for "
                "launch__ metrics, which need none"
            )
        if header is None:
            raise NcuCsvError(f"{source} has no column {REGISTERS}: export the report with {EXPORT_HINT}")
        for cells in reader:
            if not cells or cells[0].startswith("=="):
                continue
            if len(cells) != len(header):
                raise NcuCsvError(f"{source}, line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
            row = dict(zip(header, cells, strict=True))
            if "Metric Name" in row:
                of_launch = by_launch.setdefault(row.get("ID", ""), ({}, {}, reader.line_num))
                of_launch[0].update(row, **{row["Metric Name"]: row["Metric Value"]})
                of_launch[1][row["Metric Name"]] = row["Metric Unit"]
            elif not rows and not units and not re.match(r"\s*[0-9]", row[REGISTERS]):
                units = row
            else:
                rows.append(NcuRow(source, reader.line_num, row, units, row.get(RULE_COLUMN) or None))
    except csv.Error as error:
        raise NcuCsvError(f"{source}, line {reader.line_num}: {error}") from None
    rows += [NcuRow(source, line, cells, units) for cells, units, line in by_launch.values() if REGISTERS in cells]
    if not rows:
        raise NcuCsvError(f"{source} has no launches below its header: was a kernel profiled?")
    return tuple(replace(row, decimal_comma=any(map(_DECIMAL_COMMA.fullmatch, row.cells.values()))) for row in rows)


def read_sentences(text: str) -> dict[str, str]:
    """The Theoretical Occupancy rule's sentences in a details page in CSV, by launch ID; empty if there are none."""
    reader = csv.reader(io.StringIO(text))
    header = next((cells for cells in reader if "Rule Name" in cells), [])
    rows = (dict(zip(header, cells, strict=False)) for cells in reader)  # ncu leaves out empty cells at the end
    found = (row for row in rows if row.get("Rule Name") == RULE and row.get("Rule Description"))
    return {row.get("ID", ""): row["Rule Description"] for row in found}


def _reason(finished: Finished) -> str:
    """Why there is no report, in one line: ncu's error, else the last line that was printed."""
    if NO_PERMISSION in finished.text:
        return f"{NO_PERMISSION}: no permission for the GPU's performance counters"
    lines = [line.strip() for line in finished.text.splitlines() if line.strip()]
    errors = [line.removeprefix("==ERROR==").strip() for line in lines if line.startswith("==ERROR==")]
    last = (errors or lines[-1:] or ["nothing was printed"])[0]
    return last if finished.code == 0 else f"{last} (exit code {finished.code})"
