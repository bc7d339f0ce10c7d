"""A configuration space from a JSON or YAML file: a list of configs, or values to cross under constraints.

- m64n64k32d128w2s4                       # a list: each entry is a config in any form
- {block_m: 64, block_n: 64, block_k: 32, num_warps: 4, num_stages: 3, variant: split}

values: {block_m: [64, 128], block_n: [32, 64], block_k: 32, num_warps: [2, 4], num_stages: [2, 3]}
constraints: ["block_m * block_n <= 4096 or num_warps > 2"]
variant: both                             # optional, as is name: a variant, or the kernel's word for several
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from types import CodeType
from typing import Any

from ssdprof.kernels.config import Config, Param, ParamTable, Value, shown
from ssdprof.kernels.config_text import config_from_pairs, param_of, parse_config, value_of
from ssdprof.kernels.errors import ConfigError, SpaceError

SUFFIXES = (".json", ".yaml", ".yml")
CONFIGS_MAX = 20_000
"""Configs of one space, before constraints: compiling so many takes hours."""
CONSTRAINT_MAX = 200
"""Characters of one constraint."""


def read_space_file(
    path: Path, table: ParamTable, sizes: Mapping[str, int], complete: Callable[[Config], Config]
) -> tuple[str, list[Config], str | None]:
    """The space's name, its configs, and the variant that it names for all of them (None: each has its own).

    Constraints may name `sizes` and the parameters, with values as `complete` fills them in. Raises SpaceError that
    names the file and the wrong entry.
    """
    document = _loaded(path)
    if isinstance(document, Mapping) and isinstance(document.get("configs_timings"), list):  # an autotuner's cache
        document = [timed[0] if isinstance(timed, list) and timed else timed for timed in document["configs_timings"]]
    elif isinstance(document, Mapping) and any(str(key).isdigit() for key in document):  # an engine's, by token count
        document = [entry for key, entry in document.items() if str(key).isdigit()]
    if isinstance(document, list):
        if not document:
            raise SpaceError(f"{path}: it has no configs")
        if len(document) > CONFIGS_MAX:
            raise SpaceError(f"{path}: {len(document)} configs, a space has at most {CONFIGS_MAX}")
        return path.name, [_entry(path, i, entry, table) for i, entry in enumerate(document, start=1)], None
    if not isinstance(document, Mapping):
        raise SpaceError(f"{path}: must be a list of configs or a mapping with values, got {shown(document)}")
    name, variant = _name_and_variant(path, document, table)
    configs = _crossed(path, document.get("values"), table)
    constraints = _constraints(path, document.get("constraints") or [], table, sizes)
    if not constraints:
        return name, configs, variant
    named = ((config, _names(complete(config), table, sizes)) for config in configs)
    kept = [config for config, names in named if all(holds(names) for holds in constraints)]
    if not kept:
        raise SpaceError(f"{path}: none of {len(configs)} configs meets the constraints")
    return name, kept, variant


def _loaded(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return json.loads(text)
        import yaml  # the built-in spaces do not need it

        # a config on a line of its own is text, though YAML takes its colons for a mapping
        text = re.sub(
            r"^(\s*- )((\w+\.)?Config\(.*\)),?\s*$", lambda m: m[1] + json.dumps(m[2]), text, flags=re.MULTILINE
        )
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}" if mark else ""
            reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
            raise SpaceError(f"{path}: not valid YAML{where}: {reason}") from None
    except OSError as error:
        raise SpaceError(f"{path}: cannot be read: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        raise SpaceError(f"{path}: not valid JSON at line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"{path}: cannot be read: {type(error).__name__}") from None


def _entry(path: Path, i_entry: int, entry: object, table: ParamTable) -> Config:
    try:
        if isinstance(entry, Mapping):
            return config_from_pairs(entry.items(), table)
        if isinstance(entry, str):
            return parse_config(entry, table)
    except ConfigError as error:
        raise SpaceError(f"{path}, entry {i_entry}: {error}") from None
    raise SpaceError(f"{path}, entry {i_entry}: must be a config as text or as a mapping, got {shown(entry)}")


def _name_and_variant(path: Path, document: Mapping[Any, Any], table: ParamTable) -> tuple[str, str | None]:
    """Those of a mapping, which may have `values` to cross, `constraints`, `variant` and `name`, and nothing else."""
    known = ("name", "values", "constraints", *(["variant"] if len(table.variants) > 1 else []))
    for key in document:
        if key not in known:
            raise SpaceError(f"{path}: unknown key {shown(key)}: one of {', '.join(known)}")
    name, variant = document.get("name", path.name), document.get("variant")
    if not isinstance(name, str) or not name.isprintable():
        raise SpaceError(f"{path}, name: must be text in one line, got {shown(name)}")
    if not isinstance(variant, str | None):
        raise SpaceError(f"{path}, variant: must be text, got {shown(variant)}")
    return name, variant


def _names(config: Config, table: ParamTable, sizes: Mapping[str, int]) -> dict[str, Value]:
    """What a constraint may name: the config's values by each spelling, and the problem's sizes, which come first."""
    return {**{spelling: config[param.name] for spelling, param in table.by_spelling.items()}, **sizes}


def _crossed(path: Path, values: object, table: ParamTable) -> list[Config]:
    """Every combination of the values by parameter; a single value counts as a list of one."""
    if not isinstance(values, Mapping):
        example = next(iter(table)).column
        raise SpaceError(f"{path}, values: must map keys such as {example} to lists, got {shown(values)}")
    listed: dict[Param, list[Value]] = {}
    for key, given in values.items():
        try:
            param = param_of(key, table)
            if param is None or param in listed:
                raise ConfigError("is given twice" if param else "cannot be among the values")
            listed[param] = [value_of(param, value) for value in (given if isinstance(given, list) else [given])]
        except ConfigError as error:
            raise SpaceError(f"{path}, values, {shown(key)}: {error}") from None
        if not listed[param]:
            raise SpaceError(f"{path}, values, {param.column}: the list is empty")
    count = prod(len(given) for given in listed.values())
    if count > CONFIGS_MAX:
        raise SpaceError(f"{path}, values: they make {count} configs, a space has at most {CONFIGS_MAX}")
    names = [param.name for param in listed]
    try:
        return [config_from_pairs(zip(names, chosen, strict=True), table) for chosen in product(*listed.values())]
    except ConfigError as error:
        raise SpaceError(f"{path}, values: {error}") from None


def _constraints(
    path: Path, constraints: object, table: ParamTable, sizes: Mapping[str, int]
) -> list[Callable[[Mapping[str, Value]], bool]]:
    """Each constraint as a test of named numbers. Raises SpaceError that names one that cannot be read."""
    texts = [constraints] if isinstance(constraints, str) else constraints
    if not isinstance(texts, list):
        raise SpaceError(f"{path}, constraints: must be a list of comparisons, got {shown(constraints)}")
    known = [*(param.column for param in table), *sizes]
    spellings = {*table.by_spelling, *sizes}
    tests: list[Callable[[Mapping[str, Value]], bool]] = []
    for i_text, text in enumerate(texts, start=1):
        where = f"{path}, constraint {i_text}"
        if not isinstance(text, str) or len(text) > CONSTRAINT_MAX:
            raise SpaceError(f"{where}: must be text of at most {CONSTRAINT_MAX} characters, got {shown(text)}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise SpaceError(f"{where}: {shown(text)} is not an expression") from None
        for node in ast.walk(tree):
            _check_node(where, node, known, spellings)
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise SpaceError(f"{where}: {shown(text)} is not a comparison such as {known[0]} <= 64")
        tests.append(partial(_holds, where, compile(ast.Expression(tree), where, "eval")))
    return tests


def _check_node(where: str, node: ast.AST, known: list[str], spellings: set[str]) -> None:
    """Raises SpaceError for anything that a constraint has no use for, so that evaluating the others is safe."""
    if isinstance(node, ast.Name):
        if node.id.lower() not in spellings:
            raise SpaceError(f"{where}: unknown name {shown(node.id)}: one of {', '.join(known)}")
    elif isinstance(node, ast.Constant):
        if type(node.value) is not int:
            raise SpaceError(f"{where}: only whole numbers are allowed, got {shown(repr(node.value))}")
    elif not isinstance(node, _ALLOWED):
        name = type(node).__name__
        raise SpaceError(f"{where}: only + - * // %, comparisons, and, or, not and () are allowed, got {name}")


def _holds(where: str, code: CodeType, names: Mapping[str, Value]) -> bool:
    """Whether a constraint is true. Raises SpaceError if it divides by zero, or reads what is not set to a number."""
    numbers = {name: names[name.lower()] for name in code.co_names if isinstance(names[name.lower()], int)}
    try:
        return bool(eval(code, {"__builtins__": {}}, numbers))  # noqa: S307  # `_check_node` knows every node
    except ZeroDivisionError:
        raise SpaceError(f"{where}: divides by zero") from None
    except NameError as error:
        raise SpaceError(f"{where}: {error.name} has no value, or one that is not a number") from None


_ALLOWED = (
    *(ast.BinOp, ast.UnaryOp, ast.Not, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.Load),
    *(ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod),
    *(ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
)
