"""Thirty planted faults on a real GPU: each costs its own row, which says what is wrong, and nothing else."""

import sys
from pathlib import Path

import pytest

from ssdprof.kernels.ssd.params import chunk_scan_config
from ssdprof.profiling.gpu.devices import gpus
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.sweep.sweep import sweep

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("gated", "count"), [(False, 28), (True, 2)])
def test_each_fault_gets_its_status_and_reason_and_the_sound_configs_among_them_are_ranked(
    monkeypatch: pytest.MonkeyPatch, gated: bool, count: int
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import faulty_kernels as planted

    planted_here = planted.GATED_FAULTS if gated else planted.FAULTS
    sound = [chunk_scan_config(64, 64, 32, 128, warps, stages) for warps in (4, 2) for stages in (1, 2, 3, 4)]
    faults = [fault.config for fault in planted_here.values()]
    configs = [sound[0]]
    for i_sound, config in enumerate(sound[1:]):  # one or more faults before each of them, and a sound one at the end
        configs += [*faults[i_sound :: len(sound) - 1], config]
    gpu, subject = gpus()[0], planted.FaultyChunkScan(planted.GATED if gated else planted.PROBLEM)
    request = SweepRequest(
        subject=subject,
        space="faults",
        configs=tuple(configs),
        arch=gpu.arch,
        gpu=gpu,
        seed=0,
        baseline=planted.RIGHT,
        jobs=8,
        timeout_s=planted.TIMEOUT_S,
        command="test",
        budget_s=2.0,
    )

    run = sweep(request, lambda _: None, lambda *_: None)

    rows = {row.config_id: row for row in run.rows}
    assert len(configs) == len(rows)
    told = {name: rows[subject.params.id(fault.config)] for name, fault in planted_here.items()}
    missed = {
        name: (told[name].status, told[name].status_reason)
        for name, fault in planted_here.items()
        if told[name].status != fault.status or fault.words not in told[name].status_reason
    }
    print(f"faults: {len(told) - len(missed)} of {len(told)}")
    for name, row in told.items():
        print(f"  {name}: {row.status}: {row.status_reason}")
    assert {} == missed
    assert count == len(told)
    assert all("\n" not in row.status_reason for row in told.values())
    unsound = {name: (rows[name].status, rows[name].status_reason) for name in map(subject.params.id, sound)}
    assert dict.fromkeys(map(subject.params.id, sound), ("ok", "")) == unsound
    assert {subject.params.id(config) for config in sound} == {row.config_id for row in run.ranked}
    assert all(row.timing is not None for row in run.ranked)
    assert "faulty_kernels" in sys.modules  # so the workers found it as this process does
