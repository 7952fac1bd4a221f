"""Hashes of an artefact's inputs: the same inputs give the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

#: Hexadecimal digits of a hash of inputs.
HASH_DIGITS = 12


def inputs_hash(inputs: Iterable[Path], *words: str) -> str:
    """HASH_DIGITS digits that follow from the words, and from name, executable bits and contents of every input file.

    An input is a file, or a directory with all files below it, except what Python and setuptools leave there.
    """
    digest = hashlib.sha256()
    for given in inputs:
        for path in sorted([given] if given.is_file() else given.rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts or any(p.endswith(".egg-info") for p in path.parts):
                continue
            content = path.read_bytes()
            head = f"{path.relative_to(given.parent)}\0{path.stat().st_mode & 0o111}\0{len(content)}\0"
            digest.update(head.encode() + content)
    for word in words:
        digest.update(f"\0{word}".encode())
    return digest.hexdigest()[:HASH_DIGITS]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
