"""Kept kernels compile to the same binary as the program's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_programs import all_texts, binary, program

from ssdprof.kernels.captured.model import Sources
from ssdprof.kernels.captured.source.load import load, source_file
from ssdprof.kernels.captured.source.texts import NotKept, sources_hash, sources_of
from ssdprof.kernels.loading import load_module

HEAD = """
import triton
import triton.language as tl
"""
F32 = torch.float32


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def kept(folder: Path, args: Sequence[Any], *, main: str, **others: str) -> Sources:
    """The kernel `k` of a program, which gives the same binary by all ways, when it is loaded without the program."""
    files = {name: HEAD + text for name, text in {"main": main, **others}.items()}
    with program(folder, **files) as module:
        sources = sources_of(module.k, (1,))
        own = binary(module.k, *args, B=64)
    loaded = load(sources).kernel
    assert own == binary(loaded, *args, B=64), all_texts(sources.modules)
    alone = getattr(load_module(*source_file(sources)), sources.kernel.name)
    assert own == binary(alone, *args, B=64)
    return sources


def test_the_kernels_own_module_comes_first_and_holds_only_what_it_uses(tmp_path: Path) -> None:
    main = """
UNUSED = object()

@triton.jit
def unused(x):
    return x

@triton.jit
def k(x, y, n, B: tl.constexpr):
    offs = tl.arange(0, B)
    tl.store(y + offs, tl.load(x + offs, mask=offs < n), mask=offs < n)
"""
    sources = kept(tmp_path, [F32, F32, 100], main=main)
    assert ["m0"] == list(sources.modules)
    assert "nused" not in sources.modules["m0"].lower()


def test_helpers_of_another_module_and_the_same_name_for_other_values(tmp_path: Path) -> None:
    main = """
import other
from other import scaled as times, put
SCALE = tl.constexpr(5)

@triton.jit
def k(x, y, n, B: tl.constexpr):
    offs = tl.arange(0, B)
    v = times(tl.load(x + offs)) * SCALE + other.shifted(tl.load(x + offs)) + other.OFFSET
    put(y + n, tl.sum(v, 0))
    tl.store(y + offs, v)
"""
    other = """
SCALE = tl.constexpr(3)
OFFSET = tl.constexpr(-2.5)

@triton.jit
def scaled(v):
    return v * SCALE

@triton.jit
def shifted(v):
    return scaled(v) + OFFSET

@triton.jit(noinline=True)
def put(p, v):
    tl.store(p, v)
"""
    sources = kept(tmp_path, [F32, F32, 100], main=main, other=other)
    assert ["m0", "m1"] == list(sources.modules)


def test_modules_that_need_each_other(tmp_path: Path) -> None:
    main = """
import other
BASE = tl.constexpr(2)

@triton.jit
def inner(v):
    return v + BASE

@triton.jit
def k(x, y, n, B: tl.constexpr):
    offs = tl.arange(0, B)
    tl.store(y + offs, other.outer(tl.load(x + offs)))
"""
    other = """
import main

@triton.jit
def outer(v):
    return main.inner(v) * main.BASE
"""
    kept(tmp_path, [F32, F32, 100], main=main, other=other)


def test_closures_constants_of_each_kind_and_functions_as_constants(tmp_path: Path) -> None:
    main = """
import enum
from collections import namedtuple
from triton.language.extra import libdevice
from triton.language.extra.libdevice import tanh as th

class Mode(enum.IntEnum):
    A = 1
    B = 2

class Kind(str, enum.Enum):
    X = "x"

MODE, KIND = tl.constexpr(Mode.B), tl.constexpr(Kind.X)
INF = tl.constexpr(float("-inf"))
DTYPE, FLAGS = tl.float16, tl.constexpr((1, (1, 2)))

@triton.constexpr_function
def half(n):
    return n // MODE_OF[n]

MODE_OF = {64: 2}

@triton.jit
def relu(v):
    return tl.maximum(v, 0.0)

def made(extra, act):
    WIDTH = tl.constexpr(extra)

    @triton.jit(do_not_specialize=["n"], do_not_specialize_on_alignment=["y"])
    def kernel(x, y, n, B: tl.constexpr, M: tl.constexpr = MODE, A: tl.constexpr = relu):
        offs = tl.arange(0, B)
        v: tl.tensor = tl.load(x + offs, mask=offs < n, other=INF)
        v = act(v) + A(v) * WIDTH + libdevice.exp(v) + th(v)
        if M == 2 and KIND == "x":
            v = v.to(DTYPE).to(tl.float32)
        if FLAGS[1][0]:
            v += half(B)
        if B is None:
            v = undefined(v)
        tl.store(y + offs, v)

    return kernel

k = made(11, relu)
"""
    sources = kept(tmp_path, [F32, F32, 16], main=main)
    assert "do_not_specialize=['n'], do_not_specialize_on_alignment=['y']" in sources.modules["m0"]


def test_annotations_that_are_texts_and_those_of_triton(tmp_path: Path) -> None:
    main = """
@triton.jit
def k(x: tl.tensor, y, n: int, B: "tl.constexpr"):
    offs = tl.arange(0, B)
    tl.store(y + offs, tl.load(x + offs) + n)
"""
    kept(tmp_path, [F32, F32, 100], main=main)


def test_postponed_annotations(tmp_path: Path) -> None:
    text = """
from __future__ import annotations
import triton
import triton.language as tl

@triton.jit
def k(x, y, n: tl.int32, B: tl.constexpr):
    part: tl.constexpr = B // 2
    offs = tl.arange(0, part)
    tl.store(y + offs, tl.load(x + offs) + n)
"""
    with program(tmp_path, main=text) as module:
        sources = sources_of(module.k, (1,))
        own = binary(module.k, F32, F32, 100, B=64)
    assert own == binary(load(sources).kernel, F32, F32, 100, B=64)


def test_two_kernels_of_one_name_and_a_function_of_a_class(tmp_path: Path) -> None:
    main = """
class Ops:
    @staticmethod
    @triton.jit
    def f(v):
        return v + 1

def other():
    @triton.jit
    def f(v):
        return v * 2
    return f

g, h = other(), Ops.f

@triton.jit
def k(x, y, n, B: tl.constexpr):
    offs = tl.arange(0, B)
    tl.store(y + offs, g(h(tl.load(x + offs))))
"""
    kept(tmp_path, [F32, F32, 100], main=main)


def test_the_hash_is_of_what_makes_the_binary(tmp_path: Path) -> None:
    body = """
import other

@triton.jit
def k(x, B: tl.constexpr):
    {doc}
    tl.store(x, other.f(tl.load(x)))

grid = lambda meta: ({grid},)
"""
    helper = "W = tl.constexpr({w})\n\n@triton.jit\ndef f(v):\n    return v * W\n"

    def hashed(folder: str, doc: str = "", grid: int = 1, w: int = 2) -> str:
        (tmp_path / folder).mkdir()
        files = {"main": HEAD + body.format(doc=doc, grid=grid), "other": HEAD + helper.format(w=w)}
        with program(tmp_path / folder, **files) as module:
            return sources_hash(sources_of(module.k, module.grid))

    first = hashed("a")
    assert first == hashed("b", doc='"""Says something."""', grid=2)
    assert first != hashed("c", w=3)


@pytest.mark.parametrize(
    ("main", "why"),
    [
        ("from triton.experimental import gluon\n\n@gluon.jit\ndef k(x):\n    pass\n", "k is a Gluon kernel"),
        (
            "S = tl.constexpr(object())\n\n@triton.jit\ndef k(x):\n    tl.static_print(S)\n",
            r"in k \(.*main.py:\d+\), S: it uses a object",
        ),
    ],
)
def test_a_kernel_that_cannot_be_kept_is_refused_with_the_reason(tmp_path: Path, main: str, why: str) -> None:
    with program(tmp_path, main=HEAD + main) as module, pytest.raises(NotKept, match=why):
        sources_of(module.k, (1,))


def test_a_kernel_of_an_installed_package_is_kept_as_text() -> None:
    import triton.language as tl

    sources = sources_of(tl.sigmoid, (1,))
    assert "def sigmoid(" in sources.modules["m0"]
    assert load(sources).kernel is not tl.sigmoid
