"""The sentence, the section, the headroom in words and the curves, as text."""

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ssdprof.profiling.hardware.limits import known_archs, limits_for
from ssdprof.profiling.hardware.occupancy import Launch, occupancy
from ssdprof.profiling.hardware.rule import rule_sentence
from ssdprof.reports.text.occupancy import allowances, curves, headroom_lines, section, section_rows

H100 = limits_for("sm_90")


def text(renderable, width=120):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_the_section_has_ncus_names_units_and_values():
    occ = occupancy(Launch(64, 255, 41728, grid_blocks=50048), H100, num_sms=132)

    assert """\
Occupancy
Metric Name                        Unit       Value
Block Limit Barriers               block         32
Block Limit SM                     block         32
Block Limit Registers              block          4  limits
Block Limit Shared Mem             block          4  limits
Block Limit Warps                  block         32
Theoretical Active Warps per SM    warp           8  of 64
Theoretical Occupancy              %          12.50
Theoretical Warps per Scheduler    warp        2.00  of 16
Registers Allocated Per Thread     register     256
Shared Memory Allocated Per Block  byte       42752
Shared Memory Configuration Size   byte      200704  assumed, not measured
Waves Per SM                                  94.79""" == text(section(occ))


def test_a_narrow_screen_cuts_no_value_of_the_section():
    occ = occupancy(Launch(64, 255, 41728, grid_blocks=50048), H100, num_sms=132)
    narrow = text(section(occ), width=40)

    assert "…" not in narrow
    assert all(row.value in narrow.split() for row in section_rows(occ))


def test_where_the_configured_size_comes_from_is_always_said():
    def note(**known):
        occ = occupancy(Launch(64, 255, 41728), H100, **known)
        return {row.name: row.note for row in section_rows(occ)}["Shared Memory Configuration Size"]

    assert "assumed, not measured" == note()
    assert "given" == note(shared_mem_config_bytes=200704)
    assert "prefers shared memory" == note(prefers_shared=True)


def test_headroom_in_registers_tells_a_tie_of_the_carve_out_from_an_obstacle():
    launch = Launch(64, 255, 41728)
    occ = occupancy(launch, H100, shared_mem_config_bytes=200704)

    assert [
        "87 registers fewer per thread (255 → 168) give 5 blocks per SM instead of 4 (15.6 % occupancy).",
        (
            "Shared memory is no obstacle to that: 200704 bytes were configured for this launch, "
            "and the driver can configure 233472."
        ),
        "4 blocks per SM fit up to 255 registers per thread and 57344 bytes of dynamic shared memory.",
    ] == headroom_lines(launch, occ, H100)


def test_headroom_in_both_says_that_both_are_needed():
    launch = Launch(64, 255, 49152)

    assert (
        "87 registers fewer per thread (255 → 168) and 3584 bytes of shared memory fewer per block "
        "(49152 → 45568) together give 5 blocks per SM instead of 4 (15.6 % occupancy)."
    ) == headroom_lines(launch, occupancy(launch, H100), H100)[0]


def test_one_register_is_singular():
    launch = Launch(256, 65)

    assert (
        "1 register fewer per thread (65 → 64) gives 4 blocks per SM instead of 3 (50.0 % occupancy)."
        == headroom_lines(launch, occupancy(launch, H100), H100)[0]
    )


def test_headroom_says_what_stands_in_the_way():
    launch = Launch(256, 17)

    assert [
        "No fewer registers or bytes give another block: the number of warps within each block allows 8 blocks.",
        "8 blocks per SM fit up to 32 registers per thread and 28160 bytes of dynamic shared memory.",
    ] == headroom_lines(launch, occupancy(launch, H100), H100)


def test_headroom_says_when_the_configured_size_alone_costs_blocks():
    launch = Launch(64, 100, 20000)
    occ = occupancy(launch, H100, shared_mem_config_bytes=65536)

    assert (
        "A larger shared-memory configuration than 65536 bytes alone gives 8 blocks per SM instead of 3."
        == headroom_lines(launch, occ, H100)[0]
    )


def test_a_block_that_cannot_launch_is_told_why_and_what_would_let_it():
    launch = Launch(1024, 255)

    assert [
        "Cannot launch: needs 262144 registers per block (32 warps of 8192), sm_90 allows 65536.",
        "191 registers fewer per thread (255 → 64) give 1 block per SM instead of 0 (50.0 % occupancy).",
    ] == headroom_lines(launch, occupancy(launch, H100), H100)


def test_the_allowances_start_one_below_the_present_blocks_and_mark_them():
    assert """\
What each number of blocks allows
Blocks per SM  Occupancy  Registers per thread  Dynamic shared memory
            1     12.5 %                   255           232448 bytes  now
            2     25.0 %                   128           115712 bytes
            3     37.5 %                    80            76800 bytes
up to 8 blocks""" == text(allowances(Launch(256, 255), H100, rows=3))


def test_the_curves_mark_the_launch_and_its_value():
    launch = Launch(64, 255, 41728)

    assert """\
Theoretical occupancy over registers per thread
  25 %
       ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄
       ████████████████████████████████████████████████████████████████
   0 % ████████████████████████████████████████████████████████████████
                                                                     ▲
       8                                                            255

Theoretical occupancy over bytes of dynamic shared memory per block
12.5 % ██████████████
       ████████████████████
       ██████████████████████████████
   0 % ████████████████████████████████████████████████████████████████
                 ▲
       7264    41728                                             232448

Theoretical occupancy over threads per block
12.5 %   ██  ██    ▄▄██
       ▄▄██████▄▄██████
       ████████████████
   0 % ████████████████
         ▲
        64                                                         1024""" == text(
        curves(launch, occupancy(launch, H100), H100)
    )


@given(
    st.builds(
        Launch,
        threads_per_block=st.integers(1, 1024),
        registers_per_thread=st.integers(1, 255),
        dynamic_shared_mem_bytes=st.integers(0, 240_000),
        static_shared_mem_bytes=st.integers(0, 49152),
        num_barriers=st.integers(0, 16),
        num_ctas=st.sampled_from([1, 2, 16]),
    ),
    st.sampled_from(known_archs()).map(limits_for),
    st.data(),
)
def test_any_launch_can_be_printed(launch, limits, data):
    config_bytes = data.draw(st.one_of(st.none(), st.sampled_from(limits.carveouts_bytes)))
    occ = occupancy(launch, limits, shared_mem_config_bytes=config_bytes)

    assert section_rows(occ)
    assert all("\n" not in line for line in headroom_lines(launch, occ, limits))
    assert 21 <= len(text(curves(launch, occ, limits)).splitlines())
    sentence = rule_sentence(occ)
    assert sentence is None or sentence.endswith(".")
