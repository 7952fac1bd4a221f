"""The system calls that a process of filters may make: a short list. The kernel refuses every other call.

A list of allowed calls stays right when the kernel gets new ones; a list of forbidden calls would not. The list
has what computing, reading files and importing modules need. Calls that can also do harm are allowed only with some
arguments: to open files for reading, to read limits, and not to ask a descriptor for signals.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Sequence

from zads.errors import ZadsError

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | 1  # the call fails with EPERM
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they are in struct seccomp_data
_X32 = 0x40000000  # the other numbering of x86-64's system calls, which is not used here

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: Calls that are allowed with any arguments: number on x86-64, number on aarch64 (None: the machine has no such call).
_PLAIN: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "access": (21, None), "select": (23, None),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "nanosleep": (35, 101),
    "getitimer": (36, 102), "setitimer": (38, 103), "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160),
    "getdents": (78, None), "getcwd": (79, 17), "readlink": (89, None), "gettimeofday": (96, 169),
    "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173), "getgroups": (115, 158),
    "getresuid": (118, 148), "getresgid": (120, 150), "sigaltstack": (131, 132), "statfs": (137, 43),
    "fstatfs": (138, 44), "gettid": (186, 178), "time": (201, None), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "newfstatat": (262, 79), "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72),
    "ppoll": (271, 73), "preadv": (295, 69), "getcpu": (309, 168), "getrandom": (318, 278), "statx": (332, 291),
    "rseq": (334, 293), "faccessat2": (439, 439),
}  # fmt: skip
_OPEN, _OPENAT, _FCNTL, _IOCTL, _PRLIMIT64 = (2, None), (257, 56), (72, 25), (16, 29), (302, 261)
#: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_ASYNC and the bit that only O_TMPFILE has.
_WRITING = 0x3 | 0x40 | 0x200 | 0x400 | 0x2000 | 0x400000
_FCNTL_COMMANDS = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
_IOCTL_COMMANDS = (0x5401, 0x5450, 0x5451)  # TCGETS (is it a terminal?), FIONCLEX, FIOCLEX

_Line = tuple[int, str, str, int]  # code, label if true, label if false ("": the next line), operand
_Program = list[_Line | str]  # a text is the label of the line that follows


def _argument(number: int, *, high: bool = False) -> _Line:
    return (_LOAD, "", "", _ARGUMENTS + 8 * number + 4 * high)


def _one_of(argument: int, values: Sequence[int]) -> _Program:
    return [_argument(argument), *((_EQUAL, "allow", "", value) for value in values), (_RETURN, "", "", _DENY)]


def _none_of(argument: int, bits: int) -> _Program:
    return [_argument(argument), (_AND, "", "", bits), (_EQUAL, "allow", "deny", 0)]


#: A process may ask for its own limits (the pointer to new ones is null), and for no other's.
_OWN_LIMITS: _Program = [
    _argument(0), (_EQUAL, "", "deny", 0),
    _argument(2), (_EQUAL, "", "deny", 0),
    _argument(2, high=True), (_EQUAL, "allow", "deny", 0),
]  # fmt: skip
_CHECKED: tuple[tuple[tuple[int | None, int | None], _Program], ...] = (
    (_OPEN, _none_of(1, _WRITING)),
    (_OPENAT, _none_of(2, _WRITING)),
    (_FCNTL, _one_of(1, _FCNTL_COMMANDS)),
    (_IOCTL, _one_of(1, _IOCTL_COMMANDS)),
    (_PRLIMIT64, _OWN_LIMITS),
)


def program(machine: str) -> bytes:
    """The kernel's program for a machine (as `platform.machine` names it). Raises ZadsError for an unknown machine."""
    if machine not in _AUDIT_ARCH:
        known = ", ".join(sorted(_AUDIT_ARCH))
        raise ZadsError(f"filters cannot be fenced in on a machine of type {machine}", hint=f"use one of {known}")
    which = sorted(_AUDIT_ARCH, reverse=True).index(machine)  # x86_64 comes first in the pairs
    lines: _Program = [
        (_LOAD, "", "", _ARCHITECTURE),
        (_EQUAL, "", "deny", _AUDIT_ARCH[machine]),
        (_LOAD, "", "", _NUMBER),
        (_AT_LEAST, "deny", "", _X32),
    ]
    lines += [(_EQUAL, "allow", "", number) for pair in _PLAIN.values() if (number := pair[which]) is not None]
    checked = [(number, block) for pair, block in _CHECKED if (number := pair[which]) is not None]
    lines += [(_EQUAL, f"check {number}", "", number) for number, _ in checked]
    lines += ["deny", (_RETURN, "", "", _DENY), "allow", (_RETURN, "", "", _ALLOW)]
    # Jumps only go forwards: each block has its own ends.
    for number, block in checked:
        ends = {"allow": f"allow {number}", "deny": f"deny {number}"}
        lines.append(f"check {number}")
        for line in block:
            assert not isinstance(line, str)
            code, true, false, operand = line
            lines.append((code, ends.get(true, true), ends.get(false, false), operand))
        lines += [ends["deny"], (_RETURN, "", "", _DENY), ends["allow"], (_RETURN, "", "", _ALLOW)]
    return _assembled(lines)


def _assembled(program: _Program) -> bytes:
    places: dict[str, int] = {}
    lines: list[_Line] = []
    for line in program:
        if isinstance(line, str):
            places[line] = len(lines)
        else:
            lines.append(line)
    code = []
    for here, (operation, true, false, operand) in enumerate(lines):
        jumps = [places[label] - here - 1 if label else 0 for label in (true, false)]
        code.append(struct.pack("HBBI", operation, *jumps, operand))
    return b"".join(code)


def close() -> None:
    """Restrict this process to these calls from now on. Raises ZadsError where the kernel does not offer that."""
    text = program(platform.machine())
    code = ctypes.create_string_buffer(text, len(text))
    header = struct.pack("HxxxxxxQ", len(text) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0
    ):
        raise ZadsError(
            "this kernel does not filter system calls, so filters are not run",
            hint="use a kernel with CONFIG_SECCOMP_FILTER, as Debian's has",
        )
