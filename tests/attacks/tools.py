"""What the attacks have in common: system calls by their numbers, and the insides of the process that they run in.

An attack acts on its own process, its parent and the test's files alone, and merely asks of others whether it could:
where the fence is broken, perhaps on purpose, a test must fail and do no harm.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
#: Numbers on x86-64; on another machine the attempts are other calls, and just as forbidden.
CALL = {
    "open": 2, "mmap": 9, "mprotect": 10, "ioctl": 16, "pwrite64": 18, "shmget": 29, "shmat": 30, "socket": 41,
    "sendmsg": 46, "recvmsg": 47, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
    "semget": 64, "msgget": 68, "fcntl": 72, "truncate": 76, "ftruncate": 77, "chdir": 80, "rename": 82, "mkdir": 83,
    "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "chown": 92, "ptrace": 101, "syslog": 103, "setuid": 105,
    "setgid": 106, "setpgid": 109, "setsid": 112, "setgroups": 116, "setresuid": 117, "capset": 126,
    "rt_sigqueueinfo": 129, "mknod": 133, "personality": 135, "setpriority": 141, "sched_setscheduler": 144,
    "pivot_root": 155, "prctl": 157, "arch_prctl": 158, "setrlimit": 160, "chroot": 161, "mount": 165, "umount2": 166,
    "reboot": 169, "sethostname": 170, "setxattr": 188, "tkill": 200, "sched_setaffinity": 203, "tgkill": 234,
    "utimes": 235, "mq_open": 240, "add_key": 248, "keyctl": 250, "unshare": 272, "utimensat": 280, "fallocate": 285,
    "eventfd2": 290, "epoll_create1": 291, "pipe2": 293, "inotify_init1": 294, "rt_tgsigqueueinfo": 297,
    "perf_event_open": 298, "prlimit64": 302, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
    "kcmp": 312, "seccomp": 317, "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435, "openat2": 437, "process_madvise": 440,
}  # fmt: skip
_KEPT = []


def buffer(content=bytes(8)):
    """The address of some memory."""
    _KEPT.append(ctypes.create_string_buffer(content, max(len(content) + 1, 128)))
    return ctypes.addressof(_KEPT[-1])


def attempt(*calls):
    """Make calls (name, number, arguments); annotations with those that were not refused for want of permission."""
    done = []
    for name, number, *arguments in calls:
        result = LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        if result >= 0 or ctypes.get_errno() not in (1, 9, 13, 38):  # EPERM, EBADF, EACCES, ENOSYS
            done.append(f"{name}: {result} {ctypes.get_errno()}")
    _KEPT.clear()
    return {"done": done[:20]}


def pids():
    """Numbers that other processes may have."""
    return sorted({*range(1, 30), *range(os.getpid() - 10, os.getpid() + 10)} - {os.getpid()})


def processes(name):
    """A file of each process that there may be."""
    return [f"/proc/{number}/{name}" for number in (*pids(), os.getppid())]


def opens(path, flags):
    """Whether a file can be opened."""
    try:
        os.close(os.open(path, flags, 0o777))
    except OSError:
        return False
    return True


def reading(paths):
    """What can be read of some files and directories."""
    found = ""
    for path in paths:
        try:
            found += repr(sorted(os.listdir(path))) if Path(path).is_dir() else Path(path).read_text(errors="replace")
        except (OSError, ValueError):
            continue
    return found


def maps():
    """Lines of this process's map of memory, as far as it may be read."""
    return reading(["/proc/self/maps"]).splitlines()


def _frames():
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def serving():
    """The local names of the function that serves the worker."""
    return next(frame.f_locals for frame in _frames() if frame.f_code.co_name == "serve")


def number():
    """The number of the filter that runs."""
    return int(serving()["words"][0])


def raw(data):
    """Write to the worker."""
    os.write(serving()["answers"], data)


def frame(body):
    """Send the worker a frame."""
    raw(struct.pack("!I", len(body)) + body)


def result(text):
    """Put something among the results."""
    serve = serving()
    start, body = serve["words"][2], text.encode() + b","
    serve["results"]._area[start : start + len(body)] = body
    serve["words"][2] = start + len(body)


def packets_descriptors():
    """Descriptors that may be of the shared packets."""
    return [number for number in range(3, 16) if _size(number) == 48_000_000]


def _size(number):
    try:
        return os.fstat(number).st_size
    except OSError:
        return -1


def spin_after_done():
    """Have this process spin once it has said that it is done."""
    runner = serving()["runner"]
    send = runner._send

    def sends(message):
        send(message)
        while type(message).__name__ == "Done":
            pass

    runner._send = sends
