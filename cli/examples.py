"""The examples at the end of each command's help. A test runs every one."""

from __future__ import annotations

from collections.abc import Mapping

WHOLE = "ssdprof"
"""The name of the command line itself, whose help has examples too."""
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    WHOLE: (
        "ssdprof sweep --dstate 128 --seqlen 50000",
        "ssdprof explain best",
        "ssdprof occupancy --arch sm_90 --threads 64 --regs 255 --smem 41728",
    ),
    "sweep": (
        "ssdprof sweep --dstate 128 --seqlen 50000",
        "ssdprof sweep --preset nemotron-3-nano --space vllm --seqlen 2048,50000",
        "ssdprof sweep --gpu none --arch A100 --csv -",
        "ssdprof sweep scan.launch --values BLOCK=64,128",
        "ssdprof sweep --around best --values maxnreg=none,128",
        "ssdprof sweep --counters=3 --metrics sm__inst_executed.sum",
    ),
    "explain": (
        "ssdprof explain best",
        "ssdprof explain '#2' --json",
        "ssdprof explain m128n64k32d128w4s4 --seqlen 50000 --arch sm_90",
        "ssdprof explain best --counters",
    ),
    "runs": ("ssdprof runs", "ssdprof runs --json", "ssdprof runs --prune 20"),
    "show": ("ssdprof show", "ssdprof show recorded --top 3", "ssdprof show recorded:2048 --csv rows.csv"),
    "capture": (
        "ssdprof capture -- bench.py",
        "ssdprof capture -o scan.launch --kernel '*scan*' -- python bench.py",
        "ssdprof capture --slowest --keep 3 -- -m pytest test_model.py",
    ),
    "launches": ("ssdprof launches scan.launch", "ssdprof launches scan.launch --json"),
    "occupancy": (
        "ssdprof occupancy --arch sm_90 --threads 64 --regs 255 --smem 41728",
        "ssdprof occupancy --arch H100 --threads 64 --regs 255 --grid 264",
        "ssdprof occupancy --from-csv launches.csv --csv answers.csv",
    ),
    "verify": (
        "ssdprof verify --limit 5",
        "ssdprof verify --space vllm --ncu",
        "ssdprof verify --ncu-report report.csv --arch sm_90",
    ),
    "spaces": ("ssdprof spaces", "ssdprof spaces --preset mamba2-2.7b --json"),
    "presets": ("ssdprof presets", "ssdprof presets --json"),
    "devices": ("ssdprof devices", "ssdprof devices --ceilings", "ssdprof devices --json"),
}


def epilog(name: str) -> str:
    """The end of a command's help: its examples, a paragraph each, so that every one keeps a line of its own."""
    return "\n\n".join(["[bold]Examples[/bold]", *EXAMPLES[name]])
