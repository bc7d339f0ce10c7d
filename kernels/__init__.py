"""Triton kernels, their plain-PyTorch references, problem shapes, input makers and configuration spaces."""
