"""Blocks, ways between them and loops."""

from fake_sass import flow

NESTED = """
    1 MOV
    outer:
    2 MOV
    inner:
    3 FFMA
    3 @P0 BRA to inner
    2 @P1 BRA to outer
    4 EXIT
    end:
    4 BRA to end
"""


def test_a_block_ends_where_a_branch_is_or_a_label_follows() -> None:
    found = flow(NESTED)
    assert [(0, 1), (1, 2), (2, 4), (4, 5), (5, 6), (6, 7)] == [(block.first, block.end) for block in found.blocks]
    assert [(1,), (2,), (2, 3), (1, 4), (), (5,)] == [block.next for block in found.blocks]


def test_loops_are_nested_and_what_is_never_reached_is_none() -> None:
    outer, inner = flow(NESTED).loops
    assert (1, frozenset({1, 2, 3}), None) == (outer.header, outer.blocks, outer.parent)
    assert (2, frozenset({2}), 0) == (inner.header, inner.blocks, inner.parent)
    assert [None, 0, 1, 0, None] == [flow(NESTED).innermost[block] for block in range(5)]


def test_two_ways_back_are_one_loop() -> None:
    (loop,) = flow("loop:\n1 @P0 BRA to loop\n1 @P1 BRA to loop\n1 EXIT").loops
    assert frozenset({0, 1}) == loop.latches == loop.blocks


def test_a_branch_may_have_its_condition_among_its_operands() -> None:
    found = flow("1 BRA !UP0, to end\n1 BRA.DIV UR4, to end\n1 BRA to end\n1 MOV\nend:\n1 EXIT")
    assert [(4, 1), (4, 2), (4,), (4,), ()] == [block.next for block in found.blocks]


def test_a_call_comes_back_and_its_function_is_reached() -> None:
    found = flow("1 CALL.REL.NOINC to helper\n1 EXIT\nhelper:\n2 FADD\n2 RET.REL.NODEC R2")
    assert ((1,), 2) == (found.blocks[0].next, found.blocks[0].calls)
    assert ((0, 2), (0, 1, 2)) == (found.entries, found.order)


def test_ways_into_a_trap_are_doomed() -> None:
    found = flow("1 @P0 BRA to fail\n1 EXIT\nfail:\n2 MOV\n2 BPT.TRAP 0x1\n2 EXIT")
    assert {2} == found.doomed & set(found.order)


def test_it_is_known_what_no_way_goes_around() -> None:
    found = flow("1 @P0 BRA to over\n1 MOV\nover:\n2 EXIT")
    assert (True, False, False) == (found.escapes(0, 1), found.escapes(0, 2), found.escapes(1, 1))
    assert (True, False) == (found.dominates(0, 2), found.dominates(1, 2))


def test_code_that_the_kernel_and_a_function_share_is_dominated_by_neither() -> None:
    """As on sm_80, whose kernels and functions may end in the same block."""
    found = flow(
        "1 CALL.REL.NOINC to helper\n1 BRA to both\nhelper:\n2 @P0 BRA to both\n2 RET.REL.NODEC R2\n"
        "both:\n3 @P1 BRA to both\n3 EXIT"
    )
    kernel, shared = found.entries[0], 4
    assert {shared: shared, kernel: kernel}.items() <= found.dominators.items()
    assert (False, True) == (found.dominates(kernel, shared), found.dominates(shared, 5))
    assert [frozenset({shared})] == [loop.blocks for loop in found.loops]
