"""A captured launch as a `Subject`: the kernel's kept source on the program's own inputs, under other configs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssdprof.kernels.captured import SUFFIX, alike, made_up, recognised, references
from ssdprof.kernels.captured.arguments import has_data, integers
from ssdprof.kernels.captured.consistency import meta
from ssdprof.kernels.captured.file import Reader, read
from ssdprof.kernels.captured.launching import Launching
from ssdprof.kernels.captured.model import CapturedLaunch, TensorArg
from ssdprof.kernels.captured.params import OWN, captured_config, own_space, table_of
from ssdprof.kernels.captured.source.texts import sources_hash
from ssdprof.kernels.config import Config, ParamTable
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import SpaceError, UsageError
from ssdprof.kernels.interface import HELD_AGAINST, Axis, Question, Remark, Space, Tensors, Tolerances
from ssdprof.kernels.launch import LaunchPlan, TensorMeta

if TYPE_CHECKING:
    import torch

OWNER = "captured"
CONTEXT_BYTES = 1 << 30
"""Room for the CUDA context and for the pieces of a comparison: an upper estimate."""
AS_CAPTURED = "the launch as captured"
AS_MADE_UP = "the captured config on made-up inputs"
MADE_UP_SETS = 2
CAPTURED = "captured"
"""Instead of FILE:FUNCTION: the launch as captured, also if the kernel is a recognised one."""
DATA_HASH = "data hash"
"""The key of an identity with the hash of all arguments; like HELD_AGAINST, no name of a Python parameter."""
_STRIDE = "stride"
_TRUSTED = ("the output of ", ", which --trust names")


def captured_subject(name: str, reference: str = "", trust: str = "") -> CapturedSubject:
    """The launch that a text names: FILE.launch, or FILE.launch:KERNEL or :NUMBER if the file has several.

    Launches that differ in their data alone are one, with several sets of inputs.
    `reference`: FILE:FUNCTION, called with the launch's arguments by name for the correct outputs; `trust`: a config
    whose output is taken for correct. Without either, a recognised kernel is held against plain PyTorch, and any other
    against the launch as captured; `reference` "captured" says so of every kernel.
    Raises UsageError for a file or launch that is not there, or that has no data, and for a bad reference.
    """
    file, _, which = name.partition(f"{SUFFIX}:")
    path = Path(file if file.endswith(SUFFIX) else f"{file}{SUFFIX}").absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {path}: `ssdprof capture -o {path.name} -- COMMAND` makes one")
    launches = _launches(str(path), _stamp(str(path)))
    index = alike.chosen(launches, which, path)
    if reference and trust:
        raise UsageError("--reference and --trust both say which output is correct: leave one of them out")
    named = reference if reference in ("", CAPTURED) else references.absolute(reference)
    subject = CapturedSubject(str(path), index, named)
    if not trust:
        return subject
    return replace(subject, trusted=subject.params.id(subject.resolve(parse_config(trust, subject.params))))


def captured_again(file: str, kernel: str, identity: Mapping[str, Any]) -> CapturedSubject:
    """The launch of a capture file that a run was of. Raises UsageError if it is not there any more."""
    held = str(identity.get(HELD_AGAINST, ""))
    trusted = held.removeprefix(_TRUSTED[0]).removesuffix(_TRUSTED[1]) if held.startswith(_TRUSTED[0]) else ""
    named = "" if trusted or held == recognised.NAME else held
    named = CAPTURED if named in (AS_CAPTURED, AS_MADE_UP) else named
    for index, *_ in alike.alike(_launches(file, _stamp(file))):
        found = CapturedSubject(file, index, named, trusted)
        if found.name == kernel and found.identity() == dict(identity):
            return found
    raise UsageError(f"the run is of a launch of {kernel} that {file} does not have any more: capture it again")


def captured_names(path: Path) -> list[str]:
    """A name for each launch of a capture file, as `captured_subject` takes it; one for several alike.

    Raises UsageError.
    """
    launches = read(path).launches
    if not launches:
        raise UsageError(f"{path} has no launch whose data was kept: capture the program again")
    return [f"{path}:{end}" for end in alike.names(launches)]


@dataclass(frozen=True)
class CapturedSubject:
    """Launch number `index` of a capture file, with those alike.

    `reference_file`: FILE:FUNCTION, or CAPTURED, or empty for what is known best; `trusted`: a config's id.
    """

    file: str
    index: int
    reference_file: str = ""
    trusted: str = ""

    default_space = OWN

    @property
    def input_sets(self) -> int:
        """The program's own inputs, a set of each launch that read other data; at least two if they are made up."""
        return max(len(self.sets), 1 if has_data(self.captured) else MADE_UP_SETS)

    @property
    def captured(self) -> CapturedLaunch:
        """What is kept of the launch; of several alike, of the first. Raises UsageError as `sets` does."""
        return self.sets[0]

    @property
    def sets(self) -> tuple[CapturedLaunch, ...]:
        """The launches alike, one for each data that they read. Raises UsageError if the file is gone or changed."""
        return alike.distinct(self._alike)

    @property
    def name(self) -> str:
        """The kernel's name, marked as captured."""
        return f"{OWNER}:{self.captured.name}"

    @property
    def params(self) -> ParamTable:
        """What its own list sets, launch options, and its other constants."""
        return _table(self.file, _stamp(self.file), self.index)

    @property
    def reference_name(self) -> str:
        """What its outputs are held against."""
        if self.trusted:
            return self.trusted.join(_TRUSTED)
        if self.reference_file not in ("", CAPTURED):
            return self.reference_file
        if self._is_recognised:
            return recognised.NAME
        return AS_CAPTURED if has_data(self.captured) else AS_MADE_UP

    def identity(self) -> dict[str, Any]:
        """The arguments: tensors by dtype and shape, anything else by value; and a hash of them and of all their data.

        Strides, and the constants that a config may set, are in the hash alone.
        """
        arguments, data = alike.told(self.sets)
        names = self.params.by_name
        told = {
            name: value
            for name, value in arguments.items()
            if name not in names and not name.lower().startswith(_STRIDE)
        }
        return {**told, DATA_HASH: data, HELD_AGAINST: self.reference_name}

    def resolve(self, config: Config) -> Config:
        """The config itself. Raises ConfigError for one that the kernel cannot take or whose grid is not known."""
        config = self.params.validated(config)
        self._launching.grid(config)
        return config

    def source_hashes(self) -> Mapping[str, str]:
        """A hash of the kernel's kept text and of all that it calls."""
        return {"": sources_hash(self.captured.sources)}

    def tensors(self) -> Mapping[str, TensorMeta]:
        """Every tensor of the launch. One that it writes in part alone counts as read: the rest is as it was."""
        launch, partial = self.captured, alike.partly_written(self.sets)
        found = {}
        for name, index in self._launching.names.items():
            kept = launch.tensors[index]
            role = "in-out" if index in partial else kept.role
            found[name] = replace(meta(kept), role=role, storage=str(kept.storage))
        return found

    def inputs(self, device: str, seed: int) -> alike.InputSet:
        """The program's own, the seed counting round its sets, or made up.

        What it writes of a partly written one is poisoned.
        """
        number, sets = seed % self.input_sets, self.sets
        launch, partial = sets[number % len(sets)], alike.partly_written(sets)
        with Reader(Path(self.file)) as reader:
            found = references.inputs(reader, launch, self._launching.names, partial, device, seed)
        return alike.InputSet(found, number, device)

    def contents(self) -> Mapping[str, Any]:
        """Its integers of the first set of inputs, as the program's launch found them."""
        with Reader(Path(self.file)) as reader:
            return integers(reader, self.captured, self._launching.names)

    def launch(self, config: Config) -> LaunchPlan:
        """The launch of a resolved config."""
        return self._launching.plan(config)

    def memory_bytes(self) -> int:
        """Of its largest set, the storages as they were before and after the launch; as much again for comparisons."""
        sizes = [sum(storage.size_bytes for storage in launch.storages) for launch in self.sets]
        return 2 * max(sizes) + CONTEXT_BYTES

    def reference(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        """The outputs of what was named, or else of plain PyTorch if it is known, or of the launch as captured.

        `inputs`: as `inputs` gave them, which know whose set they are; any others are taken for the first.
        """
        if self.trusted or self.reference_name == AS_MADE_UP:
            config = parse_config(self.trusted, self.params) if self.trusted else self.baseline()
            return references.of_launch(self.launch(config), self.tensors(), inputs)
        if self.reference_file not in ("", CAPTURED):
            return references.of_function(self.reference_file, self.captured, self.tensors(), inputs, self._launching)
        if self._is_recognised:
            return recognised.reference(self.captured, inputs)
        if not isinstance(inputs, alike.InputSet):
            inputs = alike.InputSet(inputs, 0, str(next(iter(inputs.values())).device))
        with Reader(Path(self.file)) as reader:
            launch = self.sets[inputs.number]
            return references.as_captured(reader, launch, self.tensors(), self._launching.names, inputs.device)

    def tolerances(self) -> tuple[Tolerances, ...]:
        """By output: a few roundings of the least precise dtype, or what sums by atomics differed by in the program."""
        against = self.reference_name if self.reference_name in (AS_CAPTURED, AS_MADE_UP) else ""
        return references.tolerances(self.captured, self.tensors(), against, alike.spreads(self.sets))

    def axes(self, output: str) -> Sequence[Axis]:
        """The dimensions by number: index0 is the first."""
        return [Axis(f"index{i}") for i in range(len(self.tensors()[output].shape))]

    def unordered(self) -> frozenset[str]:
        """The outputs that it sums with floating-point atomics."""
        launch = self.captured
        indices = {value.index for name in launch.float_atomics if isinstance(value := launch.args[name], TensorArg)}
        return frozenset(name for name, index in self._launching.names.items() if index in indices)

    def baseline(self) -> Config:
        """The config that the program's launch ran with."""
        return captured_config(self.captured, self.params)

    def space_names(self) -> Mapping[str, str]:
        """Its own list alone."""
        return {OWN: own_space(self.captured, self.params).description}

    def space(self, name: str, variant: str | None = None) -> Space:
        """The space of that name. Raises SpaceError."""
        self.under_variant((), variant or "")
        if name != OWN:
            raise SpaceError(f"unknown space {name!r}: only {OWN}")
        return own_space(self.captured, self.params)

    def under_variant(self, configs: Sequence[Config], variant: str) -> Sequence[Config]:
        """The configs as they are. Raises SpaceError for a variant, since there are none."""
        if variant:
            raise SpaceError(f"{self.name} has no variants: leave --variant out")
        return configs

    def question(self, _config: Config) -> Question | None:
        """None: nobody has asked yet."""
        return None

    def remarks(self, configs: Sequence[Config], _arch: str) -> Sequence[Remark]:
        """Where the kernel is from and whether it has changed, what is known of its grid, and notes of the capture."""
        launch = self.captured
        found = [Remark("note", "captured-source", references.source_line(launch))]
        if change := references.changed_line(launch):
            found.append(Remark("warning", "source-changed", change))
        if grid := self._launching.grid_remark(configs):
            found.append(Remark("note", "grid-as-captured", grid))
        if (count := len(self._alike)) > (sets := len(self.sets)):
            found.append(Remark("note", "same-inputs", references.same_inputs_line(count, sets)))
        return [*found, *(Remark("note", "capture-note", note) for note in made_up.plain_notes(launch))]

    def cause(self, _config: Config, _inputs: Tensors, _reference: Tensors, _outputs: Tensors) -> str | None:
        """None: nothing is known of the kernel but its source."""
        return None

    @property
    def _alike(self) -> tuple[CapturedLaunch, ...]:
        return _alike(self.file, _stamp(self.file), self.index)

    @property
    def _is_recognised(self) -> bool:
        """Whether plain PyTorch gives the correct outputs, and was not declined."""
        return self.reference_file != CAPTURED and recognised.recognised(self.captured)

    @property
    def _launching(self) -> Launching:
        return _prepared(self.file, _stamp(self.file), self.index)


def _stamp(file: str) -> int:
    """When a file was written. Raises UsageError if it is gone."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError as error:
        raise UsageError(f"{file} cannot be read any more: {error.strerror}; capture the program again") from None


@lru_cache(maxsize=16)
def _launches(file: str, _mtime_ns: int) -> tuple[CapturedLaunch, ...]:
    return read(Path(file)).launches


@lru_cache(maxsize=16)
def _alike(file: str, mtime_ns: int, index: int) -> tuple[CapturedLaunch, ...]:
    launches = _launches(file, mtime_ns)
    for group in alike.alike(launches):
        if index in group:
            return tuple(launches[number] for number in group)
    raise UsageError(f"{file} was replaced: it has {len(launches)} launches; name the launch again")


@lru_cache(maxsize=16)
def _table(file: str, mtime_ns: int, index: int) -> ParamTable:
    return table_of(_alike(file, mtime_ns, index)[0])


@lru_cache(maxsize=16)
def _prepared(file: str, mtime_ns: int, index: int) -> Launching:
    return Launching(_alike(file, mtime_ns, index)[0], _table(file, mtime_ns, index))
