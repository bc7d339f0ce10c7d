"""What the registers hold, on the screen and in JSON."""

import json
from dataclasses import replace

from fake_ledgers import CHUNK_SCAN_REGISTERS, in_registers
from fake_runs import explanation, screen
from rich.console import Group

from ssdprof.profiling.runs.registers import Registers
from ssdprof.reports.export.run_json import explanation_json
from ssdprof.reports.text.explain import explain_report
from ssdprof.reports.text.registers import parts, summary

HELD = CHUNK_SCAN_REGISTERS
HEADING = "of 255 registers"


def shown(found: Registers | None, width: int = 120, absent: str = "") -> str:
    return screen(Group(*parts(found, absent)), width)


def lines(found: Registers, width: int = 120) -> list[str]:
    """The lines of the table."""
    text = shown(found, width).splitlines()
    return text[next(i for i, line in enumerate(text) if line.startswith("──")) + 1 :]


def test_explain_shows_it_after_shared_memory() -> None:
    text = screen(explain_report(explanation()), 120)
    places = [
        text.index(one) for one in ("What shared memory holds", "What the registers hold", "What one change does")
    ]
    assert sorted(places) == places


def test_each_row_has_its_value_its_role_its_registers_and_its_line() -> None:
    assert ["b_c", "operand", "of", "a", "product", "64×128", "bf16", "128", "per_head.py:32"] == (
        lines(HELD, 200)[0].split()[:9]
    )


def test_small_values_are_one_row_and_the_rest_is_the_last() -> None:
    smaller, rest = lines(HELD)[3:5]
    assert ["6", "smaller", "values", "8"] == smaller.split()[:4]
    assert ["the", "rest", "addresses,", "indices,", "compiler's", "own", "47"] == rest.split()[:7]


def test_the_registers_of_the_rows_add_up_to_what_the_compiler_has() -> None:
    for found in (HELD, replace(HELD, spilled_registers=40), replace(HELD, registers_per_thread=208)):
        kept = found.registers_per_thread + found.spilled_registers
        text = shown(found, 120)
        start = text.splitlines()[-len(lines(found)) - 2].index("registers")
        figures = [int(line[start : start + 9]) for line in lines(found) if line.strip()]
        assert (kept, True) == (sum(figures), f"of {kept} registers" in text)


def test_a_lone_small_value_keeps_its_name() -> None:
    found = replace(HELD, rows=(*HELD.rows[:2], HELD.rows[-1]))
    assert "m_state" == lines(found)[2].split()[0]


def test_the_bars_stand_end_to_end() -> None:
    text = shown(HELD, 120)
    heading = next(line for line in text.splitlines() if line.endswith(HEADING))
    bars = [line[heading.index(HEADING) :] for line in lines(HELD) if line.strip()]
    filled = [[place for place, cell in enumerate(bar) if cell == "█"] for bar in bars]
    assert list(range(32)) == [place for row in filled for place in row]


def test_a_narrow_screen_still_has_lines_and_bars() -> None:
    text = lines(HELD, 80)
    assert max(map(len, text)) <= 80
    assert any(line.startswith("b_state") and " :33 " in line and line.endswith("█") for line in text)


def test_values_alike_say_how_many_and_what_is_computed_says_how() -> None:
    rows = (
        in_registers("accumulator", 128, "acc", 64, 64, op="dot", values=2),
        in_registers("computed", 64, "p", 64, 64, op="exp2"),
        in_registers("carried", 64, "", 64, 64, op="addf"),
    )
    text = lines(Registers(rows, 255, 20), 200)
    assert "2 × accumulator " in text[0]
    assert "computed: exp2 " in text[1]
    assert ["addf", "carried", "by", "a", "loop"] == text[2].split()[:5]


def test_the_sentences_name_the_point_and_both_figures_and_say_how_good_the_estimate_is() -> None:
    text = summary(HELD)
    assert text.startswith(
        "By the compiler's GPU IR a thread holds the most right after `local_load` at line 33: 208 registers, counted "
        "from the elements that it has of each value. The compiler keeps 255. The rest are addresses, indices and what "
        "the compiler adds: in 706 compiled kernels they were "
    )
    assert "keeps 255 and spills 6 more." in summary(replace(HELD, spilled_registers=6))


def test_another_order_than_the_irs_is_told() -> None:
    told = " Operands of products are taken as read slice by slice: whole, they would need more than that."
    assert text_of("whole") + told == text_of("sliced")
    assert "goes through chains of operations element by element" in text_of("chained")


def text_of(order: str) -> str:
    return summary(replace(HELD, order=order))  # type: ignore[arg-type]


def test_an_estimate_that_is_too_high_says_so_and_has_no_rest() -> None:
    found = replace(HELD, registers_per_thread=168)
    assert summary(found).endswith("too high: estimate 208; the compiler keeps 168, in another order.")
    assert "the rest" not in shown(found)
    assert "of 208 registers" in shown(found)


def test_specialised_warps_have_no_rest() -> None:
    found = replace(HELD, partitions=2, partition=1)
    assert "a thread of the specialised warps in group 2 of 2 holds the most" in summary(found)
    assert summary(found).endswith("How many the compiler gives each group is not told; the launch has 255 per thread.")
    assert "the rest" not in shown(found)
    assert "of the kernel's own warps, beside 2 groups of specialised ones," in summary(replace(found, partition=None))


def test_without_any_value_there_is_no_table() -> None:
    found = Registers((), 24, 0, op="return", partitions=1)
    assert "right after `return`: 0 registers" in shown(found, 200)
    assert "──" not in shown(found)
    assert "the rest" in shown(replace(found, partitions=0))


def test_what_cannot_be_read_is_one_line_with_the_reason() -> None:
    assert "What the registers hold could not be read: crash" == shown(None, absent="crash").strip()
    assert "" == shown(None).strip()


def test_a_config_that_did_not_compile_has_none() -> None:
    one = explanation()
    broken = replace(one, row=replace(one.row, compiled=None, occupancy=None), registers=None)
    assert "registers hold" not in screen(explain_report(broken), 120)


def test_the_json_has_every_value_and_both_sums() -> None:
    found = json.loads(explanation_json(explanation()))["registers"]
    assert 8 == len(found["rows"])
    assert (255, 0, 208, 47) == tuple(
        found[f"{one}"]
        for one in ("registers_per_thread", "spilled_registers", "estimated_registers", "rest_registers")
    )
    assert ("b_c", "operand", 128, [64, 128]) == tuple(
        found["rows"][0][one] for one in ("name", "kind", "registers", "shape")
    )
    without = json.loads(explanation_json(replace(explanation(), registers=None, registers_absent="crash")))
    assert (None, "crash") == (without["registers"], without["registers_absent"])
