"""Tries the calls that have opened other sandboxes: name spaces, users, keys, rings, programs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Tries the calls that have opened other sandboxes: name spaces, users, keys, rings, programs."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return tools.attempt(
            *((f"unshare {flag:x}", tools.CALL["unshare"], flag) for flag in (0x10000000, 0x20000, 0x40000000)),
            ("setns", tools.CALL["setns"], 0, 0),
            ("mount", tools.CALL["mount"], 0, 0, 0, 0, 0),
            ("umount2", tools.CALL["umount2"], 0, 0),
            ("pivot_root", tools.CALL["pivot_root"], 0, 0),
            ("chroot", tools.CALL["chroot"], tools.buffer(b"/")),
            ("setuid", tools.CALL["setuid"], 0),
            ("setresuid", tools.CALL["setresuid"], 0, 0, 0),
            ("setgid", tools.CALL["setgid"], 0),
            ("setgroups", tools.CALL["setgroups"], 0, 0),
            ("capset", tools.CALL["capset"], tools.buffer(), tools.buffer()),
            ("setsid", tools.CALL["setsid"]),
            ("setpgid", tools.CALL["setpgid"], 0, 0),
            ("keyctl", tools.CALL["keyctl"], 0, -3 & 0xFFFFFFFF, 1),
            ("add_key", tools.CALL["add_key"], 0, 0, 0, 0, 0),
            ("bpf", tools.CALL["bpf"], 0, tools.buffer(bytes(64)), 64),
            ("perf", tools.CALL["perf_event_open"], tools.buffer(), 0, -1, -1, 0),
            ("io_uring", tools.CALL["io_uring_setup"], 4, tools.buffer(bytes(128))),
            ("userfaultfd", tools.CALL["userfaultfd"], 0),
            ("seccomp", tools.CALL["seccomp"], 1, 0, 0),
            ("prctl dumpable", tools.CALL["prctl"], 4, 1, 0, 0, 0),
            ("personality", tools.CALL["personality"], 0x0400000),
            ("arch_prctl", tools.CALL["arch_prctl"], 0x1001, 0),
            ("kcmp", tools.CALL["kcmp"], 1, 1, 0, 0, 0),
            ("x32 getpid", 0x40000000 + 39),
            ("lookup_dcookie", 212, 0, 0, 0),
        )
