"""`ssdprof.explain` on a real GPU: the answer first, then the config and each change of it, checked and timed."""

from __future__ import annotations

import pytest

import ssdprof
from ssdprof.profiling.diagnosis.counterfactuals import counterfactuals, most_helpful
from ssdprof.profiling.runs.model import Explanation

pytestmark = pytest.mark.gpu


def test_each_change_has_a_status_of_its_own_and_correct_ones_a_latency_beside_the_configs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # no run of the user's
    answers: list[Explanation] = []
    found = ssdprof.explain("m64n64k32d128w2s4", ssdprof.subject(seqlen=2048), on_answer=answers.append)

    assert [()] == [one.neighbours for one in answers]
    assert ("ok", "") == (found.row.status, found.row.status_reason)
    assert found.row.timing is not None
    assert f"measured on {found.header.provenance}" == found.latency_source
    changes = counterfactuals(found)
    assert {"wrong"} == {one.row.status for one in changes if one.param.column == "block_dstate"}
    for one in changes:
        assert one.row.status not in ("not-run", "timeout", "launch-error")
        assert (one.row.status == "ok") == (one.times_as_fast is not None)
    fastest = [one for one in changes if one.finding == "faster"]
    assert changes[: len(fastest)] == tuple(fastest)
    said = most_helpful(found)
    assert said is not None
    assert ("change-helps" if fastest else "no-change-helps") == said.code
