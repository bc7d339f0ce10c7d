"""Where the chunk scan of an engine is looked for, and what is said if it is not there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import foreign_files
import pytest
from foreign_files import LIKE_MAMBA, checkout, lone

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.foreign.files import PLACES, find
from ssdprof.kernels.registry import subject

TEXT = "def _chunk_scan_fwd(): ...\n_chunk_scan_fwd_kernel = None\n"


@pytest.mark.parametrize("engine", PLACES)
def test_an_installed_engine_is_found_and_not_imported(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = checkout(tmp_path, engine, TEXT)
    (tmp_path / engine / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = find(engine.replace("_", "-"))
    module = PLACES[engine][0].removesuffix(".py").replace("/", ".")
    assert (str(file), module, engine) == (found.file, found.module, found.owner)
    assert engine not in sys.modules


def test_an_installed_engine_has_its_file_elsewhere_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    older = checkout(tmp_path, "sglang", TEXT, place=1)
    assert str(older) == find("sglang").file
    assert str(checkout(tmp_path, "sglang", TEXT)) == find("sglang").file
    moved = tmp_path / "vllm" / "new" / "place.py"
    moved.parent.mkdir(parents=True)
    for folder in (tmp_path / "vllm", moved.parent):
        (folder / "__init__.py").touch()
    moved.write_text(TEXT, encoding="utf-8")
    assert ("vllm.new.place", "vllm") == (find("vllm").module, find("vllm").owner)


def test_an_engine_without_a_chunk_scan_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"vllm as installed in .* holds no chunk scan: a file must define _chunk"):
        find("vllm")


def test_an_engine_that_is_not_installed_says_how_to_point_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"^tensorrt_llm is not installed here: install it, or point at it by --kernel"
    ):
        subject("tensorrt-llm")
    file = checkout(tmp_path, "tensorrt_llm", TEXT)
    assert str(file) == find("tensorrt_llm").file, "a folder of that name will do"


@pytest.mark.parametrize("inside", ["", "python", "mamba_ssm"])
def test_a_checkout_is_named_by_its_root_or_by_what_is_above_or_below(inside: str, tmp_path: Path) -> None:
    file = checkout(tmp_path / "python" if inside == "python" else tmp_path, "mamba_ssm", TEXT)
    copy = lone(tmp_path / "build", TEXT)
    found = find(str(tmp_path / inside if inside == "mamba_ssm" else tmp_path))
    assert (str(file), "mamba_ssm") == (found.file, found.owner)
    assert str(copy) == find(str(copy)).file


def test_a_folder_with_several_lists_them(tmp_path: Path) -> None:
    one, two = lone(tmp_path / "a", TEXT), lone(tmp_path / "b", TEXT)
    lone(tmp_path / ".hidden", TEXT)
    lone(tmp_path / "c", "no Python at all")
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} holds 2 chunk scans, name one of them: {one}, {two}")):
        find(str(tmp_path))
    two.unlink()
    assert str(one) == find(str(tmp_path)).file


@pytest.mark.parametrize(
    ("name", "content", "module", "owner"),
    [
        ("my-scan.v2.py", TEXT, "ssdprof_lone.file.loaded.alone.my_scan_v2", "my-scan.v2"),
        ("a b.py", TEXT, "ssdprof_lone.file.loaded.alone.a_b", "a_b"),
        ("scan.txt", f"from vllm.x import y\n{TEXT}", "vllm.model_executor.layers.mamba.ops.scan", "vllm"),
        ("scan.py", f"import os, sglang\nimport mamba_ssm.ops\n{TEXT}", "mamba_ssm.ops.triton.scan", "mamba_ssm"),
        ("scan.py", f"if 1:\n    {TEXT.splitlines()[0]}\ntry:\n    {TEXT.splitlines()[1]}\nfinally: ...", None, "scan"),
    ],
)
def test_a_file_is_recognised_by_what_it_defines(
    name: str, content: str, module: str | None, owner: str, tmp_path: Path
) -> None:
    found = find(str(lone(tmp_path, content, name)))
    assert owner == found.owner
    assert module in (None, found.module)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1", "holds no chunk scan: it must define _chunk_scan_fwd and _chunk_scan_fwd_kernel"),
        ("# _chunk_scan_fwd_kernel\ndef _chunk_scan_fwd(): ...", "holds no chunk scan"),
        ("_chunk_scan_fwd_kernel = = 1", r"cannot be read as Python source \(SyntaxError\): name a .py file"),
        (b"\xff\xfe", r"cannot be read as Python source \(UnicodeDecodeError\)"),
    ],
)
def test_a_file_of_no_use_says_why(content: str | bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "scan.py"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=f"^{re.escape(str(file))} {said}") as raised:
        subject(str(file))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (
            "vlm",
            "unknown kernel vlm, did you mean vllm? One of chunk-scan, mamba_ssm, vllm, sglang, tensorrt_llm, or the",
        ),
        ("nowhere/scan.py", "unknown kernel 'nowhere/scan.py': one of chunk-scan, mamba_ssm,"),
    ],
)
def test_an_unknown_kernel_is_answered_with_the_known_ones(kernel: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        find(kernel)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(str(tmp_path))} holds no chunk scan: a file must define"):
        find(str(tmp_path))


def test_the_registry_gives_a_runs_subject_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssdprof.kernels.registry import subject_of_run

    checkout(tmp_path, "mamba_ssm", foreign_files.text(LIKE_MAMBA))
    monkeypatch.syspath_prepend(str(tmp_path))
    made = subject("mamba_ssm", seqlen=40)
    assert made == subject_of_run(made.name, made.identity())
    assert "mamba_ssm:chunk_scan" == made.name
