"""The README and docs say what the recorded run, the columns and CI say, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_runs import among, screen
from rich.console import Group

from ssdprof.kernels.registry import subject, subject_of_run
from ssdprof.kernels.ssd.params import PARAMS
from ssdprof.profiling.diagnosis.answers import answer
from ssdprof.profiling.runs.model import Run
from ssdprof.profiling.runs.recorded import recorded_run, recorded_runs
from ssdprof.reports.columns import columns_of
from ssdprof.reports.text.counterfactuals import parts
from ssdprof.reports.text.sweep import answer_lines

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "tests" / "golden" / "README.md", *DOCS]
FROM_THE_RUN = ("README.md", "docs/story.md")
"""Pages with rows of the recorded run."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def table_rows(text: str, first_heading: str) -> list[list[str]]:
    """The cells of every table whose first column has that heading."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif inside:
            rows.append(cells)
        elif cells[0] == first_heading:
            inside = True
    return [cells for cells in rows if set("".join(cells)) - {"-"}]


@pytest.fixture(scope="module")
def recorded() -> Run:
    return recorded_run(None)


def test_recorded_runs_are_of_this_kernel_source_and_name_where_they_were_measured() -> None:
    runs = list(recorded_runs())

    assert {50_000, 2048} == {run.header.problem["seqlen"] for run in runs}
    for run in runs:
        chosen = subject_of_run(run.header.kernel, run.header.problem)
        assert chosen.source_hashes() == run.header.kernel_hashes
        assert PARAMS.params == run.header.params
        assert chosen.question(chosen.baseline()) == run.header.question
        assert "NVIDIA H100 80GB HBM3" == run.header.device.name
        assert not run.header.interrupted
        assert {"ok"} == {row.status for row in run.rows if row.rank is not None}
        wrong = [
            row for row in run.rows if row.config.variant == "tile" and row.config.number("BLOCK_SIZE_DSTATE") < 128
        ]
        assert 22 == len(wrong)
        assert all(row.status == "wrong" and row.check and 0.5 < row.check.relative_error < 0.8 for row in wrong)
        assert all(
            row.occupancy and row.driver_blocks_per_sm == row.occupancy.blocks_per_sm for row in run.rows if row.timing
        )


def test_every_figure_of_its_tables_is_the_recorded_runs(recorded: Run) -> None:
    rows = {row.config_id: row for row in recorded.rows}
    cells = [one for page in FROM_THE_RUN for one in table_rows(text_of(page), "rank")]

    assert len(cells) >= 10
    for rank, name, latency, speedup, error, occupancy, warps, registers, smem, limiters in cells:
        row = rows[name.strip("`")]
        assert row.timing
        assert row.check
        assert row.occupancy
        assert row.compiled
        assert (str(row.rank or "–"), f"{row.timing.latency_ms:.3f}") == (rank, latency)
        assert (f"{row.speedup_vs_baseline:.2f}" if row.speedup_vs_baseline else "–") == speedup
        assert f"{row.check.relative_error:#.2g}" == error
        assert f"{row.occupancy.theoretical_occupancy_pct:g}" == occupancy
        assert f"{row.occupancy.warps_per_scheduler:.2f}" == warps
        assert [registers, smem] == [str(row.compiled.registers_per_thread), str(row.compiled.dynamic_shared_mem_bytes)]
        assert ", ".join(row.occupancy.limiters) == limiters


def test_what_it_says_of_the_whole_run_is_true(recorded: Run) -> None:
    text = " ".join(README.split())
    best, baseline = recorded.ranked[0], next(row for row in recorded.ranked if row.speedup_vs_baseline == 1)
    assert best.timing
    assert best.occupancy
    assert baseline.timing
    assert baseline.occupancy
    less = 1 - best.timing.latency_ms / baseline.timing.latency_ms

    assert f"{len(recorded.ranked)} correct configs" in text
    assert f"{len(recorded.rows)} rows" in text
    assert f"baseline (rank {baseline.rank}) and takes {100 * less:.0f} % less time" in text
    assert best.occupancy.theoretical_occupancy_pct == baseline.occupancy.theoretical_occupancy_pct
    device = recorded.header.device
    assert f"{device.name} (driver {device.driver}, CUDA {device.cuda}, Triton {recorded.header.triton}" in text
    assert f"PyTorch {recorded.header.torch}, {recorded.header.date[:10]})" in text


def test_the_answer_it_shows_is_that_of_the_recorded_run(recorded: Run) -> None:
    shown = README.partition("<!-- answer -->\n```\n")[2].partition("\n```")[0]
    assert screen(answer_lines(answer(recorded)), 100) == shown


def test_the_changes_that_the_docs_show_are_those_of_the_recorded_run(recorded: Run) -> None:
    shown = text_of("docs/measurement.md").partition("<!-- changes -->\n```\n")[2].partition("\n```")[0]
    assert screen(Group(*parts(among(recorded, "split:m128n64k64d128w8s3"))), 110) == shown


def test_no_page_names_a_config_of_another_rank_than_the_recorded_one(recorded: Run) -> None:
    tables = [cells for page in FROM_THE_RUN for cells in table_rows(text_of(page), "rank")]
    assert 1 == sum(cells[0] == "1" for cells in tables)
    assert recorded.ranked[0].config_id == next(cells[1].strip("`") for cells in tables if cells[0] == "1")


def test_every_csv_column_of_the_chunk_scan_is_listed_with_its_unit_and_meaning() -> None:
    expected = [[f"`{column.name}`", column.unit, column.description] for column in columns_of(PARAMS)]

    assert expected == table_rows(text_of("docs/columns.md"), "column")


def test_every_space_of_our_kernel_is_listed() -> None:
    listed = [cells[0] for cells in table_rows(text_of("docs/configs.md"), "space")]
    names = subject().space_names()

    assert [f"`{name}`" for name in names] == [cell for cell in listed if cell.strip("`") in names]


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    linked = {Path(target).name for target in re.findall(r"\]\((docs/[^)#\s]+)", README)}
    assert {page.name for page in DOCS} == linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_path_of_a_test_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [] == re.findall(r"(?:/work/|/tmp/|/root/|/home/|/mnt/|/Users/)\S*", text)


def test_ci_runs_the_test_command_that_stands_in_it() -> None:
    found = re.findall(r"^<!-- (main job|tests) -->\n```bash\n(.+)\n```$", README, flags=re.MULTILINE)

    assert ["main job", "tests"] == [name for name, _ in found]
    assert all(command.startswith("python3 -m venv .venv && .venv/bin/pip install ") for _, command in found)
    assert "'/^<!-- tests -->$/,/^```$/p' README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
