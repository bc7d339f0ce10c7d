"""What a launch moves, from the kernel's own addresses: bytes between L2 and the SMs, and between DRAM and L2."""
