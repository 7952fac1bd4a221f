"""The peers that run in a separate environment, which the first run makes from pinned requirements and keeps."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from zads.errors import ZadsError

REQUIREMENTS = Path("requirements/bench.txt")


def python(root: Path, say: Callable[[str], None]) -> Path:
    """The interpreter of the peers' environment. Raises ZadsError if it cannot be made."""
    place = root / ".zads/cache/bench-venv"
    interpreter, stamp = place / "bin/python", place / "made-from"
    version = "{}.{}".format(*sys.version_info[:2])
    wanted = f"{hashlib.sha256((root / REQUIREMENTS).read_bytes()).hexdigest()[:16]}-{version}"
    # The stamp is written last: the next run repairs what an interrupted one left.
    if stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    say(f"making {place.relative_to(root)} from {REQUIREMENTS} (a minute)")
    install = (interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    _run(sys.executable, "-m", "venv", "--clear", place)
    _run(*install, "--only-binary", ":all:", "-r", root / REQUIREMENTS)
    stamp.write_text(wanted)
    return interpreter


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ZadsError(f"the peers' environment cannot be made: {said[-1] if said else 'pip says nothing'}")


class Quix:
    """quix-streams in a separate process, with the packets to filter. Use as a context manager."""

    def __init__(self, interpreter: Path, packets: Sequence[bytes], scratch: Path) -> None:
        directory = scratch / "packets"
        directory.mkdir()
        for number, data in enumerate(packets):
            (directory / f"{number:06d}.avro").write_bytes(data)
        self._errors = scratch / "quix.txt"
        program = Path(__file__).with_name("quix.py")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [interpreter, program, directory],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def __enter__(self) -> Quix:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream(self._process.stdin).close()
        self._process.wait(60)
        self._stream(self._process.stdout).close()

    def round(self, rule: str) -> tuple[float, list[list[int]]]:
        """One pass over the packets: processor seconds, and the filters that passed each packet."""
        request = self._stream(self._process.stdin)
        request.write(f"{rule}\n")
        request.flush()
        line = self._stream(self._process.stdout).readline()
        if not line:
            said = self._errors.read_text().strip().splitlines()
            raise ZadsError(f"quix-streams ended: {said[-1] if said else 'it says nothing'}")
        answer: dict[str, Any] = json.loads(line)
        return answer["seconds"], answer["passed"]

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None, "it was opened with the process"
        return stream
