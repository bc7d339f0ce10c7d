"""Every way to name a launch configuration, read and written; no torch, no triton.

Read are the short id (`m64n64k32d128w2s4`), Triton's printed form (`BLOCK_SIZE_M: 64, …, maxnreg: None`),
its source form (`triton.Config({…}, num_stages=4, num_warps=2)`) and `KEY=VALUE,…`. `best`, `baseline` and
`#3` name a config of a run; whoever holds the run resolves them.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.interface import Config

TILE_RANGE = (16, 512)
"""Elements: `tl.dot` takes no less than 16 in any dimension; 512 is twice the largest published tile."""
NUM_WARPS_RANGE = (1, 32)
"""Up to CUDA's 1024 threads per block."""
NUM_CTAS_RANGE = (1, 16)
"""Blocks per cluster, up to CUDA's largest, non-portable size."""
NUM_STAGES_RANGE = (1, 32)
MAXNREG_RANGE = (16, 255)
"""Registers per thread, up to the last that an instruction can name."""
HEADS_RANGE = (1, 1024)
VARIANTS = ("tile", "split", "grouped")
"""Of the chunk scan; the first is meant where none is named."""

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "block_m": "BLOCK_SIZE_M",
        "block_n": "BLOCK_SIZE_N",
        "block_k": "BLOCK_SIZE_K",
        "block_dstate": "BLOCK_SIZE_DSTATE",
        "heads": "HEADS",
        "num_warps": "num_warps",
        "num_ctas": "num_ctas",
        "num_stages": "num_stages",
        "maxnreg": "maxnreg",
    }
)
"""The numbers of a Config and Triton's names for them, in the order in which Triton prints them."""
EXAMPLE = Config(64, 64, 32, 128, num_warps=2, num_stages=4)

_RANGES = {"num_stages": NUM_STAGES_RANGE, "maxnreg": MAXNREG_RANGE, "heads": HEADS_RANGE}
_REQUIRED = ("block_m", "block_n", "block_k", "num_warps", "num_stages")
_ID_FIELDS = ("block_m", "block_n", "block_k", "block_dstate", "num_warps", "num_stages", "maxnreg")
_LETTERS = dict(zip("mnkdwsr", _ID_FIELDS, strict=True))
_ID = re.compile(
    r"m(?P<block_m>N)n(?P<block_n>N)k(?P<block_k>N)(?:d(?P<block_dstate>N))?"
    r"w(?P<num_warps>N)s(?P<num_stages>N)(?:r(?P<maxnreg>N))?".replace("N)", "[0-9]{1,6})"),
    re.IGNORECASE,
)
_PAIR = re.compile(r"\s*([A-Za-z_]\w*)\s*[:=]\s*([^\s,;:=]+)\s*", re.ASCII)
# What one Triton version or another adds; read only where it is off, since a Config has no such field.
_OTHER_OPTIONS = {
    "pre_hook",
    "ir_override",
    "num_buffers_warp_spec",
    "num_consumer_groups",
    "reg_dec_producer",
    "reg_inc_consumer",
}
_CALL_ORDER = ("num_warps", "num_stages", "num_ctas", "maxnreg", "pre_hook", "ir_override")
_TEXT_MAX = 1000


def config_id(config: Config) -> str:
    """The short id, at its longest `split:m64n64k32d128w2s4r128,num_ctas=2,heads=8`; what is not set is left out."""
    prefix = "" if config.variant == "tile" else f"{config.variant}:"
    dstate = "" if config.block_dstate is None else f"d{config.block_dstate}"
    registers = "" if config.maxnreg is None else f"r{config.maxnreg}"
    ctas = "" if config.num_ctas == 1 else f",num_ctas={config.num_ctas}"
    heads = "" if config.heads is None else f",heads={config.heads}"
    tiles = f"m{config.block_m}n{config.block_n}k{config.block_k}{dstate}"
    return f"{prefix}{tiles}w{config.num_warps}s{config.num_stages}{registers}{ctas}{heads}"


def triton_form(config: Config) -> str:
    """As Triton prints a config: `BLOCK_SIZE_M: 64, …, maxnreg: None`. It has no place for the variant."""
    return ", ".join(f"{key}: {value}" for key, value in _triton_items(config))


def autotune_form(config: Config) -> str:
    """As in an `@triton.autotune` list: `triton.Config({…}, num_stages=4, num_warps=2)`, without variant."""
    tiles = ", ".join(f"{key!r}: {value}" for key, value in _triton_items(config) if key.isupper())
    options = f"num_stages={config.num_stages}, num_warps={config.num_warps}"
    if config.num_ctas != 1:
        options += f", num_ctas={config.num_ctas}"
    if config.maxnreg is not None:
        options += f", maxnreg={config.maxnreg}"
    return f"triton.Config({{{tiles}}}, {options})"


def key_value_form(config: Config) -> str:
    """`BLOCK_SIZE_M=64,…,num_stages=4`, then maxnreg, num_ctas and variant where they are not the default."""
    unset = {("num_ctas", 1), ("maxnreg", None)}
    pairs = [f"{key}={value}" for key, value in _triton_items(config) if (key, value) not in unset]
    if config.variant != "tile":
        pairs.append(f"variant={config.variant}")
    return ",".join(pairs)


def is_run_reference(text: str) -> bool:
    """Whether `text` names a config of a run: `best`, `baseline`, or a rank such as `#3`."""
    return re.fullmatch(r"\s*(best|baseline|#[0-9]{1,6})\s*", text) is not None


def parse_config(text: str, variants: Sequence[str] = VARIANTS) -> Config:
    """Reads a config in any form; the first of `variants` is meant where the text names none.

    Raises ConfigError where it cannot be read, with the nearest that can, or where a value breaks a rule.
    """
    body = text.rpartition("best config selected:")[2].strip().rstrip(",;").rstrip()
    if is_run_reference(body):
        raise ConfigError(f"{body} is no config of its own: it names one of a run, and there is none here")
    try:
        if len(text) > _TEXT_MAX:
            raise ConfigError(f"it has {len(text)} characters, {_TEXT_MAX} are the most")
        head, _, rest = (part.strip() for part in body.partition(":"))
        named = head.lower() in variants or _ID.match(rest)
        pairs = _read(rest if named else body)
        if pairs is None:
            raise ConfigError(_advice(body, variants))
        return config_from_pairs([("variant", head), *pairs] if named else pairs, variants)
    except ConfigError as error:
        raise ConfigError(f"{shown(text)} is not a config: {error}") from None


def config_from_pairs(pairs: Iterable[tuple[object, object]], variants: Sequence[str] = VARIANTS) -> Config:
    """A config from its keys and values, keys spelled as in a Config or as in Triton.

    Raises ConfigError for a key that is unknown, missing or given twice, and for a value that breaks a rule.
    """
    fields: dict[str, int | None] = {}
    variant: str | None = None
    for key, value in pairs:
        name = config_field(key)
        if name in fields or (name == "variant" and variant is not None):
            raise ConfigError(f"{name} is given twice")
        if name == "variant":
            variant = _variant(value, variants)
        elif name in KEYS:
            fields[name] = config_number(name, value)
        elif shown(value) not in ("None", "0", "False"):
            raise ConfigError(f"{name} cannot be taken, got {shown(value)}: leave it out")
    missing = [name for name in _REQUIRED if fields.get(name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing: did you mean {config_id(_completed(fields))}?")
    if fields.get("num_ctas") is None:
        fields["num_ctas"] = 1
    values = {"block_dstate": None} | fields
    return validate_config(Config(**values, variant=variant or variants[0]))  # type: ignore[arg-type]


def validate_config(config: Config) -> Config:
    """The config itself, where a kernel and CUDA could take it.

    Raises ConfigError: tiles are powers of two from 16 to 512; num_warps and num_ctas powers of two up to 32
    and 16; num_stages is 1 to 32; maxnreg 16 to 255; heads 1 to 1024.
    """
    for name in ("block_m", "block_n", "block_k", "block_dstate", "num_warps", "num_ctas"):
        value = getattr(config, name)
        powers = _powers(name)
        if (type(value) is not int or value not in powers) and (name, value) != ("block_dstate", None):
            raise ConfigError(
                f"{name} must be a power of two from {powers[0]} to {powers[-1]}, got {shown(value)}: "
                f"try {_nearest_power(name, value)}"
            )
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        if not _is_whole(value, low, high) and not (name != "num_stages" and value is None):
            raise ConfigError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    return config


def shown(value: object) -> str:
    """`value` in one short printable line, for a message; quoted and escaped where it is not plain."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    if not isinstance(value, str | int | float | None):  # what a file nests may have no end
        return f"a {type(value).__name__}"
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    plain = not isinstance(value, str) or re.fullmatch(r"[\w:,=#.+-]+", text, re.ASCII)
    return text if plain and text.isprintable() else repr(text)


def _triton_items(config: Config) -> list[tuple[str, int | None]]:
    items = [(key, getattr(config, name)) for name, key in KEYS.items()]
    return [item for item in items if item not in (("BLOCK_SIZE_DSTATE", None), ("HEADS", None))]


def _read(body: str) -> list[tuple[object, object]] | None:
    """Keys and values of a text without its variant prefix, None where it is in no form."""
    if re.match(r"(triton\s*\.\s*)?Config\s*\(", body):
        return _read_call(body)
    items = body.split(",")
    pairs: list[tuple[object, object]] = []
    if short := _ID.fullmatch(items[0].strip()):
        pairs += [(name, value) for name, value in short.groupdict().items() if value is not None]
        items = items[1:]
    for item in items:
        pair = _PAIR.fullmatch(item)
        if pair is None:
            return None
        pairs.append((pair[1], pair[2]))
    return pairs


def _read_call(body: str) -> list[tuple[object, object]] | None:
    """Keys and values of `triton.Config({…}, …)`, with Triton's own defaults of 4 warps and 3 stages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the user's text
            call = ast.parse(body, mode="eval").body
        if not isinstance(call, ast.Call):
            return None
        tiles = ast.literal_eval(call.args[0])
        options = list(zip(_CALL_ORDER, map(ast.literal_eval, call.args[1:]), strict=False))
        options += [(keyword.arg or "", ast.literal_eval(keyword.value)) for keyword in call.keywords]
        given = {name for name, _ in options}
        options += [(name, value) for name, value in (("num_warps", 4), ("num_stages", 3)) if name not in given]
        return [*tiles.items(), *options]
    except (SyntaxError, ValueError, TypeError, IndexError, AttributeError, RecursionError, MemoryError):
        return None


def config_field(key: object) -> str:
    """The name in a Config of a key in any spelling. Raises ConfigError for an unknown one."""
    name = str(key).lower().replace("block_size_", "block_") if isinstance(key, str) else ""
    if name in KEYS or name == "variant" or name in _OTHER_OPTIONS:
        return name
    known = [*KEYS.values(), "variant"]
    near = get_close_matches(str(key), known, n=1, cutoff=0.7) if isinstance(key, str) else []
    way_out = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
    raise ConfigError(f"unknown key {shown(key)}: {way_out}")


def _variant(value: object, variants: Sequence[str]) -> str:
    name = str(value).lower() if isinstance(value, str) else ""
    if name not in variants:
        near = get_close_matches(name, variants, n=1)
        way_out = f"did you mean {near[0]}?" if near else f"one of {', '.join(variants)}"
        raise ConfigError(f"unknown variant {shown(value)}: {way_out}")
    return name


def config_number(name: str, value: object) -> int | None:
    """A number as a file or a text gives it, None where unset. Raises ConfigError for anything else."""
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
        return None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigError(f"{name} must be a whole number, got {shown(value)}")


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _powers(name: str) -> list[int]:
    low, high = {"num_warps": NUM_WARPS_RANGE, "num_ctas": NUM_CTAS_RANGE}.get(name, TILE_RANGE)
    return [1 << shift for shift in range(10) if low <= 1 << shift <= high]


def _nearest_power(name: str, value: object) -> int:
    wanted = value if isinstance(value, int) else 0
    return min(_powers(name), key=lambda power: (abs(power - wanted), power))


def _completed(fields: Mapping[str, int | None], variant: str = "tile") -> Config:
    """A valid config near what could be read; what could not is taken from the example."""
    config = replace(EXAMPLE, block_dstate=None, variant=variant)
    for name, value in fields.items():
        if value is None:
            continue
        if name in _RANGES:
            low, high = _RANGES[name]
            value = min(max(value, low), high)
        else:
            value = _nearest_power(name, value)
        config = replace(config, **{name: value})  # type: ignore[arg-type]
    return config


def _advice(body: str, variants: Sequence[str]) -> str:
    """The way out of a text in no known form: the id nearest to its names and numbers, or the forms."""
    names = {name: name for name in KEYS} | _LETTERS
    names |= {"dstate": "block_dstate", "warps": "num_warps", "stages": "num_stages", "ctas": "num_ctas"}
    fields: dict[str, int | None] = {}
    for word, number in re.findall(r"([A-Za-z_]+)[^\w-]{0,4}([0-9]{1,6})(?![0-9])", body):
        near = get_close_matches(word.lower().replace("block_size_", "block_"), names, n=1, cutoff=0.8)
        if near:
            fields.setdefault(names[near[0]], int(number))
    if len(fields) >= 2:
        variant = next((name for name in variants if re.search(rf"\b{re.escape(name)}\b", body)), "tile")
        return f"did you mean {config_id(_completed(fields, variant))}?"
    near = get_close_matches(body.lower(), ["best", "baseline"], n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return (
        f"a config is an id such as {config_id(EXAMPLE)}, BLOCK_SIZE_M: 64, … as Triton prints it, "
        "triton.Config({…}), KEY=VALUE,…, or best, baseline or #3 of a run"
    )
