"""Which loop of the code is which of the kernel, and how often blocks are executed."""

from dataclasses import replace

from fake_sass import dot, flow, load, ttir

from ssdprof.profiling.binary.sass.match import Matching, matched
from ssdprof.profiling.binary.sass.often import executions
from ssdprof.profiling.binary.sass.rounds import Rounds
from ssdprof.profiling.binary.sass.source import source_of

MMA = "HMMA.16816.F32.BF16 R4, R8, R12, R4"
"""One warp's product of 16 × 8 × 16."""
LDG = "LDG.E R0, desc[UR4][R2.64]"
"""128 bytes of a warp."""
ONE_DOT = ttir("5 for", "6 " + dot(16, 8, 16), "end")
ONE_LOAD = ttir("5 for", "6 " + load(32), "end")


def both(short: str, ir: str, *trips: float, warps: int = 1) -> tuple[Matching, list[float], tuple[str, ...]]:
    """The matching, how often each reached block is executed in the code's order, and all that was assumed."""
    graph, source = flow(short), source_of(ir)
    loops = tuple(replace(loop, mean_trips=count) for loop, count in zip(source.loops, trips, strict=True))
    found = matched(graph, source.with_trips(loops), warps)
    often, guessed = executions(graph, found, warps)
    return found, [often[block] for block in sorted(often)], (*found.assumed, *guessed)


def test_a_loop_goes_round_as_often_as_its_source() -> None:
    found, often, assumed = both(f"1 MOV\nloop:\n6 {MMA}\n5 @P0 BRA to loop\n9 EXIT", ONE_DOT, 7.0)
    assert ({0: 0}, {0: 1}, {0: Rounds(1.0, 7.0)}) == (found.source, found.unrolled, found.rounds)
    assert ([1.0, 7.0, 1.0], ()) == (often, assumed)


def test_the_guard_of_a_loop_is_passed_as_often_as_there_is_a_round() -> None:
    guarded = f"5 @P0 BRA to over\n5 MOV\nloop:\n6 {MMA}\n5 @P0 BRA to loop\nover:\n9 EXIT"
    assert [1.0, 0.5, 0.5, 1.0] == both(guarded, ONE_DOT, 0.5)[1]
    assert [1.0, 1.0, 2.5, 1.0] == both(guarded, ONE_DOT, 2.5)[1]


def test_a_loop_that_is_left_at_its_top_has_one_more_test() -> None:
    short = f"1 MOV\nloop:\n5 @P0 BRA to over\n6 {MMA}\n5 BRA to loop\nover:\n9 EXIT"
    assert [1.0, 5.0, 4.0, 1.0] == both(short, ONE_DOT, 4.0)[1]


UNROLLED = f"""
    5 @P0 BRA to less
    loop:
    6 {LDG}
    6 {LDG}
    6 {LDG}
    6 {LDG}
    5 @P0 BRA to loop
    less:
    5 @P0 BRA to one
    6 {LDG}
    6 {LDG}
    one:
    5 @P0 BRA to over
    6 {LDG}
    over:
    9 EXIT
"""


def test_an_unrolled_loop_and_the_copies_after_it_do_all_rounds_together() -> None:
    for trips, expected in ((15.0, [3.0, 1.0, 1.0]), (13.0, [3.0, 0.0, 1.0]), (2.0, [0.0, 1.0, 0.0])):
        found, often, assumed = both(UNROLLED, ONE_LOAD, trips)
        assert ({0: 4}, ()) == (found.unrolled, assumed)
        assert expected == [often[1], often[3], often[5]]


def test_what_was_peeled_is_not_done_again() -> None:
    short = f"6 {MMA}\n5 MOV\nloop:\n6 {MMA}\n5 @P0 BRA to loop\n9 EXIT"
    assert [1.0, 6.0, 1.0] == both(short, ONE_DOT, 7.0)[1]


def test_a_loop_that_was_unrolled_as_a_whole_needs_none() -> None:
    found, often, assumed = both(f"6 {MMA}\n6 {MMA}\n6 {MMA}\n9 EXIT", ONE_DOT, 3.0)
    assert ({}, [1.0], ()) == (found.rounds, often, assumed)


def test_several_warps_that_do_the_same_are_no_unrolling() -> None:
    """A tile of one instruction: each of four warps does it whole, but loads its own part."""
    ir = ttir("5 for", "6 " + load(128), "7 " + dot(16, 8, 16), "end")
    found = both(f"loop:\n6 {LDG}\n7 {MMA}\n5 @P0 BRA to loop\n9 EXIT", ir, 8.0, warps=4)[0]
    assert ({0: 1}, {0: Rounds(1.0, 8.0)}) == (found.unrolled, found.rounds)


def test_loads_ahead_of_a_loop_are_not_rounds_of_it() -> None:
    copy = "LDGSTS.E [R7], desc[UR12][R68.64]"
    found = both(f"6 {copy}\n6 {copy}\nloop:\n6 {copy}\n5 @P0 BRA to loop\n9 EXIT", ONE_LOAD, 9.0)[0]
    assert {0: Rounds(1.0, 9.0)} == found.rounds


NESTED = ttir("3 for", "5 for", "6 " + dot(16, 8, 16), "end", "end")


def test_an_inner_loop_is_entered_in_each_round_of_the_outer() -> None:
    short = f"outer:\n3 MOV\ninner:\n6 {MMA}\n5 @P0 BRA to inner\n3 @P1 BRA to outer\n9 EXIT"
    found, often, _ = both(short, NESTED, 4.0, 24.0)
    assert ({0: 0, 1: 1}, {0: Rounds(1.0, 4.0), 1: Rounds(4.0, 24.0)}) == (found.source, found.rounds)
    assert [4.0, 24.0, 4.0, 1.0] == often


def test_inner_loops_of_an_outer_one_that_was_unrolled_share_its_rounds() -> None:
    short = f"a:\n6 {MMA}\n5 @P0 BRA to a\nb:\n6 {MMA}\n5 @P0 BRA to b\n9 EXIT"
    assert {0: Rounds(1.0, 12.0), 1: Rounds(1.0, 12.0)} == both(short, NESTED, 2.0, 24.0)[0].rounds


def test_loops_at_one_line_are_told_apart_by_their_products() -> None:
    ir = ttir("5 for", "6 " + dot(16, 8, 16), "end", "5 for", "6 " + dot(16, 8, 32), "end")
    short = f"a:\n6 {MMA}\n6 {MMA}\n5 @P0 BRA to a\nb:\n6 {MMA}\n5 @P0 BRA to b\n9 EXIT"
    assert {0: 1, 1: 0} == both(short, ir, 2.0, 3.0)[0].source


def test_the_entries_of_a_loop_tell_which_way_a_branch_goes() -> None:
    graph = flow(f"1 @P0 BRA to other\nloop:\n6 {MMA}\n5 @P0 BRA to loop\n9 EXIT\nother:\n8 MOV\n9 EXIT")
    source = source_of(ONE_DOT)
    loop = replace(source.loops[0], mean_trips=2.0, entries=0.25)
    often, assumed = executions(graph, matched(graph, source.with_trips((loop,)), 1), 1)
    assert ({0: 1.0, 1: 2.0, 2: 0.25, 3: 0.75}, ()) == (often, assumed)


def test_a_guess_that_makes_a_difference_is_told() -> None:
    moves = "\n".join(["7 MOV"] * 9)
    _, often, assumed = both(f"3 @P0 BRA to over\n{moves}\nover:\n9 EXIT", ttir())
    assert ([1.0, 0.5, 1.0], ("either way of a branch near line 3 is as likely",)) == (often, assumed)


def test_traps_rare_values_and_early_exits_are_not_taken() -> None:
    short = """
        1 @P0 BRA to trap
        1 @P0 BRA to slow
        back:
        1 @P1 EXIT
        1 EXIT
        slow:
        1 CALL.REL.NOINC `($__internal_0_$__cuda_sm20_div_s64)
        1 BRA to back
        trap:
        1 BPT.TRAP 0x1
        1 EXIT
    """
    assert [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0] == both(short, ttir())[1]


def test_few_threads_set_up_a_barrier() -> None:
    short = "1 BSSY B0, `(.over)\n1 @P0 BRA to over\n1 SYNCS.EXCH.64 URZ, [UR4], UR16\nover:\n1 BSYNC B0\n1 EXIT"
    assert [1.0, 0.25, 1.0] == both(short, ttir(), warps=4)[1]


def test_a_barrier_is_asked_for_once_more() -> None:
    short = """
        1 SYNCS.PHASECHK.TRANS64.TRYWAIT P2, [UR11], R8
        1 @!P2 BRA to wait
        go:
        1 EXIT
        wait:
        1 SYNCS.PHASECHK.TRANS64.TRYWAIT P2, [UR11], R8
        1 @!P2 BRA to wait
        1 BRA to go
    """
    found, often, assumed = both(short, ttir())
    assert (frozenset({0}), [1.0, 1.0, 1.0, 1.0], ()) == (found.waits, often, assumed)


def test_loops_that_are_only_in_one_of_both_are_told() -> None:
    found, often, assumed = both("1 MOV\nloop:\n7 FFMA\n7 @P0 BRA to loop\n9 EXIT", ONE_DOT, 3.0)
    assert ({}, [1.0, 1.0, 1.0]) == (found.rounds, often)
    assert (
        "the loop of line 5 is not found in the machine code",
        "a loop near line 7 is none of the kernel's: taken to go round once",
    ) == assumed
