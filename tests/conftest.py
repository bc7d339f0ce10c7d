"""For every test a data folder of its own; and helper modules that worker processes import by their bare names."""

import sys
from pathlib import Path

import pytest

for _folder in (
    "helpers",
    "helpers/fakes",
    "helpers/programs",
    "helpers/sass",
    "helpers/traffic",
):  # workers import from them too: they get this path
    sys.path.append(str(Path(__file__).parent / _folder))


@pytest.fixture(autouse=True)
def data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where runs are kept while a test runs, and nothing is at first."""
    home = tmp_path / "data-home"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    return home
