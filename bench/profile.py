"""What limits the chain on this machine: samples of all processors, by kind of work."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.cluster import Measurement
from zads.errors import ZadsError

#: Samples a second and processor.
FREQUENCY = 199
#: The first expression that matches "thread;library;symbol" is a sample's kind. perf marks kernel symbols [k].
_KINDS = (
    (r"^C[12] Comp", "Java's compiler"),
    (r"^(GC |G1 |VM Thread)", "Java's collector"),
    (r";\[k\].*(copy_|_copy|copyin|copyout|memcpy|memmove|rep_movs|clear_page)", "kernel: copies"),
    (r";\[k\].*(tcp|skb|sock|inet|ip_|net_|netif|veth|bridge|br_|nf_|dev_|eth|napi|csum)", "kernel: network"),
    (r";\[k\].*(futex|sched|poll|wake|switch|queue|pick_|update_|timer|idle|rcu)", "kernel: waking, waiting"),
    (r";\[k\].*(page|folio|shmem|ext4|filemap|xas?_|vfs|file|lru|inode|mm_|cgroup)", "kernel: files and pages"),
    (r";\[k\]", "kernel: others"),
    (r";libzstd", "compression in Java"),
    (r";lib(crypto|ssl)", "encryption of the clients in C"),
    (r";lib(jvm|net|nio|java)", "Java's runtime"),
    (r"(;\[JIT\]|;perf-\d+\.map;|^(data-plane|Replica|kafka-|task-thread|main-|Nio))", "Java code, encryption with it"),
    (r";(librdkafka|.*rdkafka|cimpl)", "the clients' library"),
    (r";(python|lib.*python|.*cpython|.*\.so)", "Python and its libraries"),
)  # fmt: skip


@contextlib.contextmanager
def recording(target: Path) -> Iterator[Path]:
    """Sample the whole machine during the body. Raises ZadsError if perf is not installed."""
    command = ["perf", "record", "--quiet", "--all-cpus", "-F", str(FREQUENCY), "-o", str(target)]
    try:
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise ZadsError("there is no perf", hint="apt-get install linux-perf") from None
    try:
        yield target
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()


def kinds(recorded: Path) -> dict[str, float]:
    """The shares of the busy time (they add up to one) by kind of work."""
    command = [
        "perf",
        "report",
        "-i",
        str(recorded),
        "--stdio",
        "--no-children",
        "-F",
        "sample,comm,dso,sym",
        "-t",
        ";",
    ]
    return shares(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def shares(report: str) -> dict[str, float]:
    """The same from the text of perf's report, whose lines are samples;thread;library;symbol."""
    counts: Counter[str] = Counter()
    for line in report.splitlines():
        number, *place = (field.strip() for field in line.split(";", 3))
        if number.isdigit() and not place[0].startswith("swapper"):
            counts[_kind(";".join(place))] += int(number)
    total = sum(counts.values())
    if not total:
        raise ZadsError("perf has recorded nothing")
    return {kind: number / total for kind, number in counts.most_common()}


def _kind(place: str) -> str:
    return next((kind for pattern, kind in _KINDS if re.search(pattern, place)), "others")


def lines(played: Measurement, recorded: Path) -> list[str]:
    """The profile as text: CPU-milliseconds an alert by part, by thread within Java, and by kind of work."""
    shown = [f"{played.alerts} alerts at {played.rate:.0f}/s, {played.cost:.2f} CPU-ms each; of that"]
    shown += [f"  {cost:6.3f}  {part}" for part, cost in played.usage.per_alert(played.alerts).items()]
    shown.append("threads of Java's processes:")
    for part, threads in sorted(played.usage.threads.items()):
        shown += [
            f"  {1000 * seconds / played.alerts:6.3f}  {part}: {kind}"
            for kind, seconds in sorted(threads.items(), key=lambda pair: -pair[1])
        ]
    shown.append("what the processors did:")
    shown += [f"  {share * played.cost:6.3f}  {kind} ({share:.0%})" for kind, share in kinds(recorded).items()]
    return shown
