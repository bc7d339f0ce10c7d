"""Configs as tables of values, and the parameters that a kernel declares for them; no torch, no triton.

A kernel owns a `ParamTable`. Ids, parsing, columns, help, counterfactuals and "where is it wrong" all read it, so
none of them needs to know the name of a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from ssdprof.kernels.errors import ConfigError

Value: TypeAlias = int | float | str | None
"""The value of a parameter; None: not set."""


@dataclass(frozen=True, slots=True)
class Config:
    """Values by parameter, as `ParamTable.config` orders and completes them, and the variant ("" if there is one)."""

    values: tuple[tuple[str, Value], ...]
    variant: str = ""

    def __getitem__(self, name: str) -> Value:
        return dict(self.values)[name]

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
    `explain` tries beside a config's own (see `to_try`). `is_passed`: the program itself passes the default, so a
    list of configs need not have it. `aliases`: other names for it in a text.
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
    is_passed: bool = False
    axis: str = ""
    around: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.name)
        object.__setattr__(self, "heading", self.heading or self.column)

    @property
    def spellings(self) -> tuple[str, ...]:
        """All its names, in lower case."""
        return tuple(dict.fromkeys(name.lower() for name in (self.column, self.name, *self.aliases)))

    @property
    def powers(self) -> list[int]:
        """The powers of two in its range."""
        return [1 << shift for shift in range(31) if (self.low or 0) <= 1 << shift <= self.high]

    def to_try(self, value: Value) -> tuple[int, ...]:
        """The values that `explain` tries beside this one, in order: those around or, of a tile that must be set, half
        and twice.
        """
        if self.around or not (self.power_of_two and self.required and isinstance(value, int)):
            return self.around
        return value // 2, 2 * value

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
        if self.low is None and value is not None:
            return
        if self.low is None:
            raise ConfigError(f"{self.column} must have a value")
        if type(value) is int and self.low <= value <= self.high and (not self.power_of_two or value.bit_count() == 1):
            return
        rule, way_out = f"whole number from {self.low} to {self.high}", ""
        if self.power_of_two:
            rule = f"power of two from {self.powers[0]} to {self.powers[-1]}"
            way_out = f": try {self.nearest(value)}"
        raise ConfigError(f"{self.column} must be a {rule}, got {shown(value)}{way_out}")


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
_KEYWORDS = (*TRITON_DEFAULTS, "maxnreg")
"""The launch options that `triton.Config` takes by keyword; any other stands in its dictionary."""


@dataclass(frozen=True)
class ParamTable:
    """The parameters of a kernel in the order of their columns, its variants, the default one first, and an example.

    `functions`: what the kernel is called in Triton's log; empty: unknown.
    """

    params: tuple[Param, ...]
    variants: tuple[str, ...] = ("",)
    example: Config | None = None
    functions: tuple[str, ...] = ()

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
        for param in sorted(self.params, key=lambda param: not param.power_of_two):
            param.check(config[param.name])
        return config

    def id(self, config: Config) -> str:
        """The id: letters and numbers if the kernel has letters, else NAME=VALUE; unset values are left out."""
        head = f"{config.variant}:" if config.variant != self.variants[0] else ""
        lettered = self.by_letter if self.has_letters else {}
        values = {name: value + 0.0 if isinstance(value, float) else value for name, value in config.values}  # no -0.0
        pairs = [(param, values[param.name]) for param in self.params]
        letters = "".join(f"{p.letter}{value}" for p, value in pairs if p.letter in lettered and value is not None)
        rest = [(p, value) for p, value in pairs if p.letter not in lettered and (p.required or value != p.default)]
        rest.sort(key=lambda pair: self.has_letters and not pair[0].is_option)
        parts = [letters, *(f"{param.column}={value}" for param, value in rest)]
        return head + ",".join(part for part in parts if part)


def triton_kwargs(params: Iterable[Param], config: Config) -> dict[str, Any]:
    """The arguments of `triton.Config` for a config, which has no place for the variant.

    They are `kwargs`, the values that are set, and the launch options that are not at their defaults.
    """
    given = [(param, config[param.name]) for param in params if config[param.name] is not None]
    passed = {param.name for param, value in given if param.is_passed and value == param.default}
    tiles = {param.name: value for param, value in given if param.name not in (*_KEYWORDS, *passed)}
    options = {param.name: value for param, value in given if param.name in _KEYWORDS and value != param.default}
    return {"kwargs": tiles, **options}


def triton_config(params: Iterable[Param], config: Config) -> str:
    """A config in the source form of Triton's autotune lists, in one line: `triton.Config({…}, num_warps=4, …)`."""
    arguments = triton_kwargs(params, config)
    options = [f"{name}={value!r}" for name, value in arguments.items() if name != "kwargs"]
    return f"triton.Config({', '.join([repr(arguments['kwargs']), *options])})"


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
