"""Compiles launches without a GPU and reads the result."""
