"""Kept grids and heuristics give what the program's own give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_programs import all_texts, program

from ssdprof.kernels.captured.model import Sources
from ssdprof.kernels.captured.source.load import load
from ssdprof.kernels.captured.source.texts import NotKept, sources_of

HEAD = """
import functools
import math
import sys
import types
import triton
import triton.language as tl
import torch

@triton.jit
def k(x, B: tl.constexpr):
    pass

"""
META = {"B": 16, "n": 100}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def kept(folder: Path, body: str, **others: str) -> Sources:
    """The sources of kernel `k` with the program's `grid`."""
    with program(folder, main=HEAD + body, **others) as main:
        return sources_of(main.k, main.grid)


def same(folder: Path, body: str, **others: str) -> Sources:
    """As `kept`, with the same grid for `META` as in the program."""
    with program(folder, main=HEAD + body, **others) as main:
        sources = sources_of(main.k, main.grid)
        expected = main.grid(META)
    grid = load(sources).grid
    assert grid is not None, sources.grid_absent
    assert expected == grid(META), all_texts(sources.modules)
    return sources


@pytest.mark.parametrize(
    "body",
    [
        "n = 1000\ngrid = lambda meta: (triton.cdiv(n, meta['B']), 1)\n",
        "def grid(meta, k=3):\n    return (k * meta['B'],)\n",
        "def made(n):\n    a, b = n, (lambda meta: (n,))\n    return lambda meta: b(meta) + (a,)\ngrid = made(5)\n",
        "def grid(meta):\n    return (math.ceil(meta['n'] / meta['B']), triton.next_power_of_2(meta['n']))\n",
        "def rows(n): return helper(n) + 1\ndef helper(n): return n // 2\ngrid = lambda m: (rows(m['n']),)\n",
        "x = torch.empty(4, 6)[:, ::2]\ngrid = lambda m: (x.shape[0], x.stride(1), x.numel() * x.element_size())\n",
        "x = torch.empty(4, 6).to(torch.float8_e5m2)\ngrid = lambda m: (x.T.size(0), x.dtype == torch.float8_e5m2)\n",
        "size, dtype = torch.Size([3, 4]), torch.bfloat16\ngrid = lambda m: (size[0], size.numel(), dtype.itemsize)\n",
        "@functools.lru_cache\ndef sms():\n    return 132\ngrid = lambda m: (min(sms(), m['n']),)\n",
        "def grid_of(n, meta): return (n, meta['B'])\ngrid = functools.partial(grid_of, 7)\n",
        "INF, D = float('inf'), {'a': [1, 2], 'b': {3}}\ngrid = lambda m: (m['n'] < INF, D['a'][1], max(D['b']))\n",
        "def o(f):\n    @functools.wraps(f)\n    def i(m): return f(m) + (9,)\n    return i\ngrid = o(lambda m: ())\n",
        "q = 3\ngrid = lambda m: (sum(i * q for i in range(m['B'])), [j for j in (1, 2)][0])\n",
    ],
)
def test_a_grid_gives_the_same_numbers(tmp_path: Path, body: str) -> None:
    same(tmp_path, body)


def test_each_grid_of_a_loop_has_the_values_that_it_closed_over_and_its_defaults(tmp_path: Path) -> None:
    body = """
grids = []
for i in range(3):
    def made(q):
        return lambda meta, i=i, *, j=(i,
            2 * i): (i, j[1], meta["B"] * q)
    grids.append(made(i + 5))
    grids.append(lambda meta, i=i: (i,))
"""
    with program(tmp_path, main=HEAD + body) as main:
        pairs = [(sources_of(main.k, grid), grid(META)) for grid in main.grids]
    assert [want for _, want in pairs] == [_grid(sources)(META) for sources, _ in pairs]


def test_lambdas_of_one_line_are_told_apart(tmp_path: Path) -> None:
    body = """
a, b = 2, 3
grids = [lambda m: (a,), lambda m: (b,), lambda m: (a, 1), lambda m: (a, 2), (lambda m: (
    b,  # the last
    m["B"],
))]
"""
    with program(tmp_path, main=HEAD + body) as main:
        pairs = [(sources_of(main.k, grid), grid(META)) for grid in main.grids]
    assert [want for _, want in pairs] == [_grid(sources)(META) for sources, _ in pairs]


def _grid(sources: Sources) -> Callable[[Any], Any]:
    grid = load(sources).grid
    assert grid is not None, sources.grid_absent
    return grid


def test_of_an_object_only_the_attributes_that_are_read_are_kept(tmp_path: Path) -> None:
    body = """
class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.config = types.SimpleNamespace(heads=7, secret=object())
        self.weight = torch.nn.Parameter(torch.empty(5, 6))
        self.secret = "do not keep this"

    def grid(self):
        return lambda meta: (self.config.heads, self.weight.shape[1], meta["B"])

grid = Layer().grid()
"""
    assert "do not keep this" not in all_texts(same(tmp_path, body).modules)


def test_helpers_of_another_module_are_kept(tmp_path: Path) -> None:
    other = "N = 7\n\ndef rows(meta: 'Unknown') -> int:\n    return meta['B'] + N\n"
    same(tmp_path, "import other\ngrid = lambda meta: (other.rows(meta), other.N)\n", other=other)


def test_annotations_that_cannot_be_kept_are_no_hindrance(tmp_path: Path) -> None:
    same(tmp_path, "class Meta: pass\ndef grid(meta: Meta) -> Meta:\n    return (meta['B'],)\n")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("class C:\n    def n(self): return 1\nc = C()\ngrid = lambda m: (c.n(),)\n", "calls n of a main.C"),
        ("class C:\n    def grid(self, m): return (1,)\ngrid = C().grid\n", "not a Python function"),
        ("import io\nf = io.StringIO()\ngrid = lambda m: (len(list(f)),)\n", "f: it uses a _io.StringIO"),
        ("grid = eval('lambda m: (1,)')\n", "has no source file"),
        ("class C:\n    pass\ngrid = lambda m: (C(),)\n", "of classes, only enumerations and named tuples are kept"),
    ],
)
def test_a_grid_that_cannot_be_kept_says_why_and_the_kernel_is_kept(tmp_path: Path, body: str, why: str) -> None:
    sources = kept(tmp_path, body)
    assert sources.grid is None
    assert why in sources.grid_absent
    assert "\n" not in sources.grid_absent
    assert load(sources).grid is None


def test_a_grid_of_numbers_is_none_and_nothing_is_absent(tmp_path: Path) -> None:
    sources = kept(tmp_path, "grid = (1, 2)\n")
    assert (None, "") == (sources.grid, sources.grid_absent)


def test_heuristics_keep_their_order_and_what_they_compute(tmp_path: Path) -> None:
    body = """
LIMIT = 64

def wide(args):
    return args["n"] > LIMIT

k = triton.heuristics({"EVEN": lambda args: args["n"] % args["B"] == 0, "WIDE": wide, "P": lambda args: LIMIT})(k)
"""
    with program(tmp_path, main=HEAD + body) as main:
        sources = sources_of(main.k.fn, (1,), tuple(main.k.values.items()))
    assert [("EVEN", False), ("WIDE", True), ("P", 64)] == [(name, f(META)) for name, f in load(sources).heuristics]


def test_heuristics_that_cannot_be_kept_refuse_the_kernel(tmp_path: Path) -> None:
    body = "import io\nf = io.StringIO()\nh = lambda args: f.read()\n"
    with program(tmp_path, main=HEAD + body) as main, pytest.raises(NotKept, match=r"in lambda .*main.py"):
        sources_of(main.k, (1,), [("H", main.h)])


def test_a_grid_whose_file_has_changed_since_is_not_kept(tmp_path: Path) -> None:
    import linecache

    with program(tmp_path, main=HEAD + "grid = lambda m: (1,)\n") as main:
        (tmp_path / "main.py").write_text(HEAD + "grid = lambda m: (2,)\n")
        linecache.checkcache()
        linecache.clearcache()
        sources = sources_of(main.k, main.grid)
    assert "is not what" in sources.grid_absent
