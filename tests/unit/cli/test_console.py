"""Progress on a terminal and without one."""

from io import StringIO

import pytest
from fake_runs import h100_run
from rich.cells import cell_len
from rich.console import Console

from ssdprof.cli.console import ProgressBar, bar_text, note, progress_text, terminal
from ssdprof.profiling.sweep.request import Event, Phase

BEST = h100_run().ranked[0]


def event(phase: Phase, done: int, total: int, config_id: str | None = None, eta_s: float | None = None) -> Event:
    return Event(phase, done, total, done, config_id, BEST if done else None, eta_s)


class Clock:
    """Says the time that it was set to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def shown(*events: Event, width: int = 100) -> str:
    """All that a terminal of that width is sent."""
    text = StringIO()
    with ProgressBar(console=Console(file=text, force_terminal=True, width=width)) as progress:
        for one in events:
            progress(one)
    return text.getvalue()


def test_a_phase_is_told_at_once_and_then_every_10_s_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ProgressBar(clock=clock) as progress:
        for second in range(26):
            clock.now_s = 1000.0 + second
            progress(event("measuring", second, 33, "m1", eta_s=65.0))
        progress(event("refining", 0, 0))
        clock.now_s += 9.9
        progress(event("refining", 4, 72))
    assert (
        """\
ssdprof: checking and timing …
ssdprof: checking and timing: 10/33 · m1 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left
ssdprof: checking and timing: 20/33 · m1 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left
ssdprof: timing the best again, in turns …
"""
        == capsys.readouterr().err
    )


def test_an_answer_between_two_events_goes_to_stdout_and_the_bar_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    text = StringIO()
    with ProgressBar(console=Console(file=text, force_terminal=True, width=100)) as progress:
        progress(event("compiling", 1, 3, "m1"))
        progress.show("the answer\n")
        before = len(text.getvalue())
        progress(event("compiling", 2, 3, "m2"))
    assert "the answer\n" == capsys.readouterr().out
    assert "answer" not in text.getvalue()
    assert "compiling 2/3" in text.getvalue()[before:]


def test_one_config_is_not_told_as_several(capsys: pytest.CaptureFixture[str]) -> None:
    for total in (0, 1, 2):
        ProgressBar()(event("compiling", 0, total))
    assert [f"ssdprof: compiling ({text}) …" for text in ("0 configs", "1 config", "2 configs")] == (
        capsys.readouterr().err.splitlines()
    )


def test_lines_without_a_terminal_have_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ProgressBar(clock=clock) as progress:
        for phase in ("compiling", "preparing", "measuring", "refining"):
            for done in range(3):
                progress(event(phase, done, 3, "m1"))  # type: ignore[arg-type]
                clock.now_s += 11.0
    text = capsys.readouterr().err
    assert 12 == text.count("\n")
    assert text.replace("\n", "").isprintable()
    assert all(line.startswith("ssdprof: ") for line in text.splitlines())


def test_nothing_is_told_between_lines_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with ProgressBar(quiet=True, clock=clock) as progress:
        progress(event("measuring", 1, 33))
        clock.now_s += 60.0
        progress(event("measuring", 2, 33))
    assert "" == capsys.readouterr().err


@pytest.mark.parametrize(("done", "total", "text"), [(0, 0, ""), (7, 0, "7"), (0, 33, "0/33"), (33, 33, "33/33")])
def test_an_unknown_total_is_left_out(done: int, total: int, text: str) -> None:
    assert text == progress_text(Event("refining", done, total, 0, None, None, None))


def test_a_terminal_shows_phase_count_best_and_time_left_beside_a_bar() -> None:
    text = shown(event("measuring", 5, 33, "m128n64k32d128w4s4", eta_s=65.0))
    assert "measuring 5/33 · m128n64k32d128w4s4 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left" in text
    assert "━" in text


def test_every_phase_gets_a_bar_of_its_own_of_known_length_or_not() -> None:
    begun, known, unknown = event("refining", 0, 0, "m1"), event("refining", 3, 72), event("refining", 4, 0)
    text = shown(event("measuring", 33, 33), begun, known, unknown)
    assert "refining 4 · best" in text


def test_the_config_at_hand_gives_way_first_on_a_narrow_terminal() -> None:
    one = event("measuring", 5, 33, "split:m128n256k64d128w8s3", eta_s=65.0)
    whole = "measuring 5/33 · split:m128n256k64d128w8s3 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left"
    assert whole == bar_text(one, len(whole))
    assert "measuring 5/33 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left" == bar_text(one, len(whole) - 1)
    assert "measuring 5/33 · best 2.332 m…" == bar_text(one, 30)


@pytest.mark.parametrize("width", [0, 1, 20, 80, 200])
def test_the_bars_text_is_never_wider_than_the_terminal(width: int) -> None:
    one = event("measuring", 5, 33, "split:m128n256k64d128w8s3", eta_s=65.0)
    assert cell_len(bar_text(one, width)) <= max(width, 1)


def test_progress_is_a_line_per_phase_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as progress:
        for phase in ("compiling", "compiling", "measuring", "refining"):
            progress(Event(phase, 1, 33, 1, None, None, None))  # type: ignore[arg-type]
    assert (
        """\
ssdprof: compiling (33 configs) …
ssdprof: checking and timing …
ssdprof: timing the best again, in turns …
"""
        == capsys.readouterr().err
    )


def test_progress_is_a_bar_with_best_and_time_left_on_a_terminal() -> None:
    from io import StringIO

    text = StringIO()
    terminal = Console(file=text, force_terminal=True, width=120)
    with ProgressBar(console=terminal) as progress:
        progress(Event("measuring", 5, 33, 20, "m64n128k32d128w4s4", h100_run().ranked[0], 65.0))
    assert "measuring" in text.getvalue()
    assert "5/33" in text.getvalue()
    assert "best 2.332 ms m64n64k32d128w2s4" in text.getvalue()


def test_progress_is_silent_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(quiet=True, console=Console(force_terminal=True, stderr=True)) as progress:
        progress(Event("measuring", 5, 33, 20, None, None, None))
    assert "" == capsys.readouterr().err


def test_the_detail_of_an_event_has_what_is_known() -> None:
    best = h100_run().ranked[0]
    text = progress_text(Event("measuring", 1, 2, 2, "m1", best, 65.2))
    assert "1/2 · m1 · best 2.332 ms m64n64k32d128w2s4 · 1:05 left" == text
    assert "0/2" == progress_text(Event("compiling", 0, 2, 0, None, None, None))


def test_colours_obey_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal().no_color


def test_a_note_goes_over_lines_between_words_on_a_terminal_and_is_one_line_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    note("63 configs to compile, about 50 s")
    assert "ssdprof: 63 configs to compile, about 50 s\n" == capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    note("63 configs to compile, about 50 s")
    assert "ssdprof: 63 configs to\ncompile, about 50 s\n" == capsys.readouterr().err
