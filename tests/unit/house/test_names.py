"""The engine and the reports name no kernel, no parameter of one and no variant, not even in comments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("profiling", "reports")
IN_ANY_CASE = ("block_m", "block_n", "block_k", "block_dstate", "block_size_")
AS_WRITTEN = ("dstate", "headdim", "chunk_scan", "da_cumsum", "grouped")
VARIANTS = ("tile", "split", "grouped")


def files() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


def names_in(text: str) -> list[str]:
    """The forbidden names in a text."""
    lower = text.lower()
    return [*(name for name in IN_ANY_CASE if name in lower), *(name for name in AS_WRITTEN if name in text)]


def variants_in(source: str) -> Iterator[str]:
    """The string literals of a module that equal the name of a variant."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in VARIANTS:
            yield node.value


def test_no_file_of_the_engine_or_of_the_reports_names_a_kernel_or_a_parameter() -> None:
    found = {str(path.relative_to(ROOT)): names_in(path.read_text(encoding="utf-8")) for path in files()}
    assert len(found) > 50
    assert {} == {path: names for path, names in found.items() if names}


def test_no_string_in_them_equals_the_name_of_a_variant() -> None:
    modules = [path for path in files() if path.suffix == ".py"]
    found = {str(path.relative_to(ROOT)): list(variants_in(path.read_text(encoding="utf-8"))) for path in modules}
    assert {} == {path: names for path, names in found.items() if names}


@pytest.mark.parametrize("text", ["# the Block_M of it", "BLOCK_SIZE_DSTATE", "problem['headdim']", "ungrouped"])
def test_a_forbidden_name_would_be_found(text: str) -> None:
    assert names_in(text)


def test_a_variants_name_would_be_found_and_a_word_in_a_sentence_is_none() -> None:
    assert ["tile", "split"] == list(variants_in("x = {'tile': 1}\nf(split='split')\n'a larger tile'  # 'grouped'"))
