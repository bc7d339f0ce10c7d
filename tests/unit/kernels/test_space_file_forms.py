"""Space files as people have them: with a BOM, unquoted configs, an autotuner's cache, an engine's tuned file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_forms import ids, scan

from ssdprof.kernels.errors import SpaceError
from ssdprof.kernels.space import space_of

TILES = {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32}
SOURCE = f"triton.Config({TILES}, num_stages=4, num_warps=4)"
OPTIONS = {"num_warps": 4, "num_ctas": 1, "num_stages": 4}
CACHED = {"kwargs": TILES, **OPTIONS, "maxnreg": None, "pre_hook": None, "ir_override": None}

FORMS = {
    "bom.json": "\ufeff" + json.dumps([SOURCE]),
    "unquoted.yaml": f"- {SOURCE}\n- {SOURCE},\n",
    "cache.autotune.json": json.dumps({"key": [128], "configs_timings": [[CACHED, [0.1, 0.1, 0.1]]]}),
    "tuned.json": json.dumps({"triton_version": "3.6.0", "1": {**TILES, **OPTIONS}, "64": {**TILES, **OPTIONS}}),
    "crossed.yaml": json.dumps(
        {
            "values": {**TILES, "BLOCK_SIZE_M": [64, 128], "num_warps": 4, "num_stages": 4},
            "constraints": ["BLOCK_SIZE_M * BLOCK_SIZE_N > 4096"],
        }
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FORMS[name], encoding="utf-8")

    assert ["m128n64k32w4s4"] == list(dict.fromkeys(ids(str(path))))


@pytest.mark.parametrize("timed", [{"no": "list"}, [], 3])
def test_an_autotuners_cache_that_is_none_names_the_entry(timed: object, tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    path.write_text(json.dumps({"configs_timings": [timed]}), encoding="utf-8")

    with pytest.raises(SpaceError, match="entry 1: "):
        space_of(scan(), str(path))
