"""The engine: device limits, occupancy, compiling, checking, timing, ranking and run files. It prints nothing."""
