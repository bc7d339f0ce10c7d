"""Processes that may crash, hang or be killed without taking the run down."""
