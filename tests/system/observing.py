"""An observer of both sites' partitions during an operation: it has its own clients and no part in the operation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException

from local_system import STATE, client, run, streaming
from zads import kafka
from zads.site import look

SITES = ("origin", "public")
PAUSE = 0.5  # seconds between two looks: a broker that restarts is away for several
#: Seconds without an answer that are no gap. A client that asks a machine that is switched off waits for its timeout.
BLIND = 45
VISITS, SPEED = 90, 8  # a visit every five seconds
# Its own client, which soon asks another broker if one does not answer.
CLIENT = {"client.id": "observer", "log_level": "0", "socket.timeout.ms": "5000"}


@dataclass
class Observer:
    """What was seen at one site.

    ``least``: the fewest replicas in sync of any partition. ``short``: the partitions that had fewer than their own
    ``min.insync.replicas``. ``looks``: how often all were seen. ``blind``: the longest time between two looks, seconds.
    """

    site: str
    least: int = 1 << 30
    short: set[str] = field(default_factory=set)
    looks: int = 0
    blind: float = 0.0

    def watch(self, stop: threading.Event) -> None:
        """Look until ``stop`` is set."""
        conf = {**client(f"admin-{self.site}"), **CLIENT}
        answered = time.monotonic()
        while not stop.wait(PAUSE):
            try:
                self.look(conf)
            except KafkaException:  # the broker that was asked stops: the next look asks another
                continue
            finally:
                self.blind = max(self.blind, time.monotonic() - answered)
            answered = time.monotonic()
        kafka.forget(conf)

    def look(self, conf: dict[str, str]) -> None:
        """Look at every partition once. Raises KafkaException if the site does not answer."""
        cluster, _ = look.describe(kafka.admin(conf))
        self.looks += 1
        for one in cluster.partitions:
            self.least = min(self.least, len(one.isr))
            if len(one.isr) < cluster.min_insync[one.topic]:
                self.short.add(f"{self.site} {one}: {len(one.isr)} in sync")


@contextmanager
def observed() -> Iterator[dict[str, Observer]]:
    """Look at both sites during the body. Then no partition may have been below its minimum of replicas in sync."""
    stop = threading.Event()
    observers = {site: Observer(site) for site in SITES}
    threads = [threading.Thread(target=one.watch, args=[stop]) for one in observers.values()]
    for thread in threads:
        thread.start()
    try:
        yield observers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for one in observers.values():
        assert one.short == set(), f"below the minimum of replicas in sync: {sorted(one.short)[:5]}"
        assert one.looks > 10
        assert one.blind < BLIND, f"nobody saw {one.site} for {one.blind:.0f} s"


@contextmanager
def observed_night(
    night: str, directory: Path, visits: int = VISITS, alerts: int = 20, *, real: bool = False
) -> Iterator[dict[str, Observer]]:
    """Stream a night and look at every partition during the body; then account for every alert."""
    with (
        streaming(night, directory, visits=visits, alerts=alerts, seconds=1200, speed=SPEED, real=real),
        observed() as observers,
    ):
        yield observers
    sites = [option for site in SITES for option in (f"--{site}", str(STATE / "clients" / f"admin-{site}.properties"))]
    run(".venv/bin/zads", "audit", *sites, "--night", night)
