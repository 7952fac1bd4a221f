"""Files that only the holder of a private key can read, in the format of age (https://age-encryption.org/v1).

Whoever writes a file needs only public keys, so neither the control machine nor the place that keeps the file can read
it. The program ``age`` does the work, and any other implementation of the format can read the files: years later, too,
``age -d -i KEY FILE | tar xz`` is enough. A file that was shortened or changed does not decrypt.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_KINDS = ("age1", "ssh-ed25519 ", "ssh-rsa ")
_NO_PROGRAM = "the program age is not installed"
_INSTALL = "make prepare installs it; in Debian it is the package age"


def recipients(lines: Sequence[str]) -> list[str]:
    """The public keys in the lines of a file or an inventory; empty lines and comments are left out.

    Raises ZadsError for a line that is no public key, and if there is none.
    """
    found = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    for line in found:
        if not line.startswith(_KINDS) or len(line.splitlines()) > 1:
            # It may be a private key that was put here by mistake: it is not quoted.
            raise ZadsError(
                "a recipient of backups is neither a public key of age (age1...) nor of SSH (ssh-ed25519, ssh-rsa)",
                hint="age-keygen -y KEY prints the public key of a private one",
            )
    if not found:
        raise ZadsError(
            "nobody could read the backup: it has no recipient",
            hint="backup_recipients in the inventory lists the operators' public keys (docs/runbooks/back-up.md)",
        )
    return found


@contextlib.contextmanager
def sealed(path: Path, keys: Sequence[str]) -> Iterator[IO[bytes]]:
    """A stream whose bytes become the encrypted file ``path``, for the holders of the `keys`.

    The file has its name only when it is whole and on the disk, and only its owner can read it at any moment. If the
    body fails, there is none. Raises ZadsError, also if there is a file of this name.
    """
    part = path.with_name(f".{path.name}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with _running(keys, handle) as stream:
            yield stream
        os.fsync(handle)
        if path.exists():
            raise ZadsError(f"{path} exists already", hint="a backup never replaces another one")
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    _sync(path.parent)


@contextlib.contextmanager
def _running(keys: Sequence[str], output: int) -> Iterator[IO[bytes]]:
    """The input of a program that encrypts to a file."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as complaints:
        try:
            os.write(writing, "".join(f"{key}\n" for key in keys).encode())
        finally:
            os.close(writing)
        try:
            process = _start(
                ["age", "--encrypt", "--recipients-file", f"/dev/fd/{reading}"],
                stdin=subprocess.PIPE, stdout=output, stderr=complaints, pass_fds=(reading,),
            )  # fmt: skip
        finally:
            os.close(reading)
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as stream:
                yield stream
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        if status:
            raise ZadsError(f"the backup cannot be encrypted: {_said(complaints)}")


@contextlib.contextmanager
def opened(path: Path, identity: Path) -> Iterator[IO[bytes]]:
    """The decrypted bytes of a file, by the private key in the file `identity`.

    What has been read is genuine only when the body has ended: the end of a shortened file is noticed last. So the
    error of the decryption comes before an error of the body.
    Raises ZadsError if the file is damaged or for others.
    """
    for needed in (path, identity):
        with needed.open("rb"):  # a missing file is named as such, not as a failure of age
            pass
    with tempfile.TemporaryFile() as complaints:
        process = _start(
            ["age", "--decrypt", "--identity", str(identity), str(path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            with process.stdout as stream:
                try:
                    yield stream
                finally:
                    while stream.read(1 << 20):  # to the end, where damage is found
                        pass
        finally:
            if process.wait():
                raise ZadsError(
                    f"{path} cannot be read with the key in {identity}: {_said(complaints)}",
                    hint="the key belongs to another recipient, or the file is damaged: try another backup",
                ) from None


def _start(command: list[str], **streams: object) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, **streams)  # type: ignore[call-overload,no-any-return]
    except FileNotFoundError as error:
        raise ZadsError(_NO_PROGRAM, hint=_INSTALL) from error


def _said(complaints: IO[bytes]) -> str:
    """What the program wrote of its failure, without its invitation to report errors."""
    complaints.seek(0)
    lines = complaints.read(4096).decode("utf-8", "replace").splitlines()
    wanted = [
        line.removeprefix("age: error: ").removeprefix("age: ") for line in lines if "report unexpected" not in line
    ]
    return " ".join(wanted) or "age says nothing"


def _sync(directory: Path) -> None:
    """Make a new name in a directory last through a loss of power."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
