"""What compiling needs, really missing or broken: files in place of folders, scripts in place of ptxas."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import triton
from calls import call

from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling import api
from ssdprof.profiling.binary import needs
from ssdprof.profiling.binary import toolchain as here
from ssdprof.profiling.binary.needs import Toolchain, ToolchainError
from ssdprof.profiling.workers.fork_server import ForkServer
from ssdprof.profiling.workers.worker import Failure, Worker

TOOLCHAIN = "ssdprof.profiling.binary.toolchain:toolchain"
BIN = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
PTXAS, BLACKWELL = "TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"
NOTHING = LaunchPlan("ssdprof.profiling.binary.nothing", "NOTHING", (1,), {}, {"num_warps": 1})
SCRIPTS = {
    "fails": "#!/bin/sh\nexit 3\n",
    "hello": "#!/bin/sh\necho hello\n",
    "garbage": "no program",
    "old": "#!/bin/sh\n"
    '[ "$1" = --version ] && echo "Cuda compilation tools, release 11.0, V11.0.194" && exit\n'
    "echo \"ptxas fatal   : Value 'sm_80' is not defined for option 'gpu-name'\" >&2\nexit 255\n",
}
FALLS_BACK = "; Triton takes its own instead, {own}: correct it, or unset it"
NO_WAY = ", and Triton then compiles nothing: correct it, or unset it for Triton's own ptxas"

Asked = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """Has imported Triton, so that its children need not."""
    server = ForkServer()
    server.preload("ssdprof.profiling.binary.compiler:warm_up")
    yield server
    server.close()


@pytest.fixture
def asked(server: ForkServer, tmp_path: Path) -> Asked:
    """Asks for the toolchain with a cache of its own and with these variables."""

    def toolchain(arch: str = "sm_80", plan: LaunchPlan | None = None, **env: str | None) -> Any:
        worker = Worker({"TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_INTERPRET": None, **env}, server)
        try:
            return call(worker, TOOLCHAIN, arch, plan)
        finally:
            worker.kill()

    return toolchain


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def written(name: str, *, executable: bool = True) -> Path:
        path = tmp_path / name
        path.write_text(SCRIPTS[name])
        path.chmod(0o755 if executable else 0o644)
        return path

    return written


def own(name: str) -> str:
    """Triton's own ptxas, as it tells its version."""
    said = subprocess.run([BIN / name, "--version"], capture_output=True, text=True, check=True).stdout
    return f"ptxas {said.rpartition(', V')[2].split()[0]}"


def refused(outcome: Any) -> str:
    """Why nothing could be compiled."""
    assert isinstance(outcome, Failure)
    assert "ToolchainError" == outcome.error
    assert "\n" not in outcome.message
    return outcome.message


@pytest.mark.parametrize(("arch", "name"), [("sm_80", "ptxas"), ("sm_120", "ptxas-blackwell")])
def test_tritons_own_ptxas_is_named_by_its_version(asked: Asked, arch: str, name: str) -> None:
    assert Toolchain(own(name)) == asked(arch)


def test_another_ptxas_is_named_with_its_path(asked: Asked) -> None:
    path = BIN / "ptxas-blackwell"
    assert Toolchain(f"{own('ptxas-blackwell')} ({path})") == asked(TRITON_PTXAS_PATH=str(path))


@pytest.mark.parametrize(
    ("name", "why"), [("fails", "`--version` ends with code 3"), ("hello", "`--version` says 'hello'")]
)
def test_a_path_that_triton_passes_over_is_told_with_what_is_used(
    asked: Asked, script: Callable[[str], Path], name: str, why: str
) -> None:
    path = script(name)
    expected = f"{PTXAS}={path} is no ptxas: {why}" + FALLS_BACK.format(own=own("ptxas"))
    assert Toolchain(own("ptxas"), (expected,)) == asked(TRITON_PTXAS_PATH=str(path))


def test_a_mistyped_path_is_told_too(asked: Asked) -> None:
    expected = f"{BLACKWELL}=/no/ptxas is no ptxas: there is no such file"
    expected += FALLS_BACK.format(own=own("ptxas-blackwell"))
    assert Toolchain(own("ptxas-blackwell"), (expected,)) == asked("sm_120", TRITON_PTXAS_BLACKWELL_PATH="/no/ptxas")


def test_a_path_that_triton_cannot_execute_ends_it(asked: Asked, script: Callable[..., Path], tmp_path: Path) -> None:
    plain, garbage = script("hello", executable=False), script("garbage")
    for path, why in (
        ("", "it is empty"),
        (tmp_path, "it is a folder"),
        (plain, "it may not be executed"),
        (garbage, "it cannot be executed (Exec format error)"),
    ):
        assert f"{PTXAS}={path} is no ptxas: {why}{NO_WAY}" == refused(asked(TRITON_PTXAS_PATH=str(path)))


def test_a_path_for_the_other_architectures_is_told_to_be_unread(asked: Asked) -> None:
    expected = (
        f"{PTXAS}={BIN / 'ptxas'} is not read for sm_120 by this Triton, which takes its own, "
        f"{own('ptxas-blackwell')}: set {BLACKWELL}"
    )
    assert Toolchain(own("ptxas-blackwell"), (expected,)) == asked("sm_120", TRITON_PTXAS_PATH=str(BIN / "ptxas"))


def test_a_mistyped_variable_is_told(asked: Asked) -> None:
    expected = "TRITON_PTXAS_PTH is no variable that Triton reads: did you mean TRITON_PTXAS_PATH?"
    assert (expected,) == asked(TRITON_PTXAS_PTH="/x", TRITON_PRINT_AUTOTUNING="1", TRITON_MINE="1").warnings


def test_a_variable_of_another_program_is_no_slip(asked: Asked) -> None:
    assert () == asked(TIKTOKEN_CACHE_DIR="/x", TITAN_HOME="/x").warnings
    assert 1 == len(asked(TRTION_CACHE_DIR="/x").warnings)


def test_a_ptxas_that_does_not_know_the_architecture_is_found_out_before_the_work(
    asked: Asked, script: Callable[[str], Path]
) -> None:
    path = script("old")
    assert (
        f"not even an empty kernel compiles for sm_80 with ptxas 11.0.194 ({path}), so no config would: ptxas fatal : "
        f"Value 'sm_80' is not defined for option 'gpu-name': correct or unset what is set ({PTXAS}={path})"
    ) == refused(asked(TRITON_PTXAS_PATH=str(path)))


def test_whatever_else_keeps_triton_from_compiling_is_named_with_what_is_set(asked: Asked) -> None:
    message = refused(asked("sm_80", TRITON_LIBDEVICE_PATH="/no/libdevice"))
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/no/libdevice'" in message
    assert message.endswith("correct or unset what is set (TRITON_LIBDEVICE_PATH=/no/libdevice)")


def test_a_cache_that_cannot_be_written_names_its_variable(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    rest = ", so no config would compile: set TRITON_CACHE_DIR to a folder that can be written and has room"
    for path in (file, file / "below"):
        assert (
            f"TRITON_CACHE_DIR={path}: Triton's cache {path} cannot be written (it is not a folder){rest}"
        ) == refused(asked(TRITON_CACHE_DIR=str(path)))
    assert (
        f"TRITON_HOME={file}: Triton's cache {file}/.triton/cache cannot be written (it is not a folder){rest}"
    ) == refused(asked(TRITON_CACHE_DIR=None, TRITON_HOME=str(file)))
    assert f"TRITON_CACHE_DIR= names no folder for Triton's cache{rest}" == refused(asked(TRITON_CACHE_DIR=""))


def test_a_cache_that_cannot_be_written_will_do_if_the_first_config_is_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(here, "compile_launch", lambda plan, arch: None)
    told = f"TRITON_CACHE_DIR={tmp_path}/file: Triton's cache {tmp_path}/file cannot be written (it is not a folder)"
    assert f"{told}: only configs that are in it already can be used" in here.toolchain("sm_80", NOTHING).warnings
    with pytest.raises(ToolchainError):
        here.toolchain("sm_80")


def test_a_folder_for_temporary_files_that_cannot_be_used_is_told(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    warnings = asked(TMPDIR=str(tmp_path / "file")).warnings
    assert 1 == len(warnings)
    assert warnings[0].startswith(f"TMPDIR={tmp_path}/file cannot be written: temporary files go to /")


def test_without_any_folder_for_temporary_files_nothing_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs.tempfile, "tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(
        ToolchainError, match=r"^no folder for temporary files can be written .*: make room, or set TMP"
    ):
        needs.temporary_files()


def test_a_ptxas_missing_from_triton_is_told_with_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = type(triton.knobs.nvidia).__dict__["ptxas_blackwell"]
    monkeypatch.setattr(tool, "default_path", str(tmp_path / "ptxas-blackwell"))
    monkeypatch.delenv(BLACKWELL, raising=False)
    missing = f"Triton's own ptxas-blackwell cannot be used: {tmp_path}/ptxas-blackwell: there is no such file"
    with pytest.raises(ToolchainError) as raised:
        here._ptxas("sm_120")
    assert f"{missing}; set {BLACKWELL} to the path of a ptxas, or install Triton again" == str(raised.value)
    monkeypatch.setenv(BLACKWELL, "/no/ptxas")
    with pytest.raises(ToolchainError) as raised:
        here._ptxas("sm_120")
    assert str(raised.value).startswith(f"{missing} and {BLACKWELL}=/no/ptxas is none (there is no such file); set")
    monkeypatch.setenv(BLACKWELL, str(BIN / "ptxas"))
    assert f"{own('ptxas')} ({BIN / 'ptxas'})" == here._ptxas("sm_120")[0]


def test_no_process_is_started_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs.tempfile, "tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(ToolchainError):
        api.started("none")


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(here.tempfile, "TemporaryFile", lambda **_: Full())
    assert (
        f"TRITON_CACHE_DIR={tmp_path}: Triton's cache {tmp_path} cannot be written (No space left on device)"
        == here._unwritable_cache()
    )


@pytest.mark.parametrize(
    ("env", "cause"),
    [
        ({"CC": "/no/cc"}, "CC=/no/cc is not a program that can be run"),
        ({"PATH": "/none"}, "there is no C compiler: CC is not set, and neither gcc nor clang is in PATH"),
        ({"CC": "true", "TRITON_LIBCUDA_PATH": "/none"}, "TRITON_LIBCUDA_PATH=/none has no libcuda.so.1"),
    ],
)
def test_what_launches_need_is_told(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], cause: str) -> None:
    from triton.backends.nvidia import driver

    def fails() -> None:
        raise RuntimeError("it cannot be built")

    for name in ("CC", "TRITON_LIBCUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(driver, "CudaUtils", fails)
    with pytest.raises(
        ToolchainError, match=r"^Triton cannot build what launches a kernel, .*--device none to compile"
    ) as e:
        here._launches()
    assert cause in str(e.value)
    monkeypatch.setattr(driver, "CudaUtils", lambda: None)
    assert [f"{cause}; what launches need is in Triton's cache, other launches may fail"] == here._launches()
