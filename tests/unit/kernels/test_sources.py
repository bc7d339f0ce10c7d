"""A source hash covers what makes the binary: the functions' text and all that they use, wherever it stands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import ssdprof.kernels.ssd
from ssdprof.kernels.sources import source_hash
from ssdprof.kernels.ssd.problem import ChunkScanProblem
from ssdprof.kernels.ssd.subject import ChunkScan

KERNEL = '''"""A kernel."""

import math

import triton
from pkg.scan.beside import scaled as twice
from pkg.scan import shapes

LIMIT, STEP = 4, 2
UNUSED = 5


def helper(x):
    """Limits."""
    return min(x, LIMIT) + math.pi


@triton.jit
def kernel(x, y: UNUSED = 3):
    """What it does."""
    # how
    value = helper(x)

    return twice(value) * shapes.SIZE


def launch(problem):
    return kernel[problem.grid]


def unrelated():
    return UNUSED
'''
BESIDE = """FACTOR = 2


def scaled(x):
    return FACTOR * x


def unrelated(x):
    return x
"""
SHAPES = "SIZE = 64\nOTHER = 1\n"
FILES = {"kernel.py": KERNEL, "beside.py": BESIDE, "shapes.py": SHAPES}


def written(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def hash_of(folder: Path, files: Mapping[str, str], name: str = "kernel.py") -> str:
    return source_hash(written(folder, files) / name, ("kernel", "launch"))


@pytest.fixture
def before(tmp_path: Path) -> str:
    return hash_of(tmp_path / "before" / "scan", FILES)


def test_the_hash_is_sixteen_hexadecimal_digits_and_the_same_each_time(tmp_path: Path, before: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", before)
    assert before == hash_of(tmp_path / "after" / "scan", FILES)


def test_moving_and_renaming_the_file_does_not_change_the_hash(tmp_path: Path, before: str) -> None:
    moved = {name: text.replace("pkg.scan", "other.place.moved") for name, text in FILES.items()}
    moved["renamed.py"] = moved.pop("kernel.py")

    assert before == hash_of(tmp_path / "other" / "place" / "moved", moved, "renamed.py")


UNCHANGED = {
    "a comment": ("kernel.py", "    # how\n", "    # how it is done, in more\n    # lines\n"),
    "a comment before a decorator": ("kernel.py", "@triton.jit\n", "# compiled\n@triton.jit\n"),
    "a docstring": ("kernel.py", '"""What it does."""', '"""What it does,\n\n    in more lines.\n    """'),
    "no docstring": ("kernel.py", '    """Limits."""\n', ""),
    "the module's docstring": ("kernel.py", '"""A kernel."""', '"""Another word for it."""'),
    "a blank line": ("kernel.py", "    value = helper(x)\n\n", "\n    value = helper(x)\n"),
    "blanks at the end of a line": ("kernel.py", "helper(x)\n", "helper(x)   \n"),
    "another function": ("kernel.py", "def unrelated():\n", "def unrelated(more):\n"),
    "a function more": ("kernel.py", "def launch", "def more():\n    return LIMIT\n\n\ndef launch"),
    "a constant that nothing uses": ("kernel.py", "UNUSED = 5", "UNUSED = 6"),
    "another function beside": ("beside.py", "    return x\n", "    return 3 * x\n"),
    "another constant beside": ("shapes.py", "OTHER = 1", "OTHER = 2"),
    "where it stands": ("kernel.py", "LIMIT, STEP = 4, 2\n", "import os\n\n\nLIMIT, STEP = 4, 2\n"),
}


@pytest.mark.parametrize("change", UNCHANGED)
def test_what_does_not_make_the_binary_does_not_change_the_hash(tmp_path: Path, before: str, change: str) -> None:
    file, old, new = UNCHANGED[change]
    assert 1 == FILES[file].count(old)
    assert before == hash_of(tmp_path / "after" / "scan", {**FILES, file: FILES[file].replace(old, new)})


CHANGED = {
    "the function": ("kernel.py", "twice(value)", "value"),
    "its default": ("kernel.py", "= 3", "= 4"),
    "its decorator": ("kernel.py", "@triton.jit\n", "@triton.jit(noinline=True)\n"),
    "the launch": ("kernel.py", "kernel[problem.grid]", "kernel[problem.grid, 1]"),
    "a function that it calls": ("kernel.py", "min(x, LIMIT)", "max(x, LIMIT)"),
    "a constant of a function that it calls": ("kernel.py", "LIMIT, STEP = 4, 2", "LIMIT, STEP = 5, 2"),
    "a function beside": ("beside.py", "FACTOR * x", "FACTOR + x"),
    "a constant of a function beside": ("beside.py", "FACTOR = 2", "FACTOR = 3"),
    "a constant of a module beside": ("shapes.py", "SIZE = 64", "SIZE = 32"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_makes_the_binary_changes_the_hash(tmp_path: Path, before: str, change: str) -> None:
    file, old, new = CHANGED[change]
    assert 1 == FILES[file].count(old)
    assert before != hash_of(tmp_path / "after" / "scan", {**FILES, file: FILES[file].replace(old, new)})


def test_moving_a_function_to_a_file_beside_does_not_change_the_hash(tmp_path: Path, before: str) -> None:
    start, end = KERNEL.index("LIMIT, STEP"), KERNEL.index("@triton.jit")
    kernel = KERNEL[:start] + "from pkg.scan.helpers import helper\nUNUSED = 5\n" + KERNEL[end:]
    files = {**FILES, "kernel.py": kernel, "helpers.py": "import math\n" + KERNEL[start:end]}

    assert before == hash_of(tmp_path / "after" / "scan", files)
    files["helpers.py"] = files["helpers.py"].replace("LIMIT, STEP = 4", "LIMIT, STEP = 5")
    assert before != hash_of(tmp_path / "again" / "scan", files)


def test_definitions_under_if_and_try_count(tmp_path: Path) -> None:
    text = "try:\n    SIZE = 1\nexcept ImportError:\n    SIZE = 2\n\n\ndef kernel():\n    return SIZE\n"
    one = source_hash(written(tmp_path / "one", {"a.py": text}) / "a.py", ["kernel"])
    other = source_hash(written(tmp_path / "two", {"a.py": text.replace("= 1", "= 3")}) / "a.py", ["kernel"])
    assert one != other


def test_functions_that_call_each_other_are_hashed_once(tmp_path: Path) -> None:
    text = "def even(n):\n    return n == 0 or odd(n - 1)\n\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n"
    path = written(tmp_path / "scan", {"a.py": text}) / "a.py"
    assert source_hash(path, ["even"]) == source_hash(path, ["odd", "even"])


def test_a_name_that_the_file_does_not_define_is_a_key_error(tmp_path: Path) -> None:
    path = written(tmp_path / "scan", {"a.py": "def kernel():\n    return 1\n"}) / "a.py"
    with pytest.raises(KeyError, match="colonel"):
        source_hash(path, ["colonel"])


def chunk_scan_hashes(folder: Path) -> tuple[str, str]:
    return (source_hash(folder / "launches.py", ("_per_head",)), source_hash(folder / "launches.py", ("_grouped",)))


def test_the_chunk_scans_variants_are_told_apart_by_their_kernels() -> None:
    hashes = ChunkScan(ChunkScanProblem(seqlen=128)).source_hashes()
    assert ["tile", "split", "grouped"] == list(hashes)
    assert hashes["tile"] == hashes["split"] != hashes["grouped"]


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("per_head.py", "LOG2E = tl.constexpr(1.4426950408889634)", "LOG2E = tl.constexpr(1.0)", (True, False)),
        ("per_head.py", "other=-1)", "other=-2)", (True, False)),
        ("grouped.py", "LAST_UNITS = tl.constexpr(64)", "LAST_UNITS = tl.constexpr(32)", (False, True)),
        (
            "on_problem.py",
            "like_x = TensorMeta((p.batch, p.seqlen",
            "like_x = TensorMeta((p.seqlen, p.batch",
            (True, True),
        ),
        ("per_head.py", "i_h.to(tl.int64) * stride_head", "i_h * stride_head", (True, True)),
        ("launches.py", '"stride_cb_batch": cb[0]', '"stride_cb_batch": cb[1]', (True, True)),
        ("launches.py", '"HEADS": numbers.heads', '"HEADS": 1', (False, True)),
        ("reference.py", "def chunk_scan(", "def other():\n    pass\n\n\ndef chunk_scan(", (False, False)),
        ("spaces.py", "m128n256k64w8s3", "m128n256k64w4s3", (False, False)),
        ("subject.py", "INT32_MAX = 2**31 - 1", "INT32_MAX = 2**31", (False, False)),
    ],
)
def test_of_the_chunk_scan_what_makes_the_binary_counts(
    tmp_path: Path, file: str, old: str, new: str, changes: tuple[bool, bool]
) -> None:
    here = Path(ssdprof.kernels.ssd.__path__[0])
    moved = tmp_path / "elsewhere" / "ssd"
    shutil.copytree(here, moved)
    assert ChunkScan(ChunkScanProblem(seqlen=128)).source_hashes()["tile"] == chunk_scan_hashes(here)[0]
    assert chunk_scan_hashes(here) == chunk_scan_hashes(moved)

    changed = tmp_path / "changed" / "ssd"
    shutil.copytree(here, changed)
    text = (changed / file).read_text()
    assert old in text
    (changed / file).write_text(text.replace(old, new))

    before, after = chunk_scan_hashes(here), chunk_scan_hashes(changed)
    assert changes == (before[0] != after[0], before[1] != after[1])
