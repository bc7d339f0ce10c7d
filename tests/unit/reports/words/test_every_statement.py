"""Every statement that the diagnosis can make has its words."""

import ast
from pathlib import Path
from typing import get_args

from ssdprof.profiling.diagnosis.bound import STEPS
from ssdprof.profiling.runs.bound import BoundCode
from ssdprof.reports.words import answers, bound, conditions, counterfactuals, explanation, verdicts

DIAGNOSIS = Path(__file__).parents[4] / "profiling" / "diagnosis"


def codes() -> set[str]:
    """The codes of all statements that the modules of the diagnosis make."""
    found = set()
    for path in DIAGNOSIS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Statement":
                found.add(ast.unparse(node.args[1]))
    return {code.strip("'") for code in found - {"CODE", "one.code"}} | {"occupancy-and-latency"}


def test_every_code_is_worded_once_and_no_words_are_left_over() -> None:
    worded = [*verdicts._WORDS, *explanation._WORDS, *conditions._WORDS, *answers._WORDS, *counterfactuals._WORDS]
    worded.append("bound")  # reports.words.bound
    assert codes() == set(worded)
    assert ["occupancy-and-latency", "several-answers"] == sorted({code for code in worded if worded.count(code) > 1})


def test_every_bound_has_its_step_and_its_words() -> None:
    codes = set(get_args(BoundCode))
    assert codes == set(STEPS) == set(bound._SHORT) == set(bound._STEPS)
