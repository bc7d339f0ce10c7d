"""A foreign chunk scan as a subject: its parameters, spaces, launches, and which of its configs are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_files import CONFIGS, ENTRIES, KERNEL, LIKE_MAMBA, TUNED, lone, subject_of, text

from ssdprof.kernels import stand_ins
from ssdprof.kernels.config_text import parse_config
from ssdprof.kernels.errors import ConfigError, SpaceError
from ssdprof.kernels.foreign import listed
from ssdprof.kernels.foreign.subject import ForeignChunkScan, foreign_chunk_scan
from ssdprof.kernels.interface import Baselined, Constrained, Costed, Diagnosing, LeftOut, Referenced, Spaced
from ssdprof.kernels.space import space_of
from ssdprof.kernels.ssd.problem import ChunkScanProblem

BIG = {"dstate": 256, "headdim": 64, "chunk_size": 128, "seqlen": 300}
REASON = (
    "sums only the first {} of {} state elements (dstate) and does not loop over the rest: take a DSTATE tile of {}"
)
PRUNED = TUNED.replace(")", ', prune_configs_by={{"early_config_prune": {}}})')


def ids(subject: ForeignChunkScan, space: str = "own", **values: list[object]) -> list[str]:
    return [subject.params.id(config) for config in space_of(subject, space, values=values).configs]


def test_a_subject_is_all_that_the_engine_can_ask_for(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text())
    for kind in (Spaced, Referenced, Costed, Baselined, Constrained, Diagnosing):
        assert isinstance(subject, kind)
    assert "scan:chunk_scan" == subject.name
    assert ("block_dstate", 32) == ((question := subject.question(subject.baseline())).parameter, question.extent)
    assert [] == list(subject.remarks([], "sm_90"))
    assert {""} == subject.source_hashes().keys()
    assert subject.work().bytes_min > 0


def test_its_own_list_is_the_default_space_in_its_order_without_repetitions(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text())
    assert ["m128n256k64d32w8s3", "m64n64k32d32w2s4", "m16n16k16d32w4s2"] == ids(subject, subject.default_space)
    assert "m64n64k32d32w2s4" == subject.params.id(subject.baseline())
    assert "scan's own autotune list: 3 configs" == subject.space("own").description
    names = "m n k dstate".upper().split()
    expected = [*(f"BLOCK_SIZE_{name}" for name in names), "num_warps", "num_stages", "maxnreg", "num_ctas"]
    assert expected == [param.name for param in subject.params]


def test_any_value_can_be_given_and_those_that_cut_the_state_short_are_known(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(), **BIG | {"dstate": 128})
    space = space_of(subject, values={"BLOCK_SIZE_DSTATE": [32, 64, 128]})
    wrong = {subject.params.id(config): subject.wrong_by_construction(config) for config in space.configs}
    assert (9, 6) == (len(wrong), sum(reason is not None for reason in wrong.values()))
    assert REASON.format(32, 128, 128) == wrong["m64n64k32d32w2s4"]
    assert wrong["m64n64k32d128w2s4"] is None
    assert subject.launch(space.configs[0]).args["BLOCK_SIZE_DSTATE"] == 32
    with pytest.raises(SpaceError, match="did you mean BLOCK_SIZE_M"):
        space_of(subject, values={"BLOCK_SIZE_MM": [32]})


def test_a_branch_that_loops_over_the_state_is_right_with_any_tile(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(), **BIG | {"dstate": 512})
    cut, looped = (subject.resolve(parse_config(f"m64n64k32d{tile}w2s4", subject.params)) for tile in (128, 256))
    assert REASON.format(128, 512, 512) == subject.wrong_by_construction(cut)
    assert subject.wrong_by_construction(looped) is None
    assert ("take a DSTATE tile of 512", "the loop over DSTATE tiles ends after one") == (
        subject.remedy(cut),
        subject.remedy(looped),
    )


def test_a_state_longer_than_our_largest_tile_is_one_tile_for_its_entry(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(), **BIG | {"dstate": 1000})
    assert "m64n64k32d1024w2s4" in ids(subject)


def test_what_its_pruning_leaves_out_is_left_out_with_the_reason(tmp_path: Path) -> None:
    pruning = """
def pruning(configs, named, **others):
    assert named["x_ptr"].dtype == torch.float32 and others["BLOCK_SIZE_DSTATE"] == 32
    return [config for config in configs if config.kwargs["BLOCK_SIZE_N"] <= 4 * named["hdim"]]
"""
    around = CONFIGS + pruning + PRUNED.format("pruning")
    space = subject_of(tmp_path, text(around=around)).space("own")
    reason = "left out by scan's own pruning (early_config_prune) on this problem"
    assert (LeftOut("m128n256k64d32w8s3", reason),) == space.left_out
    assert 2 == len(space.configs)


def test_what_its_file_leaves_out_on_this_gpu_while_it_is_loaded_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_ins, "gpu_capability", lambda: 90)
    monkeypatch.setattr(listed, "gpu_capability", lambda: 90)
    asks = "from vllm.platforms import current_platform\n" + CONFIGS
    asks += "if current_platform.is_device_capability(90):\n    configs = configs[:1]\n"
    space = subject_of(tmp_path, text(around=asks + TUNED)).space("own")
    assert (1, 2) == (len(space.configs), len(space.left_out))
    reason = "left out by vllm's own file for compute capability 9.0, while it is loaded"
    assert {reason} == {one.reason for one in space.left_out}


def test_a_model_of_its_own_prunes_too(tmp_path: Path) -> None:
    model = PRUNED.replace('"early_config_prune": {}', '"perf_model": lambda num_warps, **_: num_warps, "top_k": 1')
    space = subject_of(tmp_path, text(around=CONFIGS + model.format())).space("own")
    assert (1, 2) == (len(space.configs), len(space.left_out))
    assert "(perf_model)" in space.left_out[0].reason


@pytest.mark.parametrize(
    ("before", "pruning", "note"),
    [
        ("", "lambda *_, **__: 1 / 0", "its pruning fails here (ZeroDivisionError)"),
        (
            "from .tune import pruner\n",
            "pruner({1: 2})",
            "its pruning, tune.pruner(), is not there when the file is load",
        ),
    ],
)
def test_pruning_that_cannot_run_leaves_nothing_out_and_is_told(
    before: str, pruning: str, note: str, tmp_path: Path
) -> None:
    space = subject_of(tmp_path, text(around=before + CONFIGS + PRUNED.format(pruning))).space("own")
    assert (3, ()) == (len(space.configs), space.left_out)
    assert note in space.description


def test_what_a_config_cannot_say_is_left_out(tmp_path: Path) -> None:
    more = """
configs += [
    triton.Config({**configs[1].kwargs, "BLOCK_SIZE_M": 8}, num_warps=1, num_stages=1),
    triton.Config(configs[1].kwargs, num_warps=1, num_stages=1, pre_hook=print),
]
"""
    space = subject_of(tmp_path, text(around=CONFIGS + more + TUNED)).space("own")
    expected = ["block_m must be a power of two from 16 to 512, got 8: try 16"]
    expected += ["sets pre_hook, which ssdprof's configs cannot hold"]
    assert expected == [left_out.reason for left_out in space.left_out]
    assert 3 == len(space.configs)
    only = CONFIGS + more + "configs = configs[-1:]\n" + TUNED
    with pytest.raises(SpaceError, match=r"scan's own autotune list has no config for this problem: .*: sets pre_hook"):
        subject_of(tmp_path / "other", text(around=only)).space("own")


MORE = (
    "BLOCK_SIZE_DSTATE: tl.constexpr, GROUP: tl.constexpr = 8, BLOCK_D: tl.constexpr = 4, MODE: tl.constexpr = 'a',\n"
)
LISTED = """
configs = [
    triton.Config({"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 16, "BLOCK_SIZE_K": 16, **more})
    for more in ({"MODE": "b", "waves": 2}, {"GROUP": 1})
]
"""


def test_parameters_that_only_this_kernel_has_are_spelt_out(tmp_path: Path) -> None:
    kernel = KERNEL.replace("BLOCK_SIZE_DSTATE: tl.constexpr,\n", MORE)
    subject = subject_of(tmp_path, text(around=LISTED + TUNED, kernel=kernel))
    first, second = ids(subject)
    assert "m16n16k16d32w4s3,waves=2,MODE=b,GROUP=8,BLOCK_D=4" == first
    assert "m16n16k16d32w4s3,MODE=a,GROUP=1,BLOCK_D=4" == second
    plan = subject.launch(subject.resolve(parse_config(first, subject.params)))
    assert ("b", 8, 4) == tuple(plan.args[name] for name in ("MODE", "GROUP", "BLOCK_D"))
    assert {"num_warps": 4, "num_stages": 3, "num_ctas": 1, "waves": 2} == dict(plan.options)
    crossed = space_of(subject, values={"BLOCK_D": [4, 8], "MODE": ["x"]}).configs
    assert [(4, "x"), (8, "x")] * 2 == [(config["BLOCK_D"], config["MODE"]) for config in crossed]


def test_a_config_that_leaves_a_parameter_open_is_left_out(tmp_path: Path) -> None:
    kernel = KERNEL.replace(
        "BLOCK_SIZE_DSTATE: tl.constexpr,\n", MORE.replace(" = 8", "").replace(" = 4", "").replace(" = 'a'", "")
    )
    listed = LISTED.replace('"waves": 2', '"BLOCK_D": 4').replace('"GROUP": 1', '"GROUP": 1, "BLOCK_D": 4, "MODE": "c"')
    space = subject_of(tmp_path, text(around=listed + TUNED, kernel=kernel)).space("own")
    assert 1 == len(space.configs)
    assert (
        "GROUP is not set, and neither the kernel nor its entry has a value for it: set it" == space.left_out[0].reason
    )


def test_heuristics_are_evaluated_for_each_config(tmp_path: Path) -> None:
    heuristics = """@triton.heuristics({
    "BLOCK_SIZE_DSTATE": lambda args: max(args["BLOCK_SIZE_M"], args["x_ptr"].shape[-1]),
    "HAS_Z": lambda args: args["z_ptr"] is not None,
})
"""
    entry = LIKE_MAMBA.replace("BLOCK_SIZE_DSTATE=max(triton.next_power_of_2(dstate), 16),", "")
    subject = subject_of(tmp_path, text(entry, around=CONFIGS + TUNED + "\n" + heuristics), z=True)
    assert "BLOCK_SIZE_DSTATE" not in subject.params.by_name
    assert subject.question(subject.baseline()) is None
    assert subject.wrong_by_construction(subject.baseline()) is None
    tiles = [subject.launch(config).args["BLOCK_SIZE_DSTATE"] for config in subject.space("own").configs]
    assert [128, 64, 16] == tiles
    assert subject.launch(subject.baseline()).args["HAS_Z"]


def test_a_kernel_without_an_autotuner_has_what_its_entry_passes(tmp_path: Path) -> None:
    entry = LIKE_MAMBA.replace("BLOCK_SIZE_DSTATE=", "16, 32, 16, num_warps=8, num_stages=2, BLOCK_SIZE_DSTATE=")
    subject = subject_of(tmp_path, text(entry, around=""))
    assert ["m16n32k16d32w8s2"] == ids(subject)
    config = subject.resolve(parse_config("m64n64k32d16w2s4", subject.params))
    plan = subject.launch(config)
    assert ((1, 3, 4), {"num_warps": 2, "num_stages": 4, "num_ctas": 1}) == (plan.grid, dict(plan.options))
    assert subject.wrong_by_construction(config)


def test_options_of_a_config_reach_the_launch(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text())
    plan = subject.launch(subject.resolve(parse_config("m16n16k16w4s2r128,num_ctas=2", subject.params)))
    assert {"num_warps": 4, "num_stages": 2, "num_ctas": 2, "maxnreg": 128} == dict(plan.options)
    assert list(plan.args)[-4:] == ["BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "BLOCK_SIZE_DSTATE"]
    assert (1, 3, 4) == plan.grid
    with pytest.raises(ConfigError, match="power of two"):
        subject.resolve(subject.baseline().with_values({"num_warps": 3}))


def test_our_spaces_of_tiles_can_be_given_without_their_variants(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, text(), **BIG | {"dstate": 128})
    assert ["own", "tensorrt-llm-pr", "mamba", "vllm", "wide"] == list(subject.space_names())
    assert (33, 11, 23) == tuple(len(ids(subject, name)) for name in ("tensorrt-llm-pr", "mamba", "vllm"))
    assert "m64n64k32d32w2s4" in ids(subject, "tensorrt-llm-pr")
    with pytest.raises(SpaceError, match=r"^scan:chunk_scan has no variants: leave --variant out$"):
        space_of(subject, "mamba", variant="split")
    with pytest.raises(SpaceError, match="unknown space compare"):
        space_of(subject, "compare")


def test_a_kernel_with_other_tiles_has_its_own_list_alone(tmp_path: Path) -> None:
    kernel, around, entry = (one.replace("BLOCK_SIZE_M", "ROWS") for one in (KERNEL, CONFIGS + TUNED, LIKE_MAMBA))
    subject = subject_of(tmp_path, text(entry, around=around, kernel=kernel))
    assert ["own"] == list(subject.space_names())
    assert subject.space("own").configs[0] == subject.baseline()
    assert 128 == subject.baseline()["ROWS"]


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    import os

    subject = subject_of(tmp_path, text())
    file = lone(tmp_path, text(ENTRIES["sglang"], around=CONFIGS + "configs = configs[1:2]\n" + TUNED))
    os.utime(file, ns=(1, 1))
    assert ["m64n64k32d32w2s4"] == ids(subject)


def test_a_copy_under_any_name_is_the_same_kernel(tmp_path: Path) -> None:
    problem = ChunkScanProblem(seqlen=40)
    one, two = (foreign_chunk_scan(str(lone(tmp_path, text(), name)), problem) for name in ("a.py", "b.txt"))
    assert one.source_hashes() == two.source_hashes()
    assert one.space("own").configs == two.space("own").configs
