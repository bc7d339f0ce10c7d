"""Nsight Compute: running it, reading its exports, comparing our figures with its own."""
