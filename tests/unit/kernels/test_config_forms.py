"""Config texts as people paste them: from logs, diffs, caches and sources of any Triton version; and no silly guess."""

from __future__ import annotations

import re

import pytest

from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import ConfigError
from ssdprof.kernels.ssd.params import PARAMS, chunk_scan_config

EXAMPLE = chunk_scan_config(64, 64, 32, 128, num_warps=2, num_stages=4)
TILES = "{'BLOCK_SIZE_M': 64, 'BLOCK_SIZE_N': 64, 'BLOCK_SIZE_K': 32, 'BLOCK_SIZE_DSTATE': 128}"
PRINTED = "BLOCK_SIZE_M: 64, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 32, BLOCK_SIZE_DSTATE: 128, num_warps: 2, num_stages: 4"
LOG = "Triton autotuning for function {} finished after 1s; best config selected: {};"
LONG_LOG = "Triton autotuning for function {},\nwith key as (128,),\nfinished after 1.00s,\nbest config selected: {};\n"
OTHER = "BLOCK_SIZE_M: 128, BLOCK_SIZE_N: 64, BLOCK_SIZE_K: 64, num_warps: 4, num_stages: 4"

FORMS = {
    "a hook": f"triton.Config({TILES}, num_stages=4, num_warps=2, pre_hook=init_to_zero(['x_ptr'])),",
    "tiles by keyword, and sums": f"triton.Config(kwargs={TILES}, num_stages=2 + 2, num_warps=4 // 2, maxnreg=None)",
    "a product in the tiles": f"tt.Config({TILES.replace('64', '2 * 32')}, num_warps=2, num_stages=4)",
    "a diff": f"+    triton.Config(\n+        {TILES},  # the best\n+        num_stages=4, num_warps=2\n+    ),",
    "a list of one": f"[\n    # one alone\n    triton.Config({TILES}, num_warps=2, num_stages=4),\n]",
    "a dictionary": f"{TILES[:-1]}, 'num_warps': 2, 'num_ctas': 1, 'num_stages': 4}}",
    "a dictionary of names": f"{{{PRINTED}}}",
    "an autotuner's cache": (
        f'{{"kwargs": {TILES}, "num_warps": 2, "num_ctas": 1, "num_stages": 4, "maxnreg": null, "pre_hook": null}}'
    ),
    "Triton 2.1 and 3.0": f"{PRINTED}, num_ctas: 1, enable_warp_specialization: False, enable_persistent: False",
    "Triton 3.3": f"{PRINTED}, num_buffers_warp_spec: 0, num_consumer_groups: 0, reg_dec_producer: 0, maxnreg: None",
    "Triton 3.9": f"{PRINTED}, num_ctas: 1, maxnreg: None, ir_override: None",
    "a log": LOG.format("_chunk_scan_fwd_kernel", PRINTED),
    "a log of several kernels": "\n".join(
        [LOG.format("_chunk_scan_fwd_kernel", PRINTED), LOG.format("_bmm_chunk_fwd_kernel", OTHER)]
    ),
    "a log of Triton 3.9": LONG_LOG.format("_bmm_chunk_fwd_kernel", OTHER)
    + LONG_LOG.format("chunk_scan_kernel", PRINTED),
    "a log that says the same twice": 2 * LONG_LOG.format("_chunk_scan_fwd_kernel", PRINTED),
    "a log without a name": f"best config selected: {PRINTED};",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str) -> None:
    assert EXAMPLE == parse_config(FORMS[form], PARAMS)


def test_a_sum_is_worked_out() -> None:
    text = "triton.Config({'BLOCK_SIZE_M': 64//2, 'BLOCK_SIZE_N': 64, 'BLOCK_SIZE_K': 32}, num_stages=1, num_warps=8)"
    assert "m32n64k32w8s1" == PARAMS.id(parse_config(text, PARAMS))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            LOG.format("_bmm_chunk_fwd_kernel", OTHER),
            (
                "it is of _bmm_chunk_fwd_kernel, and this kernel is called _chunk_scan_fwd_kernel or chunk_scan_kernel "
                "or grouped_chunk_scan_kernel: if that is the same kernel, give only what follows `best config "
                "selected:`"
            ),
        ),
        (
            "\n".join(LOG.format("_chunk_scan_fwd_kernel", printed) for printed in (PRINTED, OTHER)),
            "it has 2 configs, of _chunk_scan_fwd_kernel: give the line of one",
        ),
        (
            f"triton.Config({TILES}, num_warps=2), triton.Config({TILES}, num_warps=4)",
            "it lists 2 configs: give one of them, or the list as a space file",
        ),
        ("{block_l: 64, block_n: 64, threads: 128}", "unknown key block_l: one of BLOCK_SIZE_M, BLOCK_SIZE_N"),
        ("block_l 64 block_p 64 block_n 64 threads 128", "a config is an id such as"),
        ("BLOCK_SIZE_M 64//2 BLOCK_SIZE_N 64 num_warps 8", "a config is an id such as"),
        (f"triton.Config({TILES}, num_warps=WARPS)", "num_warps must be a whole number, got WARPS"),
        (f"triton.Config({TILES}, num_warps=1 // 0)", "a config is an id such as"),
    ],
)
def test_no_guess_is_made_of_what_means_something_else(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"is not a config: {reason}")):
        parse_config(text, PARAMS)
