"""Checks and times launches, in the process that may be lost to a bad one."""
