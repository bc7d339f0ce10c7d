"""What a wheel holds: every package, module and data file, under the names they are imported by."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[3]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
NO_PACKAGES = {"tests", "build", "dist", "docs"}


def package_of(folder: Path) -> str:
    """The import name of a folder: the nearest mapped folder above gives the first part."""
    relative = folder.relative_to(ROOT)
    for above in (relative, *relative.parents):
        for package, mapped in FOLDERS.items():
            if Path(mapped) == above:
                return ".".join([package, *relative.relative_to(above).parts])
    return f"unmapped: {relative}"


def folders_with_init() -> list[Path]:
    found = [path.parent for path in ROOT.glob("[!.]*/**/__init__.py")]
    return [folder for folder in found if folder.relative_to(ROOT).parts[0] not in NO_PACKAGES]


def can_build() -> bool:
    if importlib.util.find_spec("build") is None or importlib.util.find_spec("setuptools") is None:
        return False
    return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77


def test_the_packages_are_the_folders_with_an_init() -> None:
    assert sorted(map(package_of, folders_with_init())) == sorted(SETUPTOOLS["packages"])
    assert sorted(FOLDERS) == sorted(SETUPTOOLS["packages"])


def test_the_top_package_is_the_one_inside_cli() -> None:
    assert "cli/_package" == FOLDERS["ssdprof"]
    assert (ROOT / "cli" / "_package" / "__main__.py").is_file()
    assert {"ssdprof": "ssdprof.__main__:main"} == PYPROJECT["project"]["scripts"]


def data_files(folder: Path) -> set[Path]:
    """The files of a package that are no modules, those in folders below it that are no packages too."""
    found = set()
    for path in folder.iterdir():
        if path.is_dir() and not (path / "__init__.py").exists() and path.name != "__pycache__":
            found |= data_files(path)
        elif path.is_file() and path.suffix not in (".py", ".pyc"):
            found.add(path)
    return found


def test_every_data_file_of_a_package_is_declared() -> None:
    found = {}
    for folder in folders_with_init():
        patterns = SETUPTOOLS["package-data"].get(package_of(folder), [])
        declared = {path for pattern in patterns for path in folder.glob(pattern)}
        found[package_of(folder)] = data_files(folder)
        assert data_files(folder) == declared, folder
    assert {"limits.json", "gpus.json", "ceilings.json"} == {path.name for path in found["ssdprof.profiling.hardware"]}
    assert {"h100_2048.jsonl", "h100_50000.jsonl"} == {path.name for path in found["ssdprof.kernels.ssd"]}
    assert all(found[name] for name in SETUPTOOLS["package-data"])


def test_no_package_has_a_module_or_sub_package_of_the_name_of_a_function_that_it_gives() -> None:
    given = {name: set(getattr(importlib.import_module(name), "__all__", ())) for name in SETUPTOOLS["packages"]}
    children = {
        name: {found.name for found in pkgutil.iter_modules([str(ROOT / FOLDERS[name])])}
        | {other.rpartition(".")[2] for other in given if other.rpartition(".")[0] == name}
        for name in given
    }

    assert {"cli", "kernels", "profiling", "reports"} <= children["ssdprof"]
    assert {"foreign", "ssd", "registry"} <= children["ssdprof.kernels"]
    assert {"sweep", "explain", "occupancy", "subject"} <= given["ssdprof"]
    assert {"chunk_scan"} == given["ssdprof.kernels"]
    assert {} == {name: clash for name in given if (clash := children[name] & given[name])}


@pytest.mark.skipif(not can_build(), reason="needs build and setuptools 77")
def test_a_wheel_holds_every_module_and_data_file(tmp_path: Path) -> None:
    source, dist = tmp_path / "source", tmp_path / "dist"
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "README.md").write_text("The text does not matter here.\n")
    for top in {Path(mapped).parts[0] for mapped in FOLDERS.values()}:
        shutil.copytree(ROOT / top, source / top, ignore=shutil.ignore_patterns("__pycache__"))

    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    built = subprocess.run(build, capture_output=True, text=True, cwd=tmp_path)

    assert 0 == built.returncode, built.stdout + built.stderr
    (wheel,) = dist.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        "/".join([*package_of(folder).split("."), *path.relative_to(folder).parts])
        for folder in folders_with_init()
        for path in (*folder.glob("*.py"), *data_files(folder))
    }
    assert wanted == held
    assert {
        "ssdprof/py.typed",
        "ssdprof/__main__.py",
        "ssdprof/profiling/hardware/gpus.json",
        "ssdprof/profiling/hardware/limits.json",
        "ssdprof/profiling/diagnosis/statement.py",
        "ssdprof/kernels/foreign/subject.py",
        "ssdprof/kernels/ssd/recorded/h100_50000.jsonl",
    } <= held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
