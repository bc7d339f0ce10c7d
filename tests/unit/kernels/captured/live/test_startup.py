"""Capturing a whole program: all its processes, however they start and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssdprof.kernels.captured.file import CaptureFileError, read
from ssdprof.kernels.captured.live import startup
from ssdprof.kernels.captured.live.options import CaptureError, CaptureOptions
from ssdprof.kernels.captured.live.startup import Finished, python_command, run_command

HELPERS = Path(__file__).parents[4] / "helpers" / "programs"
PROGRAM = str(HELPERS / "launching_program.py")
EACH = CaptureOptions(launch=1, kernel="scale_kernel")
"""Keeps a launch of each process."""
CHILDREN = """
import multiprocessing, os, signal, subprocess, sys
import launching_program as program

def child(n, end=None):
    program.main(n)
    if end:
        os.kill(os.getpid(), end)

if __name__ == "__main__":
    for n, how in enumerate(("fork", "spawn", "forkserver"), 101):
        process = multiprocessing.get_context(how).Process(target=child, args=(n,))
        process.start()
        process.join()
        assert process.exitcode == 0
    text = "import children; children.child(%d, %d)"
    for n, end in (104, signal.SIGTERM), (105, signal.SIGKILL):
        command = [sys.executable, "-c", text % (n, end)]
        assert subprocess.run(command, cwd=os.path.dirname(__file__)).returncode == -end
    if os.fork() == 0:
        child(106)
        sys.exit(0)
    assert os.wait()[1] == 0
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file goes; programs run on the CPU and find the helpers."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), *([before] if before else [])]))
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "launches.ssdprof"


def counts(finished: Finished) -> dict[str, int]:
    assert finished.captured is not None
    return {f"{one.name} {one.shapes.split()[0]}": one.count for one in finished.captured.seen}


def test_a_script_is_captured_with_its_arguments_and_exit_code(path: Path) -> None:
    finished = run_command([PROGRAM, "64", "fail"], path, CaptureOptions())

    assert (3, ()) == (finished.exit_code, finished.problems)
    assert {"scale_kernel x_ptr[64]": 3, "add_kernel total_ptr[64]": 2} == counts(finished)
    captured = read(path)
    assert finished.captured == captured
    assert ["scale_kernel", "add_kernel"] == [launch.name for launch in captured.launches]
    assert f"{sys.executable} {PROGRAM} 64 fail" == captured.command
    assert captured.date.endswith("+00:00")
    assert [path.name] == os.listdir(path.parent)


def test_a_module_is_captured(path: Path) -> None:
    assert {"scale_kernel x_ptr[64]": 3, "add_kernel total_ptr[64]": 2} == counts(
        run_command(["-m", "launching_program", "64"], path, CaptureOptions())
    )


@pytest.fixture(autouse=True)
def without_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """No coverage in child processes: it handles SIGTERM itself, and imports take twice as long."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
def test_all_child_processes_are_captured_however_they_start_and_end(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)

    finished = run_command([str(script)], path, EACH)

    assert 0 == finished.exit_code
    assert finished.captured is not None
    assert list(range(101, 107)) == sorted(launch.args["n"] for launch in finished.captured.launches)  # type: ignore[type-var]
    scaled = {one.shapes.split("]")[0]: one.count for one in finished.captured.seen if one.name == "scale_kernel"}
    assert {f"x_ptr[{n}": 1 if n == 105 else 3 for n in range(101, 107)} == scaled
    [killed] = finished.problems
    assert killed.endswith("was killed: what it kept is there, what it launched was not counted")


@pytest.mark.slow
def test_of_several_processes_the_first_launch_of_each_kernel_stays(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "twice.py"
    script.write_text(
        "import subprocess, sys\nfor n in '64', '65':\n    subprocess.run([sys.executable, sys.argv[1], n])"
    )

    finished = run_command([str(script), PROGRAM], path, CaptureOptions())

    assert finished.captured is not None
    assert [64, 64] == [launch.args["n"] for launch in finished.captured.launches]
    assert ["", "", "another launch of it is kept", "another launch of it is kept"] == [
        one.why_not for one in finished.captured.seen
    ]


def test_a_sitecustomize_of_the_program_still_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['CUSTOMIZED'] = __file__")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, launching_program\nlaunching_program.main(64)\n"
        "assert os.path.dirname(os.environ['CUSTOMIZED']) == os.path.dirname(sys.modules['sitecustomize'].__file__)"
    )

    finished = run_command([str(script)], path, CaptureOptions())

    assert 0 == finished.exit_code
    assert {"scale_kernel x_ptr[64]": 3, "add_kernel total_ptr[64]": 2} == counts(finished)


def test_a_program_that_launches_nothing_leaves_no_file(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import triton")

    finished = run_command([str(script)], path, CaptureOptions())

    assert Finished(0, None) == finished
    assert [] == os.listdir(path.parent)


def test_starting_imports_neither_torch_nor_triton(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nassert 'ssdprof' in sys.modules\nassert not {'torch', 'triton', 'numpy'} & set(sys.modules)"
    )

    assert 0 == run_command([str(script)], path, CaptureOptions()).exit_code


def test_a_python_without_ssdprof_is_told_of(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssdprof").mkdir()  # a package of that name in front of the real one
    missing = "raise ModuleNotFoundError(\"No module named 'ssdprof.kernels'\")"
    (tmp_path / "ssdprof" / "__init__.py").write_text(missing)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    finished = run_command(["-c", "print()"], path, CaptureOptions())

    assert 0 == finished.exit_code
    [problem] = finished.problems
    assert problem.startswith(f"{sys.executable}: ModuleNotFoundError: No module named 'ssdprof.kernels")


def test_a_capture_within_a_captured_program_is_refused(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import ssdprof\nwith ssdprof.capture('other'):\n    pass")

    assert 1 == run_command([str(script)], path, CaptureOptions()).exit_code


@pytest.mark.parametrize(
    ("send", "number"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM to all"],
)
def test_a_signal_ends_the_program_and_what_was_kept_stays(
    path: Path, send: Callable[[int, int], None], number: signal.Signals
) -> None:
    text = (
        "import signal\nfrom pathlib import Path\nfrom ssdprof.kernels.captured.live import startup\n"
        "from ssdprof.kernels.captured.live.options import CaptureOptions\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background is begun without it
        f"done = startup.run_command([{PROGRAM!r}, '64', 'wait'], Path({str(path)!r}), CaptureOptions())\n"
        "print(done.exit_code, len(done.captured.launches), flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert "waiting\n" == process.stdout.readline()

    send(process.pid, number)

    assert f"{-number} 2" == process.communicate(timeout=60)[0].strip()
    assert 2 == len(read(path).launches)
    assert ["add_kernel", "scale_kernel"] == sorted({one.name for one in read(path).seen})


def test_a_program_that_handles_sigterm_ends_as_it_would(path: Path) -> None:
    text = (
        "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "os.kill(os.getppid(), signal.SIGTERM)\nsignal.pause()"
    )
    before = signal.getsignal(signal.SIGTERM)
    assert Finished(7, None) == run_command(["-c", text], path, CaptureOptions())
    assert before is signal.getsignal(signal.SIGTERM)


def test_sigterm_before_the_program_runs_reaches_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(startup.subprocess, "Popen", Late)
    assert Finished(-signal.SIGTERM, None) == run_command(["-c", "import time; time.sleep(60)"], path, CaptureOptions())


def test_sigterm_after_the_program_ended_does_not_cut_the_file_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminated(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return together(*arguments)

    together = startup._together
    monkeypatch.setattr(startup, "_together", terminated)
    assert 0 == run_command([PROGRAM, "64"], path, CaptureOptions()).exit_code
    assert 2 == len(read(path).launches)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["-m", "pytest"], [sys.executable, "-m", "pytest"]),
        ([PROGRAM, "x"], [sys.executable, PROGRAM, "x"]),
        (["torchrun", "x.py"], ["torchrun", "x.py"]),
        (["python", "x.py"], ["python", "x.py"]),
    ],
)
def test_python_is_put_in_front_of_modules_and_scripts(command: list[str], expected: list[str]) -> None:
    assert expected == python_command(command)


@pytest.mark.parametrize(
    ("command", "reason"), [([], "no command"), (["no-such-program"], "cannot run no-such-program")]
)
def test_a_command_that_cannot_run_is_refused_in_a_line(path: Path, command: list[str], reason: str) -> None:
    with pytest.raises(CaptureError, match=reason):
        run_command(command, path, CaptureOptions())

    assert [] == os.listdir(path.parent)


def test_a_folder_that_is_not_there_is_said_before_the_program_runs(path: Path) -> None:
    with pytest.raises(CaptureFileError, match="cannot write"):
        run_command(["-c", "raise SystemExit(9)"], path / "none" / "file", CaptureOptions())
