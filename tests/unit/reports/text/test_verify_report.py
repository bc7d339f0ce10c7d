"""What a verification shows: the report, its verdicts, JSON and CSV."""

from __future__ import annotations

import json
from dataclasses import replace

from fake_ncu import GOLDEN
from fake_runs import screen

from ssdprof.profiling.ncu.program import RULE_COLUMN
from ssdprof.profiling.ncu.verify import FIGURES, Comparison, Unchecked, Verification
from ssdprof.reports.text.verify import METRICS as COMPARED_WITH
from ssdprof.reports.text.verify import statements, verdict, verify_csv, verify_json, verify_report
from ssdprof.reports.words.verification import words

EQUAL = Comparison("m64n64k32d128w2s4", "driver", "blocks_per_sm", "4", "4", "equal")
DIFFERS = Comparison("m64n64k32d128w2s4", "ncu", "limit_registers_blocks", "4", "5", "differs")
KNOWN = Comparison("m64n64k32d128w2s4", "ncu", "rule_sentence", "by a, b, and c.", "by a, and c.", "known")
FOUND = Verification("mamba", "sm_90", "NVIDIA H100, driver 580", "2025.3.1", 1, (EQUAL, DIFFERS, KNOWN))


def test_the_report_shows_agreements_every_difference_and_the_verdict() -> None:
    found = replace(
        FOUND,
        launches=2,
        unchecked=(Unchecked("m16n16k16d16w1s1", "does not compile"),),
        limits_compared=10,
        limits_differences=("blocks per SM: the driver says 24, limits.json 32 for sm_90",),
        notes=("Something was not asked",),
    )
    assert lines(found) == REPORT.strip("\n").splitlines()


REPORT = """
verified      mamba, 2 launches
architecture  sm_90
GPU           NVIDIA H100, driver 580
ncu           2025.3.1

Equal figures
Figure                  Compared with                                 Driver                    ncu
blocks_per_sm           cuOccupancyMaxActiveBlocksPerMultiprocessor   1 of 1
limit_registers_blocks  launch__occupancy_limit_registers                                    0 of 1
rule_sentence           rule TheoreticalOccupancy                             0 of 1 (1 on purpose)
limits of sm_90         device attributes                            9 of 10

Differences
Launch             Figure                  With  Ours  Theirs
m64n64k32d128w2s4  limit_registers_blocks  ncu   4     5

Differences on purpose
m64n64k32d128w2s4
  ours  by a, b, and c.
  ncu   by a, and c.

Limits of the architecture that differ
  blocks per SM: the driver says 24, limits.json 32 for sm_90

Not checked
m16n16k16d16w1s1  does not compile

Verdict
• Something was not asked.
! Different: 1 of 3 figures, in 1 of 1 launch, and 1 of 10 limits, compared with the driver and ncu
  2025.3.1. 1 sentence differs on purpose: ncu drops names if three or more limiters tie, and has
  none for barriers. 1 of 2 launches could not be checked.
"""


def lines(found: Verification) -> list[str]:
    return screen(verify_report(found), width=100).splitlines()


def test_verdicts_say_what_was_held_against_what() -> None:
    alone = replace(FOUND, comparisons=(EQUAL,), ncu=None)
    assert "All equal: 1 of 1 figures of 1 launch, compared with the driver alone." == words(verdict(alone))
    both = replace(FOUND, comparisons=(EQUAL, KNOWN))
    assert (
        "All equal: 1 of 1 figures of 1 launch, compared with the driver and ncu 2025.3.1. 1 sentence differs on "
        "purpose: ncu drops names if three or more limiters tie, and has none for barriers." == words(verdict(both))
    )
    nothing = replace(FOUND, comparisons=())
    assert ("nothing", "warning") == (verdict(nothing).code, verdict(nothing).status)
    assert "Nothing could be verified: none of 1 launch." == words(verdict(nothing))
    limits = replace(alone, comparisons=(), limits_compared=10, limits_differences=("blocks",))
    assert "Different: 0 of 0 figures, in 0 of 0 launches, and 1 of 10 limits, compared with the driver." == (
        words(verdict(limits))
    )
    assert "Driver" in "\n".join(lines(limits))
    missing = replace(alone, launches=3, unchecked=(Unchecked("x", "y"),))
    assert words(verdict(missing)).endswith("1 of 3 launches could not be checked.")
    assert ["not-asked", "equal"] == [one.code for one in statements(replace(alone, notes=("x",)))]


def test_long_sentences_that_differ_stand_below_the_table() -> None:
    sentence = replace(KNOWN, outcome="differs")
    text = "\n".join(lines(replace(FOUND, comparisons=(DIFFERS, sentence))))
    assert "Sentences\nm64n64k32d128w2s4\n  ours  by a, b, and c." in text


def test_json_and_csv_have_every_comparison() -> None:
    found = replace(FOUND, unchecked=(Unchecked("m16n16k16d16w1s1", "does not compile"),))
    content = json.loads(verify_json(found))
    assert ("differs", 3, 2) == (content["status"], len(content["comparisons"]), len(content["differences"]))
    assert "launch__occupancy_limit_registers" == content["agreements"][1]["metric"]
    (said,) = content["verdicts"]
    assert ("warning", "differs", 1, 3) == (
        said["status"],
        said["code"],
        said["figures"]["figures_differing"],
        said["figures"]["figures"],
    )
    assert said["message"].startswith("Different: 1 of 3 figures, in 1 of 1 launch, compared with the driver and ncu")
    assert [
        "launch,source,figure,metric,ours,theirs,outcome",
        "m64n64k32d128w2s4,driver,blocks_per_sm,cuOccupancyMaxActiveBlocksPerMultiprocessor,4,4,equal",
        "m64n64k32d128w2s4,ncu,limit_registers_blocks,launch__occupancy_limit_registers,4,5,differs",
        'm64n64k32d128w2s4,ncu,rule_sentence,rule TheoreticalOccupancy,"by a, b, and c.","by a, and c.",known',
        "m16n16k16d16w1s1,,,,,does not compile,unchecked",
    ] == verify_csv(found).splitlines()


def test_every_figure_has_a_name_of_whom_it_is_compared_with() -> None:
    assert {*(figure.name for figure in FIGURES), "rule_sentence", "blocks_per_sm", "can_launch"} == set(COMPARED_WITH)
    assert RULE_COLUMN in GOLDEN.read_text(encoding="utf-8").splitlines()[0]
