"""Functions and all that they use, gathered into modules of text."""

from __future__ import annotations

import enum
import functools
import re
import sys
from dataclasses import dataclass, field
from types import CellType, FunctionType, ModuleType
from typing import Any

from ssdprof.kernels.captured.model import Ref
from ssdprof.kernels.captured.source.texts_cut import Chains, Cut, NotKept, cut_jitted, cut_python, shown
from ssdprof.kernels.captured.source.texts_values import RESERVED, WHOLE, Reference, expression, import_of, is_installed

_ABSENT = object()


@dataclass
class _Scope:
    """A text module in the making: what stands for one module of the program, or for one function with a closure."""

    name: str
    globals: dict[str, Any]
    closure: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    postpones: bool = False
    imports: dict[str, None] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    values: dict[str, tuple[Any, set[tuple[str, ...]]]] = field(default_factory=dict)
    early: dict[str, None] = field(default_factory=dict)
    definitions: list[tuple[int, str]] = field(default_factory=list)
    late: dict[str, None] = field(default_factory=dict)

    def lookup(self, name: str) -> Any:
        """What the name means there; `_ABSENT` for a name that is not defined or one of Python's own."""
        if name in self.closure:
            return self.closure[name]
        return self.globals.get(name, _ABSENT)


class Collector:
    """Gathers functions, each once, with what they use; the modules are named in the order in which they are met."""

    def __init__(self) -> None:
        self._scopes: list[_Scope] = []
        self._by_globals: dict[int, _Scope] = {}
        self._defined: dict[int, tuple[_Scope, str]] = {}
        self._alive: list[Any] = []

    def add_kernel(self, kernel: Any) -> Ref:
        """A jitted function, whose text is kept wherever it is from, and what it uses. Raises NotKept."""
        scope, name = self._define(kernel)
        return Ref(scope.name, name)

    def add(self, function: Any) -> Ref:
        """A Python function, and what it uses; a kernel has been added before. Raises NotKept."""
        value = _innermost(function)
        found = import_of(value)
        if found is not None:
            scope = self._scopes[0]
            scope.imports[f"from {found[0]} import {found[1]} as _{found[1]}_"] = None
            return Ref(scope.name, f"_{found[1]}_")
        if isinstance(value, functools.partial):
            scope = self._new({}, "", {"partial": value})
            self._bind(scope, "partial", WHOLE, is_jitted=False)
            return Ref(scope.name, "partial")
        scope, name = self._define(value)
        return Ref(scope.name, name)

    def modules(self) -> dict[str, str]:
        """The texts by module name. Raises NotKept."""
        gathered = -1
        while gathered != (gathered := self._gathered()):  # a value may be a function that nothing else uses
            lines = [self._value_lines(scope) for scope in self._scopes]
        return {scope.name: _written(scope, *given) for scope, given in zip(self._scopes, lines, strict=True)}

    def _gathered(self) -> int:
        return len(self._scopes) + sum(len(uses) for scope in self._scopes for _, uses in scope.values.values())

    def _new(self, scope_globals: dict[str, Any], origin: str, closure: dict[str, Any] | None = None) -> _Scope:
        scope = _Scope(f"m{len(self._scopes)}", scope_globals, closure or {}, origin)
        self._scopes.append(scope)
        return scope

    def _module(self, scope_globals: dict[str, Any]) -> _Scope:
        if id(scope_globals) not in self._by_globals:
            origin = str(scope_globals.get("__name__", ""))
            self._by_globals[id(scope_globals)] = self._new(scope_globals, origin)
        return self._by_globals[id(scope_globals)]

    def _define(self, value: Any) -> tuple[_Scope, str]:
        """The module that has a function or class, and its name there."""
        value = _innermost(value)
        if id(value) in self._defined:
            return self._defined[id(value)]
        self._alive.append(value)
        if isinstance(value, type):
            return self._define_class(value)
        raw = getattr(value, "fn", None) if _is_jitted(value) else value
        if getattr(value, "__triton_builtin__", False) and hasattr(value, "__wrapped__"):
            return self._define_builtin(value)
        if not isinstance(raw, FunctionType):
            what = f"{getattr(value, '__qualname__', '')}, a {type(value).__qualname__}".removeprefix(", ")
            raise NotKept(f"it calls {what}, which is not a Python function: call one, such as a lambda, instead")
        cut = cut_jitted(value) if _is_jitted(value) else cut_python(raw)
        closure = {**_closure(raw), **cut.defaults}
        name = cut.name or f"lambda_{cut.line}"
        is_global = cut.name and _innermost(raw.__globals__.get(name)) is value
        if not closure and (is_global or not cut.name):
            scope = self._module(raw.__globals__)
            while not cut.name and (name in scope.bound or name in raw.__globals__):
                name += "_"
        else:
            scope = self._new(raw.__globals__, raw.__module__, closure)
        other = scope.lookup(name) if name in cut.reads else _ABSENT
        if other is not _ABSENT and _innermost(other) is not value:
            raise NotKept(f"{shown(value)} uses another thing of its own name: give it a name of its own")
        scope.bound.add(name)
        self._defined[id(value)] = scope, name
        scope.postpones = scope.postpones or cut.postpones
        self._bind_all(scope, cut, value)
        text = cut.text if cut.name else f"{name} = {cut.text}\n"
        scope.definitions.append((cut.line, _decorator(value) + text))
        return scope, name

    def _define_class(self, value: type) -> tuple[_Scope, str]:
        """An enumeration or a named tuple, which is made anew with its members."""
        scope_globals = vars(sys.modules.get(value.__module__, ModuleType("")))
        is_global = scope_globals.get(value.__name__) is value
        scope = self._module(scope_globals) if is_global else self._new({}, value.__module__)
        name = value.__name__
        if issubclass(value, enum.Enum):
            base = next(one for one in value.__mro__ if one.__module__ == "enum")
            kind = getattr(value, "_member_type_", object)
            mixed = f", type={kind.__name__}" if base is enum.Enum and kind in (int, str, float) else ""
            members = {one: member.value for one, member in value.__members__.items()}
            made = f"_enum_.{base.__name__}({name!r}, {expression(members, WHOLE, self._no_reference)}{mixed})"
        elif issubclass(value, tuple) and hasattr(value, "_fields"):
            defaults = tuple(getattr(value, "_field_defaults", {}).values())
            given = f", defaults={expression(defaults, WHOLE, self._no_reference)}" if defaults else ""
            made = f"_collections_.namedtuple({name!r}, {list(value._fields)!r}{given})"
        else:
            raise NotKept(
                f"it uses the class {value.__qualname__}: of classes, only enumerations and named tuples are kept"
            )
        scope.bound.add(name)
        self._defined[id(value)] = scope, name
        scope.definitions.append((0, f"{name} = {made}\n"))
        return scope, name

    def _no_reference(self, value: Any) -> str:
        raise NotKept(f"it uses {value!r} in a class: only numbers and texts are kept there")

    def _define_builtin(self, value: Any) -> tuple[_Scope, str]:
        """A function that Triton's compiler calls with its `_semantic`."""
        scope = self._new({}, value.__module__, {"wrapped": value.__wrapped__})
        name = value.__name__
        scope.bound.add(name)
        self._defined[id(value)] = scope, name
        self._bind(scope, "wrapped", WHOLE, is_jitted=True)
        scope.late[f"{name} = _tl_.core.builtin(wrapped)"] = None
        return scope, name

    def _bind_all(self, scope: _Scope, cut: Cut, value: Any) -> None:
        is_jitted = _is_jitted(value) and type(value).__name__ != "ConstexprFunction"
        for name, uses in cut.reads.items():
            is_early = name in cut.early
            try:
                self._bind(scope, name, uses or WHOLE, is_jitted=is_jitted, is_early=is_early)
            except NotKept as error:
                if name in cut.annotations:
                    scope.values[name] = name, set(WHOLE)
                    continue
                said = str(error)
                raise NotKept(said if said.startswith("in ") else f"in {shown(value)}, {said}") from error

    def _bind(self, scope: _Scope, name: str, uses: Chains, *, is_jitted: bool, is_early: bool = False) -> None:
        """Makes a name of a module mean there what it means in the program."""
        value = scope.lookup(name)
        if value is _ABSENT:
            return  # one of Python's own, or one that the program never gets to
        if name in RESERVED:
            raise NotKept(f"the name {name} is taken: rename it")
        if isinstance(value, ModuleType):
            self._bind_module(scope, name, value, uses)
            return
        found = import_of(value)
        if found is not None:
            scope.imports[f"from {found[0]} import {found[1]} as {name}"] = None
        elif is_jitted and not is_early and not _is_for_kernels(value):
            return  # Triton takes no such globals, so the kernel never gets there
        elif _is_function(value) or isinstance(value, type):
            self._bind_defined(scope, name, value, is_early=is_early)
        else:
            scope.values.setdefault(name, (value, set()))[1].update(uses)
            _expression(name, value, uses, lambda _: "_")  # raises now, where it is known what uses it
        scope.bound.add(name)

    def _bind_module(self, scope: _Scope, name: str, module: ModuleType, uses: Chains) -> None:
        if is_installed(module.__name__):
            scope.imports[f"import {module.__name__} as {name}"] = None
            return
        if () in uses:
            raise NotKept(f"it uses the module {module.__name__} as a value: read the names that it needs")
        target = self._module(vars(module))
        for first, *rest in sorted(uses):
            if target.lookup(first) is _ABSENT:
                raise NotKept(f"it reads {first} of the module {module.__name__}, which has none now: define it there")
            self._bind(target, first, frozenset({tuple(rest)}), is_jitted=False)
        scope.late[f"from . import {target.name} as {name}"] = None
        if target in (scope, self._scopes[0]):  # while it is loaded, or alone, it is no attribute of its package
            scope.late[f'{name} = _sys_.modules[f"{{__package__}}.{target.name}"]'] = None

    def _bind_defined(self, scope: _Scope, name: str, value: Any, *, is_early: bool) -> None:
        home, defined = self._define(value)
        if home is not scope:
            imported = f"from .{home.name} import {defined}" + (f" as {name}" if name != defined else "")
            (scope.early if is_early or isinstance(value, type) else scope.late)[imported] = None
        elif name != defined:
            scope.late[f"{name} = {defined}"] = None

    def _value_lines(self, scope: _Scope) -> tuple[list[str], list[str]]:
        """What defines a module's values, before and after its functions."""
        early: dict[str, None] = {}
        late: dict[str, None] = {}
        for name, (value, uses) in list(scope.values.items()):
            needed: dict[str, Any] = {}
            reference = functools.partial(self._reference, scope, needed)
            text = _expression(name, value, frozenset(uses), reference)
            is_late = any(not isinstance(one, type) for one in needed.values())
            (late if is_late else early).update(dict.fromkeys([*filter(None, needed), f"{name} = {text}"]))
        return list(early), list(late)

    def _reference(self, scope: _Scope, needed: dict[str, Any], value: Any) -> str:
        """The name of a function or class in an expression, and the import that it takes."""
        found = import_of(value)
        if found is not None:
            needed[f"from {found[0]} import {found[1]} as _{found[1]}_"] = value
            return f"_{found[1]}_"
        home, defined = self._define(value)
        if home is scope:
            needed[""] = value
            return defined
        needed[f"from .{home.name} import {defined} as _{home.name}_{defined}"] = value
        return f"_{home.name}_{defined}"


def _expression(name: str, value: Any, uses: Chains, reference: Reference) -> str:
    try:
        return expression(value, uses, reference)
    except NotKept as error:
        raise NotKept(f"{name}: {error}") from error


def _innermost(value: Any) -> Any:
    """A function without what is around it: an autotuner, heuristics, a cache of results."""
    while type(value).__name__ in ("Autotuner", "Heuristics"):
        value = value.fn
    return value.__wrapped__ if isinstance(value, functools._lru_cache_wrapper) else value


def _is_jitted(value: Any) -> bool:
    return any(one.__name__ in ("JITCallable", "InterpretedFunction") for one in type(value).__mro__)


def _is_function(value: Any) -> bool:
    value = _innermost(value)
    return _is_jitted(value) or isinstance(value, FunctionType) or (callable(value) and hasattr(value, "__name__"))


def _is_for_kernels(value: Any) -> bool:
    """Whether Triton lets a kernel read such a global: a function, a constexpr, a dtype, a number of a module."""
    marks = ("__triton_builtin__", "__triton_aggregate__", "_fields")
    if type(value).__module__.startswith("triton.") or any(hasattr(value, mark) for mark in marks):
        return True
    return isinstance(value, (int, float, str, tuple, type(None), FunctionType))


def _closure(raw: FunctionType) -> dict[str, Any]:
    cells = zip(raw.__code__.co_freevars, raw.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}  # not those not assigned yet


def _decorator(value: Any) -> str:
    if not _is_jitted(value):
        return ""
    if type(value).__name__ == "ConstexprFunction":
        return "@_triton_.constexpr_function\n"
    options = getattr(value, "kwargs", None) or vars(value)
    given = {name: options.get(name) for name in _OPTIONS}
    stated = [f"{name}={_plain_option(one)}" for name, one in given.items() if one]
    return f"@_triton_.jit({', '.join(stated)})\n" if stated else "@_triton_.jit\n"


_OPTIONS = ("do_not_specialize", "do_not_specialize_on_alignment", "debug", "noinline")


def _plain_option(value: Any) -> str:
    return repr(value if isinstance(value, (bool, int, str)) else list(value))


def _written(scope: _Scope, early: list[str], late: list[str]) -> str:
    """A module's text, `early` and `late` being what defines its values."""
    classes = [text.rstrip() for line, text in scope.definitions if not line]
    functions = [text.rstrip() for line, text in sorted(scope.definitions, key=lambda one: one[0]) if line]
    body = [*classes, "\n".join([*scope.early, *early]), *("\n" + text for text in functions)]
    body.append("\n".join([*late, *scope.late]))
    whole = "\n\n".join(part for part in body if part)
    reserved = [line for name, line in RESERVED.items() if re.search(rf"\b{name}\b", whole)]
    head = [f"# From {scope.origin}"] if re.fullmatch(r"[\w.]+", scope.origin) else []
    head += ["from __future__ import annotations\n"] if scope.postpones else []
    return "\n".join([*head, *reserved, *scope.imports]) + "\n\n" + whole + "\n"
