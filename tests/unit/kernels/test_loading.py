"""A file is loaded alone: with its neighbours, with stand-ins for the rest, and without a trace."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from ssdprof.kernels import stand_ins
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.loading import cuda_untouched, load_module

INSIDE = "engine.ops.scan"


def load(folder: Path, text: str, **others: str) -> ModuleType:
    """The file engine/ops/scan.py of a checkout, whose packages must not run, with files beside it or at a path."""
    for name, content in {"ops/scan": text, **others}.items():
        file = folder / "engine" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").write_text("raise AssertionError('the package is not to run')", encoding="utf-8")
        file.write_text(content, encoding="utf-8")
    return load_module(INSIDE, str(folder / "engine/ops/scan.py"))


def load_lone(folder: Path, text: str, name: str = INSIDE) -> ModuleType:
    (folder / "copy.py").write_text(text, encoding="utf-8")
    return load_module(name, str(folder / "copy.py"))


def test_a_module_by_its_name_is_the_imported_one() -> None:
    assert load_module("ssdprof.kernels.loading") is sys.modules["ssdprof.kernels.loading"]


def test_neighbours_are_loaded_and_packages_are_stood_in_for(tmp_path: Path) -> None:
    text = """
from engine.triton_utils import HAS_TRITON, tl, triton
from engine.platforms import current_platform
from .beside import ANSWER
from engine.ops import beside
import engine.deep as deep
import engine.ops.beside as again
LANGUAGE = tl.__name__
"""
    others = {"ops/beside": "from engine.far import UNUSED\nANSWER = 42", "deep": "DEEP = 43", "far": "1 / 0"}
    before, finders = set(sys.modules), list(sys.meta_path)
    module = load(tmp_path, text, **others)
    assert (42, 42, 43) == (module.ANSWER, module.again.ANSWER, module.deep.DEEP)
    assert module.HAS_TRITON
    assert "triton.language" == module.LANGUAGE
    assert not {name for name in set(sys.modules) - before if name.startswith("engine")}
    assert finders == sys.meta_path
    assert module is load_module(INSIDE, str(module.__file__))


def test_an_engine_that_is_imported_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("engine.ops")
    monkeypatch.setitem(sys.modules, "engine", ModuleType("engine"))
    monkeypatch.setitem(sys.modules, "engine.ops", real)
    assert load(tmp_path, "import engine.ops").engine is not sys.modules["engine"]
    assert real is sys.modules["engine.ops"]


def test_a_file_that_has_changed_is_loaded_anew(tmp_path: Path) -> None:
    first = load_lone(tmp_path, "ANSWER = 42")
    file = Path(str(first.__file__))
    file.write_text("ANSWER = 43", encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert (42, 43) == (first.ANSWER, load_module(INSIDE, str(file)).ANSWER)


def test_a_neighbour_that_cannot_run_is_stood_in_for(tmp_path: Path) -> None:
    module = load(tmp_path, "from .broken import tuned\nLIST = tuned([1, 2])", **{"ops/broken": "1 / 0"})
    assert [1, 2] == module.LIST


def test_what_the_file_tries_to_import_is_missing_as_it_would_be(tmp_path: Path) -> None:
    text = """
try:
    import nowhere_to_be_found
except ImportError:
    nowhere_to_be_found = None
try:
    from engine.extension import fast
except ImportError:
    fast = None
"""
    module = load(tmp_path, text)
    assert (None, None) == (module.nowhere_to_be_found, module.fast)


def test_while_the_file_is_loaded_stand_ins_do_as_decorators_and_factories_do(tmp_path: Path) -> None:
    text = """
from nowhere import Base, cached, chosen, options, pruned, register, settings
from nowhere.deep.er import thing as other

class Derived(Base):
    pass

@cached
def one() -> other | None:
    return 1

@register("two", at=3)
def two(x: "list" = settings.X[3]):
    return 2

LIST = chosen([1, 2])
PRUNE = pruned({"M": ("m",)}) or None
OPTIONS = dict(**options) | {name: 1 for name in settings.names}
OLD = settings.version < (3, 0)
"""
    module = load_lone(tmp_path, text)
    assert (1, 2) == (module.one(), module.two())
    assert ([1, 2], None, {}, False) == (module.LIST, module.PRUNE, module.OPTIONS, module.OLD)


def test_afterwards_a_stand_in_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    module = load(
        tmp_path, "from engine.utils import info\nfrom .sub import run\nfrom engine.platforms import current_platform"
    )
    there = "which is not there when the file is loaded alone: name its checkout's root, or put the module beside it"
    for use, said in (
        (lambda: module.info.cores, "uses cores of engine.utils.info"),
        (lambda: module.run(), "calls sub.run"),
        (lambda: module.current_platform.is_rocm(), "uses is_rocm of engine.platforms.current_platform"),
    ):
        with pytest.raises(UsageError, match=re.escape(f"{module.__file__} {said}, {there}")):
            use()


def test_a_lone_copy_finds_what_lies_beside_it_or_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from engine.ops.helpers import A\nfrom .near import B\nfrom .installed_only import C\nfrom ..up.er import D"
    (tmp_path / "helpers.py").write_text("A = 1", encoding="utf-8")
    (tmp_path / "near.py").write_text("B = 2", encoding="utf-8")
    load(tmp_path / "site", "", **{"ops/installed_only": "C = 3"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    module = load_lone(tmp_path, text)
    assert (1, 2, 3) == (module.A, module.B, module.C)
    assert isinstance(module.D, stand_ins.StandIn)


def test_an_error_of_the_file_itself_is_raised_and_leaves_no_trace(tmp_path: Path) -> None:
    before, finders = dict(sys.modules), list(sys.meta_path)
    with pytest.raises(ZeroDivisionError):
        load_lone(tmp_path, "1 / 0")
    assert finders == sys.meta_path
    assert INSIDE not in sys.modules
    assert before.keys() <= sys.modules.keys()


def test_a_module_that_an_installed_package_lacks_leaves_no_trace_in_it(tmp_path: Path) -> None:
    assert load_lone(tmp_path, "from numpy.nowhere import thing\nimport numpy.fft").numpy
    import numpy

    assert not hasattr(numpy, "nowhere")
    assert "numpy.nowhere" not in sys.modules


def test_packaging_is_not_needed(tmp_path: Path) -> None:
    version = stand_ins.stand_in("packaging.version", stand_ins.Loading(tmp_path, "engine"))
    parse = stand_ins.stand_in("packaging.version.parse", stand_ins.Loading(tmp_path, "engine"))
    assert version.parse("3.10.0+git1") >= parse("3.4.0") > version.Version("2.2")


@pytest.mark.parametrize("capability", [(9, 0), (10, 0)])
def test_a_file_that_asks_for_the_gpu_is_told_which_it_is(
    capability: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 10 * capability[0] + capability[1]
    monkeypatch.setattr(stand_ins, "gpu_capability", lambda: number)
    text = """
from vllm.platforms import current_platform
IS = current_platform.is_cuda() and current_platform.is_device_capability(90)
HAS = current_platform.has_device_capability((10, 0))
NUMBER = current_platform.get_device_capability().to_int()
"""
    module = load_lone(tmp_path, text)
    assert (number == 90, number == 100, number) == (module.IS, module.HAS, module.NUMBER)


@pytest.mark.parametrize(("visible", "expected"), [(None, 80), ("1", 120), ("GPU-1,GPU-0", 120), ("", 90)])
def test_the_gpu_is_the_first_visible_one(visible: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities: dict[object, tuple[int, int]] = {0: (8, 0), 1: (12, 0), "GPU-1": (12, 0)}
    nvml = SimpleNamespace(nvmlInit=lambda: None, nvmlShutdown=lambda: None, NVMLError=KeyError)
    nvml.nvmlDeviceGetHandleByIndex = nvml.nvmlDeviceGetHandleByUUID = lambda which: which
    nvml.nvmlDeviceGetCudaComputeCapability = lambda which: capabilities[which]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    stand_ins.gpu_capability.cache_clear()
    assert expected == stand_ins.gpu_capability()
    stand_ins.gpu_capability.cache_clear()


def test_without_nvml_an_h100_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    stand_ins.gpu_capability.cache_clear()
    assert 90 == stand_ins.gpu_capability()


def test_torch_cuda_answers_without_a_gpu_and_is_put_back() -> None:
    before = torch.cuda.device
    with cuda_untouched(), torch.cuda.device(None):
        assert torch.cuda.is_available()
        assert (9, 0) == torch.cuda.get_device_capability()
        assert 0 == torch.cuda.current_device()
    assert before is torch.cuda.device
    assert not torch.cuda.is_initialized()
