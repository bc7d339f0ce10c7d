"""What the models of traffic and work add to the time that a sweep compiles, without a GPU and with empty caches.

CPU seconds are of all processes of the sweep, so that what else the machine does matters little. With --parts, one
process compiles and models the same configs and says where the CPU time goes.
Criterion: models take at most 20 % of the CPU time and of the wall time of compiling. Exit code 0 if met, 1 if not.

    python benchmarks/model_cost.py --every 10
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from sweeps import at_least, parser_of, table, temporary_folder, verdict

from ssdprof.kernels.config import Config
from ssdprof.kernels.ssd.presets import DEFAULT_PRESET, PRESETS, problem_from
from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.sweep.added.modelling import TOGETHER
from ssdprof.profiling.sweep.request import Event, SweepRequest

MOST_OF_COMPILING = 0.20
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall and CPU seconds since some moment, the latter of this process and all that it started."""

    wall_s: float
    cpu_s: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 if the models cost little enough."""
    parser = parser_of(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET, help="the problem")
    parser.add_argument("--space", default="all", help="the configs")
    parser.add_argument("--every", type=at_least(1), default=1, help="take every n-th tile of the space")
    parser.add_argument("--jobs", type=at_least(1), default=2, help="processes that compile")
    parser.add_argument("--parts", action="store_true", help="say where the CPU time goes")
    given = parser.parse_args(argv)
    subject = ChunkScan(problem_from(given.preset))
    configs = chosen(subject, given.space, given.every)
    with temporary_folder() as folder:
        os.environ |= {"TRITON_CACHE_DIR": str(Path(folder, "triton")), "XDG_DATA_HOME": str(Path(folder, "data"))}
        if given.parts:
            print(table(("part", "calls", "CPU ms a config", "of compiling"), parts(subject, configs)))
            return 0
        compiling, modelling = swept(subject, configs, given.jobs)
    rows = [
        (name, f"{one.cpu_s:.1f}", f"{one.wall_s:.1f}")
        for name, one in zip(("compiling", "models"), (compiling, modelling), strict=True)
    ]
    print(table((f"{len(configs)} configs", "CPU s", "wall s"), rows))
    shares = modelling.cpu_s / compiling.cpu_s, modelling.wall_s / compiling.wall_s
    met = max(shares) <= MOST_OF_COMPILING
    print(verdict(met, "models take {:.1%} of compiling's CPU time and {:.1%} of its wall time".format(*shares)))
    return 0 if met else 1


def chosen(subject: ChunkScan, space: str, every: int) -> tuple[Config, ...]:
    """Every n-th tile of the space, with all its warps and stages."""
    tiles: dict[str, list[Config]] = {}
    for config in map(subject.resolve, subject.space(space).configs):
        plan = subject.launch(config)
        tiles.setdefault(f"{plan.function} {plan.grid} {plan.args}", []).append(config)
    return tuple(config for tile in list(tiles.values())[::every] for config in tile)


def swept(subject: ChunkScan, configs: tuple[Config, ...], jobs: int) -> tuple[Spent, Spent]:
    """What a sweep of the configs spends until all are compiled, and from then on."""
    from ssdprof.profiling.sweep.sweep import Sweep

    compiled: list[Spent] = []

    def on_event(event: Event) -> None:
        if event.phase == "modelling" and not compiled:
            compiled.append(spent())

    begin = spent()
    run = Sweep(SweepRequest(subject, "all", configs, "sm_90", jobs=jobs, models=True), on_event, lambda _: None).run()
    end = spent()
    if not compiled or not all(row.model for row in run.rows if row.compiled):
        sys.exit("some configs have no model")
    return compiled[0] - begin, end - compiled[0]


def spent() -> Spent:
    """Until now, by this process and those that it started, whether they have ended or not."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    ahead, ticks = [os.getpid()], 0
    for pid in ahead:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))  # user and system, its own and of children that have ended
        ahead += children.get(pid, [])
    return Spent(time.monotonic(), ticks / TICKS_PER_S)


def parts(subject: ChunkScan, configs: tuple[Config, ...]) -> list[tuple[str, str, str, str]]:
    """Where the CPU time of compiling and modelling goes, in this process and nvdisasm's."""
    from ssdprof.profiling.binary.compiler import compile_launch, warm_up
    from ssdprof.profiling.binary.sass import executed, together
    from ssdprof.profiling.hardware.ceilings import size_of
    from ssdprof.profiling.traffic import model, modelled, trace

    size = size_of("sm_90", "")
    assert size is not None
    warm_up()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    plans = [subject.launch(config) for config in configs]
    took: dict[str, list[float]] = {}
    timed(took, "compiling", compile_launch)(plans[0], "sm_90")
    took.clear()  # the first compilation loads what the others have
    for plan in plans[1:]:
        timed(took, "compiling", compile_launch)(plan, "sm_90")
    for module, name in (
        (together, "_at_once"), (together, "listing"), (modelled, "executed"), (executed, "matched"),
        (modelled, "Follower"), (model.pilots, "pilot"), (model, "accesses"), (trace.Accesses, "trace"),
        (model._Known, "reuse"), (model.Follower, "_summed"), (model.Follower, "traffic"),
        (modelled, "compiled_kernel"),
    ):  # fmt: skip
        setattr(module, name, timed(took, f"  {name.strip('_')}", getattr(module, name)))
    for begin in range(0, len(plans), TOGETHER):
        some = plans[begin : begin + TOGETHER]
        timed(took, "models", modelled.launch_models)(some, subject.tensors(), "sm_90", size)
    whole_s = sum(took["compiling"])
    return [
        (name, str(len(each)), f"{1000 * sum(each) / len(plans):.1f}", f"{sum(each) / whole_s:.1%}")
        for name, each in took.items()
    ]


def timed(took: dict[str, list[float]], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which adds the CPU seconds of each call to those of its name."""

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        begin_s = cpu_s()
        try:
            return function(*given, **named)
        finally:
            took.setdefault(name, []).append(cpu_s() - begin_s)

    return call


def cpu_s() -> float:
    """Of this process and its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


if __name__ == "__main__":
    sys.exit(main())
