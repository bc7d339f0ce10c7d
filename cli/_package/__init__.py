"""ssdprof: profiler for the Mamba-2 SSD chunk-scan Triton kernel."""

from importlib.metadata import version

__version__ = version("ssdprof")
