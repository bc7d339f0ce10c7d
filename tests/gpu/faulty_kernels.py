"""Kernels that do what no kernel should: write where nothing is, never end, write differently each time."""

from dataclasses import dataclass, replace

import triton
import triton.language as tl

from ssdprof.kernels.chunk_scan_spec import ChunkScan
from ssdprof.kernels.interface import Config, LaunchPlan
from ssdprof.kernels.problem import ChunkScanProblem


@triton.jit
def writes_far_outside(out_ptr, seqlen):
    far = tl.program_id(0).to(tl.int64) * 0 + (1 << 44)
    tl.store(out_ptr + far, 1.0)


@triton.jit
def never_ends(out_ptr, seqlen):
    value = tl.load(out_ptr)
    turn = seqlen
    while turn > 0:
        tl.store(out_ptr, value)
        turn = tl.maximum(turn, 1)


@triton.jit
def races(out_ptr, seqlen):
    tl.atomic_xchg(out_ptr.to(tl.pointer_type(tl.int32)), tl.extra.cuda.globaltimer().to(tl.int32))


FAULTS = {1: "writes_far_outside", 2: "never_ends", 3: "races"}


@dataclass(frozen=True, slots=True)
class FaultyChunkScan(ChunkScan):
    """The chunk scan, but with 1, 2 or 3 stages a kernel of this file."""

    def launch(self, problem: ChunkScanProblem, config: Config) -> LaunchPlan:
        plan = ChunkScan.launch(self, problem, config)
        if config.num_stages not in FAULTS:
            return plan
        args = {"out_ptr": plan.args["out_ptr"], "seqlen": problem.seqlen}
        return replace(plan, module="faulty_kernels", function=FAULTS[config.num_stages], args=args)
