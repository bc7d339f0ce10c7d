"""A subject that is not the chunk scan on a real GPU: two outputs, one read and written, in one storage with gaps."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_kernel import fake

from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.gpu.devices import gpus
from ssdprof.profiling.runs.measured import TimedBy
from ssdprof.profiling.sweep.request import SweepRequest
from ssdprof.profiling.sweep.sweep import sweep

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("timed_by", ["events", "graph"])
def test_correct_configs_are_ranked_and_an_output_that_forgets_what_was_there_is_wrong(
    monkeypatch: pytest.MonkeyPatch, timed_by: TimedBy
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import accumulate as planted

    subject, gpu = planted.Accumulate(rows=10_000, columns=192), gpus()[0]
    correct = [fake("adds", rows, LANES=lanes) for rows in (1, 4, 16) for lanes in (64, 128, 256)]
    wrong = fake(planted.FORGETS, 4, LANES=64)
    request = SweepRequest(
        subject=subject,
        space="all",
        configs=(*correct, wrong),
        arch=gpu.arch,
        gpu=gpu,
        seed=0,
        baseline=correct[0],
        jobs=4,
        timeout_s=60.0,
        command="test",
        budget_s=1.0,
        timed_by=timed_by,
    )

    run = sweep(request, lambda _: None, lambda _: None)

    rows = {row.config: row for row in run.rows}
    told = {subject.params.id(config): (rows[config].status, rows[config].status_reason) for config in correct}
    assert dict.fromkeys(told, ("ok", "")) == told
    assert set(correct) == {row.config for row in run.ranked}
    assert all(row.timing and row.timing.timed_by == timed_by for row in run.ranked)
    assert ("wrong", None) == (rows[wrong].status, rows[wrong].rank)
    assert rows[wrong].status_reason.startswith("total: ")
    assert "by-construction-disagrees" in {one.code for one in statements(run)}
