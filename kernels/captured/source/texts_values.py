"""Values that kernels and grids use, written as Python expressions."""

from __future__ import annotations

import enum
import functools
import sys
import sysconfig
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ssdprof.kernels.captured.source.texts_cut import Chains, NotKept

RESERVED = {
    "_triton_": "import triton as _triton_",
    "_tl_": "import triton.language as _tl_",
    "_torch_": "import torch as _torch_",
    "_types_": "import types as _types_",
    "_enum_": "import enum as _enum_",
    "_collections_": "import collections as _collections_",
    "_sys_": "import sys as _sys_",
    "_functools_": "import functools as _functools_",
}
"""Names that expressions and decorators use in every text, and how they come to be."""

WHOLE: Chains = frozenset({()})
"""The use of a value as a whole."""

_BY_IMPORT = ("triton", "torch", "numpy", "builtins")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
Reference = Callable[[Any], str]


def is_installed(module: str) -> bool:
    """Whether a module is there wherever Triton is: Triton's, torch's, numpy's or the standard library's."""
    top = module.partition(".")[0]
    if top in _BY_IMPORT:
        return True
    if top not in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(top), "__file__", None)  # a user's file may be named as one of the library
    return file is None or file.startswith(sysconfig.get_paths()["stdlib"])


def import_of(value: Any) -> tuple[str, str] | None:
    """(module, name) by which an installed module has a function or class."""
    name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str) or not is_installed(module):
        return None
    for one in ("triton.language", "triton", module):
        if getattr(sys.modules.get(one), name, None) is value and (one == module or module.startswith("triton.")):
            return one, name
    return None


def expression(value: Any, uses: Chains, reference: Reference) -> str:
    """An expression that makes an equal value in a text with the names `RESERVED`; `uses` says what is read of it.

    `reference` gives the name of a function, class or member of a class. A tensor is written as an empty one without
    memory, any other object as one that has just the attributes that are read. Raises NotKept for other values.
    """

    def whole(one: Any) -> str:
        return expression(one, WHOLE, reference)

    if isinstance(value, enum.Enum):
        return f"{reference(type(value))}.{value.name}"
    if isinstance(value, _PLAIN) and type(value) in _PLAIN:
        return _plain(value)
    if isinstance(value, tuple) and type(value) is not tuple and hasattr(value, "_fields"):
        return f"{reference(type(value))}({', '.join(map(whole, value))})"
    if type(value) in (tuple, list, set, frozenset, dict, range, slice, functools.partial):
        return _container(value, whole)
    written = _of_triton(value, whole) or _of_torch(value, whole)
    if written is None and (
        isinstance(value, type) or (callable(value) and (() in uses or hasattr(value, "__name__")))
    ):
        written = reference(value)
    if written is None and () not in uses and not isinstance(value, ModuleType):
        written = _attributes(value, uses, reference)
    if written is None and hasattr(value, "__index__"):  # of numpy
        written = repr(int(value))
    if written is None and hasattr(value, "__float__") and type(value).__module__ == "numpy":
        written = _plain(float(value))
    if written is None:
        raise NotKept(f"it uses {_said(value)}: numbers, texts, dtypes, shapes and functions are kept; pass it one")
    return written


def _said(value: Any) -> str:
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def _plain(value: Any) -> str:
    if isinstance(value, float) and repr(value) in ("nan", "inf", "-inf"):
        return f'float("{value}")'
    return "..." if value is Ellipsis else repr(value)


def _container(value: Any, whole: Callable[[Any], str]) -> str:
    if isinstance(value, (range, slice)):
        return f"{type(value).__name__}({value.start!r}, {value.stop!r}, {value.step!r})"
    if isinstance(value, functools.partial):
        named = [f"{name}={whole(one)}" for name, one in value.keywords.items()]
        return f"_functools_.partial({', '.join([whole(value.func), *map(whole, value.args), *named])})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{whole(key)}: {whole(one)}" for key, one in value.items()) + "}"
    inside = ", ".join(map(whole, value))
    if isinstance(value, tuple):
        return f"({inside},)" if value else "()"
    return f"[{inside}]" if isinstance(value, list) else f"{type(value).__name__}([{inside}])"


def _of_triton(value: Any, whole: Callable[[Any], str]) -> str | None:
    language = sys.modules.get("triton.language")
    if language is None:
        return None
    if isinstance(value, language.constexpr):
        return f"_tl_.constexpr({whole(value.value)})"
    if isinstance(value, language.pointer_type):
        return f"_tl_.pointer_type({whole(value.element_ty)}, {value.address_space!r}, {value.const!r})"
    if isinstance(value, language.dtype):
        names = (name for name, one in vars(language).items() if isinstance(one, language.dtype) and one == value)
        name = next(names, None)
        return f"_tl_.{name}" if name else f"_tl_.dtype({value.name!r})"
    if isinstance(value, language.tuple):
        return f"_tl_.tuple([{', '.join(map(whole, value.values))}])"
    return None


def _of_torch(value: Any, whole: Callable[[Any], str]) -> str | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(value, torch.Size):
        return f"_torch_.Size({whole(tuple(value))})"
    if isinstance(value, torch.dtype):
        return f"_torch_.{str(value).removeprefix('torch.')}"
    if isinstance(value, torch.device):
        return f"_torch_.device({str(value)!r})"
    if isinstance(value, torch.Tensor) and value.layout is torch.strided:
        shape, strides = tuple(map(int, value.shape)), tuple(map(int, value.stride()))
        return f'_torch_.empty_strided({shape}, {strides}, dtype=_torch_.{str(value.dtype)[6:]}, device="meta")'
    return None


def _attributes(value: Any, uses: Chains, reference: Reference) -> str:
    """An object with those attributes of `value` that are read."""
    inner: dict[str, set[tuple[str, ...]]] = {}
    for first, *rest in sorted(uses):
        inner.setdefault(first, set()).add(tuple(rest))
    written = []
    for name, chains in inner.items():
        try:
            attribute = getattr(value, name)
        except Exception as error:
            raise NotKept(f"it reads {name} of {_said(value)}, which has none now: pass it a number instead") from error
        if callable(attribute) and not isinstance(attribute, type) and hasattr(attribute, "__self__"):
            raise NotKept(f"it calls {name} of {_said(value)}: only functions are kept; pass it what that returns")
        written.append(f"{name}={expression(attribute, frozenset(chains), reference)}")
    return f"_types_.SimpleNamespace({', '.join(written)})"
