# ruff: noqa: E501  # expected sentences are whole, so that they can be searched for
"""What a run says in words, from its figures alone."""

from dataclasses import replace

import pytest
from fake_runs import BASELINE, H100, HEADER, TOO_LARGE, compiled_run, config, h100_run, recorded_run, row, run, screen
from run_records import kept

from ssdprof.profiling.diagnosis.correlation import correlation
from ssdprof.profiling.diagnosis.verdicts import statements
from ssdprof.profiling.runs.model import Row, Run
from ssdprof.reports.words.verdicts import as_dicts, correlation_words, listed, render, words


def message(run: Run, code: str) -> str:
    return next(words(one) for one in statements(run) if one.code == code)


def codes(run: Run) -> list[str]:
    return [one.code for one in statements(run)]


def spread(occupancies: list[tuple[int, int]], latencies: list[float]) -> list[Row]:
    """Correct rows with these registers and shared memory, and these latencies."""
    return [
        row(config(64, 64, 32, 128, 4, stages), registers, smem_bytes, latency_ms=latency_ms)
        for stages, ((registers, smem_bytes), latency_ms) in enumerate(zip(occupancies, latencies, strict=True), 1)
    ]


def test_a_measured_run_has_these_verdicts_in_this_order() -> None:
    assert [
        "fastest-correct",
        "ties",
        "fastest-is-wrong",
        "occupancy-and-latency",
        "memory-floor",
        "limiters",
    ] == codes(h100_run())


def test_the_fastest_correct_config_is_named_with_its_latency() -> None:
    assert (
        "The fastest correct config is m64n64k32d128w2s4: 2.332 ms, the baseline itself: no other correct config is "
        "faster."
    ) == message(run(h100_run().rows), "fastest-correct")


def test_the_speed_up_is_over_the_baseline() -> None:
    rows = [row(BASELINE, 255, 41728, latency_ms=2.4), row(config(32, 64, 32, 128, 2, 5), 145, 35840, latency_ms=2.0)]
    assert (
        "The fastest correct config is m32n64k32d128w2s5: 2.000 ms, 1.20 times as fast as the baseline "
        "m64n64k32d128w2s4."
    ) == message(run(rows), "fastest-correct")
    assert message(run(rows[1:]), "fastest-correct").endswith(
        "2.000 ms; the baseline m64n64k32d128w2s4 gave no latency to compare with."
    )
    assert message(run(rows[1:], replace(HEADER, baseline_id=None)), "fastest-correct").endswith(
        "2.000 ms; no baseline was named to compare with."
    )


def test_the_fastest_config_of_all_is_named_with_its_error_if_it_is_wrong() -> None:
    assert (
        "The fastest of all, m32n64k32d32w2s5, takes 1.663 ms, 29 % less than the fastest correct config, and is wrong "
        "(relative error 0.73): it must not be used. An autotuner that looks at latency alone picks it; keep it out of "
        "the list you tune from. 8 configs that must not be used are faster than it."
    ) == message(h100_run(), "fastest-is-wrong")


def test_a_wrong_config_that_is_slower_needs_no_warning() -> None:
    rows = [
        row(BASELINE, 255, 41728, latency_ms=2.4),
        row(config(32, 64, 32, 32, 2, 5), 110, 35840, latency_ms=2.6, error=0.7, status="wrong", reason="wrong"),
    ]
    assert "fastest-is-wrong" not in codes(run(rows))


def test_unstable_configs_are_named() -> None:
    rows = [
        row(BASELINE, 255, 41728, latency_ms=2.4),
        *(
            row(config(64, 64, 64, 128, 4, s), 168, 40000, status="unstable", reason="bits differ", error=0.1)
            for s in range(1, 7)
        ),
    ]
    assert (
        "m64n64k64d128w4s1, m64n64k64d128w4s2, m64n64k64d128w4s3 and 3 more gave different outputs from launch to "
        "launch, as a race or a miscompilation does: do not use; another Triton version may compile it correctly."
    ) == message(run(rows), "unstable")


def test_if_there_are_ties_all_of_them_are_named_and_none_is_called_the_best() -> None:
    assert (
        "The fastest correct configs are m64n64k32d128w2s4 and m32n64k32d128w2s5, tied: 2.332 to 2.408 ms, the baseline "
        "among them."
    ) == message(h100_run(), "fastest-correct")
    assert (
        "The 2 tied configs differ by less than the noise of this run, so that none of them is the best: choose by "
        "another problem size or by fewer resources, or give --budget more than 10 s to tell them apart."
    ) == message(h100_run(), "ties")
    assert "ties" not in codes(run(h100_run().rows))


def test_ties_are_compared_with_a_baseline_that_is_not_one_of_them() -> None:
    rows = spread([(64, 20_000)] * 2, [2.0, 2.001])
    baseline = row(BASELINE, 255, 41728, latency_ms=2.2)
    tied = run([*rows, baseline], tied=[rows[1].config_id])
    assert message(tied, "fastest-correct").endswith(
        "tied: 2.000 to 2.001 ms, 1.10 times as fast as the baseline m64n64k32d128w2s4."
    )
    slower = run([*rows, row(BASELINE, 255, 41728, latency_ms=20.005)], tied=[rows[1].config_id])
    assert "10.00 times as fast" in message(slower, "fastest-correct")


def test_up_to_6_ties_are_named_and_the_others_counted() -> None:
    rows = spread([(64, 20_000)] * 9, [2.0] * 9)
    ids = [one.config_id for one in rows]
    assert message(run(rows, tied=ids), "fastest-correct").startswith(
        f"The fastest correct configs are {', '.join(ids[:6])} and 3 more, tied: 2.000 ms; the baseline"
    )


def test_the_floor_is_the_bytes_at_the_copy_bandwidth() -> None:
    assert (
        "The bytes this problem must move (2.82 GB) take 0.940 ms at this GPU's measured copy bandwidth (3000 GB/s); "
        "the best config takes 2.48 times that. Whether the kernel moves more than those bytes decides what to do next:"
        " compare ncu's dram__bytes_read.sum and dram__bytes_write.sum with them before working on occupancy."
    ) == message(h100_run(), "memory-floor")


def test_near_the_floor_nothing_more_is_promised() -> None:
    rows = [row(BASELINE, 255, 41728, latency_ms=1.0)]
    assert message(run(rows), "memory-floor").endswith(
        "the best config takes 1.06 times that. No launch configuration can gain much more."
    )


def test_without_a_measured_copy_bandwidth_there_is_no_floor() -> None:
    unknown = replace(HEADER, device=replace(H100, copy_gbps=None))
    assert "memory-floor" not in codes(run(h100_run().rows, unknown))


def test_limiters_are_counted_and_the_best_ones_named() -> None:
    assert (
        "Occupancy of the 5 listed configs is limited by: registers and shared memory in 3, shared memory in 2. The "
        "first, m64n64k32d128w2s4, has 12.5 % (2.00 of 16 warps per scheduler), by registers and shared memory. "
        "`ssdprof explain best` shows what would change it."
    ) == message(h100_run(), "limiters")


def test_nothing_correct_is_said_first_and_with_the_counts() -> None:
    wrong = row(config(32, 64, 32, 32, 2, 5), 110, 35840, latency_ms=1.7, status="wrong", reason="wrong", error=0.7)
    found = statements(run([wrong, replace(wrong, config_id="other"), TOO_LARGE]))
    assert ["nothing-correct"] == [one.code for one in found]
    assert (
        "No config of 3 gave a correct output that could be timed (2 wrong, 1 out-of-resources): nothing here may be used."
        " The tables give each one's reason."
    ) == words(found[0])


def test_an_interrupted_run_says_what_is_missing() -> None:
    rows = [row(BASELINE, 255, 41728, latency_ms=2.4), row(config(16, 16, 16, 128, 4, 2), status="not-run", reason="–")]
    assert "Interrupted: 1 of 2 configs were not reached; all that follows is of the others alone." == message(
        run(rows, replace(HEADER, interrupted=True)), "interrupted"
    )


def test_configs_that_were_compiled_before_an_interrupt_are_not_counted_as_missing() -> None:
    rows = [*compiled_run().rows, row(config(16, 16, 16, 128, 4, 2), status="not-run", reason="–")]
    interrupted = run(rows, replace(compiled_run().header, interrupted=True))
    assert message(interrupted, "interrupted").startswith("Interrupted: 1 of 17 configs were not reached;")


def test_without_a_gpu_it_says_that_nothing_was_measured() -> None:
    assert ["not-measured", "limiters"] == codes(compiled_run())
    assert (
        "No latency was measured here: the configs were compiled for sm_90 without a GPU. Run the same command on a "
        "machine with a GPU to measure."
    ) == message(compiled_run(), "not-measured")
    assert "The first" not in message(compiled_run(), "limiters")
    assert message(compiled_run(), "limiters").endswith(
        "`ssdprof explain m128n64k32d32w4s4` shows what would change it."
    )


def test_recorded_latencies_are_called_recorded_in_every_verdict() -> None:
    found = statements(recorded_run())
    assert "those recorded on NVIDIA H100 80GB HBM3, driver 580.159.04, Triton 3.6.0, 2026-11-23." in words(found[0])
    assert all(words(one).startswith("Recorded: ") for one in found[1:-1])
    assert ["not-measured", "fastest-correct", "ties"] == [one.code for one in found[:3]]


def test_a_run_in_which_nothing_compiled_has_no_limiters() -> None:
    assert ["nothing-correct"] == codes(run([TOO_LARGE]))


LESS, MORE = (255, 100_000), (64, 20_000)


@pytest.mark.parametrize(
    ("occupancies", "latencies", "text"),
    [
        ([LESS] * 3, [1.0, 2.0, 3.0], "Occupancy does not explain latency here: all 3 correct configs have 12.5 % and take 1.000 to 3.000 ms."),
        ([LESS, MORE], [1.0, 2.0], "2 correct configs are too few to say whether occupancy goes with latency."),
        (
            [(255, 200_000), (255, 100_000), (160, 70_000), (128, 50_000), (96, 40_000), (80, 30_000), (64, 20_000)],
            [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
            "Higher occupancy goes with lower latency among these configs: Spearman rank correlation -1.00, n = 7.",
        ),
        (
            [(255, 200_000), (255, 100_000), (160, 70_000), (128, 50_000), (96, 40_000), (80, 30_000), (64, 20_000)],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            "Higher occupancy goes with higher latency here: Spearman rank correlation +1.00, n = 7. More occupancy is not what is missing.",
        ),
        (
            [LESS, MORE, LESS, MORE, LESS, MORE],
            [1.0, 1.1, 2.1, 2.0, 3.0, 3.1],
            "Occupancy shows no relation to latency here: Spearman rank correlation +0.10, n = 6 (chance alone gives up to ±0.88).",
        ),
        (
            [LESS, LESS, MORE, LESS, MORE, MORE],
            [3.0, 2.0, 2.5, 1.5, 1.0, 1.1],
            "These 6 configs do not tell whether occupancy goes with latency: Spearman rank correlation -0.49, n = 6, and chance alone gives up to ±0.88.",
        ),
    ],
)  # fmt: skip
def test_occupancy_and_latency_are_compared_honestly(
    occupancies: list[tuple[int, int]], latencies: list[float], text: str
) -> None:
    figures = correlation(spread(occupancies, latencies))
    assert figures is not None
    assert text == correlation_words(figures)


def test_a_loose_relation_over_many_rows_is_called_loose() -> None:
    occupancies = [LESS] * 10 + [MORE] * 10
    latencies = [2.0 + 0.1 * i for i in range(10)] + [1.5 + 0.1 * i for i in range(10)]
    figures = correlation(spread(occupancies, latencies))
    assert figures is not None
    assert correlation_words(figures).startswith(
        "Higher occupancy goes loosely with lower latency among these configs: Spearman"
    )


def test_verdicts_are_shown_with_their_marks() -> None:
    lines = screen(render(statements(h100_run())), 100).splitlines()
    assert "Verdict" == lines[0]
    assert ["✓", "•", "!"] == list(dict.fromkeys(line[0] for line in lines[1:] if line[0] != " "))


def test_warnings_stand_among_the_verdicts_as_warnings() -> None:
    busy = replace(HEADER, device=replace(H100, others=("pid 7 (python), 4.0 GiB",)))
    found = {one.code: one.status for one in statements(run(h100_run().rows, busy))}
    assert "warning" == found["busy"]


def test_verdicts_for_programs_have_figures_and_sentences() -> None:
    first, *_ = as_dicts(statements(h100_run()))
    assert {"status", "code", "figures", "next_step", "message"} == set(first)
    assert ("fastest-correct", [2.332, 2.408]) == (first["code"], first["figures"]["latency_ms"])
    assert first["message"].startswith("The fastest correct configs are m64n64k32d128w2s4 and")


@pytest.mark.parametrize(
    ("names", "text"), [("a", "a"), ("ab", "a and b"), ("abcd", "a, b, c and d"), ("abcde", "a, b, c and 2 more")]
)
def test_long_lists_are_cut_and_the_rest_is_counted(names: str, text: str) -> None:
    assert text == listed(names)


def beside_four(*errors: float, fifth: bool = False) -> Run:
    """A run of configs with these errors, fastest first, and slower ones that agree."""
    all_errors = [*errors, *[0.0018] * (4 + fifth)]
    rows = [
        row(config(64, 64, 32, 128, 4, stages), 255, 41728, latency_ms=2.0 + stages, error=error)
        for stages, error in enumerate(all_errors, 1)
    ]
    return kept(run(rows))


def test_a_config_that_stands_out_and_is_ranked_is_named_with_what_speaks_against_it() -> None:
    enough = (
        "That is too little to call a config wrong (at least five must agree, most of the others, and fewer than five "
        "share its error): before you use one that stands out, find out what it computes differently, or sweep it among "
        "more configs."
    )
    assert (
        "#1 m64n64k32d128w4s1 (0.0044) has a relative error that stands out, though within the tolerance 0.01. Of the "
        f"4 configs beside m64n64k32d128w4s1, 4 agree on 0.0018 or less. {enough}"
    ) == message(beside_four(0.0044), "stands-out")
    assert (
        "#1 m64n64k32d128w4s1 (0.0044) and #2 m64n64k32d128w4s2 (0.0045) have relative errors that stand out, though "
        "within the tolerance 0.01. Of the 5 configs beside m64n64k32d128w4s1, 4 agree on 0.0018 or less, and 1 shares "
        f"its error. {enough}"
    ) == message(beside_four(0.0044, 0.0045), "stands-out")


def test_the_fastest_config_is_wrong_by_comparison_with_what_it_was_compared() -> None:
    assert (
        "is wrong (relative error 0.0044 is within the tolerance 0.01, but 5 of 5 other configs agree on 0.0018 or less: "
        "more than rounding explains): it must not be used."
    ) in message(beside_four(0.0044, fifth=True), "fastest-is-wrong")
