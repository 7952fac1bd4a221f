"""A filter's annotations as JSON that every reader can take."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from zads.filters.wire import MAX_ANNOTATIONS, MAX_DEPTH


def encode(annotations: dict[str, Any]) -> str:
    """The annotations as JSON; NumPy's values become numbers and lists. Raises ValueError."""
    try:
        text = json.dumps(annotations, default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its annotations are not JSON: {error}") from None
    if "\\ud" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        _check(json.loads(text))
    if len(text) > MAX_ANNOTATIONS:
        raise ValueError(f"its annotations have {len(text)} characters, at most {MAX_ANNOTATIONS} are kept")
    return text


def _check(annotations: Any) -> None:
    """Refuse what is JSON, but what most readers cannot take. Raises ValueError."""
    if _depth(annotations) > MAX_DEPTH:
        raise ValueError(f"its annotations are nested more than {MAX_DEPTH} deep")
    try:
        json.dumps(annotations, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("its annotations have half a character (a lone surrogate)") from None


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
