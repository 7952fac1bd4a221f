"""A night that is refused for its schema is published once: the schema is added, and the refusals are given again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.broker import ROOT, Broker, await_true
from packets import reencoded
from zads import header, names, schemas
from zads.commands.simulate import drop
from zads.packet import Packet
from zads.producer import Producer
from zads.schema_change import retry, samples
from zads.schema_change.addition import addition
from zads.schema_change.assumption import known_from
from zads.schema_change.change import Change
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

NIGHTS = (f"201901{day:02d}" for day in range(1, 31))


def changed(data: bytes) -> bytes:
    """The packet as the survey might write it from tomorrow on: one more field, and the number of before."""

    def widen(schema: dict) -> None:
        schema["fields"].append({"name": "host", "type": ["null", "string"], "default": None})

    return reencoded(data, lambda record: record.update(host="NGC 1"), widen)


class LocalSpool:
    """The producer's spool as `retry.give` sees it; the producer runs whenever somebody waits for it."""

    def __init__(self, night: Night) -> None:
        self._night = night
        self.given: list[str] = []

    def put(self, name: str, content: bytes) -> None:
        self.given.append(name)
        (self._night.spool.incoming / f".{name}").write_bytes(content)
        (self._night.spool.incoming / f".{name}").rename(self._night.spool.incoming / name)

    def pending(self) -> int:
        self._night.produce()
        return len(list(self._night.spool.incoming.iterdir()))

    def receipt(self, name: str) -> dict:
        path = self._night.spool.done / f"{name.removesuffix('.tar')}.json"
        return json.loads(path.read_text()) if path.is_file() else {}


class Night:
    """Two exposures of a schema that nobody knows, a spool, and a checkout to which the schema can be added."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        self.broker, self.conf = broker, broker.conf
        self.night = next(NIGHTS)
        self.topics = [names.night_topic(self.night, programme) for programme in names.PROGRAMMES]
        broker.create(*self.topics, partitions=2, max_message_bytes="4194304")
        self.spool = Spool(directory / "spool")
        self.checkout = directory / "checkout"
        shutil.copytree(ROOT / "schemas", self.checkout / "schemas")
        self.work = directory / "work"
        self.exposures = [
            (name, [(file, changed(data)) for file, data in packets])
            for name, packets in simulate(self.night, 2, 20, seed=7, schema_mix={"3.2": 1.0})
        ]
        self.originals = Counter(data for _, packets in self.exposures for _, data in packets)

    def produce(self) -> None:
        Producer(self.conf, self.spool).run(once=True)

    def refuse(self) -> None:
        """Drop both exposures, of which the producer refuses every packet."""
        for name, packets in self.exposures:
            drop(self.spool.incoming, name, packets)
        self.produce()
        assert self.published() == Counter()

    def add(self) -> Path:
        """Add the schema of a refused packet to the checkout; returns the directory of forms."""
        name, _ = self.exposures[0]
        (sample,) = samples.read([self.spool.refused / name]).samples
        addition(Change.of_sample(sample), self.checkout).write()
        return self.checkout / "schemas/ztf"

    def plan(self) -> retry.Plan:
        plan = retry.plan(self.conf)
        plan.exposures = [one for one in plan.exposures if one.exposure in dict(self.exposures)]
        return plan

    def give(self, spool: LocalSpool | None = None) -> retry.Outcome:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        return retry.give(self.conf, self.plan(), spool or LocalSpool(self), self.work, 60)

    def published(self) -> Counter[bytes]:
        return Counter(message.value() for topic in self.topics for message in self.broker.read_all(topic))


@pytest.fixture
def night(broker: Broker, tmp_path: Path) -> Iterator[Night]:
    yield Night(broker, tmp_path)
    header.forget()


def test_a_refused_night_is_published_once_after_its_schema_was_added(night: Night) -> None:
    night.refuse()
    assert night.plan().packets == 0
    with known_from(night.add()):
        assert night.plan().packets == 40
        assert str(night.give()) == "40 published, 0 published before, 0 refused again"
        assert night.published() == night.originals
        # Every further run finds the same refusals, and publishes nothing.
        spool = LocalSpool(night)
        assert str(night.give(spool)) == "0 published, 40 published before, 0 refused again"
        assert spool.given == []
        assert night.published() == night.originals


def test_without_the_receipts_the_ledger_alone_keeps_a_packet_from_being_published_twice(night: Night) -> None:
    night.refuse()
    with known_from(night.add()):
        night.give()
        shutil.rmtree(night.spool.done)
        night.spool.done.mkdir()
        assert night.give().published == 0
        # The pipeline's own files come again as well, under a name that nobody knows.
        drop(night.spool.incoming, "again", [one for _, packets in night.exposures for one in packets])
        night.produce()
        assert night.published() == night.originals


def test_what_was_already_delivered_by_hand_is_not_published_again(night: Night) -> None:
    night.refuse()
    with known_from(night.add()):
        name, packets = night.exposures[0]
        drop(night.spool.incoming, f"{name}-by-hand", packets)
        night.produce()
        assert str(night.give()) == "20 published, 20 published before, 0 refused again"
        assert night.published() == night.originals


def test_a_retry_before_the_producer_knows_the_schema_loses_nothing(night: Night) -> None:
    night.refuse()
    forms = night.add()
    with known_from(forms):
        plan = night.plan()
        paths = retry.deliver(night.conf, plan, night.spool.incoming)
    # The producer still runs with the schemas of before: it refuses all packets again.
    night.produce()
    assert night.published() == Counter()
    assert {json.loads((night.spool.done / f"{path.stem}.json").read_text())["refused"] for path in paths} == {20}
    with known_from(forms):
        assert {one.name for one in night.plan().exposures}.isdisjoint(one.name for one in plan.exposures)
        assert night.give().published == 40
        assert night.published() == night.originals


def test_packets_without_a_topic_are_given_when_there_is_one(night: Night) -> None:
    name, packets = night.exposures[0]
    other = [(file, _of_another_night(data)) for file, data in packets[:3]]
    drop(night.spool.incoming, f"{name}-other", other)
    night.produce()
    with known_from(_forms_of(night, f"{name}-other")):
        plan = retry.plan(night.conf)
        assert plan.left[f"{retry.NO_TOPIC}20190131"] == 3
        night.broker.create(*{Packet.parse(data).topic for _, data in other}, max_message_bytes="4194304")
        plan = retry.plan(night.conf)
        mine = [one for one in plan.exposures if one.exposure == f"{name}-other"]
        retry.deliver(night.conf, retry.Plan(mine, Counter()), night.spool.incoming)
        await_true(lambda: not LocalSpool(night).pending(), "the producer to know the new topics")
        found = {Packet.parse(data).topic for _, data in other}
        assert sum(len(night.broker.read_all(topic)) for topic in found) == 3


def _of_another_night(data: bytes) -> bytes:
    jd = 2_458_514.75  # 2019-01-31
    return reencoded(data, lambda record: record["candidate"].update(jd=jd))


def _forms_of(night: Night, exposure: str) -> Path:
    (sample,) = samples.read([night.spool.refused / exposure]).samples
    addition(Change.of_sample(sample), night.checkout).write()
    assert "3.2" in schemas.known()
    return night.checkout / "schemas/ztf"
