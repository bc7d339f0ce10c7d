"""`ssdprof spaces` and `ssdprof presets`: what they list is what there is."""

from __future__ import annotations

import json
from pathlib import Path

import foreign_files
import pytest

from ssdprof.cli.main import run as ssdprof
from ssdprof.kernels.registry import subject
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.presets import DEFAULT_PRESET, PRESETS


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    """The words of each line that a command prints, without its heading."""
    assert 0 == ssdprof(arguments)
    return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


@pytest.mark.parametrize("problem", [{}, {"preset": "mamba2-2.7b", "dstate": 32}])
def test_every_space_is_listed_with_the_number_of_its_configs_on_the_problem(
    capsys: pytest.CaptureFixture[str], problem: dict[str, object]
) -> None:
    chosen = subject(**problem)  # type: ignore[arg-type]
    options = [word for name, value in problem.items() for word in (f"--{name}", str(value))]
    found = printed(capsys, "spaces", *options)

    assert list(chosen.space_names()) == [name for name, *_ in found]  # type: ignore[attr-defined]
    for name, configs, *_ in found:
        assert len(space_of(chosen, name).configs) == int(configs)


def test_a_space_that_the_problem_cannot_have_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = {name: rest for name, *rest in printed(capsys, "spaces", "--dstate", "1024")}
    assert "–" == found["mamba"][0]
    assert "dstate 1024 needs a space with DSTATE tiles" in " ".join(found["mamba"])
    assert "wide" in found
    assert 0 < int(found["wide"][0])


def test_a_foreign_kernels_own_list_is_its_default(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = foreign_files.lone(tmp_path, foreign_files.text())
    assert 0 == ssdprof(["spaces", "--kernel", str(path), "--json"])
    listed = json.loads(capsys.readouterr().out)["spaces"]

    assert [("own", True)] == [(one["name"], one["is_default"]) for one in listed][:1]
    assert {"tensorrt-llm-pr", "mamba", "vllm", "wide"} == {one["name"] for one in listed[1:]}
    assert all(one["configs"] > 0 for one in listed)


def test_every_preset_is_listed_with_its_sizes_and_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "presets")

    assert list(PRESETS) == [name for name, *_ in found]
    for name, *cells in found:
        sizes = [str(value) for value in PRESETS[name].as_fields().values()]
        assert sizes == cells[: len(sizes)]
        assert " ".join(cells[len(sizes) :]).removesuffix(" (default)") == PRESETS[name].model
    assert [DEFAULT_PRESET] == [name for name, *cells in found if "(default)" in cells]


def test_presets_for_programs_have_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == ssdprof(["presets", "--json"])
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["presets"]}

    assert {name: preset.source for name, preset in PRESETS.items()} == {
        name: one["source"] for name, one in listed.items()
    }
    assert PRESETS["mamba2-130m"].as_fields() == listed["mamba2-130m"]["fields"]


def test_an_unknown_preset_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == ssdprof(["spaces", "--preset", "mamba2-3b"])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert captured.err.startswith("ssdprof: unknown preset mamba2-3b: one of nemotron-3-super")
