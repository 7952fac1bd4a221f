"""Hides the secrets of a deployment in texts: in what people are shown, and in what programs log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_SHORT = 6  # characters: a shorter text is no secret, and would be hidden in the midst of words
_KEY_LINE = 20  # characters of a line of a key that count as secret
# What a program of somebody else may write of a secret that we do not know.
_NAMED = re.compile(
    r"(?i)(pass(?:word|wd|phrase)|secret|api[_-]?key|token)(\\?[\"']?\s*[=:]\s*\\?[\"']?)(?!<the )[^\s\"',;&\\]+"
)
_HIDDEN = "<hidden>"


class Secrets:
    """Hides the secrets of a deployment in texts; ``known``: each secret text, and what to write in its place."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = {one: name for text, name in known.items() for one in _spellings(text) if len(text) >= _SHORT}
        # A secret that contains another one is hidden whole.
        longest = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    @classmethod
    def of(cls, directory: Path, passwords: Mapping[str, object]) -> Secrets:
        """Those of a deployment: its passwords, and every line of each private key below a directory."""
        known = {str(password): f"<the password of {name}>" for name, password in passwords.items()}
        for path in sorted(directory.rglob("*.key")):
            for line in path.read_text(errors="replace").splitlines():
                if len(line) >= _KEY_LINE and not line.startswith("-----"):
                    known[line] = f"<the key {path.relative_to(directory)}>"
        return cls(known)

    def hide(self, text: str) -> str:
        """The text without secrets: those that are known, and what follows a word such as password."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: self._known[match[0]], text)
        return _NAMED.sub(lambda match: f"{match[1]}{match[2]}{_HIDDEN}", text)


def _spellings(secret: str) -> Iterator[str]:
    """A secret as programs write it: as it is, and quoted by JSON, Python and Java's properties."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield re.sub(r"([\\:=#! ])", r"\\\1", secret)
