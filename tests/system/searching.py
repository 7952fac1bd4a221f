"""Searches hosts for secrets without showing them: a finding is the file and line of the secret."""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
from collections import Counter
from pathlib import Path

TOKEN = re.compile(rb"[A-Za-z0-9+/=_.-]{16,}")
WINDOW = 32  # characters that are searched for at once: tools that wrap lines would break longer pieces
TELLING = 16
#: Beginnings of lines without a secret: headings, comments, the name of a cluster.
PUBLIC = (b"-----", b"#", b'"cluster":')

# Runs a shell command with the needles in memory, at $NEEDLES: they are in no file and on no command line of the host.
# A user without root's rights can read them there too.
SCRIPT = """
import os, subprocess, sys
needles = os.memfd_create("needles", 0)
os.write(needles, sys.stdin.buffer.read())
done = subprocess.run(
    ["bash", "-c", sys.argv[1]], pass_fds=[needles], env={**os.environ, "NEEDLES": f"/dev/fd/{needles}"}, check=False
)
sys.exit(done.returncode)
"""


def needles(directory: Path) -> dict[bytes, str]:
    """Text to search for -> its file and line: each private line below ``directory``, and its base64 forms.

    Certificates are public, and so is what a key's file has in common with them, or with another file.
    """
    found: dict[bytes, str] = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix != ".crt"):
        public = _certificate(path.with_suffix(".crt"))
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.lstrip().startswith(PUBLIC) and not _known(line, public):
                name = f"{path.relative_to(directory)}:{number}"
                # A line may hold the end of the private key, and the beginning of the public one.
                found |= dict.fromkeys((one for one in _windows(line) if not _known(one, public)), name)
    common = Counter(window for path in directory.rglob("*") if path.is_file() for window in _set(path))
    return {
        form: name + suffix
        for window, name in found.items()
        if common[window] == 1
        for form, suffix in [(window, ""), *((form, " in base64") for form in base64_forms(window))]
    }


def base64_forms(text: bytes) -> list[bytes]:
    """The forms of a text within the base64 of a longer text, where it can begin at three places."""
    forms = []
    for shift, lost in enumerate((0, 2, 3)):
        whole = base64.b64encode(b"\0" * shift + text)
        forms.append((whole[:-4] if whole.endswith(b"=") else whole)[lost:])
    return forms


def _windows(line: bytes) -> list[bytes]:
    parts = [token[at : at + WINDOW] for token in TOKEN.findall(line) for at in range(0, len(token), WINDOW)]
    return [part for part in parts if len(part) >= TELLING]


def _set(path: Path) -> set[bytes]:
    return {window for line in path.read_bytes().splitlines() for window in _windows(line)}


def _certificate(path: Path) -> bytes:
    """The bytes of a certificate; b"" if there is no such file."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"-----")))


def _known(line: bytes, public: bytes) -> bool:
    try:
        return base64.b64decode(line, validate=True) in public
    except binascii.Error:
        return False


def search(container: str | None, command: str, wanted: dict[bytes, str]) -> set[str]:
    """What a shell command that greps for ``$NEEDLES`` (``grep -aoFf``) finds, as `PLACE: FILE:LINE`.

    It runs on a host of the lab, or on this machine if `container` is None. Raises RuntimeError if the command fails.
    """
    there = ["docker", "exec", "-i", container] if container else []
    done = subprocess.run(
        [*there, "python3", "-c", SCRIPT, command],
        input=b"\n".join(wanted), capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode > 1:  # grep's own statuses are 0 and 1
        raise RuntimeError(f"{container}: {command} exited {done.returncode}: {len(done.stderr)} bytes of errors")
    return _named(done.stdout, wanted)


def _named(output: bytes, wanted: dict[bytes, str]) -> set[str]:
    found = set()
    for line in output.splitlines():
        text = next(text for text in sorted(wanted, key=len, reverse=True) if line.endswith(text))
        place = line[: len(line) - len(text)].decode(errors="replace").rstrip(":")
        found.add(f"{place}: {wanted[text]}" if place else wanted[text])
    return found
