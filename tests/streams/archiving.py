"""Two real sites of one broker each, with the grants of a deployment that archives nights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

import passwords
from bench.broker import Broker, running
from zads import kafka, names
from zads.producer import Producer
from zads.site.access import known_nights, wanted_acls
from zads.site.cluster import Cluster
from zads.site.policy import SITES, NightTopics, Policy, Site
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

DATA: dict[str, Any] = {
    "topics_night": {"partitions": 4, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
    "programs": [names.ARCHIVE],
    "users": [
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "alice", "site": "public"},
        {"name": "partner", "site": "origin", "programmes": [1]},
    ],
    "filters": [
        {"name": "every", "owner": "alice", "group": "some", "state": "active", "cap": 1},
        {"name": "none", "owner": "alice", "group": "some", "state": "active", "cap": 5},
        {"name": "broken", "owner": "alice", "group": "some", "state": "active", "cap": 5},
        {"name": "quiet", "owner": "alice", "group": "some", "state": "shadow", "cap": 5},
        {"name": "asleep", "owner": "alice", "group": "some", "state": "off", "cap": 5},
    ],
    "filter_groups": {"some": {"workers": 1}},
    "samples": [{"name": "again", "site": "public", "programmes": [1], "readers": ["reader"]}],
}
# One broker is enough here; an inventory needs two replicas.
ONE_REPLICA = NightTopics.model_construct(partitions=4, replication_factor=1, min_insync_replicas=1, retention_days=7.0)
POLICY = replace(Policy.read(DATA), topics_night=ONE_REPLICA)
USERS = (names.ARCHIVE, "reader", "alice", "partner")
SETTINGS = passwords.settings(USERS)
NIGHTS = (f"203101{day:02d}" for day in count(1))


@dataclass
class Sites:
    """The two sites."""

    brokers: dict[Site, Broker]

    def confs(self, user: str = "") -> dict[Site, dict[str, str]]:
        """The properties of a user at both sites; without a name, of the administrator."""
        return {site: passwords.conf(one, user) if user else one.conf for site, one in self.brokers.items()}

    def night(self) -> Night:
        """A night that no other test uses, with its topics and grants."""
        night = next(NIGHTS)
        for site, broker in self.brokers.items():
            broker.create(*(names.night_topic(night, n) for n in sorted(POLICY.allowed(site))), partitions=4)
            cluster = Cluster(broker.conf)
            wanted = wanted_acls(POLICY, site, known_nights(POLICY, site, cluster.topics()))
            cluster.create_acls(sorted(set(wanted) - set(cluster.acls())))
        return Night(self, night)


def sites() -> Iterator[Sites]:
    """Two sites as a deployment leaves them, without a night."""
    with running(settings=SETTINGS) as origin, running(settings=SETTINGS) as public:
        public.create(*(names.filter_topic(one.name) for one in POLICY.filters), names.owner_topic("alice"))
        public.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
        public.create(*(one.topic for one in POLICY.samples))
        yield Sites({"origin": origin, "public": public})


class Night:
    """A night that is published by a real producer."""

    def __init__(self, sites: Sites, night: str) -> None:
        self._sites, self.night = sites, night
        self.published: dict[int, list[bytes]] = {1: [], 2: []}
        self._copied: dict[int, int] = {}

    def topic(self, programme: int) -> str:
        return names.night_topic(self.night, programme)

    def publish(self, directory: Path, visits: Iterable[int], alerts: int, *, mirror: bool = True) -> list[bytes]:
        """Publish some visits of a simulated night through a spool, and copy them to the public site.

        The alerts are of programmes 1 and 2.
        """
        packets, chosen = [], set(visits)
        night = simulate(self.night, max(chosen) + 1, alerts, seed=1, programme_mix={1: 0.7, 2: 0.3})
        for number, (name, members) in enumerate(night):
            if number in chosen:
                self.drop(directory, name, dict(members))
                packets += [data for _, data in members]
        self.produce(directory, mirror=mirror)
        return packets

    def drop(self, directory: Path, name: str, members: dict[str, bytes]) -> None:
        """Put an exposure into the spool."""
        incoming = Spool(directory).incoming
        hidden = incoming / f".{name}"
        hidden.mkdir(parents=True)
        for file, data in members.items():
            (hidden / Path(file).name).write_bytes(data)
        hidden.rename(incoming / name)

    def produce(self, directory: Path, *, mirror: bool = True) -> None:
        """Publish what is in the spool."""
        Producer(self._sites.brokers["origin"].conf, Spool(directory)).run(once=True)
        if mirror:
            self.mirror()

    def mirror(self, most: int | None = None) -> None:
        """Copy the records that are new at the origin to the public site, or so many of them."""
        origin, public = self._sites.brokers["origin"], self._sites.brokers["public"]
        writer = kafka.producer(public.conf)
        copied = 0
        for message in origin.read_all(self.topic(1)):
            number = message.partition()
            if message.offset() < self._copied.get(number, 0) or copied == most:
                continue
            self._copied[number] = message.offset() + 1
            copied += 1
            writer.produce(self.topic(1), message.value(), message.key(), partition=number, headers=message.headers())
        assert writer.flush(30) == 0

    def values(self, site: Site, programme: int) -> list[bytes]:
        """The bytes of the records of a topic."""
        return [message.value() for message in self._sites.brokers[site].read_all(self.topic(programme))]

    def expire(self, programme: int) -> None:
        """Delete all records of a topic at both sites, as the end of retention does."""
        for site in SITES if programme == 1 else SITES[:1]:
            broker = self._sites.brokers[site]
            ends = {(m.partition(), m.offset() + 2) for m in broker.read_all(self.topic(programme))}
            last: dict[int, int] = {}
            for number, end in ends:
                last[number] = max(end, last.get(number, 0))
            high = kafka.admin(broker.conf).delete_records([TopicPartition(self.topic(programme), n, -1) for n in last])
            for answer in high.values():
                answer.result(30)
