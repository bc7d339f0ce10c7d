"""JSON as other programs read it. A number that is not finite is null: JSON has none."""

from __future__ import annotations

import json
import math
from typing import Any

SCHEMA = 1


def json_text(content: Any) -> str:
    """Indented JSON with a final newline."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
