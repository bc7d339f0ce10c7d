"""What an SM holds and hands out: limits, occupancy, the carve-out, headroom. Pure."""
