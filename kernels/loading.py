"""Modules by name, or from a source file that is loaded alone.

Of a file's own package, plain modules are loaded that lie beside it or that it imports from its checkout. Packages are
not, since theirs may pull in compiled extensions and half of an inference engine: those, and whatever else is not
installed, are stood in for.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec, resolve_name, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ssdprof.kernels.stand_ins import Loading, gpu_capability, stand_in


def load_module(name: str, file: str = "", capability: int | None = None) -> ModuleType:
    """The module of that name; with `file`, the one that the source file makes, loaded alone and once.

    `name` then says which package the file is part of, `capability` which compute capability it is told, if not that of
    the GPU here. `sys.modules` and the finders of imports are left as they were. Raises whatever the file raises.
    """
    return _load_alone(name, file, os.stat(file).st_mtime_ns, capability) if file else importlib.import_module(name)


@contextmanager
def cuda_untouched(capability: int | None = None) -> Iterator[None]:
    """Meanwhile `torch.cuda` answers what files ask of it with or without a GPU, and makes no context.

    `capability`: of which GPU, such as 80; None: the one here.
    """
    import torch

    answers: dict[str, Any] = {
        "device": lambda *_: nullcontext(),
        "current_device": lambda: 0,
        "get_device_capability": lambda *_: divmod(capability or gpu_capability(), 10),
        "is_available": lambda: True,
    }
    held = {name: getattr(torch.cuda, name) for name in answers}
    vars(torch.cuda).update(answers)
    try:
        yield
    finally:
        vars(torch.cuda).update(held)


def package_folders(name: str) -> list[Path]:
    """The folders that a package is installed in, which is not imported; none if it is not installed."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module in sys.modules that does not say where it is from
        return []
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []


@lru_cache(maxsize=32)
def _load_alone(name: str, file: str, _mtime_ns: int, capability: int | None) -> ModuleType:
    return _Load(name, Path(file), capability).module()


class _Load(Loading, Loader, MetaPathFinder):
    """One loading of a file: what it and its neighbours import, where that lies, and what stands for the rest."""

    def __init__(self, name: str, file: Path, capability: int | None) -> None:
        super().__init__(file, name.rpartition(".")[0], capability)
        self.name, self.top = name, name.partition(".")[0]
        inside = Path(*name.split(".")).with_suffix(".py").parts
        self.is_in_checkout = file.parts[-len(inside) :] == inside
        installed = [folder.parent for folder in package_folders(self.top)]
        self.roots = [file.parents[len(inside) - 1]] if self.is_in_checkout else installed[:1]
        self.wanted: set[str] = set()  # what it and its neighbours import and cannot do without, in no `try`
        self.imported: set[str] = set()  # by the file itself
        self.made: set[str] = set()

    def module(self) -> ModuleType:
        """Runs the file; what is imported meanwhile is found by `find_spec`. All is then as it was before."""
        loader = _Source(self.name, str(self.file), self)
        spec = spec_from_file_location(self.name, self.file, loader=loader)
        assert spec is not None
        module = module_from_spec(spec)
        held = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == self.top}
        sys.meta_path.insert(0, self)
        try:
            with cuda_untouched(self.capability):
                sys.modules[self.name] = module
                loader.exec_module(module)
            return module
        finally:
            self.is_running = False
            sys.meta_path.remove(self)
            for name in self.made | {self.name}:
                made, (package, _, last) = sys.modules.pop(name, None), name.rpartition(".")
                if made is not None and vars(sys.modules.get(package, made)).get(last) is made:
                    delattr(sys.modules[package], last)  # an installed package that lacks the module
            sys.modules.update(held)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """What the file's own package has only here, what others have here if nobody else finds it."""
        if fullname.partition(".")[0] == self.top:
            if spec := self.spec(fullname):
                return spec
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)  # nor is the installed one tried
        others = (one.find_spec(fullname, path, target) for one in sys.meta_path[sys.meta_path.index(self) + 1 :])
        return next((spec for spec in others if spec), None) or self.spec(fullname)

    def spec(self, name: str) -> ModuleSpec | None:
        """Of a plain module, or of a stand-in; None if the file can do without."""
        file = self.file_of(name)
        if file is None and not any(f"{one}.".startswith(f"{name}.") for one in self.wanted):
            return None
        self.made.add(name)
        if file is None:
            return ModuleSpec(name, self, is_package=True)
        return spec_from_file_location(name, file, loader=_Source(name, str(file), self))

    def file_of(self, name: str) -> Path | None:
        """The plain module of that name, beside the file or imported by it from elsewhere in its package."""
        package, _, last = name.rpartition(".")
        files = []
        if package == self.package or (not self.is_in_checkout and name in self.wanted):
            files.append(self.file.with_name(f"{last}.py"))
        if package and name in self.imported:
            files += [root.joinpath(*package.split("."), f"{last}.py") for root in self.roots]
        return next((file for file in files if file != self.file and file.is_file()), None)

    def exec_module(self, module: ModuleType) -> None:
        """Makes a stand-in of an empty module."""

        def named(name: str) -> Any:
            full = f"{module.__name__}.{name}"
            if name.startswith("__") or self.file_of(full):  # so that import looks for a module of that name
                raise AttributeError(name)
            return stand_in(full, self)

        module.__dict__["__getattr__"] = named


class _Source(SourceFileLoader):
    """Loads the file or a neighbour, always from its source; a neighbour that fails is stood in for."""

    def __init__(self, fullname: str, path: str, load: _Load) -> None:
        super().__init__(fullname, path)
        self._load = load

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path)
        names = set(_imports(ast.parse(text), fullname.rpartition(".")[0]))
        self._load.wanted |= names
        self._load.imported |= names if fullname == self._load.name else set()
        return self.source_to_code(text, self.path)

    def exec_module(self, module: ModuleType) -> None:
        try:
            super().exec_module(module)
        except Exception:
            if module.__name__ == self._load.name:
                raise
            self._load.exec_module(module)


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """Modules, and names that may be modules, which the statements below a node import; not those in a `try`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = resolve_name("." * child.level + (child.module or ""), package) if child.level else child.module
            yield module or ""
            yield from (f"{module}.{alias.name}" for alias in child.names)
        elif not (isinstance(child, ast.Try) and child.handlers):
            yield from _imports(child, package)
