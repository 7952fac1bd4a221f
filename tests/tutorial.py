"""The commands of docs/filters.md, section by section, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "filters.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(*sections: int) -> list[str]:
    """The ``sh`` blocks of some of the page's numbered sections, in order."""
    parts = re.split(r"^## (?:(\d)\.)?", PAGE.read_text(), flags=re.MULTILINE)
    numbered = dict(zip(parts[1::2], parts[2::2], strict=True))
    return [block for section in sections for block in BLOCK.findall(numbered[str(section)])]


def python() -> list[str]:
    """The page's Python blocks."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run(block: str, directory: Path, seconds: float) -> str:
    """What a block prints, typed in a directory; an AssertionError with its output if a command of it fails."""
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert result.returncode == 0, f"{block}exited {result.returncode}:\n{result.stdout[-6000:]}"
    return result.stdout
