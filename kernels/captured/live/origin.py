"""Where a kernel came from."""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ssdprof.kernels.captured.model import Origin
from ssdprof.kernels.captured.texts import text_hash


def origin_of(function: Callable[..., Any]) -> Origin:
    """Where a function is defined, the line of its `def`, and the hash of its text from there on. Raises OSError."""
    file, line = place_of(function)
    lines, first = inspect.getsourcelines(function)
    text = textwrap.dedent("".join(lines[line - first :]))
    return Origin(function.__qualname__, function.__module__, file, line, text_hash(text))


@lru_cache(maxsize=4096)
def place_of(function: Callable[..., Any]) -> tuple[str, int]:
    """The file of a function and the line of its `def`, or of its first decorator if the file cannot be read."""
    code = function.__code__
    line = code.co_firstlineno
    with suppress(OSError, TypeError):
        lines, first = inspect.getsourcelines(function)
        line = first + next((i for i, text in enumerate(lines) if text.lstrip().startswith(("def ", "async def "))), 0)
    return os.path.abspath(code.co_filename), line
