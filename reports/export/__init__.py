"""Runs and answers for other programs: CSV, JSON."""
