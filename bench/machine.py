"""Facts of the machine that the figures depend on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_CHUNKS = 256
_LIBRARIES = ("confluent-kafka", "fastavro", "numpy")


def facts(directory: Path) -> dict[str, Any]:
    """Cores, processor, memory, versions, and the speed of the disk that holds a directory."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "disk_mb_per_second": round(disk(directory)),
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def disk(directory: Path) -> float:
    """The rate at which one process writes and syncs, in MB/s: the median of three files of 256 MB."""
    path = directory / "disk.bin"
    chunk = os.urandom(_CHUNK)
    rates = []
    try:
        for _ in range(3):
            begun = time.monotonic()
            with path.open("wb", buffering=0) as file:
                for _ in range(_CHUNKS):
                    file.write(chunk)
                os.fsync(file.fileno())
            rates.append(_CHUNK * _CHUNKS / (time.monotonic() - begun) / 1e6)
    finally:
        path.unlink(missing_ok=True)
    return statistics.median(rates)


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
