"""Launches of Triton kernels captured from a program: what is kept of them, their files, and subjects made of them."""

SUFFIX = ".launch"
"""How the names of capture files end."""


def is_captured(kernel: str) -> bool:
    """Whether a kernel is named as a capture file, FILE.launch, or a launch of one, FILE.launch:NUMBER or :KERNEL."""
    return kernel.endswith(SUFFIX) or f"{SUFFIX}:" in kernel
