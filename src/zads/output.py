"""Output for people and programs that stays readable even if it quotes hostile names of files and objects.

Nothing that is printed moves the cursor, changes colours or reverses the direction of a line. Characters that cannot be
printed are written as in Python (``\\x1b``, ``\\u202e``), in any locale.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

#: Larger integers change in programs that have only doubles, such as jq 1.6 and JavaScript.
EXACT = 2**53


def plain(text: object) -> str:
    """A text in one line, with every character visible."""
    return "".join(one if one.isprintable() else _escaped(one) for one in str(text))


def lines(text: object) -> str:
    """A text of several lines with every character visible; line breaks are kept, tabs become blanks."""
    return "\n".join(map(plain, str(text).expandtabs().split("\n")))


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A table of values; markup in them is not interpreted."""
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns, box=None, header_style="bold")
    for row in rows:
        made.add_row(*(Text(plain(value)) for value in row))
    return made


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that all programs read in the same way.

    An integer that a double cannot hold is also given as text (`candid`, `candid_str`); NaN and infinity become null.
    """
    return json.dumps(_exact(value), indent=indent, allow_nan=False)


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return _exact_members(value)
    if isinstance(value, (list, tuple)):
        return [_exact(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # The name of a file that is not UTF-8 has surrogates, which other programs refuse.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _exact_members(value: dict[Any, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, one in value.items():
        key = _exact(str(name))
        result[key] = _exact(one)
        if _is_large(one):
            result[f"{key}_str"] = str(one)
        elif isinstance(one, (list, tuple)) and any(map(_is_large, one)):
            result[f"{key}_str"] = [str(number) for number in one]
    return result


def _is_large(value: object) -> bool:
    return isinstance(value, int) and abs(value) > EXACT


def prepare() -> None:
    """Make standard output and error accept any text in any locale; replace those that the caller has closed."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def flush() -> str:
    """Write what is buffered for standard output. Returns why that failed, or ""."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Without this Python reports the error again when it closes stdout.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A closed pipe is not an error: its reader may stop at any time.
        return "" if isinstance(error, BrokenPipeError) else f"cannot write the output: {error.strerror}"
    return ""
