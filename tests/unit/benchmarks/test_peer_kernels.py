"""How the kernels of mamba_ssm and vLLM are loaded and given our inputs, with made-up peers, on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_peers import (
    LIKE_MAMBA,
    LIKE_OLDER_VLLM,
    LIKE_VLLM,
    MADE_UP_KERNEL,
    SMALL,
    bench,
    checkout,
    made_up,
    peer_files,
    peer_kernels,
    peers,
)
from made_up_peers import small_guards as small_guards  # for every test here

from ssdprof.kernels.ssd.problem import ChunkScanProblem


@pytest.mark.parametrize("entry", [LIKE_MAMBA, LIKE_OLDER_VLLM, LIKE_VLLM], ids=["mamba", "older vLLM", "vLLM"])
def test_each_known_signature_gets_our_inputs_in_its_own_layout(entry: str, tmp_path: Path) -> None:
    on = bench()
    results = [on.check(one) for one in peers.theirs("vllm", made_up(tmp_path, entry, "vllm"), on)]
    assert ["m64n32k32w4s2", "m64n32k32w8s2", "m64n32k32w4s9"] == [one.candidate.config for one in results]
    assert ["ok", "wrong", "launch-error"] == [one.status for one in results]
    assert results[0].check is not None
    assert 5 == results[0].check.launches
    assert 1e-6 > results[0].check.relative_error
    assert "relative error 1.0" in results[1].reason
    assert "RuntimeError: too many stages" == results[2].reason


def test_an_entry_is_called_once_and_its_kernel_is_back_afterwards(tmp_path: Path) -> None:
    module, on = made_up(tmp_path, LIKE_MAMBA), bench()
    kernel = module._chunk_scan_fwd_kernel
    launch = peer_kernels.prepared(module, SMALL, on.inputs, on.out)
    assert kernel is module._chunk_scan_fwd_kernel
    assert launch.out.data_ptr() != on.out.data_ptr()
    assert on.out.shape == launch.out.shape


def test_an_output_that_the_entry_takes_is_the_guarded_one(tmp_path: Path) -> None:
    on = bench()
    launch = peer_kernels.prepared(made_up(tmp_path, LIKE_VLLM, "vllm"), SMALL, on.inputs, on.out)
    assert on.out is launch.out


@pytest.mark.parametrize(
    ("entry", "problem", "reason"),
    [
        ("def _chunk_scan_fwd(cb, x, D, weights): ...", {}, "asks for weights, which is not known here"),
        ("def _chunk_scan_fwd(cb, x): ...", {"d_form": "none", "z": True}, "has no z, and the problem has"),
        (LIKE_VLLM, {"seq_idx": True}, "one sequence index per chunk"),
        ("def _chunk_scan_fwd(cb, x, D):\n    assert x is None, 'no\\nmore'", {}, "refuses these inputs: Asser.*: no$"),
        ("def _chunk_scan_fwd(cb, x, D): ...", {}, "launches _chunk_scan_fwd_kernel 0 times"),
        ("def _chunk_scan_fwd(x, D):\n    _chunk_scan_fwd_kernel[7](x)", {}, "neither takes an output nor returns one"),
    ],
)
def test_a_peer_that_cannot_be_given_the_problem_says_why_and_is_left_out(
    entry: str, problem: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ChunkScanProblem(**{**SMALL.as_dict(), **problem})
    module, on = made_up(tmp_path, entry, "vllm"), bench(problem=asked)
    with pytest.raises(peer_files.PeerError, match=reason):
        peer_kernels.prepared(module, asked, on.inputs, on.out)
    assert [] == peers.theirs("vllm", module, on)
    assert "without vllm: " in capsys.readouterr().out


def test_a_file_is_loaded_alone_with_modules_of_its_checkout_and_stand_ins_for_packages(tmp_path: Path) -> None:
    imports = """
from einops import rearrange
from vllm.triton_utils import HAS_TRITON, tl, triton
from vllm.platforms import current_platform
from helpers import ANSWER
from vllm.model_executor.layers.mamba.ops import helpers
import vllm.model_executor.layers.deep as deep
LANGUAGE = tl.__name__
"""
    root = checkout(tmp_path, "vllm", MADE_UP_KERNEL + LIKE_VLLM + imports, helpers="from vllm.x import y\nANSWER = 42")
    (tmp_path / "vllm/__init__.py").write_text("raise AssertionError('the package is not to run')", encoding="utf-8")
    (tmp_path / "vllm/model_executor/layers/deep.py").write_text("DEEP = 43", encoding="utf-8")
    before, finders = set(sys.modules), list(sys.meta_path)
    module = peer_files.load("vllm", root)
    assert (42, 42, 43) == (module.ANSWER, module.helpers.ANSWER, module.deep.DEEP)
    assert "triton.language" == module.LANGUAGE
    assert not module.current_platform.is_cuda()
    with pytest.raises(peer_files.PeerError, match=r"vllm.platforms.current_platform.is_rocm, which is not there"):
        module.current_platform.is_rocm()
    with pytest.raises(peer_files.PeerError, match=r"calls vllm.triton_utils.HAS_TRITON"):
        module.HAS_TRITON()
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ("vllm", "einops")}
    assert finders == sys.meta_path


def test_a_file_outside_of_any_checkout_is_loaded_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("ANSWER = 42", encoding="utf-8")
    file = tmp_path / "scan.py"
    text = "from mamba_ssm.utils.torch import custom_fwd\nfrom .beside import ANSWER\n"
    file.write_text(MADE_UP_KERNEL + LIKE_MAMBA + text, encoding="utf-8")
    assert 42 == peer_files.load("mamba_ssm", file).ANSWER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_to_be_found", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("from mamba_ssm.utils.hf import load\nload()", "calls mamba_ssm.utils.hf.load, which is not there"),
        ("def _chunk_scan_fwd(): ...", "a version not known here"),
        ("_chunk_scan_fwd = _chunk_scan_fwd_kernel = len", "a version not known here"),
    ],
)
def test_a_file_that_is_of_no_use_says_why(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert peers.loaded("mamba_ssm", checkout(tmp_path, "mamba_ssm", text)) is None
    said = capsys.readouterr().out
    assert "without mamba_ssm: " in said
    assert reason in said


def test_an_installed_peer_is_imported_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peer_files.MODULES, "made_up_peer", "made_up_peer.scan")
    with pytest.raises(peer_files.PeerError, match="not installed; --peer made_up_peer=PATH"):
        peer_files.load("made_up_peer")
    (tmp_path / "made_up_peer").mkdir()
    (tmp_path / "made_up_peer" / "scan.py").write_text(MADE_UP_KERNEL + LIKE_MAMBA, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert 3 == len(peer_files.load("made_up_peer")._chunk_scan_fwd_kernel.configs)


@pytest.mark.parametrize(("capability", "drops"), [((9, 0), True), ((10, 0), False)])
def test_a_file_that_asks_for_the_gpu_is_told_which_it_is(
    capability: tuple[int, int], drops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    asks = """
from vllm.platforms import current_platform
DROPS = current_platform.is_cuda() and current_platform.is_device_capability(90)
"""
    root = checkout(tmp_path, "vllm", MADE_UP_KERNEL + LIKE_VLLM + asks)
    assert drops is peer_files.load("vllm", root).DROPS
