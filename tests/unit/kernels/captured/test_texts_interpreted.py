"""Under Triton's interpreter, kernels are kept and run as well."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import torch, triton, triton.language as tl
from ssdprof.kernels.captured.source.load import load
from ssdprof.kernels.captured.source.texts import origin_of, sources_of

SCALE = tl.constexpr(3)

@triton.jit
def times(v):
    return v * SCALE

@triton.heuristics({"TWICE": lambda a: a["n"] > 4})
@triton.jit(do_not_specialize=["n"])
def k(x, y, n, B: tl.constexpr, TWICE: tl.constexpr):
    offs = tl.arange(0, B)
    v = times(tl.load(x + offs, mask=offs < n, other=0.0))
    if TWICE:
        v = tl.exp(v)
    tl.store(y + offs, v, mask=offs < n)

x, y, z = torch.arange(8.0), torch.zeros(8), torch.zeros(8)
grid = lambda meta: (triton.cdiv(x.shape[0], meta["B"]),)
sources = sources_of(k.fn, grid, tuple(k.values.items()))
loaded = load(sources)
k[grid](x, y, 8, B=8)
extra = {name: f({"n": 8}) for name, f in loaded.heuristics}
loaded.kernel[loaded.grid](x, z, 8, B=8, **extra)
assert torch.equal(y, z) and y[1] > 20, (y, z)
assert "do_not_specialize=['n']" in sources.modules["m0"]
print(origin_of(k.fn).qualname)
"""


def test_a_kept_kernel_gives_the_same_numbers(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    env = {**os.environ, "TRITON_INTERPRET": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True)
    assert ("k\n", 0) == (done.stdout, done.returncode), done.stderr
