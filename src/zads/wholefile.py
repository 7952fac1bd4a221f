"""A file that is written whole: whoever reads it sees what was there before, or all of what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, content: str | bytes) -> Path:
    """Write under a hidden name beside the file, then rename; makes the directory. Returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(content.encode() if isinstance(content, str) else content)
    return hidden.replace(path)
