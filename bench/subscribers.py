"""What subscribers get: latencies, the reading of a whole night, and the bytes of an alert."""

from __future__ import annotations

import contextlib
import json
import lzma
import statistics
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition

from bench import plain
from bench.cluster import OPENING, Cluster, Reader, await_that
from bench.result import Context, Result
from zads.kafka import MESSAGE_MAX_BYTES

#: name, alerts of an exposure, seconds between exposures, exposures, goal for the 99th percentile in seconds
PACES = (
    ("33 alerts/s", 8, 0.25, 160, 0.25),
    ("333 alerts/s", 83, 0.25, 120, 1.0),
    ("visits of 1,000 every 40 s", 1000, 40.0, 4, 2.0),
)
SUBSCRIBERS = 30


def latency(cluster: Cluster, context: Context) -> Iterator[Result]:
    """Latency from the producer's stamp to a subscriber of the public site, at three rates."""
    for name, alerts, interval, exposures, goal in PACES:
        plays = [cluster.play(exposures, alerts, interval) for _ in range(context.rounds)]
        shares = " / ".join(f"{statistics.median(p.percentile(q) for p in plays):.3f}" for q in (50, 95, 99, 100))
        cost = statistics.median(play.cost for play in plays)
        yield Result(
            f"latency at {name}, 99th percentile", [play.percentile(99) for play in plays], "s", goal=goal,
            sense="at most", note=f"50 / 95 / 99 % and the largest: {shares} s; {cost:.1f} CPU-ms an alert",
        )  # fmt: skip


def catch_up(cluster: Cluster, context: Context) -> Iterator[Result]:
    """A subscriber reads a night again, beside a bare librdkafka consumer of the same alerts on one plain broker."""
    cluster.new_night()
    played = cluster.play(20)
    alerts, topic = played.alerts, cluster.topic
    ours, theirs = [], []
    with plain.PlainBroker(cluster, "public-1") as broker:
        broker.topic(topic, cluster.partitions)
        plain.send_all(broker.conf, topic, cluster.stream(alerts), **{"message.max.bytes": MESSAGE_MAX_BYTES})
        for number in range(context.rounds + 1):
            rates = rewound(cluster.reader, topic, alerts), _bare(broker.conf, topic, alerts)
            if number:
                ours.append(rates[0])
                theirs.append(rates[1])
    yield Result(
        "catch-up of a night by a subscriber", ours, "alerts/s", "a bare librdkafka consumer on one plain broker",
        theirs, "ours/peer", 0.8,
    )  # fmt: skip


def rewound(conf: dict[str, str], topic: str, alerts: int) -> float:
    """Alerts a second at which a new subscriber reads this number of alerts from the beginning of a topic."""
    reader = Reader(conf, topic, rewind=True)
    started = time.time()
    reader.start()
    try:
        await_that("the night read again", lambda: len(reader.read) >= alerts, reader.is_alive)
    finally:
        reader.close()
    return alerts / (reader.read[alerts - 1] - started)


def _bare(conf: dict[str, str], topic: str, alerts: int) -> float:
    """Alerts a second of the client library's own example: a loop around poll, with default settings."""
    with contextlib.closing(Consumer({**conf, "group.id": "bench", "enable.auto.commit": False})) as consumer:
        numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        started, seen = time.monotonic(), 0
        while seen < alerts:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                seen += bool(message.value())
        return alerts / (time.monotonic() - started)


def fan_out(cluster: Cluster, context: Context) -> Iterator[Result]:
    """Latency at 33 alerts/s with one subscriber and with thirty."""
    name, alerts, interval, exposures, _ = PACES[0]
    one, many = [], []
    for _ in range(context.rounds):
        one.append(cluster.play(exposures, alerts, interval).percentile(99))
        readers = [Reader(cluster.reader, cluster.topic) for _ in range(SUBSCRIBERS - 1)]
        for reader in readers:
            reader.start()
        try:
            many.append(cluster.play(exposures, alerts, interval).percentile(99))
        finally:
            for reader in readers:
                reader.stop()
            for reader in readers:
                reader.close()
    yield Result(
        f"latency at {name}, of {SUBSCRIBERS} subscribers at once", many, "s, 99th percentile", "of one", one,
        "ours/peer", 2.0, "at most",
    )  # fmt: skip


def bytes_of_an_alert(cluster: Cluster, context: Context) -> Iterator[Result]:
    """Bytes of an alert on the way to a subscriber and on a broker's disk, with our compression and with others."""
    cluster.new_night()
    alerts = cluster.play(4).alerts + OPENING
    packets = cluster.stream(alerts)
    wire, disk = {}, {}
    wire["ours"] = _received(cluster.reader, cluster.topic, alerts)
    disk["ours"] = _stored(cluster, "public-1", "/var/lib/kafka/data", cluster.topic) / alerts
    with plain.PlainBroker(cluster, "public-1") as broker:
        for codec in ("none", "lz4"):
            broker.topic(codec, cluster.partitions)
            plain.send_all(
                broker.conf, codec, packets, **{"compression.codec": codec, "message.max.bytes": MESSAGE_MAX_BYTES}
            )
            wire[codec] = _received(broker.conf, codec, alerts)
            disk[codec] = _stored(cluster, "public-1", "/var/lib/kafka/peer", codec) / alerts
    whole = b"".join(context.packets)
    least = len(lzma.compress(whole, preset=9 | lzma.PRESET_EXTREME)) / len(whole)
    bound = f"xz at its slowest level, over all packets at once: {least:.3f}"
    for where, found in (("wire", wire), ("disk", disk)):
        ours = [found["ours"]]
        yield Result(
            f"bytes on the {where}", ours, "bytes an alert", "lz4, the original's", [found["lz4"]], "peer/ours", 1.0
        )
        yield Result(
            f"bytes on the {where}, of uncompressed",
            [found["ours"] / found["none"]],
            "ratio",
            goal=0.6,
            sense="at most",
            note=bound,
        )


def _received(conf: dict[str, str], topic: str, alerts: int) -> float:
    """Bytes that a client received for each alert, by its own count (after decryption)."""
    received: list[int] = []
    over = {"statistics.interval.ms": 200, "stats_cb": lambda text: received.append(json.loads(text)["rx_bytes"])}
    reader = Reader(conf, topic, rewind=True, **over)
    reader.start()
    try:
        await_that("all read", lambda: len(reader.read) >= alerts, reader.is_alive)
        seen = len(received)
        await_that("its statistics", lambda: len(received) > seen + 1)
    finally:
        reader.close()
    return received[-1] / alerts


def _stored(cluster: Cluster, host: str, directory: str, topic: str) -> int:
    """Bytes of a topic's log on a broker."""
    return int(cluster.on(host, f"cat {directory}/{topic}-*/*.log | wc -c"))
