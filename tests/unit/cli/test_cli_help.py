"""The help: complete, and quick because it imports no torch, triton or pandas, and nothing of the engine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from captured_softmax import write_file
from fake_runs import HEADER, explanation, h100_run
from fake_sweeps import Asked, fake_sweeps
from run_records import save

from ssdprof.cli import capture, options, sweep, verify
from ssdprof.cli import counting as counting_options
from ssdprof.cli.main import app
from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels import registry
from ssdprof.kernels.captured.file import read
from ssdprof.kernels.captured.live import startup
from ssdprof.kernels.captured.live.options import DEFAULT_LIMIT_GIB, CaptureOptions
from ssdprof.kernels.captured.live.startup import Finished
from ssdprof.kernels.captured.model import Seen
from ssdprof.kernels.captured.subject import SUFFIX
from ssdprof.kernels.foreign.files import PLACES
from ssdprof.kernels.interface import Spaced
from ssdprof.kernels.registry import recorded_names, subject
from ssdprof.kernels.ssd import presets, spaces
from ssdprof.profiling.ncu import verify_run
from ssdprof.profiling.ncu.verify import Comparison, Verification
from ssdprof.profiling.runs.store import new_run_path
from ssdprof.profiling.sweep import explain as explain_module
from ssdprof.profiling.sweep.added import counting
from ssdprof.profiling.sweep.request import DEFAULT_BUDGET_S

MOST_TIMES = 3
"""The time that help takes over that of importing what shows it; 2 to 2.3 as measured."""
MOST_TIMES_DRAWN = 3.5
"""The same of a command that draws a table; 2.8 to 3.0 as measured, 2.3 of which any command with an option takes."""
HEAVY = ("torch", "triton", "pandas", "numpy", "elftools", "pynvml", "yaml", "ssdprof.profiling", "ssdprof.reports")
LIGHT = ("ssdprof", "ssdprof.kernels", "ssdprof.kernels.errors")

COMMANDS = [
    "sweep",
    "explain",
    "show",
    "runs",
    "capture",
    "launches",
    "occupancy",
    "verify",
    "spaces",
    "presets",
    "devices",
]
GOLDEN = Path(__file__).parents[2] / "golden"
LAUNCHES = "compute_capability,threads_per_block,registers_per_thread,dynamic_shared_mem_bytes\n9.0,64,255,41728\n"
EXPORT = (GOLDEN / "ncu_h100_chunk_scan.csv").read_text(encoding="utf-8")
VERIFIED = Verification(
    "vllm", "sm_90", "NVIDIA H100", None, 1, (Comparison("one", "driver", "blocks_per_sm", "4", "4", "equal"),)
)


def examples_of_the_help() -> dict[str, list[str]]:
    """The example commands in the help of each command and of ssdprof itself."""
    whole = typer.main.get_command(app)
    helps = {"ssdprof": whole, **getattr(whole, "commands", {})}
    return {
        name: [line for line in str(command.epilog).splitlines() if line.startswith("ssdprof ")]
        for name, command in helps.items()
    }


EXAMPLES = examples_of_the_help()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """A made-up GPU with a run on it, on which every command does its work at once; and the files that they read."""
    requests = fake_sweeps(monkeypatch, tmp_path)
    monkeypatch.setattr(startup, "run_command", captured)
    monkeypatch.setattr(explain_module, "explain", lambda *_, **__: explanation())
    monkeypatch.setattr(counting, "find_ncu", lambda: None)
    monkeypatch.setattr(verify_run, "verify", lambda request, _: replace(VERIFIED, notes=request.notes))
    monkeypatch.chdir(tmp_path)
    assert 0 == ssdprof(["sweep", "--quiet"])
    Path("launches.csv").write_text(LAUNCHES, encoding="utf-8")
    Path("report.csv").write_text(EXPORT, encoding="utf-8")
    return requests


def captured(_command: list[str], path: Path, _options: CaptureOptions) -> Finished:
    """A program that launched a softmax, which is in the file."""
    shapes = "x_ptr[6, 5] f32, o_ptr[6, 5] f32"
    write_file(path, seen=(Seen("softmax", "/somewhere/program.py:7", shapes, 3, 0.25, 1),))
    return Finished(0, read(path))


def cpu_s(*arguments: str) -> float:
    """The CPU time of a Python process, which other processes hardly change; the least of five."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    took_s = []
    for _ in range(5):
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        assert 0 == os.waitstatus_to_exitcode(status)
        process.returncode = 0
        took_s.append(used.ru_utime + used.ru_stime)
    return min(took_s)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"]])
def test_help_imports_nothing_heavy_and_nothing_of_the_engine(arguments: list[str]) -> None:
    program = (
        "import sys; from ssdprof.cli.main import run; code = run(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr);"
        "print(*(name for name in sys.modules if name.startswith('ssdprof')), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    heavy, ours = done.stderr.splitlines()
    assert (0, "[]") == (done.returncode, heavy)
    assert [] == [name for name in ours.split() if name not in LIGHT and not name.startswith("ssdprof.cli")]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"], ["show", "--help"]])
def test_help_takes_little_more_than_importing_what_shows_it(arguments: list[str]) -> None:
    assert MOST_TIMES >= cpu_s("-m", "ssdprof", *arguments) / cpu_s("-c", "import typer, rich.console")


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "most_times"), [(["runs", "--json"], MOST_TIMES), (["runs"], MOST_TIMES_DRAWN)])
def test_a_list_of_runs_that_were_noted_takes_little_more(arguments: list[str], most_times: float) -> None:
    save(h100_run(), new_run_path(HEADER))
    assert 0 == ssdprof(["runs"])
    assert most_times >= cpu_s("-m", "ssdprof", *arguments) / cpu_s("-c", "import typer, rich.console")


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["--help"])
    out = capsys.readouterr().out
    assert COMMANDS == re.findall(r"^│ (\w+)  ", out.partition("Commands")[2], re.MULTILINE)


def test_the_help_of_sweep_lists_our_spellings_and_hides_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep", "--help"])
    out = capsys.readouterr().out
    options = """--kernel --preset --seqlen --batch --nheads --headdim --ngroups --dstate --chunk-size --dtype
        --states-dtype --d-form --z --no-z --seq-idx --no-seq-idx --tp --space --around --values --variant --baseline
        --arch --gpu --jobs --timeout --budget --timing --seed --csv --top --run-file --resume --json --quiet --help
        --reference --trust LAUNCH --all"""
    assert [] == [option for option in options.split() if not re.search(rf"{option}\b", out)]
    assert [] == [option for option in ("--d-state", "--d-head", "--n-heads", "--seq-len") if option in out]


def test_every_command_has_two_examples_of_its_own_and_each_fits_on_a_line() -> None:
    assert {"ssdprof", *COMMANDS} == set(EXAMPLES)
    assert [] == [name for name, examples in EXAMPLES.items() if len(examples) < 2]
    assert [] == [
        one
        for name, examples in EXAMPLES.items()
        for one in examples
        if len(one) > 78 or (name != "ssdprof" and shlex.split(one)[1] != name)
    ]


@pytest.mark.parametrize("example", dict.fromkeys(one for examples in EXAMPLES.values() for one in examples))
def test_every_example_of_the_help_runs(stage: Asked, example: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    _, *arguments = shlex.split(example)
    if "scan.launch" in arguments and "-o" not in arguments:
        write_file(Path("scan.launch"))

    assert 0 == ssdprof(arguments)
    assert capsys.readouterr().out or Path(arguments[arguments.index("--csv") + 1]).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_stand_at_the_end_of_the_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof([name, "--help"] if name != "ssdprof" else ["--help"])
    lines = [line.strip() for line in capsys.readouterr().out.partition("Examples")[2].splitlines() if line.strip()]

    assert EXAMPLES[name] == lines


def test_the_most_used_options_come_first() -> None:
    found: Any = typer.main.get_command(app)
    names = [one.name for one in found.commands["sweep"].params]

    assert ["kernel", "preset", "seqlen", "dstate"] == names[:4]
    assert names.index("space") < names.index("values") < names.index("arch") < names.index("csv")


COMPLETED = [
    (["sweep", "--preset", "nemotron-3-n"], ["nemotron-3-nano"]),
    (["sweep", "--space", "v"], ["vllm"]),
    (["verify", "--space", ""], [*subject().space_names(), "own"]),  # type: ignore[attr-defined]
    (["sweep", "--dtype", "b"], ["bfloat16"]),
    (["occupancy", "--arch", "RTX-409"], ["RTX-4090"]),
    (["sweep", "--arch", "rtx-409"], ["rtx-4090"]),
    (["explain", "--arch", "sm_12"], ["sm_120", "sm_121"]),
    (["show", "rec"], ["recorded", "recorded:2048"]),
    (["explain", "best", "--run", "rec"], ["recorded", "recorded:2048"]),
    (["sw"], ["sweep"]),
]


@pytest.mark.parametrize(("words", "expected"), COMPLETED, ids=lambda one: " ".join(one))
def test_a_shell_completes_commands_and_values_without_torch_and_triton(words: list[str], expected: list[str]) -> None:
    program = (
        "import atexit, sys; from ssdprof.cli.main import run;"
        "heavy = lambda: [name for name in ('torch', 'triton') if name in sys.modules];"
        "atexit.register(lambda: print(heavy(), file=sys.stderr)); run([])"
    )
    asked = {
        "_SSDPROF_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(["ssdprof", *words]).replace("''", ""),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert (0, expected, "[]\n") == (done.returncode, done.stdout.split(), done.stderr)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_can_be_shown_and_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    def asked(option: str) -> str:
        command = f"{shlex.quote(sys.executable)} -m ssdprof {option}; exit $?"
        home = {**os.environ, "HOME": str(tmp_path)}
        return subprocess.run(["bash", "-c", command], env=home, capture_output=True, text=True, check=True).stdout

    script = asked("--show-completion")
    assert "_SSDPROF_COMPLETE=complete_bash" in script
    assert "bash completion installed" in asked("--install-completion")
    installed = [path.read_text(encoding="utf-8").strip() for path in tmp_path.rglob("*") if path.is_file()]
    assert script.strip() in installed


@pytest.mark.parametrize("command", ["explain", "verify"])
def test_a_kernel_and_its_problem_can_be_named_wherever_one_is_compiled(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert 0 == ssdprof([command, "--help"])
    out = capsys.readouterr().out
    assert [] == [option for option in ("--kernel", "--preset", "--seqlen", "--tp", "--arch") if option not in out]


def test_the_defaults_in_the_help_are_the_real_ones() -> None:
    assert (presets.DEFAULT_PRESET, presets.DEFAULT_SEQLEN) == (options.DEFAULT_PRESET, options.DEFAULT_SEQLEN)
    assert (registry.CHUNK_SCAN, DEFAULT_BUDGET_S) == (options.DEFAULT_KERNEL, sweep.DEFAULT_BUDGET_S)
    assert [] == [name for name in recorded_names() if name not in options.RUN_HELP]
    assert counting.BEST_COUNTED == counting_options.BEST_COUNTED
    assert (DEFAULT_LIMIT_GIB, SUFFIX) == (capture.DEFAULT_LIMIT_GIB, capture.SUFFIX)


def test_the_help_names_every_space_and_every_engine_that_there_is() -> None:
    ours = subject()
    assert isinstance(ours, Spaced)
    assert [*ours.space_names(), "own"] == re.findall(r"[a-z][\w-]+", sweep.SPACE_HELP)[: len(spaces.SPACES) + 1]
    assert [] == [engine for engine in PLACES if engine not in options.KERNEL_HELP]
    assert set(verify.SPREAD_SPACES) | {verify.DEFAULT_SPACE} <= set(spaces.SPACES)


def test_the_version_names_triton_and_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["--version"])
    assert re.fullmatch(r"ssdprof \S+ \(Triton \S+, PyTorch \S+\)\n", capsys.readouterr().out)
