"""Who does the rounds of a loop."""

from fake_sass import FILE

from ssdprof.profiling.binary.sass.rounds import Dealt, Rounds, dealt, spread_of
from ssdprof.profiling.runs.work import SourceLoop


def test_a_mean_stands_for_the_two_whole_numbers_next_to_it() -> None:
    assert [(2, 0.75), (3, 0.25)] == spread_of(SourceLoop(1, FILE, 0, 4.5), entries=2.0)
    assert [(0, 1.0), (1, 0.0)] == spread_of(SourceLoop(1, FILE, 0, 0.0), entries=0.0)
    assert [(1, 0.5), (9, 0.5)] == spread_of(SourceLoop(1, FILE, 0, 5.0, spread=((1, 0.5), (9, 0.5))), entries=1.0)


def test_an_unrolled_loop_leaves_the_rest_to_another_and_to_copies() -> None:
    found = dealt([(15, 1.0)], 2.0, {}, {0: 8}, {7: 1, 5: 4, 6: 2})
    assert Dealt({0: Rounds(2.0, 2.0)}, {5: 2.0, 6: 2.0, 7: 2.0}) == found
    assert {0: Rounds(1.0, 3.0), 1: Rounds(1.0, 1.0)} == dealt([(13, 1.0)], 1.0, {}, {1: 1, 0: 4}, {}).loops


def test_what_was_peeled_goes_off_first() -> None:
    found = dealt([(0, 0.25), (1, 0.25), (5, 0.5)], 1.0, {3: 1}, {0: 1}, {})
    assert Dealt({0: Rounds(0.5, 2.0)}, {3: 0.75}) == found


def test_a_loop_without_rounds_is_not_entered() -> None:
    assert {0: Rounds(0.25, 1.5)} == dealt([(0, 0.75), (6, 0.25)], 1.0, {}, {0: 1}, {}).loops
