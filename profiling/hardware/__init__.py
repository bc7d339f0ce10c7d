"""What an SM holds and hands out: limits, occupancy, carve-out, headroom. Pure functions."""
