"""What is read from nvdisasm's text."""

import stat
from pathlib import Path

import fake_sass
import pytest

from ssdprof.profiling.binary.sass.text import DisassemblyError, Instruction, disassembled, parsed

TEXT = """\
	.target	sm_90a

//--------------------- .text.helper   --------------------------
helper:
.text.helper:
        /*0000*/                   RET.ABS.NODEC R20 `(kernel) ;

//--------------------- .text.kernel   --------------------------
	.section	.text.kernel,"ax",@progbits
        .size           kernel,(.L_x_1 - kernel)
kernel:
.text.kernel:
	//## File "/src/a b.py", line 32 inlined at "/src/a b.py", line 125
	//## File "/src/a b.py", line 125
        /*0000*/                   S2R R15, SR_CTAID.X ;
        /*0010*/              @!P1 LDG.E.128 R88, desc[UR12][R10.64] ;
	//## File "/src/a b.py", line 130
.L_x_0:
        /*0020*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], R24, gsb0 ;
        /*0030*/              @UP0 BRA.U `(.L_x_0) ;
        /*0040*/                   EXIT ;
.L_x_1:
"""
PLACES = (("/src/a b.py", 32), ("/src/a b.py", 125))


def test_the_kernel_comes_first_and_labels_point_at_what_follows_them() -> None:
    code = parsed(TEXT, "kernel")
    assert ["S2R", "LDG", "HGMMA", "BRA", "EXIT", "RET"] == [one.opcode for one in code.instructions]
    assert {".L_x_0": 2, ".L_x_1": 5, "kernel": 0, "helper": 5} == {
        label: code.labels[label] for label in (".L_x_0", ".L_x_1", "kernel", "helper")
    }


def test_an_instruction_has_its_guard_its_modifiers_and_its_places() -> None:
    code = parsed(TEXT, "kernel")
    operands = "R88, desc[UR12][R10.64]"
    assert Instruction(16, "!P1", "LDG", ("E", "128"), operands, "", PLACES) == code.instructions[1]
    assert (("F32", "BF16"), (("/src/a b.py", 130),)) == (
        code.instructions[2].modifiers[1:],
        code.instructions[2].places,
    )


def test_a_branch_has_its_target() -> None:
    branch = parsed(TEXT, "kernel").instructions[3]
    assert ("UP0", ("U",), ".L_x_0") == (branch.guard, branch.modifiers, branch.target)


def test_without_line_information_instructions_have_no_places() -> None:
    text = "\n".join(line for line in TEXT.splitlines() if "//##" not in line)
    assert {()} == {one.places for one in parsed(text, "kernel").instructions}


def test_a_kernel_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DisassemblyError, match="the cubin has no kernel 'other'"):
        parsed(TEXT, "other")


def test_what_is_no_cubin_is_an_error_with_what_nvdisasm_says() -> None:
    with pytest.raises(DisassemblyError, match=r"nvdisasm cannot read kernel 'kernel': nvdisasm (fatal|error)"):
        disassembled(b"no cubin", "kernel")


def test_the_nvdisasm_that_triton_is_told_to_take_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "nvdisasm"
    fake.write_text(
        f"#!/bin/sh\ncat <<'END'\n{fake_sass.sass_text('1 EXIT')}\nCuda tools, release 13.1, V13.1.80\nEND\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("TRITON_NVDISASM_PATH", str(fake))
    assert ["EXIT"] == [one.opcode for one in disassembled(b"", "kernel").instructions]
