"""Problems by the name of a published model: the shape of one layer's chunk scan, before any parallelism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from ssdprof.kernels.config import shown
from ssdprof.kernels.errors import ProblemError
from ssdprof.kernels.interface import ListedPreset
from ssdprof.kernels.ssd.problem import DTYPE_ALIASES, ChunkScanProblem

DEFAULT_PRESET = "nemotron-3-super"
DEFAULT_SEQLEN = 50_000


@dataclass(frozen=True, slots=True)
class Preset:
    """The fields of a `ChunkScanProblem` that a model sets, in elements, and where they are published: model, file."""

    nheads: int
    headdim: int
    ngroups: int
    dstate: int
    chunk_size: int
    source: str
    dtype: str = "bfloat16"

    def as_fields(self) -> dict[str, Any]:
        """The fields of a problem by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "source"}

    @property
    def model(self) -> str:
        """The model's name, with which its source begins."""
        return self.source.partition(", ")[0]


def _mamba2(size: str, d_model: int) -> Preset:
    """A published Mamba-2: expand 2, so nheads = 2·d_model / headdim."""
    source = f"state-spaces/mamba2-{size}, config.json (d_model {d_model}); the rest are mamba_ssm Mamba2's defaults"
    return Preset(2 * d_model // 64, 64, 1, 128, 256, source)


_MAMBA2 = {"130m": 768, "370m": 1024, "780m": 1536, "1.3b": 2048, "2.7b": 2560}
PRESETS: Mapping[str, Preset] = {
    "nemotron-3-super": Preset(128, 64, 8, 128, 128, "NVIDIA Nemotron 3 Super, config.json (mamba_num_heads 128)"),
    "nemotron-3-nano": Preset(64, 64, 8, 128, 128, "NVIDIA Nemotron 3 Nano, config.json (mamba_num_heads 64)"),
    **{f"mamba2-{size}": _mamba2(size, d_model) for size, d_model in _MAMBA2.items()},
    "codestral-mamba-7b": Preset(
        128, 64, 8, 128, 256, "mistralai/Mamba-Codestral-7B-v0.1, config.json (hidden_size 4096, expand 2)"
    ),
}


def listed_presets() -> tuple[ListedPreset, ...]:
    """Every preset with what it sets, the default first."""
    return tuple(
        ListedPreset(name, preset.as_fields(), preset.model, preset.source, name == DEFAULT_PRESET)
        for name, preset in PRESETS.items()
    )


def problem_from(preset: str = DEFAULT_PRESET, *, seqlen: int | None = None, **overrides: Any) -> ChunkScanProblem:
    """The problem of a preset at `seqlen` tokens (default 50 000), with any of its fields overridden.

    An override of None counts as not given, so a command can pass on every option it has. Dtypes may have their short
    names (bf16, fp16, fp32). Raises ProblemError for an unknown preset or field, and if no such problem can exist.
    """
    if preset not in PRESETS:
        near = get_close_matches(str(preset).lower(), PRESETS, n=1, cutoff=0.5)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise ProblemError(f"unknown preset {shown(preset)}: one of {', '.join(PRESETS)}.{guess}")
    known = {field.name for field in fields(ChunkScanProblem)}
    given = {name: value for name, value in overrides.items() if value is not None}
    if unknown := [name for name in given if name not in known]:
        raise ProblemError(f"a problem has no {shown(unknown[0])}: its fields are {', '.join(sorted(known))}")
    values = PRESETS[preset].as_fields() | given
    for name in ("dtype", "states_dtype"):
        if isinstance(values.get(name), str):
            values[name] = DTYPE_ALIASES.get(values[name].lower(), values[name].lower())
    return ChunkScanProblem(seqlen=DEFAULT_SEQLEN if seqlen is None else seqlen, **values)
