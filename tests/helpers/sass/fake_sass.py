"""Machine code as nvdisasm prints it, from a short form; and a kernel's loops as Triton's IR has them.

In the short form a line is `label:`, or an instruction after the source line that it is from, such as `7 @P0 BRA loop`.
"""

from __future__ import annotations

from ssdprof.profiling.binary.sass.flow import Flow, flow_of
from ssdprof.profiling.binary.sass.text import Code, parsed

FILE = "/src/kernel.py"


def sass_text(short: str, kernel: str = "kernel") -> str:
    """What nvdisasm would print of it."""
    lines = [f"//--------------------- .text.{kernel}   --------------------------", f".text.{kernel}:"]
    address = 0
    for line in (one.strip() for one in short.strip().splitlines()):
        if line.endswith(":"):
            lines.append(f".{line}")
            continue
        place, _, code = line.partition(" ")
        if " to " in code:
            code, _, label = code.rpartition(" to ")
            code += f" `(.{label})"
        lines.append(f'\t//## File "{FILE}", line {place}')
        lines.append(f"        /*{address:04x}*/                   {code} ;")
        address += 16
    return "\n".join(lines)


def code(short: str) -> Code:
    """It as values."""
    return parsed(sass_text(short), "kernel")


def flow(short: str) -> Flow:
    """It as a graph."""
    return flow_of(code(short))


def ttir(*ops: str) -> str:
    """A kernel of operations, each after its line; `7 for` opens a loop of line 7, and `end` closes it."""
    body, locations, opened = [], [], []
    for op in ops:
        if op == "end":
            body.append(f"{'  ' * (len(opened) + 1)}}} loc(#loc{opened.pop()})")
            continue
        line, _, text = op.partition(" ")
        indent, number = "  " * (len(opened) + 2), len(locations) + 1
        locations.append(f'#loc{number} = loc("{FILE}":{line}:3)')
        if text == "for":
            opened.append(number)
            body.append(f"{indent}%r{number} = scf.for %i = %c0 to %n step %c1 iter_args(%a = %b) -> (i32)  : i32 {{")
        else:
            body.append(f"{indent}{text} loc(#loc{number})")
    head = ["module {", "  tt.func public @kernel(%p: !tt.ptr<f32>) attributes {noinline = false} {"]
    return "\n".join([*head, *body, "    tt.return loc(#loc)", "  } loc(#loc)", "} loc(#loc)", *locations])


def dot(m: int, n: int, k: int, dtype: str = "bf16", precision: str = "tf32") -> str:
    """A product."""
    types = f"tensor<{m}x{k}x{dtype}> * tensor<{k}x{n}x{dtype}> -> tensor<{m}x{n}xf32>"
    said = f", inputPrecision = {precision}" if precision else ""
    return f"%d = tt.dot %x, %y, %z{said} : {types}"


def load(elements: int, dtype: str = "f32") -> str:
    """A load of a tensor."""
    return f"%l = tt.load %q, %m : tensor<{elements}x!tt.ptr<{dtype}>>"
