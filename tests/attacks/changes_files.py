"""Changes files: their times (the heartbeat's), modes and names, by links and otherwise."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter

HEARTBEAT = Path(__file__).absolute().parent.parent / "heartbeat"


class Attack(Filter):
    """Changes files: their times (the heartbeat's), modes and names, by links and otherwise."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        files = [str(Path(__file__)), str(HEARTBEAT)]
        texts = [tools.buffer(name.encode()) for name in files]
        other = tools.buffer(str(HEARTBEAT.with_name("other")).encode())
        at = -100 & 0xFFFFFFFF
        return tools.attempt(
            *(("utimensat", tools.CALL["utimensat"], at, text, 0, 0) for text in texts),
            *(("utimes", tools.CALL["utimes"], text, 0) for text in texts),
            *(("chmod", tools.CALL["chmod"], text, 0o777) for text in texts),
            *(("chown", tools.CALL["chown"], text, 0, 0) for text in texts),
            *(("rename", tools.CALL["rename"], text, other) for text in texts),
            *(("link", tools.CALL["link"], text, other) for text in texts),
            *(("symlink", tools.CALL["symlink"], text, other) for text in texts),
            *(("unlink", tools.CALL["unlink"], text) for text in texts),
            *(("truncate", tools.CALL["truncate"], text, 0) for text in texts),
            *(("open to write", tools.CALL["open"], text, 1) for text in texts),
            *(("openat2", tools.CALL["openat2"], at, text, tools.buffer(bytes(24)), 24) for text in texts),
            *(("mkdir", tools.CALL["mkdir"], other, 0o777), ("mknod", tools.CALL["mknod"], other, 0o10777, 0)),
            *(("setxattr", tools.CALL["setxattr"], text, tools.buffer(b"user.x"), other, 1, 0) for text in texts),
            ("inotify", tools.CALL["inotify_init1"], 0),
            ("chdir", tools.CALL["chdir"], tools.buffer(b"/")),
        )
