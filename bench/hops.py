"""The chain's hops by themselves: the producer and the mirror, beside what others run in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition

from bench import plain
from bench.cluster import APPS, OPENING, VISIT_ALERTS, Cluster, Reader, await_that
from bench.result import Context, Result
from bench.subscribers import rewound
from zads import kafka

MIRRORED = 6_000
WORKER, MIRROR = "zads-filters-cuts@1.service", "zads-mirrormaker.service"


@contextlib.contextmanager
def _stopped(cluster: Cluster, units: str) -> Iterator[None]:
    """Stop some services on the programs' host during the body."""
    cluster.on(APPS, f"systemctl stop {units}")
    try:
        yield
    finally:
        cluster.on(APPS, f"systemctl start {units}")


def producer(cluster: Cluster, context: Context) -> Iterator[Result]:
    """From the spool to three replicas, and beside it the loop that others write. Nothing else runs."""
    cluster.new_night()
    packets = cluster.stream(VISIT_ALERTS)
    topic = cluster.topic
    ours: list[float] = []
    coded: list[float] = []
    sent: list[float] = []
    with _stopped(cluster, f"{MIRROR} {WORKER}"):
        for _ in range(context.rounds):
            ours.append(3 * VISIT_ALERTS / cluster.drop(cluster.ready(3), receipts=True))
            for rates, recode in ((coded, True), (sent, False)):
                rates.append(VISIT_ALERTS / plain.plain_loop(cluster.origin, topic, packets, recode=recode))
    loop = "alert_stream's loop: read, encode again, produce, poll; default settings"
    yield Result(
        "producer, spool to acknowledged, RF 3", ours, "alerts/s", loop, coded, "ours/peer", 5.0,
        note="ours validates and commits transactions; the loop forgets what was not acknowledged",
    )  # fmt: skip
    bare = "the same loop on the bytes, which it neither reads nor checks"
    yield Result("producer, beside unchecked bytes", ours, "alerts/s", bare, sent, "ours/peer")


def mirror(cluster: Cluster, context: Context) -> Iterator[Result]:
    """How fast a backlog is mirrored: by MirrorMaker 2 with its defaults, then by ours.

    Each has mirrored one backlog before, to be warm, and is paused while the next backlog is produced.
    """
    cluster.new_night()
    topic = cluster.topic
    with _stopped(cluster, WORKER):
        with _stopped(cluster, MIRROR), plain.DefaultMirror.of_sites(cluster, topic):
            copy = f"{plain.SOURCE}.{topic}"
            await_that("the default mirror has its topic", lambda: _end(cluster.public, copy) > 0)
            rates = [_drained(cluster, plain.MIRROR, copy, MIRRORED // 4) for _ in range(context.rounds + 1)]
            theirs = rates[1:]
        rewound(cluster.reader, topic, OPENING + len(rates) * (MIRRORED // 4))
        ours = [_drained(cluster, "zads-mirrormaker", topic, MIRRORED) for _ in range(context.rounds + 1)][1:]
    yield Result(
        "MirrorMaker as deployed, a backlog", ours, "alerts/s", "MirrorMaker 2 with Kafka's defaults", theirs,
        "ours/peer", 4.0, note="ours is exactly once; the defaults may double after a failure",
    )  # fmt: skip


def _drained(cluster: Cluster, container: str, copy: str, alerts: int) -> float:
    """Alerts a second at which a mirror, once it is resumed, copies a backlog."""
    cluster.on(APPS, f"docker pause {container}")
    plain.send_all(cluster.origin, cluster.topic, cluster.stream(alerts), **BATCHES)
    reader = Reader(cluster.public, copy)
    reader.start()
    try:
        cluster.on(APPS, f"docker unpause {container}")
        await_that(f"{alerts} alerts mirrored", lambda: len(reader.read) >= alerts, reader.is_alive)
    finally:
        reader.close()
    read = sorted(reader.read)
    return 0.8 * alerts / (read[-1] - read[len(read) // 5])


def _end(conf: dict[str, str], topic: str) -> int:
    """How many records a topic has."""
    client = Consumer({**conf, "group.id": "bench", "log_level": 0})
    try:
        known = client.list_topics(topic, timeout=30).topics[topic]
        if known.error is not None:
            return -1
        return sum(client.get_watermark_offsets(TopicPartition(topic, n), timeout=30)[1] for n in known.partitions)
    finally:
        client.close()


#: Our producer's settings for batches.
BATCHES = {
    name: kafka.PRODUCER[name]
    for name in ("compression.codec", "compression.level", "batch.size", "linger.ms", "message.max.bytes")
}
