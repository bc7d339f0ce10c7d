"""Chunk scans of inference engines as subjects: their files, as installed or in a checkout, unedited and loaded alone.

Nothing of theirs is here. Their own Python entry prepares the launch on our inputs, on torch's meta device; the launch
is noted instead of made, and then made under one config at a time, as their autotuner would.
"""
