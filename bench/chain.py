"""The whole chain on one machine: spool, origin, mirror, public site, a hundred filters, a subscriber.

Everything is measured on the deployment of inventories/bench, which is warm, encrypted, exactly once, and has three
replicas on each site. The main figure is CPU-milliseconds an alert: the busy time of the whole machine, divided by the
number of alerts.

Options: KEEP=1 leaves the deployment up, CHAIN=producer,mirror,... measures only these rows, CHAIN_ROUNDS=3 is the
number of repetitions, WARM=420 the longest warm-up in seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import lzma
import statistics
import time
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, TopicPartition

from bench import plain, profile
from bench.cluster import APPS, OPENING, VISIT_ALERTS, Cluster, Played, Reader, await_that
from bench.result import Context, Point, Result, Series
from zads import kafka

CHAIN_GOAL_MS = 1.50  # 1,333 alerts/s (80,000 a minute, the survey's peak) on two cores
WARM_SECONDS = 420
EXPOSURES = 12  # of VISIT_ALERTS, in a measured play
MIRRORED = 6_000
#: name, alerts of an exposure, seconds between exposures, exposures, goal for the 99th percentile in seconds
PACES = (
    ("33 alerts/s", 8, 0.25, 160, 0.25),
    ("333 alerts/s", 83, 0.25, 120, 1.0),
    ("visits of 1,000 every 40 s", 1000, 40.0, 4, 2.0),
)
SUBSCRIBERS = 30
WORKER, MIRROR = "zads-filters-cuts@1.service", "zads-mirrormaker.service"


def measure(context: Context) -> Iterator[Result | Series]:
    """Bring the deployment up, measure every row, take it down."""
    cluster = Cluster(context.root, context.say)
    wanted = context.options.get("CHAIN")
    context = dataclasses.replace(context, rounds=context.number("CHAIN_ROUNDS", 3))
    try:
        if (first := cluster.up()) is not None:
            yield Result("deploy of seven hosts, first", [first], "s")
        cluster.load(context.packets)
        context.say(f"warmed: {cluster.warm(context.number('WARM', WARM_SECONDS))}")
        yield Result("deploy of seven hosts, unchanged", [cluster.deploy()], "s", goal=60.0, sense="at most")
        for name, rows in ROWS.items():
            if wanted is None or name in wanted.split(","):
                context.say(f"chain: {name}")
                yield from rows(cluster, context)
    finally:
        if context.options.get("KEEP") != "1":
            cluster.down()


# --- the producer -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _stopped(cluster: Cluster, units: str) -> Iterator[None]:
    """Stop some services on the programs' host during the body."""
    cluster.on(APPS, f"systemctl stop {units}")
    try:
        yield
    finally:
        cluster.on(APPS, f"systemctl start {units}")


def _producer(cluster: Cluster, context: Context) -> Iterator[Result]:
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


# --- the mirror -------------------------------------------------------------------------------------------------------


def _mirror(cluster: Cluster, context: Context) -> Iterator[Result]:
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
        _rewound(cluster.reader, topic, OPENING + len(rates) * (MIRRORED // 4))
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


# --- the whole chain --------------------------------------------------------------------------------------------------


def _chain(cluster: Cluster, context: Context) -> Iterator[Result]:
    """The main figure, beside the survey's original set-up."""
    plays = [cluster.play(EXPOSURES) for _ in range(context.rounds)]
    original = _original(cluster, context)
    yield Result(
        "whole chain, strict", [play.rate for play in plays], "alerts/s",
        "the original set-up: one broker a site, RF 1, no encryption, MirrorMaker's defaults, no filters", original,
        "ours/peer", 1.0,
    )  # fmt: skip
    yield Result(
        "whole chain, cost", [play.cost for play in plays], "CPU-ms an alert", goal=CHAIN_GOAL_MS, sense="at most",
        note=by_part(plays),
    )  # fmt: skip


def by_part(plays: list[Played]) -> str:
    """CPU-milliseconds an alert by part, the median of several plays."""
    costs = [play.usage.per_alert(play.alerts) for play in plays]
    names = sorted({name for cost in costs for name in cost}, key=lambda name: -max(c.get(name, 0) for c in costs))
    medians = {name: statistics.median(cost.get(name, 0.0) for cost in costs) for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items() if value >= 0.005)


def _original(cluster: Cluster, context: Context) -> list[float]:
    """Alerts a second of the original set-up: loop, broker, default mirror, broker, subscriber."""
    rates = []
    topic = cluster.topic
    packets = cluster.stream(2 * VISIT_ALERTS)
    with plain.PlainBroker(cluster, "origin-1") as origin, plain.PlainBroker(cluster, "public-1") as public:
        origin.topic(topic, cluster.partitions)
        public.topic(f"{plain.SOURCE}.{topic}", cluster.partitions)
        with plain.DefaultMirror.of_brokers(origin, public, topic):
            reader = Reader(public.conf, f"{plain.SOURCE}.{topic}")
            reader.start()
            try:
                for number in range(context.rounds + 1):
                    already, started = len(reader.read), time.monotonic()
                    plain.plain_loop(origin.conf, topic, packets, recode=True)
                    wanted = already + len(packets)
                    await_that("all read", lambda: len(reader.read) >= wanted, reader.is_alive)  # noqa: B023  now
                    if number:
                        rates.append(len(packets) / (time.monotonic() - started))
            finally:
                reader.close()
    return rates


def _latency(cluster: Cluster, context: Context) -> Iterator[Result]:
    """Latency from the producer's stamp to a subscriber of the public site, at three rates."""
    for name, alerts, interval, exposures, goal in PACES:
        plays = [cluster.play(exposures, alerts, interval) for _ in range(context.rounds)]
        shares = " / ".join(f"{statistics.median(p.percentile(q) for p in plays):.3f}" for q in (50, 95, 99, 100))
        cost = statistics.median(play.cost for play in plays)
        yield Result(
            f"latency at {name}, 99th percentile", [play.percentile(99) for play in plays], "s", goal=goal,
            sense="at most", note=f"50 / 95 / 99 % and the largest: {shares} s; {cost:.1f} CPU-ms an alert",
        )  # fmt: skip


# --- subscribers ------------------------------------------------------------------------------------------------------


def _catch_up(cluster: Cluster, context: Context) -> Iterator[Result]:
    """A subscriber reads a night again, beside a bare librdkafka consumer of the same alerts on one plain broker."""
    cluster.new_night()
    played = cluster.play(20)
    alerts, topic = played.alerts, cluster.topic
    ours, theirs = [], []
    with plain.PlainBroker(cluster, "public-1") as broker:
        broker.topic(topic, cluster.partitions)
        plain.send_all(broker.conf, topic, cluster.stream(alerts), **{"message.max.bytes": 4_194_304})
        for number in range(context.rounds + 1):
            rates = _rewound(cluster.reader, topic, alerts), _bare(broker.conf, topic, alerts)
            if number:
                ours.append(rates[0])
                theirs.append(rates[1])
    yield Result(
        "catch-up of a night by a subscriber", ours, "alerts/s", "a bare librdkafka consumer on one plain broker",
        theirs, "ours/peer", 0.8,
    )  # fmt: skip


def _rewound(conf: dict[str, str], topic: str, alerts: int) -> float:
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
    consumer = Consumer({**conf, "group.id": "bench", "enable.auto.commit": False})
    numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
    started, seen = time.monotonic(), 0
    while seen < alerts:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            seen += bool(message.value())
    seconds = time.monotonic() - started
    consumer.close()
    return alerts / seconds


def _fan_out(cluster: Cluster, context: Context) -> Iterator[Result]:
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


# --- bytes ------------------------------------------------------------------------------------------------------------


def _bytes(cluster: Cluster, context: Context) -> Iterator[Result]:
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
            plain.send_all(broker.conf, codec, packets, **{"compression.codec": codec, "message.max.bytes": 4_194_304})
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


# --- scaling ----------------------------------------------------------------------------------------------------------


def _scaling(cluster: Cluster, context: Context) -> Iterator[Series]:
    """The cost of an alert by the number of workers and of partitions."""
    points: dict[str, list[Point]] = {"workers": [], "partitions": []}
    for workers in (1, 2, 4):
        cluster.deploy("--tags", "filter_worker", "-e", json.dumps({"filter_groups": {"cuts": {"workers": workers}}}))
        points["workers"].append(_point(cluster, context, workers))
    cluster.deploy("--tags", "filter_worker")
    kept = cluster.partitions
    for partitions in (4, 6, 16, 64):
        cluster.partitions = partitions
        cluster.new_night()
        points["partitions"].append(_point(cluster, context, partitions))
    cluster.partitions = kept
    cluster.new_night()
    for what, line in points.items():
        yield Series(
            f"whole chain: cost with more {what}", what, "CPU-ms an alert", {"whole machine": line}, logarithmic=True
        )


def _point(cluster: Cluster, context: Context, x: int) -> Point:
    cluster.play(4)
    costs = [cluster.play(EXPOSURES // 2).cost for _ in range(min(3, context.rounds))]
    return x, statistics.median(costs), min(costs), max(costs)


# --- what bounds it ---------------------------------------------------------------------------------------------------


def _profile(cluster: Cluster, context: Context) -> Iterator[Result]:
    """Where processor time goes at full load: by part, by thread and by kind of work."""
    plays = []
    with profile.recording(context.out / "chain.perf") as recorded:
        plays.append(cluster.play(EXPOSURES))
    for line in profile.lines(plays[0], recorded):
        context.say(line)
    (context.out / "chain-profile.txt").write_text("\n".join(profile.lines(plays[0], recorded)) + "\n")
    yield Result("whole chain, cost while profiled", [plays[0].cost], "CPU-ms an alert", note=by_part(plays))


#: The main figures come first, so that a run can be interrupted after them.
ROWS: dict[str, Callable[[Cluster, Context], Iterator[Result | Series]]] = {
    "chain": _chain,
    "profile": _profile,
    "latency": _latency,
    "producer": _producer,
    "mirror": _mirror,
    "catch_up": _catch_up,
    "fan_out": _fan_out,
    "bytes": _bytes,
    "scaling": _scaling,
}
