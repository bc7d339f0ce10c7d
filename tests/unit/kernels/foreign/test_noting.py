"""How an engine's own entry prepares the launch of our inputs, in each layout, without a GPU."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from foreign_files import (
    CONFIGS,
    ENTRIES,
    KERNEL,
    LIKE_MAMBA,
    LIKE_OLDER_VLLM,
    LIKE_SGLANG,
    LIKE_VLLM,
    SMALL,
    TUNED,
    checkout,
    interpreted,
    lone,
    registers,
    subject_of,
    text,
)

from ssdprof.kernels.errors import UsageError
from ssdprof.kernels.foreign.subject import foreign_chunk_scan
from ssdprof.kernels.launch import TensorMeta, TensorRef

OURS = {"cb", "x", "dt", "da_cumsum", "c", "states", "out", "d"}
STATES_OF_A_CHUNK = SMALL.nheads * SMALL.headdim * SMALL.dstate


@pytest.mark.parametrize("engine", ENTRIES)
def test_each_layout_gets_our_tensors(engine: str, tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(ENTRIES[engine]))
    plan = subject.launch(subject.baseline())
    refs = {ref.name: ref for ref in plan.args.values() if isinstance(ref, TensorRef)}
    by_chunk = {"cu_chunk_seqlens", "chunk_seq_idx"} if engine == "vllm" else set()
    assert OURS | by_chunk == set(refs)
    assert set(refs) == set(subject.tensors())
    offset = STATES_OF_A_CHUNK if engine == "vllm" else 0
    assert TensorRef("states", "float32", offset) == refs["states"]
    assert {0} == {ref.offset for name, ref in refs.items() if name != "states"}
    assert TensorMeta((1, 40, 4, 16), "float32", "out") == subject.tensors()["out"]
    assert (1, 3, 4) == plan.grid
    assert plan == pickle.loads(pickle.dumps(plan))
    assert subject == pickle.loads(pickle.dumps(subject))


def test_each_layout_gives_the_correct_output_and_a_cut_sum_is_named(tmp_path: Path) -> None:
    files = {name.replace(" ", "_"): lone(tmp_path / name, text(entry)) for name, entry in ENTRIES.items()}
    said = interpreted(files, "m16n16k16w4s2", "m32n16k16d16w4s2").splitlines()
    cut = "wrong: only the first 16 of 32 state elements (dstate) are summed: take a DSTATE tile of 32"
    expected = [(f"{name} m16n16k16w4s2 correct", f"{name} m32n16k16d16w4s2 {cut}") for name in files]
    assert [line for pair in expected for line in pair] == said


def test_inputs_are_those_of_the_launch(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(ENTRIES["vllm"]))
    inputs = subject.inputs("cpu", 0)
    assert [0, 16, 32, 40] == inputs["cu_chunk_seqlens"].tolist()
    metas = subject.tensors()
    assert metas.keys() - {"out"} == inputs.keys()
    for name, tensor in inputs.items():
        assert (metas[name].shape, f"torch.{metas[name].dtype}") == (tuple(tensor.shape), str(tensor.dtype))
    assert subject.reference(inputs)["out"].shape == metas["out"].shape
    assert subject.memory_bytes() > sum(meta.size_bytes for meta in metas.values())


def test_a_gate_has_a_second_output_that_the_entry_makes(tmp_path: Path) -> None:
    for entry in (LIKE_MAMBA, LIKE_SGLANG):
        subject = subject_of(tmp_path, text(entry), z=True)
        assert ["out", "out_x"] == [name for name, meta in subject.tensors().items() if meta.is_written]
        assert {"out"} == {one.output for one in subject.tolerances()}


def test_packed_sequences_and_batches_go_where_the_layout_has_them(tmp_path: Path) -> None:
    assert (1, 6, 4) == (batched := subject_of(tmp_path, text(LIKE_MAMBA), batch=2)).launch(batched.baseline()).grid
    packed = LIKE_MAMBA.replace("D is not None,", "seq_idx is not None,")
    assert subject_of(tmp_path, text(packed), seq_idx=True).launch(batched.baseline()).args["HAS_D"]
    for entry in (LIKE_OLDER_VLLM, ENTRIES["vllm"]):
        with pytest.raises(UsageError, match="takes no batch: the problem's must be 1, got 2"):
            subject_of(tmp_path / "other", text(entry), batch=2)
    with pytest.raises(UsageError, match="takes one sequence index per chunk, but packed sequences begin inside"):
        subject_of(tmp_path / "other", text(ENTRIES["vllm"]), seq_idx=True)


def test_one_chunk_alone_reads_no_state_beyond_its_own(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(ENTRIES["vllm"]), seqlen=9)
    assert TensorRef("states", "float32") == subject.launch(subject.baseline()).args["states_ptr"]


def test_an_output_that_is_not_contiguous_is_taken_as_it_is(tmp_path: Path) -> None:
    made = "out = torch.empty(batch, nheads, seqlen, headdim, device=x.device, dtype=x.dtype).transpose(1, 2)"
    entry = re.sub(r"out = torch.empty\(.*\)", made, LIKE_MAMBA)
    out = subject_of(tmp_path, text(entry)).tensors()["out"]
    assert ((1, 40, 4, 16), (4 * 40 * 16, 16, 40 * 16, 1)) == (out.shape, out.stride)


SHORT = "def _chunk_scan_fwd(cb, x, D):"
CALL = "_chunk_scan_fwd_kernel[1]"


@pytest.mark.parametrize(
    ("entry", "problem", "reason"),
    [
        ("def _chunk_scan_fwd(cb, x, D, weights): ...", {}, "asks for weights, which ssdprof cannot give: take"),
        ("def _chunk_scan_fwd(cb, x, D, weights=None): ...", {}, "launches _chunk_scan_fwd_kernel 0 times instead of"),
        ("def _chunk_scan_fwd(cb, x): ...", {"d_form": "none", "z": True}, "takes no z, but the problem has one"),
        (f"{SHORT}\n    assert x is None, 'no\\nmore'", {}, "refuses these inputs: AssertionError: no$"),
        (f"{SHORT}\n    raise KeyError", {}, "refuses these inputs: KeyError$"),
        (f"{SHORT}\n    {CALL}(x)", {}, "neither takes an output nor returns one of the problem's shape"),
        (f"{SHORT}\n    {CALL}(x)\n    return torch.empty_like(x)[0, 1:]", {}, "neither takes an output nor"),
        (f"{SHORT}\n    {CALL}(x + 1)", {}, "passes its kernel a tensor that it makes itself, cb_ptr, and does not"),
        (f"{SHORT}\n    {CALL}(lambda: 1)", {}, "passes its kernel a function as cb_ptr: ssdprof can pass numbers"),
        (f"{SHORT}\n    {CALL}(*[x] * 99)", {}, "passes 99 arguments, and its kernel takes 28"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_given_the_problem_says_why(
    entry: str, problem: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"^_chunk_scan_fwd of {re.escape(str(tmp_path))}.*{reason}") as raised:
        subject_of(tmp_path, text(entry), **problem)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (text() + "1 / 0", "scan.py cannot be loaded: ZeroDivisionError: division by zero"),
        (text() + "from ......far import x", "scan.py cannot be loaded: ImportError: attempted relative"),
        (
            "from vllm.fast import exp\n" + text(kernel=KERNEL.replace("tl.exp(da_m)", "exp(da_m)")),
            "the kernel of .*scan.py uses vllm.fast.exp, which is not there when the file is loaded alone: name its",
        ),
        (
            text().replace("BLOCK_SIZE_DSTATE=max", "_=max"),
            "neither the entry nor a config nor a heuristic sets BLOCK_SIZE_DSTATE",
        ),
        (text(around="", kernel="_chunk_scan_fwd_kernel = {1: len}\n"), "refuses these inputs|is not a Triton kernel"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        subject_of(tmp_path, content)


def test_a_launcher_beside_the_file_and_what_it_calls_are_noted(tmp_path: Path) -> None:
    helpers = (
        "import triton\nimport triton.language as tl\n@triton.jit\ndef fast_exp(x):\n    return tl.exp2(x * 1.4427)\n"
    )
    helpers += "_seen = {}\n" + ENTRIES["vllm"].partition("def _chunk")[0].replace("kernel[grid](", "kernel.fn[grid](")
    content = text(LIKE_VLLM, kernel=KERNEL.replace("tl.exp(da_m)", "fast_exp(da_m)"))
    imports = "from vllm.model_executor.layers.mamba.ops.helpers import fast_exp, launch_tuned\n"
    file = checkout(tmp_path, "vllm", imports + content, helpers=helpers)
    subject = foreign_chunk_scan(str(tmp_path), SMALL)
    assert ("vllm:chunk_scan", str(file)) == (subject.name, subject.file)
    before = subject.source_hashes()
    assert before == foreign_chunk_scan(str(file), SMALL).source_hashes()
    copy = lone(tmp_path / "copy", imports + content)
    with pytest.raises(UsageError, match=r"copy/scan.py calls helpers.launch_tuned, which is not there"):
        foreign_chunk_scan(str(copy), SMALL)
    lone(tmp_path / "both", helpers, "helpers.py")
    both = foreign_chunk_scan(str(lone(tmp_path / "both", imports + content, "any.py")), SMALL)
    assert subject.space("own") == both.space("own")
    assert before == both.source_hashes()
    assert registers(Path(both.file)) > 16, "Triton finds the source of what was loaded alone"


def test_the_kernel_is_back_in_its_module_after_its_launch_is_noted(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text())
    plan = subject.launch(subject.baseline())
    assert type(plan.callee()).__name__ == "JITFunction"
    assert CONFIGS + TUNED in Path(subject.file).read_text(encoding="utf-8")
