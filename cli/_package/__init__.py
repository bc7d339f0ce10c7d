"""ssdprof: profiler for the Mamba-2 SSD chunk-scan Triton kernel."""

__version__ = "0.1.0"
