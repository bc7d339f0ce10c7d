"""Which outputs of a run are the same, and which stand out from the others."""
