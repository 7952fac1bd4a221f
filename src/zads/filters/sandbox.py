"""What a filter's process may not do, enforced by the kernel, so that a faulty filter harms nobody but itself.

It may compute, read files and import modules. It may not start processes or threads, send signals, open sockets, write
files, or hold more memory than it is given. This is a fence against mistakes, not against an attacker who has an
exploit: owners are known people, and a group runs in a container of its own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import resource
import signal
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | 1  # the call fails with EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32 = 0x40000000  # the other numbering of x86-64's system calls, which nobody here uses

# Calls by architecture: AUDIT_ARCH_* and the numbers of clone, (v)fork, clone3, execve(at), (t(g))kill,
# pidfd_send_signal, ptrace, process_vm_writev, socket, io_uring_setup.
_CALLS = {
    "x86_64": (0xC000003E, (56, 57, 58, 435, 59, 322, 62, 200, 234, 424, 101, 311, 41, 425)),
    "aarch64": (0xC00000B7, (220, 435, 221, 281, 129, 130, 131, 424, 117, 271, 198, 425)),
}


_PAGE = resource.getpagesize()


@functools.cache
def _sizes(process: int) -> int:
    """What tells a process's sizes, kept open: opening it before and after each filter costs more than most filters."""
    return os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)


def address_space() -> int:
    """Bytes of virtual memory that this process has."""
    return int(os.pread(_sizes(os.getpid()), 64, 0).split(maxsplit=1)[0]) * _PAGE


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def limit(memory_bytes: int) -> bool:
    """Close the fence around this process; `memory_bytes` may be had beyond what it has now.

    Returns False where the kernel offers no system call filter: then processes and sockets are not prevented.
    """
    wall = address_space() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wall, wall))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    return _deny_calls()


def _deny_calls() -> bool:
    if platform.machine() not in _CALLS or os.environ.get("ZADS_NO_SECCOMP"):
        return False
    architecture, calls = _CALLS[platform.machine()]
    # Each jump is relative: (code, steps if true, steps if false, operand). Denial is the last instruction.
    count = len(calls)
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, count + 3, architecture),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, count + 1, 0, _X32),
    ]
    program += [(_EQUAL, count - number, 0, call) for number, call in enumerate(calls)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0) == 0)
