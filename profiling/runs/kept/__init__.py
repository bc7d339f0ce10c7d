"""Kept runs: how they are named, listed and removed."""
