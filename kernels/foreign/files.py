"""Finds an engine's chunk scan, by the engine's name or by a path. Imports neither the engine nor torch."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import NamedTuple

from ssdprof.kernels.config import shown
from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.loading import package_folders

ENTRY, KERNEL = "_chunk_scan_fwd", "_chunk_scan_fwd_kernel"
"""The Python function that launches a chunk scan, and the kernel; every engine has kept mamba-ssm's names."""
PLACES: Mapping[str, tuple[str, ...]] = {
    "mamba_ssm": ("mamba_ssm/ops/triton/ssd_chunk_scan.py",),
    "vllm": ("vllm/model_executor/layers/mamba/ops/ssd_chunk_scan.py",),
    "sglang": (
        "sglang/kernels/ops/mamba/triton_ops/ssd_chunk_scan.py",
        "sglang/srt/layers/attention/mamba/ops/ssd_chunk_scan.py",
    ),
    "tensorrt_llm": ("tensorrt_llm/_torch/modules/mamba/ssd_chunk_scan.py",),
}
"""Where each engine has its file, newest first."""
_LONE = "ssdprof_lone.file.loaded.alone"
"""The package of a file that is in none: deep enough for its relative imports."""


class Found(NamedTuple):
    """A file with a chunk scan, its module's name, and the name of its owner: an engine, or the file itself."""

    file: str
    module: str
    owner: str


def find(kernel: str) -> Found:
    """The chunk scan of an engine that is installed, or at a path: a file, or a folder such as a checkout's root.

    Raises UsageError for an unknown name, an engine that is not installed, and a path without a chunk scan.
    """
    engine, path = kernel.replace("-", "_").lower(), Path(os.path.abspath(Path(kernel).expanduser()))
    if engine in PLACES:
        if folders := package_folders(engine):
            return _found(_in_folders(folders, engine, f"{engine} as installed in {folders[0].parent}"), engine)
        if not path.exists():
            raise UsageError(
                f"{engine} is not installed here: install it, or point at it by --kernel PATH, the root of a checkout "
                "or the file that holds its chunk scan"
            )
    if path.is_dir():
        return _found(_in_folders([path], None, str(path)))
    if not path.is_file():
        near = get_close_matches(engine, PLACES, n=1)
        guess = f", did you mean {near[0]}? One" if near else ": one"
        raise UsageError(
            f"unknown kernel {shown(kernel)}{guess} of chunk-scan, {', '.join(PLACES)}, or the path of a file that "
            "holds a chunk scan or of a checkout's root, and there is no such path"
        )
    if not holds_chunk_scan(path, strict=True):
        raise UsageError(f"{path} holds no chunk scan: it must define {ENTRY} and {KERNEL}")
    return _found(path)


def holds_chunk_scan(file: Path, *, strict: bool = False) -> bool:
    """Whether a file defines entry and kernel of a chunk scan. Raises UsageError if `strict` and it is not Python."""
    try:
        nodes = list(_statements(file)) if KERNEL in file.read_text(encoding="utf-8") else []
        targets = [one for node in nodes if isinstance(node, ast.Assign) for one in node.targets]
        names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        return {ENTRY, KERNEL} <= names | {one.id for one in targets if isinstance(one, ast.Name)}
    except (OSError, ValueError, SyntaxError) as error:  # ValueError: not UTF-8, or null bytes
        if not strict:
            return False
        raise UsageError(f"{file} cannot be read as Python source ({type(error).__name__}): name a .py file") from None


def _in_folders(folders: list[Path], engine: str | None, where: str) -> Path:
    """The file at a known place, else the only one that holds a chunk scan. Raises UsageError."""
    bases = [(base, folder) for folder in folders for base in (folder, folder / "python", folder.parent)]
    files: list[Path] = []
    for one in [engine] if engine else PLACES:
        known = (base / place for place in PLACES[one] for base, folder in bases if folder in (base / place).parents)
        files += islice(filter(holds_chunk_scan, known), 1)
    files = files or [file for folder in folders for file in _python_files(folder) if holds_chunk_scan(file)]
    if not files:
        raise UsageError(f"{where} holds no chunk scan: a file must define {ENTRY} and {KERNEL}")
    if len(files) > 1:
        raise UsageError(f"{where} holds {len(files)} chunk scans, name one of them: {', '.join(map(str, files))}")
    return files[0]


def _python_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".py"))


def _found(file: Path, engine: str | None = None) -> Found:
    engine = engine or _engine(file)
    owner = engine or re.sub(r"[^\w.-]", "_", file.stem)
    for place in chain(*PLACES.values()):
        if file.as_posix().endswith(f"/{place}"):
            return Found(str(file), place.removesuffix(".py").replace("/", "."), owner)
    package = [folder.name for folder in takewhile(lambda folder: (folder / "__init__.py").is_file(), file.parents)]
    # A lone file of an engine goes by the engine's package, so that what it imports of it is looked for beside it.
    lone = PLACES[engine][0].rpartition("/")[0].replace("/", ".") if engine else _LONE
    stem = re.sub(r"\W", "_", file.stem)
    return Found(str(file), f"{'.'.join(reversed(package)) or lone}.{stem}", owner)


def _engine(file: Path) -> str | None:
    """The engine that the file belongs to, by its folders or by what it imports."""
    for part in reversed(file.parts[:-1]):
        if part in PLACES:
            return part
    imported = {
        (getattr(node, "module", None) or node.names[0].name).partition(".")[0]
        for node in _statements(file)
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    }
    return next((engine for engine in PLACES if engine in imported), None)


def _statements(file: Path) -> Iterator[ast.AST]:
    """A module's statements, those under `if` and `try` too."""
    nodes: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    for node in nodes:
        yield node
        if isinstance(node, (ast.Module, ast.If, ast.Try)):
            nodes += ast.iter_child_nodes(node)
