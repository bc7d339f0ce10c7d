"""Configs as tables of values, and the parameters that a kernel declares for them; no torch, no triton.

A kernel owns a `ParamTable`. Ids, parsing, columns, help, counterfactuals and "where is it wrong" all read it, so
none of them needs to know the name of a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from ssdprof.kernels.errors import ConfigError

Value: TypeAlias = int | float | str | None
"""The value of a parameter; None: not set."""


@dataclass(frozen=True, slots=True)
class Config:
    """Values by parameter, in the order of the kernel's table, and the kernel variant ("" if there is only one).

    `ParamTable.config` makes one with a value for every parameter, so equal configs have equal ids.
    """

    values: tuple[tuple[str, Value], ...]
    variant: str = ""

    def __getitem__(self, name: str) -> Value:
        """The value of a parameter. Raises KeyError if the config lacks it."""
        for known, value in self.values:
            if known == name:
                return value
        raise KeyError(name)

    def number(self, name: str) -> int:
        """The value of a parameter that is set to a whole number."""
        value = self[name]
        assert isinstance(value, int), f"{name} is {value!r}"
        return value

    def with_values(self, changes: Mapping[str, Value]) -> Config:
        """The config with some parameters changed."""
        return replace(self, values=tuple((name, changes.get(name, value)) for name, value in self.values))


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a config: a meta-parameter of the kernel, or an option of the launch.

    `name` is the kernel's own; `column` is its name in CSV files (default: `name`); `letter` stands for it in the short
    id. It takes whole numbers from `low` to `high`, powers of two if `power_of_two`; `low` None takes any value.
    A `required` parameter has no default. `axis`: the output dimension that it tiles, if any. `around`: values that
    `explain` tries beside a config's own. `aliases`: other names for it in a text.
    """

    name: str
    column: str = ""
    letter: str = ""
    heading: str = ""
    unit: str = ""
    description: str = ""
    low: int | None = None
    high: int = 2**31 - 1
    power_of_two: bool = False
    required: bool = False
    default: Value = None
    is_option: bool = False
    axis: str = ""
    around: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("column", "heading"):
            if not getattr(self, name):
                object.__setattr__(self, name, self.column if name == "heading" else self.name)

    @property
    def spellings(self) -> tuple[str, ...]:
        """All its names, in lower case."""
        return tuple(dict.fromkeys(name.lower() for name in (self.column, self.name, *self.aliases)))

    @property
    def powers(self) -> list[int]:
        """The powers of two in its range."""
        return [1 << shift for shift in range(31) if (self.low or 0) <= 1 << shift <= self.high]

    def nearest(self, value: object) -> int:
        """The valid number nearest to `value`."""
        wanted = value if isinstance(value, int) else 0
        if self.power_of_two:
            return min(self.powers, key=lambda power: (abs(power - wanted), power))
        return min(max(wanted, self.low or 0), self.high)

    def check(self, value: Value) -> None:
        """Raises ConfigError for a value that it cannot take."""
        if value is None and not self.required and self.default is None:
            return
        if self.low is None:
            if value is None:
                raise ConfigError(f"{self.column} must have a value")
            return
        if type(value) is int and self.low <= value <= self.high and (not self.power_of_two or value.bit_count() == 1):
            return
        if self.power_of_two:
            powers = self.powers
            raise ConfigError(
                f"{self.column} must be a power of two from {powers[0]} to {powers[-1]}, got {shown(value)}: "
                f"try {self.nearest(value)}"
            )
        raise ConfigError(f"{self.column} must be a whole number from {self.low} to {self.high}, got {shown(value)}")


NUM_WARPS = Param(
    "num_warps", letter="w", heading="warps", unit="warps", description="warps per block, as asked for",
    low=1, high=32, power_of_two=True, required=True, is_option=True, around=(1, 2, 4, 8), aliases=("warps",),
)  # fmt: skip
"""Up to CUDA's 1024 threads per block."""
NUM_STAGES = Param(
    "num_stages", letter="s", heading="stages", unit="stages", description="stages of the software pipeline",
    low=1, high=32, required=True, is_option=True, around=(1, 2, 3, 4, 5), aliases=("stages",),
)  # fmt: skip
MAXNREG = Param(
    "maxnreg", letter="r", unit="registers", description="cap on registers per thread; empty: none",
    low=16, high=255, is_option=True,
)  # fmt: skip
"""Up to the last register that an instruction can name."""
NUM_CTAS = Param(
    "num_ctas", heading="CTAs", unit="blocks", description="blocks of a cluster",
    low=1, high=16, power_of_two=True, default=1, is_option=True, aliases=("ctas",),
)  # fmt: skip
"""Up to CUDA's largest, non-portable cluster."""
TRITON_DEFAULTS: Mapping[str, int] = {"num_warps": 4, "num_stages": 3, "num_ctas": 1}
"""The defaults of `triton.Config`."""
_PRINTED_ORDER = ("num_warps", "num_ctas", "num_stages", "maxnreg")


@dataclass(frozen=True)
class ParamTable:
    """The parameters of a kernel in the order of their columns, its variants, and a config to show as an example.

    The first variant is the default; a kernel without variants has one named "".
    """

    params: tuple[Param, ...]
    variants: tuple[str, ...] = ("",)
    example: Config | None = None

    def __iter__(self) -> Iterator[Param]:
        return iter(self.params)

    @cached_property
    def by_name(self) -> Mapping[str, Param]:
        """Parameters by name."""
        return {param.name: param for param in self.params}

    @cached_property
    def by_spelling(self) -> Mapping[str, Param]:
        """Parameters by each of their spellings, in lower case."""
        return {spelling: param for param in reversed(self.params) for spelling in param.spellings}

    @cached_property
    def by_letter(self) -> Mapping[str, Param]:
        """Parameters by their letter in the short id."""
        return {param.letter: param for param in self.params if param.letter}

    @cached_property
    def has_letters(self) -> bool:
        """Whether there is a short id: every required parameter has a letter."""
        return all(param.letter for param in self.params if param.required)

    @cached_property
    def shape_params(self) -> tuple[Param, ...]:
        """The meta-parameters of the kernel itself."""
        return tuple(param for param in self.params if not param.is_option)

    def config(self, values: Mapping[str, Value], variant: str | None = None) -> Config:
        """A valid config with these values by name, the rest at their defaults.

        Raises ConfigError for a missing required parameter and for a value that breaks a rule.
        """
        full = {param.name: values.get(param.name, param.default) for param in self.params}
        return self.validated(Config(tuple(full.items()), self.variants[0] if variant is None else variant))

    def validated(self, config: Config) -> Config:
        """The config itself. Raises ConfigError for a missing parameter or a value that breaks a rule."""
        if [name for name, _ in config.values] != list(self.by_name):
            raise ConfigError(f"a config of this kernel sets {', '.join(self.by_name)}")
        if config.variant not in self.variants:
            raise ConfigError(f"unknown variant {shown(config.variant)}: one of {', '.join(self.variants)}")
        ordered = sorted(self.params, key=lambda param: not param.power_of_two)
        for param in ordered:
            param.check(config[param.name])
        return config

    def id(self, config: Config) -> str:
        """The id: letters and numbers if the kernel has letters, else NAME=VALUE; unset values are left out."""
        head = f"{config.variant}:" if config.variant != self.variants[0] else ""
        letters, rest = [], []
        for param in self.params:
            value = config[param.name]
            if self.has_letters and param.letter:
                letters += [] if value is None else [f"{param.letter}{value}"]
            elif param.required or value != param.default:
                rest.append(param)
        if self.has_letters:
            rest.sort(key=lambda param: not param.is_option)
        return head + ",".join(["".join(letters)] * bool(letters) + [f"{p.column}={config[p.name]}" for p in rest])

    def triton_form(self, config: Config) -> str:
        """The config as Triton prints it: `BLOCK_SIZE_M: 64, …, maxnreg: None`. It has no place for the variant."""
        return ", ".join(f"{name}: {value}" for name, value in self._printed(config))

    def autotune_form(self, config: Config) -> str:
        """The config as in an `@triton.autotune` list: `triton.Config({…}, num_stages=4, num_warps=2)`, no variant."""
        tiles = ", ".join(f"{name!r}: {value!r}" for name, value in self._printed(config) if self._is_meta(name))
        options = f"num_stages={config['num_stages']}, num_warps={config['num_warps']}"
        for name, unset in (("num_ctas", 1), ("maxnreg", None)):
            if name in self.by_name and config[name] != unset:
                options += f", {name}={config[name]}"
        return f"triton.Config({{{tiles}}}, {options})"

    def key_value_form(self, config: Config) -> str:
        """`BLOCK_SIZE_M=64,…,num_stages=4`, then values that are not at their defaults, and the variant."""
        unset = {("num_ctas", 1), ("maxnreg", None)}
        pairs = [f"{name}={value}" for name, value in self._printed(config) if (name, value) not in unset]
        if config.variant != self.variants[0]:
            pairs.append(f"variant={config.variant}")
        return ",".join(pairs)

    def _is_meta(self, name: str) -> bool:
        return not self.by_name[name].is_option

    def _printed(self, config: Config) -> list[tuple[str, Value]]:
        """Names and values in the order in which Triton prints them, without meta-parameters that are not set."""
        meta = [(p.name, config[p.name]) for p in self.shape_params if config[p.name] is not None]
        return meta + [(name, config[name]) for name in _PRINTED_ORDER if name in self.by_name]


def shown(value: object) -> str:
    """`value` in one short printable line, for a message; quoted and escaped unless it is plain."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    if not isinstance(value, str | int | float | None):  # a file's nested value may be endless
        return f"a {type(value).__name__}"
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    plain = not isinstance(value, str) or re.fullmatch(r"[\w:,=#.+-]+", text, re.ASCII)
    return text if plain and text.isprintable() else repr(text)
