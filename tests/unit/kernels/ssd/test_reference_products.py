"""The references multiply in full float32, and leave the user's settings as they were."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from ssdprof.kernels.ssd import reference


@pytest.mark.parametrize("fails", [False, True])
def test_products_are_exact_and_the_settings_come_back(fails: bool) -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with suppress(ZeroDivisionError), reference._exact_products():
            assert matmul.fp32_precision == "ieee"
            assert not torch.is_grad_enabled()
            _ = 1 // (not fails)
        assert matmul.fp32_precision == "tf32"
        assert torch.is_grad_enabled()
    finally:
        matmul.fp32_precision = before
