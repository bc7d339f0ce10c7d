"""Where a kernel came from, and whether it is still there."""

from pathlib import Path

import pytest
from fake_programs import program

from ssdprof.kernels.captured.source.texts import changed_since, origin_of, text_hash

BODY = """
import triton
import triton.language as tl


def made():
    @triton.jit
    def k(x, B: tl.constexpr):
        # stores
        tl.store(x, B)

    return k


k = made()
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        ("# stores", '"""Stores."""', ""),
        ("    @triton.jit\n", "    @triton.jit(debug=False)\n\n", ""),
        ("import triton\n", "\n\nimport triton\nx = 1\n", ""),
        ("tl.store(x, B)", "tl.store(x, B + 1)", "changed"),
        ("def k(x", "def other(x", "gone"),
        ("def made", "def made2", "gone"),
        ("return k", "return k +", "gone"),
    ],
)
def test_what_became_of_a_kernel_in_its_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    with program(tmp_path, main=BODY) as main:
        origin = origin_of(main.k)
    (tmp_path / "main.py").write_text(BODY.replace(old, new) if old else BODY)
    assert said == changed_since(origin)


def test_a_file_that_is_not_there_any_more_is_gone(tmp_path: Path) -> None:
    with program(tmp_path, main=BODY) as main:
        origin = origin_of(main.k)
    (tmp_path / "main.py").unlink()
    assert "gone" == changed_since(origin)


def test_the_origin_names_function_module_file_and_line(tmp_path: Path) -> None:
    with program(tmp_path, main=BODY) as main:
        origin = origin_of(main.k)
    found = (origin.qualname, origin.module, origin.file, origin.line)
    assert ("made.<locals>.k", "main", str(tmp_path / "main.py"), 6) == found


def test_comments_docstrings_blank_lines_and_indentation_do_not_count() -> None:
    plain = "def k(x):\n    y = x\n    return y\n"
    other = '    def k(x):\n        """Doc.\n\n        """\n\n    # why\n        y = x\n        return y  \n'
    assert text_hash(plain) == text_hash(other)
    assert text_hash(plain) != text_hash(plain.replace("y", "z"))
