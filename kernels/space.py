"""A subject's space: by name, from a file, around a config, or crossed with values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeAlias

from ssdprof.kernels.config import Config, Param, Value, shown
from ssdprof.kernels.config_text import param_of, value_of
from ssdprof.kernels.errors import ConfigError, SpaceError, UsageError
from ssdprof.kernels.interface import ListedSpace, Space, Spaced, Subject
from ssdprof.kernels.space_file import CONFIGS_MAX, SUFFIXES, read_space_file

Values: TypeAlias = Mapping[str, Sequence[object]]


def space_of(
    subject: Subject, name_or_path: str | None = None, *, variant: str | None = None, values: Values | None = None
) -> Space:
    """The space with that name, the one in a .json, .yaml or .yml file, or the subject's default.

    `variant` replaces that of the configs, each of which is combined with each of `values`. Raises SpaceError for what
    is unknown or cannot be read, an entry that is not a config (named), and a space that is empty or too large.
    """
    default, known = (subject.default_space, subject.space_names()) if isinstance(subject, Spaced) else ("", {})
    name = name_or_path or default
    if isinstance(subject, Spaced) and name in known:
        found = subject.space(name, variant)
    elif Path(name).suffix.lower() in SUFFIXES:
        found = _from_file(subject, Path(name), variant)
    else:
        files = f"the path of a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        if not known:
            raise SpaceError(f"{subject.name} has no spaces of its own: give {files}")
        near = get_close_matches(name, known, n=1)
        guess = f", did you mean {near[0]}? One" if near else ": one"
        raise SpaceError(f"unknown space {shown(name)}{guess} of {', '.join(known)}, or {files}")
    return _crossed_with(subject, found, values)


def space_around(subject: Subject, config: Config, variant: str | None = None, values: Values | None = None) -> Space:
    """The config and its neighbours; `variant` and `values` are as for `space_of`.

    Raises ConfigError if the kernel cannot take the config, SpaceError as `space_of` does.
    """
    centres: Sequence[Config] = (subject.resolve(config),)
    name = f"around {subject.params.id(centres[0])}"
    if variant is not None:
        centres = [subject.resolve(one) for one in _under_variant(subject, centres, variant)]
    groups = [members for one in centres for members in ([one], *neighbours(subject, one).values())]
    configs = tuple(member for members in groups for member in members)
    return _crossed_with(subject, Space(name, configs, "a config, and with one parameter changed at a time"), values)


def neighbours(subject: Subject, config: Config) -> dict[Param, list[Config]]:
    """A resolved config with each value to try of a parameter, its own among them, in order, by parameter.

    Values that the kernel cannot take are left out, as are parameters with no value to try.
    """
    groups: dict[Param, list[Config]] = {}
    for param in subject.params:
        values = param.to_try(config[param.name])
        if not values or config[param.name] is None:
            continue
        for value in sorted({*values, config.number(param.name)}):
            with suppress(ConfigError):
                groups.setdefault(param, []).append(subject.resolve(config.with_values({param.name: value})))
    return {param: members for param, members in groups.items() if len(members) > 1}


def listed_spaces(subject: Subject) -> tuple[ListedSpace, ...]:
    """Each space of a subject, with the number of its configs on the problem. Raises SpaceError if it has none."""
    if not isinstance(subject, Spaced):
        raise SpaceError(f"{subject.name} has no spaces of its own: --space takes the path of a file")
    return tuple(_listed(subject, name, text) for name, text in subject.space_names().items())


def _listed(subject: Spaced, name: str, description: str) -> ListedSpace:
    is_default = name == subject.default_space
    try:
        configs = len(set(subject.space(name).configs))
    except SpaceError as error:
        return ListedSpace(name, None, description, is_default, str(error))
    return ListedSpace(name, configs, description, is_default)


def values_from(texts: Sequence[str]) -> dict[str, list[object]]:
    """The values of each text `NAME=1,2,3`, by name. Raises UsageError for any other text and for a repeated name."""
    found: dict[str, list[object]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        items = [item.strip() for item in listed.split(",")]
        if not equals or not name.strip() or not all(items):
            raise UsageError(f"--values {shown(text)}: give NAME=VALUE,VALUE,…, such as num_warps=2,4")
        if name.strip() in found:
            raise UsageError(f"--values names {shown(name.strip())} twice: give all of its values once")
        found[name.strip()] = list(items)
    return found


def _from_file(subject: Subject, path: Path, variant: str | None) -> Space:
    sizes = {name.lower(): size for name, size in subject.identity().items() if type(size) is int}
    name, configs, own_variant = read_space_file(path, subject.params, sizes, partial(_completed, subject))
    wanted = own_variant if variant is None else variant
    if wanted is not None:
        try:
            configs = list(_under_variant(subject, configs, wanted))
        except SpaceError as error:
            raise SpaceError(f"{path}, variant: {error}" if variant is None else str(error)) from None
    return Space(name, tuple(configs), f"configs of {path.name}")


def _under_variant(subject: Subject, configs: Sequence[Config], variant: str) -> Sequence[Config]:
    if isinstance(subject, Spaced):
        return subject.under_variant(configs, variant)
    raise SpaceError(f"{subject.name} has no variants: leave --variant out")


def _completed(subject: Subject, config: Config) -> Config:
    """The config as the kernel resolves it; unchanged if the kernel cannot take it."""
    try:
        return subject.resolve(config)
    except ConfigError:
        return config


def _crossed_with(subject: Subject, space: Space, values: Values | None) -> Space:
    """The space with each of its configs under each of the values, and each config once."""
    listed: dict[Param, list[Value]] = {}
    name = ""
    try:
        for name, given in (values or {}).items():
            param = param_of(name, subject.params)
            if param is None or param in listed:
                raise ConfigError(f"{param.column} is given twice" if param else "it cannot be swept")
            listed[param] = [value_of(param, value) for value in given]
            for value in listed[param]:
                param.check(value)
    except ConfigError as error:
        raise SpaceError(f"--values {name}: {error}") from None
    changes = [dict(zip((p.name for p in listed), each, strict=True)) for each in product(*listed.values())]
    if len(changes) * len(space.configs) > CONFIGS_MAX:
        raise SpaceError(f"--values: {len(changes) * len(space.configs)} configs, a space has at most {CONFIGS_MAX}")
    configs = dict.fromkeys(config.with_values(change) for config in space.configs for change in changes)
    return replace(space, configs=tuple(configs))
