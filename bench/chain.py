"""The whole chain on one machine: spool, origin, mirror, public site, a hundred filters, a subscriber.

Everything is measured on the deployment of inventories/bench, which is warm, encrypted, exactly once, and has three
replicas on each site. The main figure is CPU-milliseconds an alert: the busy time of the whole machine, divided by the
number of alerts.

Options: KEEP=1 leaves the deployment up, CHAIN=producer,mirror,... measures only these rows, CHAIN_ROUNDS=3 is the
number of repetitions, WARM=420 the longest warm-up in seconds.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator

from bench import floor, hops, plain, profile, subscribers
from bench.cluster import VISIT_ALERTS, Cluster, Measurement, Reader, await_that
from bench.result import Context, Point, Result, Series

CHAIN_GOAL_MS = 1.50  # 1,333 alerts/s (80,000 a minute, the survey's peak) on two cores
FLOOR_GOAL = 4.0  # times what an alert cannot do without
WARM_SECONDS = 420
EXPOSURES = 12  # of VISIT_ALERTS, in a measured play


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
        cluster.leave()
        if context.options.get("KEEP") != "1":
            cluster.down()


def _chain(cluster: Cluster, context: Context) -> Iterator[Result]:
    """The main figure, beside the survey's original set-up and beside the floor."""
    plays, least = _plays_and_floor(cluster, context.rounds)
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
    yield Result(
        "whole chain, cost, beside the floor", [play.cost for play in plays], floor.UNIT, floor.NAME,
        [floor.total(costs) for costs in least], "ours/peer", FLOOR_GOAL, "at most", note=floor.by_part(least),
    )  # fmt: skip


def _plays_and_floor(cluster: Cluster, rounds: int) -> tuple[list[Measurement], list[dict[str, float]]]:
    """Plays, and after each the floor on the same packets: CPU-milliseconds an alert by part."""
    plays, least = [], []
    with floor.running(cluster.stream(VISIT_ALERTS)) as steps:
        for _ in range(rounds):
            plays.append(cluster.play(EXPOSURES))
            least.append(steps.round())
    return plays, least


def by_part(plays: list[Measurement]) -> str:
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
    "latency": subscribers.latency,
    "producer": hops.producer,
    "mirror": hops.mirror,
    "catch_up": subscribers.catch_up,
    "fan_out": subscribers.fan_out,
    "bytes": subscribers.bytes_of_an_alert,
    "scaling": _scaling,
}
