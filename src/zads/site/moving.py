"""Carries out a plan of `placement` on a running site: copies within a bound, leaders afterwards, and no copy twice.

The state is in the cluster alone: what it copies at the moment, and the bounds of the copies. So a run that was
interrupted is continued by the next, which first follows what is under way, and then plans what is left. Each look does
one of these, in this order:

1. If copies are under way and no plan is known, wait for them: somebody else, or an interrupted run, has begun them.
2. Without a plan, make one. If it is empty, take the bounds away, give leaders back, and end.
3. If the gate has reasons against a beginning, wait.
4. Bound the copies, then begin as many of the plan as may run at once.
5. Look which are done. At the end of the plan go on with step 2: topics may have been made in the meantime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from confluent_kafka import ElectionType, TopicPartition

from zads.errors import ZadsError, some
from zads.site import broker_requests, gate, look, placement
from zads.site.broker_requests import LogDirectory, Place
from zads.site.cluster import Cluster
from zads.site.placement import Move, PlanError, Replicas

TOPIC_BOUNDS = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
BROKER_BOUNDS = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
_NAMED = 5  # partitions named in one sentence


@dataclass(frozen=True)
class Task:
    """What is wanted: the brokers that are to have the replicas, with their racks, and those that are to have none.

    ``rate``: bytes a second that each broker may send, and receive, for copies. ``at_once``: partitions whose copies
    run at the same time. ``free_percent``: the least free space of every disk, during the copies and afterwards.
    ``spread``: whether replicas that may stay move as well, so that brokers are used evenly.
    """

    racks: Mapping[int, str]
    leaving: frozenset[int] = frozenset()
    spread: bool = True
    rate: int = 50 << 20
    at_once: int = 8
    free_percent: int = 5
    doing: Mapping[int, str] = field(default_factory=dict)

    def operation(self) -> gate.Operation:
        """What the gate must know of it."""
        return gate.Operation(frozenset(self.racks), doing=self.doing, free_percent=self.free_percent)


@dataclass(frozen=True)
class Work:
    """A plan that is carried out: the moves that are left, the number of all, and the bytes that all copy."""

    left: tuple[Move, ...]
    moves: int
    size: int


@dataclass(frozen=True)
class View:
    """A site at a moment: what its gate sees, the brokers' addresses, and the bytes of each replica on each broker."""

    cluster: gate.Cluster
    addresses: look.Addresses
    sizes: Mapping[int, Mapping[Place, int]]

    def present(self) -> dict[Place, Replicas]:
        """The replicas of each partition."""
        return {(one.topic, one.number): one.replicas for one in self.cluster.partitions}

    def intended(self) -> dict[Place, Replicas]:
        """As `present`; a partition whose copies are under way has the replicas that it will have then."""
        leaves = {one.partition: one.removing for one in self.cluster.reassignments}
        return {
            (one.topic, one.number): tuple(n for n in one.replicas if n not in leaves.get(str(one), ()))
            for one in self.cluster.partitions
        }

    def size(self, place: Place) -> int:
        """The bytes of a partition."""
        return max((there.get(place, 0) for there in self.sizes.values()), default=0)

    def to_copy(self, moves: Iterable[Move]) -> int:
        """The bytes that these moves still copy."""
        return sum(
            max(self.size(move.place) - self.sizes.get(broker, {}).get(move.place, 0), 0)
            for move in moves
            for broker in move.adds
        )


def planned(task: Task, view: View) -> list[Move]:
    """The moves that the task needs. Raises PlanError if a broker is missing or would have too little room."""
    if unknown := sorted(set(task.racks) & task.leaving):
        raise PlanError(f"broker {unknown[0]} cannot both stay and leave")
    present = view.intended()
    strange = {broker for replicas in present.values() for broker in replicas} - set(task.racks) - task.leaving
    if strange:
        raise PlanError(
            f"the inventory does not have broker {min(strange)}, which has replicas",
            hint="put its host back into the inventory, then remove it with make remove",
        )
    moves = placement.plan(present, task.racks, spread=task.spread)
    arriving = {
        broker: sum(view.size(move.place) for move in moves if broker in move.adds) for broker in sorted(task.racks)
    }
    if full := too_full(arriving, view.cluster.directories, task.free_percent):
        raise PlanError("; ".join(full), hint="add a disk or a broker, or keep nights for less long")
    return moves


def too_full(
    arriving: Mapping[int, int], directories: Mapping[int, Iterable[LogDirectory]], free_percent: int
) -> list[str]:
    """The brokers whose disks would have less free space than ``free_percent`` after these bytes have arrived."""
    found = []
    for broker, size in arriving.items():
        usable = [one for one in directories.get(broker, ()) if one.usable and one.total > 0]
        total, free = sum(one.total for one in usable), sum(one.free for one in usable)
        if size and usable and (free - size) * 100 < total * free_percent:
            found.append(
                f"broker {broker} would get {mega(size)} and has {mega(free)} free: less than {free_percent} % would be"
                " left"
            )
    return found


def bounds(moves: Iterable[Move]) -> dict[str, dict[str, str | None]]:
    """The settings of topics that bound the copies of these moves: where they are read, and where they are written."""
    sources: dict[str, list[str]] = {}
    targets: dict[str, list[str]] = {}
    for move in moves:
        if move.adds:
            sources.setdefault(move.topic, []).extend(f"{move.number}:{broker}" for broker in move.before)
            targets.setdefault(move.topic, []).extend(f"{move.number}:{broker}" for broker in move.adds)
    read, written = TOPIC_BOUNDS
    return {topic: {read: ",".join(sources[topic]), written: ",".join(targets[topic])} for topic in sources}


def remaining(work: Work, present: Mapping[Place, Replicas], moving: frozenset[str]) -> Work:
    """The work without the moves that are done, and without those that no longer fit what is there.

    A topic was deleted, or somebody else has moved the partition: the next plan sees it as it is then.
    """
    left = tuple(
        move for move in work.left if f"{move.topic}-{move.number}" in moving or present.get(move.place) == move.before
    )
    return replace(work, left=left)


class Mover:
    """Looks at a site and moves its replicas. Its methods raise KafkaException or ZadsError."""

    def __init__(self, conf: Mapping[str, str]) -> None:
        self.site = Cluster(conf)

    def view(self) -> View:
        """The site as it is now."""
        cluster, addresses = look.describe_all(self.site.client, self.site.conf)
        return View(cluster, addresses, look.sizes(self.site.conf, addresses))

    def step(self, task: Task, work: Work | None) -> tuple[Work | None, list[str]]:
        """Look once, and do what is next. Returns the plan, and what it waits for; with nothing of both it is done."""
        view = self.view()
        moving = frozenset(one.partition for one in view.cluster.reassignments)
        if work is None and moving:
            return None, [f"follows the copies that are under way: {some(sorted(moving), _NAMED)}", *endless(view)]
        if work is None:
            moves = planned(task, view)
            if not moves:
                return self._end(view)
            work = Work(tuple(moves), len(moves), view.to_copy(moves))
        work = remaining(work, view.present(), moving)
        if not work.left:
            return None, ["looks whether anything is left"]
        waiting = [move for move in work.left if f"{move.topic}-{move.number}" not in moving]
        room = task.at_once - len(moving)
        if waiting and room > 0:
            # Copies that are under way make replicas look behind, so they are no reason to wait.
            still = replace(view.cluster, partitions=tuple(p for p in view.cluster.partitions if str(p) not in moving))
            if reasons := gate.may_move(still, task.operation(), task.leaving):
                return work, reasons
            self.begin(task, view, work.left, waiting[:room])
        return work, [progress(work, view)]

    def begin(self, task: Task, view: View, left: Sequence[Move], now: Sequence[Move]) -> None:
        """Bound the copies of all moves that are left, and begin some of them."""
        if topics := bounds(left):
            self.site.set_topics(topics)
        if any(move.adds for move in now):
            for broker in view.addresses:
                self.site.set_broker(broker, dict.fromkeys(BROKER_BOUNDS, str(task.rate)))
        self._reassign(view, {move.place: move.after for move in now})

    def cancel(self) -> list[str]:
        """End the copies that are under way: each partition keeps the replicas that it had. Returns their names.

        The bounds go too. What is already moved stays where it is.
        """
        view = self.view()
        moving = sorted(one.partition for one in view.cluster.reassignments)
        if moving:
            self._reassign(view, {_place(name): None for name in moving})
        self.clear(view)
        return moving

    def clear(self, view: View) -> None:
        """Take away the bounds on copies, from topics and from brokers."""
        topics = {name: topic.config for name, topic in self.site.topics().items()}
        if found := _none_of(topics, TOPIC_BOUNDS):
            self.site.set_topics(found)
        for broker in view.addresses:
            given, _, _ = self.site.broker_settings(broker)
            if found := _none_of({"": given}, BROKER_BOUNDS):
                self.site.set_broker(broker, found[""])

    def elect(self, cluster: gate.Cluster) -> None:
        """Give partitions to their preferred leaders."""
        if strayed := [TopicPartition(one.topic, one.number) for one in gate.misplaced(cluster)]:
            self.site.client.elect_leaders(ElectionType.PREFERRED, strayed).result(look.ANSWER)

    def _end(self, view: View) -> tuple[None, list[str]]:
        """Leave the site as a whole one: no bounds, and each partition with its preferred leader."""
        self.clear(view)
        self.elect(view.cluster)
        behind = gate.may_move(view.cluster, gate.Operation())
        strayed = [str(one) for one in gate.misplaced(view.cluster)]
        return None, behind or ([f"gives leaders back: {some(strayed, _NAMED)}"] if strayed else [])

    def _reassign(self, view: View, wanted: Mapping[Place, Replicas | None]) -> None:
        if view.cluster.controller not in view.addresses:
            raise ZadsError("no broker is the controller")
        address = view.addresses[view.cluster.controller]
        if refused := broker_requests.reassign(self.site.conf, *address, wanted, look.ANSWER):
            reasons = [f"{name}: {why}" for name, why in refused.items()]
            raise ZadsError(f"Kafka refuses to move {some(reasons, _NAMED)}")


def endless(view: View) -> list[str]:
    """The brokers that are away though copies to them are under way."""
    away = {broker for one in view.cluster.reassignments for broker in one.adding} - view.cluster.brokers
    return [f"copies to broker {broker} do not end while it is away: end them with CANCEL=1" for broker in sorted(away)]


def progress(work: Work, view: View) -> str:
    """How far a plan is, such as ``3 of 40 partitions moved, 12 % of 5.0 GB copied``."""
    copied = work.size - view.to_copy(work.left)
    share = f", {max(copied, 0) * 100 // work.size} % of {mega(work.size)} copied" if work.size else ""
    return f"{work.moves - len(work.left)} of {work.moves} partitions moved{share}"


def summary(moves: list[Move], view: View, task: Task) -> str:
    """A plan in one sentence: how much it copies, and how long that takes at least."""
    copies = [move for move in moves if move.adds]
    size = view.to_copy(copies)
    receivers = {broker for move in copies for broker in move.adds}
    seconds = max((view.to_copy(_only(copies, broker)) for broker in receivers), default=0) / task.rate
    said = f"replicas to copy: {sum(len(move.adds) for move in copies)}, {mega(size)}"
    if size:
        said += f", which takes {max(round(seconds / 60), 1)} minutes or more at {mega(task.rate)}/s a broker"
    others = len(moves) - len(copies)
    return f"{said}; partitions that only get another leader: {others}" if others else said


def _only(moves: Iterable[Move], broker: int) -> list[Move]:
    """The part of the moves that copies to one broker."""
    return [replace(move, before=tuple({*move.before, *move.adds} - {broker})) for move in moves if broker in move.adds]


def _none_of(
    things: Mapping[str, Mapping[str, str | None]], names: tuple[str, ...]
) -> dict[str, dict[str, str | None]]:
    """For each thing that has some of these settings: the change that takes them away."""
    found = {thing: [name for name in names if name in settings] for thing, settings in things.items()}
    return {thing: dict.fromkeys(there) for thing, there in found.items() if there}


def _place(name: str) -> Place:
    topic, _, number = name.rpartition("-")
    return topic, int(number)


def mega(size: float) -> str:
    """A size in words, such as ``1.5 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
