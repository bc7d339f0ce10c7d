"""The chunk scan of Mamba-2's SSD: kernels, references, problems, spaces and the function on tensors."""
