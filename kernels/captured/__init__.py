"""Launches of Triton kernels captured from a program: what is kept of them, their files, and subjects made of them."""
