"""Checks and times launches, in a process that a bad one may take down."""
