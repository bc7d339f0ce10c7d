"""The README says what the recorded run, the columns and CI say."""

import re
from pathlib import Path

from ssdprof.kernels.ssd.subject import ChunkScan
from ssdprof.profiling.runs.store import recorded_runs
from ssdprof.reports.columns import COLUMNS

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_rows(first_heading: str) -> list[list[str]]:
    """The cells of every table whose first column has that heading."""
    rows: list[list[str]] = []
    inside = False
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif inside:
            rows.append(cells)
        elif cells[0] == first_heading:
            inside = True
    return [cells for cells in rows if set("".join(cells)) - {"-"}]


def test_recorded_runs_are_of_this_kernel_source_and_name_where_they_were_measured() -> None:
    runs = list(recorded_runs())

    assert {50_000, 2048} == {run.header.problem["seqlen"] for run in runs}
    for run in runs:
        assert ChunkScan().source_hashes() == run.header.kernel_hashes
        assert "NVIDIA H100 80GB HBM3" == run.header.device.name
        assert not run.header.interrupted
        assert {"ok"} == {row.status for row in run.rows if row.rank is not None}
        wrong = [row for row in run.rows if row.config.variant == "tile" and (row.config.block_dstate or 0) < 128]
        assert 22 == len(wrong)
        assert all(row.status == "wrong" and row.check and 0.5 < row.check.relative_error < 0.8 for row in wrong)
        assert all(
            row.occupancy and row.driver_blocks_per_sm == row.occupancy.blocks_per_sm for row in run.rows if row.timing
        )


def test_every_figure_of_its_tables_is_the_recorded_runs() -> None:
    recorded = next(run for run in recorded_runs() if run.header.problem["seqlen"] == 50_000)
    rows = {row.config_id: row for row in recorded.rows}
    cells = table_rows("rank")

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
        assert [registers, smem] == [
            str(row.compiled.registers_per_thread),
            str(row.compiled.dynamic_shared_mem_bytes),
        ]
        assert ", ".join(row.occupancy.limiters) == limiters
    assert f"{len(recorded.ranked)} right configs" in " ".join(README.split())
    assert f"{len(recorded.rows)} rows" in README


def test_it_lists_every_csv_column_with_its_unit_and_meaning() -> None:
    expected = [[f"`{column.name}`", column.unit, column.description] for column in COLUMNS]

    assert expected == table_rows("column")


def test_ci_runs_the_test_command_that_stands_in_it() -> None:
    found = re.findall(r"^<!-- (main job|tests) -->\n```bash\n(.+)\n```$", README, flags=re.MULTILINE)

    assert ["main job", "tests"] == [name for name, _ in found]
    assert all(command.startswith("python3 -m venv .venv && .venv/bin/pip install ") for _, command in found)
    assert "'/^<!-- tests -->$/,/^```$/p' README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
