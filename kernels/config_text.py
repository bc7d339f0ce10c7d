"""Reads a launch configuration from text in any form, by the kernel's own table; no torch, no triton.

It reads the id (`m64n64k32d128w2s4`), Triton's printed form (`BLOCK_SIZE_M: 64, …, maxnreg: None`), its source form
(`triton.Config({…}, num_stages=4, num_warps=2)`) and `KEY=VALUE,…`. `best`, `baseline` and `#3` name a config of a run;
whoever holds the run resolves them.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ssdprof.kernels.config import TRITON_DEFAULTS, Config, Param, ParamTable, Value, shown
from ssdprof.kernels.errors import ConfigError

_PAIR = re.compile(r"\s*([A-Za-z_]\w*)\s*[:=]\s*([^\s,;:=]+)\s*", re.ASCII)
_WHOLE, _FLOAT = r"-?[0-9]{1,18}", r"-?[0-9]{1,18}(\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?"
_CALL_ORDER = ("num_warps", "num_stages", "num_ctas", "maxnreg", "pre_hook", "ir_override")
# Options of some Triton version; accepted only if off, since no config sets them.
_OTHERS = {*_CALL_ORDER[2:], "num_buffers_warp_spec", "num_consumer_groups", "reg_dec_producer", "reg_inc_consumer"}
_TEXT_MAX = 1000


def is_run_reference(text: str) -> bool:
    """Whether `text` names a config of a run: `best`, `baseline`, or a rank such as `#3`."""
    return re.fullmatch(r"\s*(best|baseline|#[0-9]{1,6})\s*", text) is not None


def parse_config(text: str, table: ParamTable) -> Config:
    """Reads a config in any form, of the first variant unless the text names one.

    Raises ConfigError if the text cannot be read, with the nearest config that can, or if a value breaks a rule.
    """
    body = text.rpartition("best config selected:")[2].strip().rstrip(",;").rstrip()
    if is_run_reference(body):
        raise ConfigError(f"{body} is not a config: it names one in a run, and there is no run here")
    try:
        if len(text) > _TEXT_MAX:
            raise ConfigError(f"it has {len(text)} characters, more than the {_TEXT_MAX} allowed")
        head, _, rest = (part.strip() for part in body.partition(":"))
        is_named = bool(head) and (head.lower() in table.variants or _short_id(table).match(rest) is not None)
        pairs = _read(rest if is_named else body, table)
        if pairs is None:
            raise ConfigError(_advice(body, table))
        return config_from_pairs([("variant", head), *pairs] if is_named else pairs, table)
    except ConfigError as error:
        raise ConfigError(f"{shown(text)} is not a config: {error}") from None


def config_from_pairs(pairs: Iterable[tuple[object, object]], table: ParamTable) -> Config:
    """A config from keys and values; keys are the kernel's names, column names or aliases.

    Raises ConfigError for a key that is unknown, missing or given twice, and for a value that breaks a rule.
    """
    values: dict[str, Value] = {}
    for key, value in pairs:
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
    near = get_close_matches(str(key), known, n=1, cutoff=0.7) if isinstance(key, str) else []
    way_out = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
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
    if re.match(r"(triton\s*\.\s*)?Config\s*\(", body):
        return _read_call(body)
    items = body.split(",")
    if short := _short_id(table).fullmatch(items[0].strip()):
        items[:1] = [f"{table.by_letter[key].name}={value}" for key, value in short.groupdict().items() if value]
    pairs = [_PAIR.fullmatch(item) for item in items]
    return [(pair[1], pair[2]) for pair in pairs if pair] if all(pairs) else None


def _read_call(body: str) -> list[tuple[object, object]] | None:
    """Keys and values of `triton.Config({…}, …)`, with Triton's own defaults."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the user's text
            call = ast.parse(body, mode="eval").body
        if not isinstance(call, ast.Call):
            return None
        options = list(zip(_CALL_ORDER, map(ast.literal_eval, call.args[1:]), strict=False))
        options += [(keyword.arg or "", ast.literal_eval(keyword.value)) for keyword in call.keywords]
        given = dict(options)
        options += [(name, value) for name, value in TRITON_DEFAULTS.items() if name not in given]
        return [*ast.literal_eval(call.args[0]).items(), *options]
    except (SyntaxError, ValueError, TypeError, IndexError, AttributeError, RecursionError, MemoryError):
        return None


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
        if near := get_close_matches(word.lower(), names, n=1, cutoff=0.8):
            values.setdefault(names[near[0]].name, int(number))
    if len(values) >= 2:
        variant = next((name for name in table.variants if name and re.search(rf"\b{re.escape(name)}\b", body)), None)
        return f"did you mean {table.id(_completed(values, table, variant))}?"
    if near := get_close_matches(body.lower(), ["best", "baseline"], n=1, cutoff=0.6):
        return f"did you mean {near[0]}?"
    example = table.example or _completed({}, table)
    first = next(iter(table))
    return (
        f"a config is an id such as {table.id(example)}, {first.name}: {example[first.name]}, … as Triton prints it, "
        "triton.Config({…}), KEY=VALUE,…, or best, baseline or #3 from a run"
    )
