"""Compiles launches without a GPU and reads what came out."""
