"""A configuration space from a JSON or YAML file: a list of configs, or values to cross under constraints.

- m64n64k32d128w2s4                       # a list: each entry a config in any of its forms
- {block_m: 64, block_n: 64, block_k: 32, num_warps: 4, num_stages: 3, variant: split}

values: {block_m: [64, 128], block_n: [32, 64], block_k: 32, num_warps: [2, 4], num_stages: [2, 3]}
constraints: ["block_m * block_n <= 4096 or num_warps > 2"]
variant: both                             # tile, split, both of these, or grouped; beside it, name
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from math import prod
from pathlib import Path
from typing import Any

from ssdprof.kernels.config import (
    KEYS,
    VARIANTS,
    config_field,
    config_from_pairs,
    config_number,
    parse_config,
    shown,
)
from ssdprof.kernels.errors import ConfigError, SpaceError
from ssdprof.kernels.interface import Config
from ssdprof.kernels.ssd.subject import whole_state_tile

SUFFIXES = (".json", ".yaml", ".yml")
PER_HEAD = ("tile", "split")
"""The variants that take a list of tiles as it is: what `both` stands for."""
CONFIGS_MAX = 20_000
"""Configs of one space, before constraints: compiling so many takes hours."""
CONSTRAINT_MAX = 200
"""Characters of one constraint."""


def with_variants(configs: Iterable[Config], variant: str | None) -> Iterator[Config]:
    """The configs under another variant; under each in turn for "both"; as they are for None.

    Those of `grouped`, which fit no other, stay and come last.
    """
    if variant is None:
        return iter(configs)
    listed = list(configs)
    variants = PER_HEAD if variant == "both" else (variant,)
    per_head = [config for config in listed if config.variant != "grouped"]
    replaced = [replace(config, variant=each) for each in variants for config in per_head]
    return iter([*replaced, *(config for config in listed if config.variant == "grouped")])


def read_space_file(path: Path, dstate: int) -> tuple[str, list[Config]]:
    """The space's name and configs. Raises SpaceError naming the file and the entry that is wrong in it.

    `dstate`, the state dimension in elements, is a name that constraints may use.
    """
    document = _loaded(path)
    if isinstance(document, Mapping):
        name, configs = _crossed(path, document, dstate)
    elif isinstance(document, list):
        if len(document) > CONFIGS_MAX:
            raise SpaceError(f"{path}: {len(document)} configs, a space has at most {CONFIGS_MAX}")
        name, configs = path.name, [_entry(path, i, entry) for i, entry in enumerate(document, start=1)]
    else:
        raise SpaceError(f"{path}: must be a list of configs or a mapping with values, got {shown(document)}")
    if not configs:
        raise SpaceError(f"{path}: no config in it")
    return name, configs


def _loaded(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text)
        import yaml  # not needed by the spaces that are built in

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}" if mark else ""
            reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
            raise SpaceError(f"{path}: no valid YAML{where}: {reason}") from None
    except OSError as error:
        raise SpaceError(f"{path}: cannot be read: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        raise SpaceError(f"{path}: no valid JSON at line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"{path}: cannot be read: {type(error).__name__}") from None


def _entry(path: Path, i_entry: int, entry: object) -> Config:
    try:
        if isinstance(entry, Mapping):
            return config_from_pairs(entry.items(), VARIANTS)
        if isinstance(entry, str):
            return parse_config(entry, VARIANTS)
    except ConfigError as error:
        raise SpaceError(f"{path}, entry {i_entry}: {error}") from None
    raise SpaceError(f"{path}, entry {i_entry}: must be a config as text or as a mapping, got {shown(entry)}")


def _crossed(path: Path, document: Mapping[Any, Any], dstate: int) -> tuple[str, list[Config]]:
    """Name and configs of a mapping with `values` to cross, `constraints`, `variant` and `name`."""
    known = ("name", "values", "constraints", "variant")
    for key in document:
        if key not in known:
            raise SpaceError(f"{path}: unknown key {shown(key)}: one of {', '.join(known)}")
    name, variant = document.get("name", path.name), document.get("variant", VARIANTS[0])
    if not isinstance(name, str) or not name.isprintable():
        raise SpaceError(f"{path}, name: must be text in one line, got {shown(name)}")
    if variant not in ("both", *VARIANTS):
        raise SpaceError(f"{path}, variant: one of {', '.join(VARIANTS)}, both, got {shown(variant)}")
    values = _values(path, document.get("values"))
    count = prod(len(numbers) for numbers in values.values())
    if count > CONFIGS_MAX:
        raise SpaceError(f"{path}, values: they cross to {count} configs, a space has at most {CONFIGS_MAX}")
    constraints = _constraints(path, document.get("constraints") or [])
    configs = []
    for numbers in product(*values.values()):
        fields = dict(zip(values, numbers, strict=True))
        try:
            config = config_from_pairs(fields.items(), VARIANTS)
        except ConfigError as error:
            raise SpaceError(f"{path}, values: {error}") from None
        names = {key: getattr(config, key) for key in KEYS} | {"dstate": dstate}
        if names["block_dstate"] is None:
            names["block_dstate"] = whole_state_tile(dstate)
        if all(holds(names) for holds in constraints):
            configs.append(config)
    if not configs:
        raise SpaceError(f"{path}: none of {count} configs meets the constraints")
    return name, list(with_variants(configs, variant))


def _values(path: Path, values: object) -> dict[str, list[int | None]]:
    """Field to the numbers it takes; a lone number counts as a list of one."""
    if not isinstance(values, Mapping):
        raise SpaceError(f"{path}, values: must map keys such as block_m to lists, got {shown(values)}")
    listed: dict[str, list[int | None]] = {}
    for key, numbers in values.items():
        try:
            name = config_field(key)
            if name not in KEYS or name in listed:
                raise ConfigError("is given twice" if name in listed else "has no place among the values")
            listed[name] = [config_number(name, n) for n in (numbers if isinstance(numbers, list) else [numbers])]
        except ConfigError as error:
            raise SpaceError(f"{path}, values, {shown(key)}: {error}") from None
        if not listed[name]:
            raise SpaceError(f"{path}, values, {name}: the list is empty")
    return listed


def _constraints(path: Path, constraints: object) -> list[Callable[[Mapping[str, int | None]], bool]]:
    """Each constraint as a test of named numbers. Raises SpaceError naming the one that cannot be read."""
    texts = [constraints] if isinstance(constraints, str) else constraints
    if not isinstance(texts, list):
        raise SpaceError(f"{path}, constraints: must be a list of comparisons, got {shown(constraints)}")
    tests: list[Callable[[Mapping[str, int | None]], bool]] = []
    for i_text, text in enumerate(texts, start=1):
        where = f"{path}, constraint {i_text}"
        if not isinstance(text, str) or len(text) > CONSTRAINT_MAX:
            raise SpaceError(f"{where}: must be text of at most {CONSTRAINT_MAX} characters, got {shown(text)}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise SpaceError(f"{where}: {shown(text)} is not an expression") from None
        for node in ast.walk(tree):
            _check_node(where, node)
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise SpaceError(f"{where}: {shown(text)} compares nothing, as block_m * block_n <= 8192 does")
        tests.append(partial(_holds, where, tree))
    return tests


def _check_node(where: str, node: ast.AST) -> None:
    """Raises SpaceError for what constraints have no use for, so that `_evaluated` meets only what it knows."""
    if isinstance(node, ast.Name):
        if node.id not in KEYS and node.id != "dstate":
            raise SpaceError(f"{where}: unknown name {shown(node.id)}: one of {', '.join(KEYS)}, dstate")
    elif isinstance(node, ast.Constant):
        if type(node.value) is not int:
            raise SpaceError(f"{where}: only whole numbers are read, got {shown(repr(node.value))}")
    elif not isinstance(node, (*_OPERATORS, *_STRUCTURE)):
        name = type(node).__name__
        raise SpaceError(f"{where}: only + - * // %, comparisons, and, or, not and () are read, got {name}")


def _holds(where: str, tree: ast.expr, names: Mapping[str, int | None]) -> bool:
    try:
        return bool(_evaluated(tree, names))
    except ZeroDivisionError:
        raise SpaceError(f"{where}: divides by zero") from None
    except _UnsetError as error:
        raise SpaceError(f"{where}: {error} has no value") from None


def _evaluated(node: ast.AST, names: Mapping[str, int | None]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            number = names[name]
            if number is None:
                raise _UnsetError(name)
            return number
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluated(left, names), _evaluated(right, names))
        case ast.UnaryOp(operand=operand):
            return not _evaluated(operand, names)
        case ast.BoolOp(op=op, values=values):
            return (all if isinstance(op, ast.And) else any)(_evaluated(value, names) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            numbers = [_evaluated(operand, names) for operand in (left, *others)]
            pairs = zip(ops, pairwise(numbers), strict=True)
            return all(_OPERATORS[type(op)](*pair) for op, pair in pairs)
        case _:
            raise AssertionError(f"unchecked {node!r}")


class _UnsetError(Exception):
    """A constraint needs a value that the config leaves out."""


_OPERATORS: Mapping[type[ast.AST], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_STRUCTURE = (ast.BinOp, ast.UnaryOp, ast.Not, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.Load)
