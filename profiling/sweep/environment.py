"""What a sweep needs of this machine to compile, tried before the work; and what it needs of the architecture."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ssdprof.kernels.errors import ConfigError, UsageError
from ssdprof.kernels.launch import LaunchPlan, capability
from ssdprof.profiling.binary.needs import Toolchain, ToolchainError
from ssdprof.profiling.runs.state import RunState
from ssdprof.profiling.runs.store import check_resumable
from ssdprof.profiling.sweep.records import run_header
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.workers.pool import Pool
from ssdprof.profiling.workers.worker import Failure

TOOLCHAIN = "ssdprof.profiling.binary.toolchain:toolchain"
ANSWER_TIMEOUT_S = 120.0
"""Imports of Triton from a slow disk included."""
FIRST_WITH_TENSOR_CORES = "sm_80"
"""The first architecture whose tensor cores Triton uses: a product on an earlier one becomes a loop of FMAs."""


def check_arch(arch: str, force: bool) -> None:
    """Raises UsageError for an architecture that takes minutes a config, unless `force`."""
    if capability(arch) < capability(FIRST_WITH_TENSOR_CORES) and not force:
        raise UsageError(
            f"{arch} has no tensor-core path in Triton, so that a config can take minutes to compile: name "
            f"{FIRST_WITH_TENSOR_CORES} or later with --arch, or give --force to compile all the same"
        )


def with_toolchain(
    request: SweepRequest,
    pool: Pool,
    warn: Callable[[str], None],
    path: Path | None = None,
    state: RunState | None = None,
) -> SweepRequest:
    """The request with the ptxas that it will use, once everything that compiling needs here was tried.

    `warn` hears of variables that name nothing that can be used. Raises ToolchainError if no config could compile, and
    RunError if the run of `state`, in `path`, was compiled by another ptxas.
    """
    arguments = (request.arch, _first_plan(request), request.gpu is not None)
    found: Toolchain | Failure = pool.ask(TOOLCHAIN, *arguments, timeout_s=ANSWER_TIMEOUT_S)
    if isinstance(found, Failure):
        if found.error == ToolchainError.__name__:
            raise ToolchainError(found.message)
        raise ToolchainError(
            f"compiling could not be tried, so no config would compile: {found.line}: see whether `python -c 'import "
            "triton'` works here, and unset variables whose names begin with TRITON_"
        )
    for warning in found.warnings:
        warn(warning)
    request = replace(request, ptxas=found.ptxas)
    if state is not None and path is not None:
        check_resumable(path, state.header, run_header(request))
    return request


def _first_plan(request: SweepRequest) -> LaunchPlan | None:
    """The launch of the first config that the kernel takes."""
    for config in request.configs:
        with suppress(ConfigError):
            return request.subject.launch(request.subject.resolve(config))
    return None
