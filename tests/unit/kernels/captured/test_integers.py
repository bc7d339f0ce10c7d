"""What a capture file says of the integers on which a kernel's addresses may depend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fake_captures
import numpy as np

from ssdprof.kernels.captured.arguments import integers
from ssdprof.kernels.captured.file import Reader
from ssdprof.kernels.captured.model import KeptTensor


def test_integers_are_all_elements_from_the_first_to_the_last_and_floats_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "some.launch"
    [launch] = fake_captures.write(path, np.arange(12, dtype=np.int32).tobytes()).launches
    strided = KeptTensor(0, "int32", (3,), (4,), 2)
    floats = KeptTensor(0, "float32", (12,), (1,), 0)
    with Reader(path) as reader:
        found = integers(reader, replace(launch, tensors=(strided, floats)), {"rows": 0, "x": 1})
    assert ["rows"] == list(found)
    assert list(range(2, 11)) == found["rows"].tolist()


def test_integers_whose_data_was_not_kept_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "some.launch"
    fake_captures.write(path, b"\0" * 16)
    launch = fake_captures.launch("", size=16)
    with Reader(path) as reader:
        assert {} == integers(reader, replace(launch, tensors=(KeptTensor(0, "int64", (2,), (1,), 0),)), {"rows": 0})
