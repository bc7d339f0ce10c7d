"""The help: complete, and quick because it imports no torch, triton or pandas."""

import os
import re
import subprocess
import sys
import time

import pytest

from ssdprof.cli import options
from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.ssd import presets

MOST_S = 0.4
HEAVY = ("torch", "triton", "pandas", "numpy", "elftools", "pynvml")


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["explain", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from ssdprof.cli.main import run; code = run(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert (0, "[]") == (done.returncode, done.stderr.strip())


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"]])
def test_help_takes_no_longer_than_four_tenths_of_a_second(arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    took_s = []
    for _ in range(5):
        start_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ssdprof", *arguments], capture_output=True, check=True, env=environment)
        took_s.append(time.perf_counter() - start_s)
    assert min(took_s) <= MOST_S


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["--help"])
    out = capsys.readouterr().out
    assert ["sweep", "explain", "occupancy", "verify", "devices"] == re.findall(
        r"^│ (\w+)  ", out.partition("Commands")[2], re.MULTILINE
    )


def test_the_help_of_sweep_lists_our_spellings_and_hides_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["sweep", "--help"])
    out = capsys.readouterr().out
    options = """--preset --seqlen --batch --nheads --headdim --ngroups --dstate --chunk-size --dtype --states-dtype
        --d-form --z --no-z --seq-idx --no-seq-idx --tp --space --variant --baseline --arch --gpu --jobs --timeout
        --seed --csv --top --run-file --json --quiet --help"""
    assert [] == [option for option in options.split() if not re.search(rf"{option}\b", out)]
    assert [] == [option for option in ("--d-state", "--d-head", "--n-heads", "--seq-len") if option in out]


def test_the_defaults_in_the_help_are_the_real_ones() -> None:
    assert (presets.DEFAULT_PRESET, presets.DEFAULT_SEQLEN) == (options.DEFAULT_PRESET, options.DEFAULT_SEQLEN)


def test_the_version_names_triton_and_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["--version"])
    assert re.fullmatch(r"ssdprof \S+ \(Triton \S+, PyTorch \S+\)\n", capsys.readouterr().out)
