"""Reads a launch configuration from text in any form, by the kernel's own table; no torch, no triton.

It reads the id (`m64n64k32d128w2s4`), Triton's printed form (`BLOCK_SIZE_M: 64, …, maxnreg: None`) and its log, its
source form (`triton.Config({…}, num_stages=4, num_warps=2)`), as a diff shows it too, a dictionary of values, as in an
autotuner's cache file, and `KEY=VALUE,…`. `best`, `baseline` and `#3` name a config of a run; whoever holds the run
resolves them.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Any

from ssdprof.kernels.config import TRITON_DEFAULTS, Config, Param, ParamTable, Value, shown
from ssdprof.kernels.errors import ConfigError

_PAIR = re.compile(r"\s*([A-Za-z_]\w*)\s*[:=]\s*([^\s,;:=]+)\s*", re.ASCII)
_WHOLE, _FLOAT = r"-?[0-9]{1,18}", r"-?[0-9]{1,18}(\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?"
_CALL_ORDER = ("num_warps", "num_stages", "num_ctas", "maxnreg", "pre_hook", "ir_override")
# Options of some Triton version; accepted only if off, since no config sets them.
_OTHERS = {
    *(*_CALL_ORDER[2:], "enable_warp_specialization", "enable_persistent", "num_buffers_warp_spec"),
    *("num_consumer_groups", "reg_dec_producer", "reg_inc_consumer", "minregautows", "maxregautows", "pingpongautows"),
}
_LOG = re.compile(r"for function (\w+)|best config selected:([^;\n]*)")
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_NAMES = {"null": None, "true": True, "false": False}
_TEXT_MAX = 10_000


def is_run_reference(text: str) -> bool:
    """Whether `text` names a config of a run: `best`, `baseline`, or a rank such as `#3`."""
    return re.fullmatch(r"\s*(best|baseline|#[0-9]{1,6})\s*", text) is not None


def parse_config(text: str, table: ParamTable) -> Config:
    """Reads a config in any form, of the first variant unless the text names one.

    Raises ConfigError if the text cannot be read, with the nearest config that can, or if a value breaks a rule.
    """
    if is_run_reference(text):
        raise ConfigError(f"{text.strip()} is not a config: it names one in a run, and there is no run here")
    try:
        if len(text) > _TEXT_MAX:
            raise ConfigError(f"it has {len(text)} characters, more than the {_TEXT_MAX} allowed")
        body = _without_marks(_of_this_kernel(text, table)).strip().rstrip(",;").rstrip()
        head, _, rest = (part.strip() for part in body.partition(":"))
        is_named = bool(head) and (head.lower() in table.variants or _short_id(table).match(rest) is not None)
        pairs = _read(rest if is_named else body, table)
        if pairs is None:
            raise ConfigError(_advice(body, table))
        return config_from_pairs([("variant", head), *pairs] if is_named else pairs, table)
    except ConfigError as error:
        raise ConfigError(f"{shown(text)} is not a config: {error}") from None


def config_from_pairs(pairs: Iterable[tuple[object, object]], table: ParamTable) -> Config:
    """A config from keys and values; keys are the kernel's names, column names, aliases, or `kwargs` for more of them.

    Raises ConfigError for a key that is unknown, missing or given twice, and for a value that breaks a rule.
    """
    values: dict[str, Value] = {}
    nested = (
        value.items() if key == "kwargs" and isinstance(value, Mapping) else [(key, value)] for key, value in pairs
    )
    for key, value in chain.from_iterable(nested):
        param = param_of(key, table)
        name = param.name if param else _lower(key)
        if name in values:
            raise ConfigError(f"{param.column if param else name} is given twice")
        if param or name == "variant":
            values[name] = value_of(param, value) if param else _variant(value, table)
        elif shown(value) not in ("None", "0", "False") and (name, shown(value)) != ("num_ctas", "1"):
            raise ConfigError(f"{name} cannot be set, got {shown(value)}: leave it out")
    missing = [param.column for param in table if param.required and values.get(param.name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing: did you mean {table.id(_completed(values, table))}?")
    given = {name: value for name, value in values.items() if value is not None}
    return table.config(given, str(given["variant"]) if "variant" in given else None)


def param_of(key: object, table: ParamTable) -> Param | None:
    """The parameter that a key names; None for `variant` and options that no config sets. Raises ConfigError."""
    name, variant = _lower(key), ["variant"] * (len(table.variants) > 1)
    if name in (*table.by_spelling, *variant, *_OTHERS):
        return table.by_spelling.get(name)
    known = [*(param.name for param in table), *variant]
    near = _near(key, known, 0.7) if isinstance(key, str) else ""
    way_out = f"did you mean {near}?" if near else f"one of {', '.join(known)}"
    raise ConfigError(f"unknown key {shown(key)}: {way_out}")


def value_of(param: Param, value: object) -> Value:
    """A value from a file or a text, None if not set. Raises ConfigError if the parameter cannot take it."""
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
        return None
    if isinstance(value, str) and re.fullmatch(_WHOLE if param.low is None else r"-?[0-9]{1,9}", value):
        return int(value)
    if isinstance(value, str) and param.low is None:
        return float(value) if re.fullmatch(_FLOAT, value) else {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, (bool, int, float)) and (param.low is None or type(value) is int):
        return value
    raise ConfigError(f"{param.column} must be a whole number, got {shown(value)}")


def _lower(key: object) -> str:
    return key.lower() if isinstance(key, str) else ""


def _short_id(table: ParamTable) -> re.Pattern[str]:
    """The form of the short id; only required parameters must be in it. Matches nothing if there are no letters."""
    if not table.has_letters:
        return re.compile(r"(?!)")
    parts = [(f"{p.letter}(?P<{p.letter}>[0-9]{{1,6}})", p.required) for p in table if p.letter]
    return re.compile("".join(part if required else f"(?:{part})?" for part, required in parts), re.IGNORECASE)


def _read(body: str, table: ParamTable) -> list[tuple[object, object]] | None:
    """Keys and values of a text without its variant prefix; None if its form is unknown."""
    if re.match(r"[\[({]|(\w+\s*\.\s*)?Config\s*\(", body):
        return _read_source(body)
    items = body.split(",")
    if short := _short_id(table).fullmatch(items[0].strip()):
        items[:1] = [f"{table.by_letter[key].name}={value}" for key, value in short.groupdict().items() if value]
    pairs = [_PAIR.fullmatch(item) for item in items]
    return [(pair[1], pair[2]) for pair in pairs if pair] if all(pairs) else None


def _read_source(body: str) -> list[tuple[object, object]] | None:
    """Keys and values of `triton.Config({…}, …)`, with Triton's defaults, or of a dictionary, alone or in a list."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the user's text
            node = ast.parse(body, mode="eval").body
        if isinstance(node, (ast.List, ast.Tuple)):
            if len(node.elts) != 1:
                raise ConfigError(f"it lists {len(node.elts)} configs: give one of them, or the list as a space file")
            node = node.elts[0]
        if isinstance(node, ast.Dict):
            return _pairs(node)
        if not isinstance(node, ast.Call):
            return None
        by_keyword = {keyword.arg or "": keyword.value for keyword in node.keywords}
        tiles = node.args[0] if node.args else by_keyword.pop("kwargs")
        options = {**dict(zip(_CALL_ORDER, node.args[1:], strict=False)), **by_keyword}
        options.pop("pre_hook", None)  # a function that prepares tensors, not a part of the config
        given = [(name, _value(value)) for name, value in options.items()]
        return [*_pairs(tiles), *given, *((name, n) for name, n in TRITON_DEFAULTS.items() if name not in options)]
    except (SyntaxError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, MemoryError):
        return None


def _pairs(node: ast.expr) -> list[tuple[object, object]]:
    """Of a dictionary, whose keys may be bare names. Raises TypeError if it is none."""
    if not isinstance(node, ast.Dict):
        raise TypeError
    return [(_value(key) if key else "", _value(value)) for key, value in zip(node.keys, node.values, strict=True)]


def _value(node: ast.expr) -> object:
    """A literal, a name as text, or a whole number worked out. Raises ValueError for anything else."""
    if isinstance(node, ast.Dict):
        return dict(_pairs(node))
    if isinstance(node, ast.Name):
        return _NAMES.get(node.id, node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        sides = _value(node.left), _value(node.right)
        if all(type(side) is int for side in sides):
            return _OPERATORS[type(node.op)](*sides)
    return ast.literal_eval(node)


def _of_this_kernel(text: str, table: ParamTable) -> str:
    """What an autotuner's log says of this kernel; a text that is no log as it is. Raises ConfigError."""
    name, found = "", []
    for line in _LOG.finditer(text):
        if line[1]:
            name = line[1]
        else:
            found.append((name, line[2]))
            name = ""
    if not found:
        return text
    names = ", ".join(dict.fromkeys(name for name, _ in found if name))
    ours = dict.fromkeys(body for name, body in found if not (name and table.functions) or name in table.functions)
    if not ours:
        way_out = "if that is the same kernel, give only what follows `best config selected:`"
        raise ConfigError(f"it is of {names}, and this kernel is called {' or '.join(table.functions)}: {way_out}")
    if len(ours) > 1:
        raise ConfigError(f"it has {len(ours)} configs{f', of {names}' if names else ''}: give the line of one")
    return "".join(ours)


def _without_marks(text: str) -> str:
    """A text on one line, without comments and the marks of a diff."""
    lines = [re.sub(r"^\s*[+-](?=\s|[\w{\[])", " ", line) for line in text.splitlines()]
    return " ".join(re.sub(r"(?<!\S)#.*", "", line).strip() for line in lines)


def _near(word: str, known: Iterable[str], cutoff: float) -> str:
    """The known name that a word most likely means, empty if none.

    Names that end in another letter of their own, such as block_m and block_l, mean different things.
    """
    last = word.lower().rpartition("_")[2]
    ends = {name: name.lower().rpartition("_")[2] for name in known if name[:1].lower() == word[:1].lower()}
    alike = [name for name, end in ends.items() if end == last or max(len(end), len(last)) > 1]
    return "".join(get_close_matches(word, alike, n=1, cutoff=cutoff))


def _variant(value: object, table: ParamTable) -> str:
    name = _lower(value)
    if name not in table.variants:
        near = get_close_matches(name, table.variants, n=1)
        way_out = f"did you mean {near[0]}?" if near else f"one of {', '.join(table.variants)}"
        raise ConfigError(f"unknown variant {shown(value)}: {way_out}")
    return name


def _completed(values: Mapping[str, Value], table: ParamTable, variant: str | None = None) -> Config:
    """A valid config near the values that could be read; the rest comes from the example."""
    known = dict(table.example.values) if table.example else TRITON_DEFAULTS
    full: dict[str, Value] = {}
    for param in table:
        value = values.get(param.name)
        if value is not None:
            full[param.name] = value if param.low is None else param.nearest(value)
        elif param.required:
            value = known.get(param.name)
            full[param.name] = param.nearest(0) if value is None else value
    return table.config(full, variant)


def _advice(body: str, table: ParamTable) -> str:
    """What to write instead of a text in no known form: the id nearest to its names and numbers, or the forms."""
    names = {**table.by_letter, **table.by_spelling}
    values: dict[str, Value] = {}
    for word, number in re.findall(r"([A-Za-z_]+)[^\w-]{0,4}([0-9]{1,6})(?![0-9])", body):
        if near := _near(word.lower(), names, 0.8):
            values.setdefault(names[near].name, int(number))
    if len(values) >= 2 and not re.search(r"[0-9]\s*[*/+]", body):  # a sum is not worked out here
        variant = next((name for name in table.variants if name and re.search(rf"\b{re.escape(name)}\b", body)), None)
        return f"did you mean {table.id(_completed(values, table, variant))}?"
    if reference := get_close_matches(body.lower(), ["best", "baseline"], n=1, cutoff=0.6):
        return f"did you mean {reference[0]}?"
    example = table.example or _completed({}, table)
    first = next(iter(table))
    return (
        f"a config is an id such as {table.id(example)}, {first.name}: {example[first.name]}, … as Triton prints it, "
        "triton.Config({…}), KEY=VALUE,…, or best, baseline or #3 from a run"
    )
