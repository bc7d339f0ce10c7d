"""Kept texts are loaded once, from files that appear whole, and refused clearly if they do not run."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from ssdprof.kernels.captured.model import Ref, Sources
from ssdprof.kernels.captured.source import load as loading
from ssdprof.kernels.captured.source.load import LoadError, load, source_file

KERNEL = """
import triton
import triton.language as tl
{more}

@triton.jit
def k(x):
    tl.store(x, {value})


def grid(meta):
    return ({value},)
"""


def sources(value: int = 1, more: str = "") -> Sources:
    modules = {"m0": KERNEL.format(value=value, more=more)}
    return Sources(modules, Ref("m0", "k"), Ref("m0", "grid"), heuristics=(("H", Ref("m0", "grid")),))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_same_texts_are_loaded_once() -> None:
    first, second = load(sources(101)), load(sources(101))
    assert first.kernel is second.kernel
    assert (101,) == first.grid({}) if first.grid else None
    assert [("H", (101,))] == [(name, function({})) for name, function in first.heuristics]


def test_other_texts_do_not_mix() -> None:
    assert load(sources(102)).kernel is not load(sources(103)).kernel
    assert source_file(sources(102))[0] != source_file(sources(103))[0]


def test_naming_the_file_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    module, file = source_file(sources(104, f"open({str(marker)!r}, 'w')"))
    assert Path(file).read_text() == KERNEL.format(value=104, more=f"open({str(marker)!r}, 'w')")
    assert Path(file).parts[-2:] == (module.removesuffix(".m0"), "m0.py")
    assert not marker.exists()


def test_a_file_that_was_damaged_is_written_anew(cache: Path) -> None:
    _, file = source_file(sources(105))
    assert Path(file).is_relative_to(cache / "ssdprof" / "captured")
    Path(file).write_text("raise SystemExit")
    loading._folder.cache_clear()  # as in a process that begins
    assert source_file(sources(105))[1] == file
    assert Path(file).read_text() == KERNEL.format(value=105, more="")
    assert ["m0.py"] == [one.name for one in Path(file).parent.iterdir()]


def test_a_cache_that_cannot_be_written_is_no_hindrance(cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    _, file = source_file(sources(106))
    assert not Path(file).is_relative_to(cache)
    assert load(sources(106)).kernel is not None


def test_several_processes_at_once_load_the_same(tmp_path: Path) -> None:
    script = tmp_path / "loading.py"
    script.write_text(
        "from ssdprof.kernels.captured.source.load import load\n"
        "from ssdprof.kernels.captured.model import Ref, Sources\n"
        f"text = {KERNEL.format(value=107, more='')!r}\n"
        "print(load(Sources({'m0': text}, Ref('m0', 'k'))).kernel.src.count('107'))\n"
    )
    command = [sys.executable, str(script)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True) for _ in range(3)]
    assert ["1\n"] * 3 == [one.communicate()[0] for one in running]


def test_texts_that_need_what_is_not_installed_are_refused() -> None:
    with pytest.raises(LoadError, match=r"the kept text of k does not run here: ModuleNotFoundError.*no_such_thing"):
        load(sources(108, "import no_such_thing"))


@pytest.mark.parametrize("name", ["../m0", "m0/x", "", "1", "m0\n", "a" * 200])
def test_a_module_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(LoadError, match="is no name of a module"):
        source_file(Sources({name: ""}, Ref(name, "k")))


def test_a_reference_to_a_module_that_is_missing_is_refused() -> None:
    with pytest.raises(LoadError, match="the module 'm7' is missing"):
        load(Sources({"m0": ""}, Ref("m7", "k")))


def test_the_folder_is_in_the_users_cache() -> None:
    _, file = source_file(sources(109))
    assert Path(file).is_relative_to(platformdirs.user_cache_dir("ssdprof", appauthor=False))
