"""Made-up chunk scans of inference engines: files of our own writing in each layout that engines have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ssdprof.kernels.foreign.files import PLACES
from ssdprof.kernels.foreign.subject import ForeignChunkScan, foreign_chunk_scan
from ssdprof.kernels.ssd.problem import ChunkScanProblem

SMALL = ChunkScanProblem(
    seqlen=40, nheads=4, headdim=16, ngroups=2, dstate=32, chunk_size=16, dtype="float32", states_dtype="float32"
)
IMPORTS = """
import torch
import triton
import triton.language as tl
"""
CONFIGS = """
configs = [
    triton.Config({"BLOCK_SIZE_M": m, "BLOCK_SIZE_N": n, "BLOCK_SIZE_K": k}, num_stages=stages, num_warps=warps)
    for m, n, k, stages, warps in ((128, 256, 64, 3, 8), (64, 64, 32, 4, 2), (16, 16, 16, 2, 4), (64, 64, 32, 4, 2))
]
"""
TUNED = '@triton.autotune(configs=configs, key=["chunk_size", "dstate"])'
KERNEL = """
@triton.jit
def _chunk_scan_fwd_kernel(
    cb_ptr, x_ptr, z_ptr, out_ptr, out_x_ptr, dt_ptr, dA_cumsum_ptr, seq_idx_ptr, C_ptr, states_ptr, D_ptr, starts_ptr,
    batch, seqlen, nheads, ratio, stride_states_chunk,
    chunk_size: tl.constexpr, hdim: tl.constexpr, dstate: tl.constexpr, ngroups: tl.constexpr,
    HAS_D: tl.constexpr, HAS_Z: tl.constexpr, STATES_AFTER: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr, BLOCK_SIZE_DSTATE: tl.constexpr,
):
    tiles_n = tl.cdiv(hdim, BLOCK_SIZE_N)
    o_m = (tl.program_id(0) // tiles_n) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    o_n = (tl.program_id(0) % tiles_n) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    i_bc, i_h = tl.program_id(1), tl.program_id(2)
    nchunks = tl.cdiv(seqlen, chunk_size)
    i_b, i_c = i_bc // nchunks, i_bc % nchunks
    first = i_c * chunk_size
    if STATES_AFTER:
        first = tl.load(starts_ptr + i_c)
    m_m = (o_m < chunk_size) & (first + o_m < seqlen)
    m_n = o_n < hdim
    o_da = ((i_b * nheads + i_h) * nchunks + i_c) * chunk_size
    da_m = tl.load(dA_cumsum_ptr + o_da + o_m, mask=m_m, other=0.0)
    p_c = C_ptr + ((i_b * seqlen + first + o_m) * ngroups + i_h // ratio)[:, None] * dstate
    p_state = states_ptr + (i_b * nchunks + i_c - STATES_AFTER) * stride_states_chunk
    p_state += (i_h * hdim + o_n)[None, :] * dstate
    length = tl.where(i_c < STATES_AFTER, 0, dstate)
    o_d = tl.arange(0, BLOCK_SIZE_DSTATE if BLOCK_SIZE_DSTATE <= 128 else BLOCK_SIZE_K)[None, :]
    if BLOCK_SIZE_DSTATE <= 128:
        c = tl.load(p_c + o_d, mask=m_m[:, None] & (o_d < dstate), other=0.0)
        state = tl.load(p_state + tl.trans(o_d), mask=(tl.trans(o_d) < length) & m_n[None, :], other=0.0)
        acc = tl.dot(c, state.to(c.dtype))
    else:
        acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
        for d in range(0, dstate, BLOCK_SIZE_K):
            o_k = d + o_d
            c = tl.load(p_c + o_k, mask=m_m[:, None] & (o_k < dstate), other=0.0)
            state = tl.load(p_state + tl.trans(o_k), mask=(tl.trans(o_k) < length) & m_n[None, :], other=0.0)
            acc += tl.dot(c, state.to(c.dtype))
    acc *= tl.exp(da_m)[:, None]
    o_x = i_b * seqlen * nheads * hdim + i_h * hdim
    p_cb = cb_ptr + ((i_b * nchunks + i_c) * ngroups + i_h // ratio) * chunk_size * chunk_size
    for k in range(0, chunk_size, BLOCK_SIZE_K):
        o_k = k + tl.arange(0, BLOCK_SIZE_K)
        m_k = (o_k < chunk_size) & (first + o_k < seqlen)
        cb = tl.load(p_cb + o_m[:, None] * chunk_size + o_k[None, :], mask=m_m[:, None] & m_k[None, :], other=0.0)
        da_k = tl.load(dA_cumsum_ptr + o_da + o_k, mask=m_k, other=0.0)
        weight = tl.exp(tl.minimum(da_m[:, None] - da_k[None, :], 0.0))
        weight *= tl.load(dt_ptr + o_da + o_k, mask=m_k, other=0.0)[None, :]
        weight = tl.where(o_m[:, None] >= o_k[None, :], cb * weight, 0.0)
        m_x = m_k[:, None] & m_n[None, :]
        x = tl.load(x_ptr + o_x + (first + o_k)[:, None] * nheads * hdim + o_n[None, :], mask=m_x, other=0.0)
        acc += tl.dot(weight.to(x.dtype), x)
    o_out = o_x + (first + o_m)[:, None] * nheads * hdim + o_n[None, :]
    mask = m_m[:, None] & m_n[None, :]
    if HAS_D:
        acc += tl.load(D_ptr + i_h) * tl.load(x_ptr + o_out, mask=mask, other=0.0)
    if HAS_Z:
        tl.store(out_x_ptr + o_out, acc, mask=mask)
        z = tl.load(z_ptr + o_out, mask=mask, other=0.0)
        acc *= z * tl.sigmoid(z)
    tl.store(out_ptr + o_out, acc, mask=mask)
"""
TAIL = """
        dt, dA_cumsum, seq_idx, C, states, D, {starts},
        {batch}, seqlen, nheads, nheads // ngroups, states.stride({chunk_dim}), chunk_size, headdim, dstate, ngroups,
        D is not None, z is not None, {after}, BLOCK_SIZE_DSTATE=max(triton.next_power_of_2(dstate), 16),
    )
"""
GRID = """
    grid = lambda meta: (
        triton.cdiv(chunk_size, meta["BLOCK_SIZE_M"]) * triton.cdiv(headdim, meta["BLOCK_SIZE_N"]), {programs}, nheads
    )
"""
BATCHED = """
    batch, seqlen, nheads, headdim = x.shape
    _, _, nchunks, chunk_size = dt.shape
    _, _, ngroups, dstate = C.shape
    assert states.shape == (batch, nchunks, nheads, headdim, dstate)
""" + GRID.format(programs="batch * nchunks")
UNBATCHED = """
    seqlen, nheads, headdim = x.shape
    _, nchunks, chunk_size = dt.shape
    _, ngroups, dstate = C.shape
    assert states.shape == (nchunks, nheads, headdim, dstate)
""" + GRID.format(programs="nchunks")
LIKE_MAMBA = (
    "def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None):"
    + BATCHED
    + """
    out = torch.empty(batch, seqlen, nheads, headdim, device=x.device, dtype=x.dtype)
    out_x = None if z is None else torch.empty_like(out)
    with torch.cuda.device(x.device.index):
        _chunk_scan_fwd_kernel[grid](cb, x, z, out, out_x,
"""
    + TAIL.format(starts=None, batch="batch", chunk_dim=1, after=0)
    + "    return out, out_x\n"
)
LIKE_SGLANG = (
    "def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None,\n"
    "                    chunk_indices=None, chunk_offsets=None, initial_states=None, out=None):"
    + BATCHED
    + """
    assert out.shape == x.shape and chunk_indices is None
    out_x = None if z is None else torch.empty_like(x)
    _chunk_scan_fwd_kernel[grid](cb, x, z, out, out_x,
"""
    + TAIL.format(starts=None, batch="batch", chunk_dim=1, after=0)
    + "    return out_x\n"
)
LIKE_OLDER_VLLM = (
    "def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, D=None, z=None, seq_idx=None, out=None):"
    + UNBATCHED
    + "    _chunk_scan_fwd_kernel[grid](cb, x, z, out[None], None,\n"
    + TAIL.format(starts=None, batch=1, chunk_dim=0, after=0)
)
LIKE_VLLM = (
    "def _chunk_scan_fwd(cb, x, dt, dA_cumsum, C, states, cu_chunk_seqlens, out, seq_idx, D=None, z=None,\n"
    "                    initial_states=None):"
    + UNBATCHED
    + """
    assert seq_idx.shape == (nchunks,) and cu_chunk_seqlens.shape == (nchunks + 1,)
    launch_tuned(_chunk_scan_fwd_kernel, grid, cb, x, z, out, None,
"""
    + TAIL.format(starts="cu_chunk_seqlens", batch=1, chunk_dim=0, after=1)
)
LAUNCHER = """
def launch_tuned(kernel, grid, *args, **kwargs):
    assert kernel.keys == ["chunk_size", "dstate"]
    kernel[grid](*args, **kwargs)
    assert kernel.best_config.pre_hook is None
"""
ENTRIES = {"mamba_ssm": LIKE_MAMBA, "sglang": LIKE_SGLANG, "older vllm": LIKE_OLDER_VLLM, "vllm": LAUNCHER + LIKE_VLLM}


def text(entry: str = LIKE_MAMBA, *, around: str = CONFIGS + TUNED, kernel: str = KERNEL) -> str:
    """A whole file."""
    return IMPORTS + around + kernel + entry


def lone(folder: Path, content: str, name: str = "scan.py") -> Path:
    """A file alone in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def checkout(root: Path, engine: str, content: str, place: int = 0, **others: str) -> Path:
    """An engine's file at its place in a checkout, with modules beside it."""
    file = root / PLACES[engine][place]
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    for other, content_of_it in others.items():
        (file.parent / f"{other}.py").write_text(content_of_it, encoding="utf-8")
    return file


def subject_of(folder: Path, content: str, **changes: Any) -> ForeignChunkScan:
    """The subject that a lone file makes."""
    return foreign_chunk_scan(str(lone(folder, content)), ChunkScanProblem(**{**SMALL.as_dict(), **changes}))


def interpreted(files: dict[str, Path], *configs: str) -> str:
    """Lines of `print_errors`, whose launches Triton's interpreter makes."""
    return _called("print_errors", {name: str(file) for name, file in files.items()}, configs, TRITON_INTERPRET="1")


def registers(file: Path) -> int:
    """Registers per thread of a file's baseline, compiled for an H100."""
    return int(_called("print_registers", str(file)))


def _called(function: str, *args: object, **env: str) -> str:
    """What a function of this module prints in a process of its own."""
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.append({here!r}); import foreign_files; foreign_files.{function}(*{args!r})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def print_registers(file: str) -> None:
    """Registers per thread of its baseline."""
    from ssdprof.profiling.binary.compiler import compile_launch

    subject = foreign_chunk_scan(file, SMALL)
    print(compile_launch(subject.launch(subject.baseline()), "sm_90").registers_per_thread)


def print_errors(files: dict[str, str], configs: tuple[str, ...]) -> None:
    """A line for each file and config on `SMALL`: name, config, whether the output is correct, and why not."""
    import torch

    from ssdprof.kernels.config_text import parse_config

    for name, file in files.items():
        subject = foreign_chunk_scan(file, SMALL)
        inputs = subject.inputs("cpu", 0)
        outputs = {
            name: torch.full(meta.shape, torch.nan) for name, meta in subject.tensors().items() if meta.role == "out"
        }
        reference = subject.reference(inputs)
        for text_of_it in configs:
            config = subject.resolve(parse_config(text_of_it, subject.params))
            subject.launch(config).bind({**inputs, **outputs})()
            error = float((outputs["out"] - reference["out"]).norm() / reference["out"].norm())
            cause = subject.cause(config, inputs, reference, outputs)
            print(name, text_of_it, "correct" if error < 1e-6 else f"wrong: {cause}")
