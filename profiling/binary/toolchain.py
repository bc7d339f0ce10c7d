"""What compiling needs besides the kernel: ptxas, Triton's cache, temporary files and, to launch, a C compiler.

Triton itself says what it will use, in a worker process, and everything is tried before the first config is compiled.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from ssdprof.kernels.errors import first_line
from ssdprof.kernels.launch import LaunchPlan, capability
from ssdprof.profiling.binary.compiler import compile_launch
from ssdprof.profiling.binary.needs import Toolchain, ToolchainError, temporary_files

PTXAS_KNOBS = ("ptxas", "ptxas_blackwell")
ANSWER_S = 30.0
"""How long a ptxas may take to tell its version."""
TRIED_BYTES = 1 << 20
"""Written to the cache to see that there is room: more than most binaries have."""
CACHE_VARIABLES = ("TRITON_CACHE_DIR", "TRITON_HOME")
OURS = (*CACHE_VARIABLES, "TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH", "TRITON_LIBCUDA_PATH")
NEARLY = 0.88
"""The likeness from which a name counts as mistyped (difflib's ratio)."""
SAME_OWNER = 0.8
"""That of the first word, below which a name is another program's: TIKTOKEN_CACHE_DIR is nobody's slip."""
_RELEASE = re.compile(r"release (\d+\.\d+)(?:, V(\d+\.\d+\.\d+))?")
_OF_THE_COMPILER = ("TRITON_", "PTXAS_", "DISABLE_PTXAS_OPT", "LLVM_", "MLIR_")
_FALLS_BACK = "Triton takes its own instead"


@dataclass(frozen=True, slots=True)
class _Named:
    """What Triton reads for a ptxas: the variable, the path it gives if it is set, and Triton's own."""

    variable: str
    path: str | None
    own: str


def toolchain(arch: str, plan: LaunchPlan | None = None, launches: bool = False) -> Toolchain:
    """Tries everything that compiling for `arch` needs, and, if the kernel `launches`, what a launch needs.

    If the cache cannot be written, all may still be in it: then `plan`, the first to compile, must be. Raises
    ToolchainError in one line that names the variable or file, the rule and the way out.
    """
    warnings = [*temporary_files(), *_mistyped(os.environ)]
    ptxas, of_ptxas = _ptxas(arch)
    unwritable = _unwritable_cache()
    if unwritable:
        _needs_no_writing(plan, arch, unwritable)
        warnings.append(f"{unwritable}: only configs that are in it already can be used")
    else:
        _compiles(arch, ptxas)
    if launches:
        warnings += _launches()
    return Toolchain(ptxas, (*warnings, *of_ptxas))


def _mistyped(environment: Mapping[str, str]) -> list[str]:
    """A warning for each variable that Triton does not know and whose name is nearly that of one that matters here."""
    from triton import knobs

    groups = [group for group in vars(knobs).values() if isinstance(group, knobs.base_knobs)]
    known = {knob.key for group in groups for knob in group.knob_descriptors.values()}
    near = {
        name: [one for one in get_close_matches(name, OURS, 1, NEARLY) if _same_owner(name, one)]
        for name in sorted(set(environment) - known)
    }
    return [f"{name} is no variable that Triton reads: did you mean {of[0]}?" for name, of in near.items() if of]


def _same_owner(name: str, known: str) -> bool:
    """Whether the first words of two variables, which say whose they are, are nearly the same."""
    likeness = SequenceMatcher(None, name.partition("_")[0], known.partition("_")[0]).ratio()
    return likeness >= SAME_OWNER


def _ptxas(arch: str) -> tuple[str, list[str]]:
    """The ptxas that Triton takes for `arch`, in words, and warnings: of a variable that names none, or is not read."""
    from triton.backends.nvidia.compiler import get_ptxas

    knob, other = _ptxas_knobs(get_ptxas, capability(arch))
    named, warnings = _named(knob), []
    fault = _fault(named.path) if named.path is not None else ""
    if fault and not _falls_back(named.path or ""):
        raise ToolchainError(
            f"{_set(named)} is no ptxas: {fault}, and Triton then compiles nothing: correct it, or unset it for "
            "Triton's own ptxas"
        )
    if (named.path is None or fault) and (own_fault := _fault(named.own)):
        was_named = f" and {_set(named)} is none ({fault})" if fault else ""
        raise ToolchainError(
            f"Triton's own {Path(named.own).name} cannot be used: {named.own}: {own_fault}{was_named}; set "
            f"{named.variable} to the path of a ptxas, or install Triton again"
        )
    path = named.own if named.path is None or fault else named.path
    told = f"ptxas {_version(path)}"
    if fault:
        warnings.append(f"{_set(named)} is no ptxas: {fault}; {_FALLS_BACK}, {told}: correct it, or unset it")
    if (ignored := _named(other)).path is not None and named.path is None:
        warnings.append(
            f"{_set(ignored)} is not read for {arch} by this Triton, which takes its own, {told}: set {named.variable}"
        )
    return told if path == named.own else f"{told} ({path})", warnings


def _ptxas_knobs(get_ptxas: Any, number: int) -> tuple[str, str]:
    """The knob that Triton reads for this architecture, and the other one: its own choice, with names for the tools."""
    tools = SimpleNamespace(nvidia=SimpleNamespace(**{knob: knob for knob in PTXAS_KNOBS}))
    chosen = FunctionType(inspect.unwrap(get_ptxas).__code__, {"knobs": tools})(number)
    return chosen, next(knob for knob in PTXAS_KNOBS if knob != chosen)


def _named(knob: str) -> _Named:
    from triton import knobs

    tool = type(knobs.nvidia).__dict__[knob]
    return _Named(tool.key, os.environ.get(tool.key), tool.default_path)


def _set(named: _Named) -> str:
    return f"{named.variable}={named.path}"


def _fault(path: str) -> str:
    """What keeps the file from being a ptxas; empty if it is one."""
    if not path:
        return "it is empty"
    if not os.path.exists(path):
        return "there is no such file"
    if os.path.isdir(path):
        return "it is a folder"
    try:
        said = _asked(path)
    except PermissionError:
        return "it may not be executed"
    except subprocess.CalledProcessError as error:
        return f"`--version` ends with code {error.returncode}"
    except subprocess.TimeoutExpired:
        return f"`--version` gives no answer in {ANSWER_S:.0f} s"
    except OSError as error:
        return f"it cannot be executed ({error.strerror})"
    return "" if _RELEASE.search(said) else f"`--version` says {first_line(said, 60)!r}"


def _falls_back(path: str) -> bool:
    """Whether Triton goes on to its own ptxas: from files that are missing, fail or say something else, not from those
    that cannot be executed.
    """
    try:
        _asked(path)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return True
    except (OSError, subprocess.TimeoutExpired):
        return False
    return True


def _asked(path: str) -> str:
    asked = [path, "--version"]
    found = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, timeout=ANSWER_S)
    return found.stdout.decode(errors="replace")


def _version(path: str) -> str:
    found = _RELEASE.search(_asked(path))
    return (found[2] or found[1]) if found else "of unknown version"


def _unwritable_cache() -> str:
    """What keeps Triton from writing its cache; empty if nothing does, or if Triton does not use a folder."""
    from triton import knobs

    if os.environ.get("TRITON_CACHE_MANAGER"):
        return ""
    folder = knobs.cache.dir
    variable = next((name for name in CACHE_VARIABLES if name in os.environ), "")
    which = f"{variable}={os.environ[variable]}" if variable else "the home folder (TRITON_CACHE_DIR is not set)"
    if not folder:
        return f"{which} names no folder for Triton's cache"
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(TRIED_BYTES))
    except OSError as error:
        why = "it is not a folder" if error.errno in (errno.EEXIST, errno.ENOTDIR) else error.strerror or str(error)
        return f"{which}: Triton's cache {folder} cannot be written ({why})"
    return ""


def _needs_no_writing(plan: LaunchPlan | None, arch: str, unwritable: str) -> None:
    """Raises ToolchainError unless the plan compiles for all that, since it is in the cache."""
    try:
        if plan is not None:
            compile_launch(plan, arch)
            return
    except (OSError, RuntimeError):
        pass
    raise ToolchainError(
        f"{unwritable}, so no config would compile: set TRITON_CACHE_DIR to a folder that can be written and has room"
    )


def _compiles(arch: str, ptxas: str) -> None:
    """Compiles a kernel that does nothing, anew: what fails on it fails on all. Raises ToolchainError."""
    from triton import knobs

    nothing = LaunchPlan("ssdprof.profiling.binary.nothing", "NOTHING", (1,), {}, {"num_warps": 1})
    given = _given(os.environ)
    with knobs.compilation.scope():
        knobs.compilation.always_compile = True
        try:
            compile_launch(nothing, arch)
        except Exception as error:
            way_out = f"correct or unset what is set ({', '.join(given)})" if given else "take another Triton or --arch"
            raise ToolchainError(
                f"not even an empty kernel compiles for {arch} with {ptxas}, so no config would: {_cause(error)}: "
                f"{way_out}"
            ) from error


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    fatal = next((line for line in lines if "fatal" in line), None)
    return re.sub(r"\s+", " ", fatal or first_line(f"{type(error).__name__}: {error}"))


def _given(environment: Mapping[str, str]) -> list[str]:
    """The variables that are set and may be the cause, with their values; those of the folders were tried before."""
    names = [name for name in sorted(environment) if name.startswith(_OF_THE_COMPILER) and name not in CACHE_VARIABLES]
    return [f"{name}={environment[name]}" for name in names]


def _launches() -> list[str]:
    """Builds, or finds in the cache, what Triton launches with. A warning if it finds no compiler for what is missing.

    Raises ToolchainError if it cannot be built. Nothing here touches a GPU.
    """
    from triton.backends.nvidia.driver import CudaUtils

    compiler = os.environ.get("CC")
    missing = ""
    if compiler is not None and shutil.which(compiler) is None:
        missing = f"CC={compiler} is not a program that can be run"
    elif compiler is None and not (shutil.which("gcc") or shutil.which("clang")):
        missing = "there is no C compiler: CC is not set, and neither gcc nor clang is in PATH"
    libcuda = os.environ.get("TRITON_LIBCUDA_PATH")
    if libcuda and not os.path.exists(os.path.join(libcuda, "libcuda.so.1")):
        missing = missing or f"TRITON_LIBCUDA_PATH={libcuda} has no libcuda.so.1"
    try:
        CudaUtils()
    except Exception as error:
        cause = missing or _cause(error)
        raise ToolchainError(
            f"Triton cannot build what launches a kernel, so nothing could be measured: {cause}: set CC to a C compiler"
            " and TRITON_LIBCUDA_PATH to the folder of libcuda.so.1, or give --device none to compile only"
        ) from error
    return [f"{missing}; what launches need is in Triton's cache, other launches may fail"] if missing else []
