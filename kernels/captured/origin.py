"""Where a kernel came from."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from ssdprof.kernels.captured.model import Origin
from ssdprof.kernels.captured.texts import text_hash


def origin_of(function: Callable[..., Any]) -> Origin:
    """Where a function is defined, the line of its `def`, and the hash of its text from there on. Raises OSError."""
    lines, first = inspect.getsourcelines(function)
    skipped = next((i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "async def "))), 0)
    text = textwrap.dedent("".join(lines[skipped:]))
    file = inspect.getsourcefile(function) or function.__code__.co_filename
    return Origin(function.__qualname__, function.__module__, file, first + skipped, text_hash(text))
