"""Sentences: what the figures say, worded."""
