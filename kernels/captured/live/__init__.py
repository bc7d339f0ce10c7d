"""In the program that is captured: its launches of Triton kernels are noted, and some of them kept."""
