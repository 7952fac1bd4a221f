"""What a process of filters may read, where the kernel has Landlock: a second fence behind that of system calls.

It can read Python's installation and the directories of the filters. It can open nothing else, not even /proc of itself
or of other processes. Newer kernels also keep it from the network, from abstract sockets and from signalling others.
Source of the interface: the kernel's documentation, userspace-api/landlock.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import zads

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every machine
_ASK_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
_PR_SET_NO_NEW_PRIVS = 38
#: By version: the rights over files that there are, those over the network, and the scopes.
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NETWORK = {4: 0b11}
_SCOPES = {6: 0b11}
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/dev/zero")


def _newest(table: dict[int, int], version: int) -> int:
    return max((rights for since, rights in table.items() if since <= version), default=0)


def readable(directories: Iterable[Path]) -> list[Path]:
    """What may be read: Python as it runs here, this package, the system's libraries, and these directories."""
    package = Path(zads.__file__).parent
    paths = [*map(Path, _SYSTEM), Path(sys.prefix), Path(sys.base_prefix), package, package.parent.parent / "schemas"]
    paths += [Path(entry) for entry in sys.path if entry]
    there = {path.resolve() for path in (*paths, *directories) if path.exists()}
    return sorted(there - {Path("/")})


def close(directories: Iterable[Path]) -> bool:
    """Close the fence; False where the kernel or the container does not offer Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    version = libc.syscall(_CREATE, None, 0, _ASK_VERSION)
    if version < 1:
        return False
    rights = struct.pack("QQQ", _newest(_FILES, version), _newest(_NETWORK, version), _newest(_SCOPES, version))
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(_CREATE, ctypes.c_char_p(rights[:size]), size, 0)
    if ruleset < 0:
        return False
    try:
        for path in readable(directories):
            allowed = _READ_FILE | _READ_DIRECTORY if path.is_dir() else _READ_FILE
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.c_char_p(struct.pack("=Qi", allowed, parent)), 0)
            finally:
                os.close(parent)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
