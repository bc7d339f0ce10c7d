"""The GPUs of this machine, as NVML and the driver describe them."""
