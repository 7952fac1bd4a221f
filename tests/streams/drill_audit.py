"""Drill: a night of 1.2 million alerts is audited within its time and memory, and single faults in it are found.

The alerts are small: what an audit costs for an alert is nearly all here, but for the digest of its bytes. That is
measured beside it, with packets of real size.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from auditing import Auditing
from bench.broker import Broker, running
from zads import kafka, ledger, names
from zads.filters.counts import NUMBERS
from zads.ledger import LedgerEntry, Row
from zads.manifest import TopicManifest

pytestmark = pytest.mark.timeout(3600)

NIGHT, VISIT = "20181129", "58451.25000"
TOPIC, FILTER = names.night_topic(NIGHT, 1), names.filter_topic("tenth")
ALERTS = 1_200_000
FIRST = 697_251_920_115_000_000
EXPOSURE = 1_000  # alerts
SECONDS, MEMORY = 300.0, 500e6
PACKET = 65_000  # bytes
#: Alerts that are wrong later on, one for each kind of fault.
LOST, NOT_MIRRORED, FLIPPED_ON_THE_WAY, FLIPPED_EARLY = range(ALERTS - 4, ALERTS)
DOUBLED = 123_456


class Sites(NamedTuple):
    """Two brokers: a site each."""

    origin: Broker
    public: Broker


def content(number: int) -> bytes:
    return b"%d: a packet of a night that is as large as a few stars" % number


def flipped(number: int) -> bytes:
    """The bytes of an alert, one bit of them wrong."""
    data = content(number)
    return data[:-1] + bytes([data[-1] ^ 1])


def put(broker: Broker, topic: str, alerts: Iterable[tuple[int, bytes]]) -> None:
    client = kafka.producer(broker.conf)
    for number, data in alerts:
        headers = {
            names.HEADER_CANDID: b"%d" % (FIRST + number), names.HEADER_VISIT: VISIT.encode(),
            names.HEADER_SCHEMA: b"3.3", names.HEADER_PRODUCED: b"1543500000.000000",
        }  # fmt: skip
        while True:
            try:
                client.produce(topic, data, b"ZTF18%07d" % (number % 400_000), headers=list(headers.items()))
                break
            except BufferError:
                client.poll(0.1)
    assert client.flush(300) == 0


def record(broker: Broker, numbers: range) -> None:
    """Write the ledger of some alerts, as a producer does."""
    client = kafka.producer(broker.conf)
    for begin in range(numbers.start, numbers.stop, EXPOSURE):
        part = range(begin, min(begin + EXPOSURE, numbers.stop))
        name = f"{VISIT}-{begin}"
        rows = [Row.of_alert(name, NIGHT, FIRST + one, hashlib.sha256(content(one)).digest()) for one in part]
        key, _, value = ledger.rows_record(name, rows)
        entry = LedgerEntry(len(part), "digest", {TOPIC: len(part)}, complete=True, indexed=True)
        client.produce(names.LEDGER_TOPIC, value, ledger.key_bytes(key))
        client.produce(names.LEDGER_TOPIC, entry.record(), ledger.key_bytes(name))
        client.poll(0)
    assert client.flush(300) == 0


def count(broker: Broker, seen: int, passed: int) -> None:
    """Write what a filter's worker counts."""
    numbers = {**dict.fromkeys(NUMBERS, 0), "seen": seen, "passed": passed, "published": passed}
    value = {"filter": "tenth", "worker": "1", "group": "g", "state": "active", "programmes": [1]}
    client = kafka.producer(broker.conf)
    client.produce(names.FILTER_COUNTS_TOPIC, json.dumps({**value, "nights": {NIGHT: numbers}}).encode(), b"tenth/1")
    assert client.flush(30) == 0


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with running("512m") as origin, running("512m") as public:
        for one in (origin, public):
            one.create(TOPIC, partitions=16)
        public.create(FILTER)
        public.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
        yield Sites(origin, public)


def test_a_night_of_more_than_a_million_alerts_is_audited_in_time_and_single_faults_are_found(
    sites: Sites, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    sound = range(LOST)
    record(sites.origin, sound)
    for one in sites:
        put(one, TOPIC, ((number, content(number)) for number in sound))
    put(sites.public, FILTER, ((number, content(number)) for number in sound if number % 10 == 0))
    count(sites.public, len(sound), len(sound[::10]))
    auditing = Auditing(tmp_path, sites.origin.conf, sites.public.conf, groups={"g": ["tenth"]})

    returned, said = auditing.run(NIGHT)
    found = auditing.result(NIGHT)
    record_property("alerts", f"{found['alerts']}")
    record_property("seconds", f"{found['seconds']:.0f}")
    record_property("memory", f"{found['memory_bytes'] / 1e6:.0f} MB")
    assert returned == 0, said
    assert found["alerts"] == len(sound)
    assert found["seconds"] <= SECONDS
    assert found["memory_bytes"] <= MEMORY

    # The last four alerts, each with its fault, and one that is there twice.
    record(sites.origin, range(LOST, ALERTS))
    put(sites.origin, TOPIC, [(NOT_MIRRORED, content(NOT_MIRRORED)), (FLIPPED_ON_THE_WAY, content(FLIPPED_ON_THE_WAY))])
    put(sites.public, TOPIC, [(FLIPPED_ON_THE_WAY, flipped(FLIPPED_ON_THE_WAY)), (DOUBLED, content(DOUBLED))])
    for one in sites:
        put(one, TOPIC, [(FLIPPED_EARLY, flipped(FLIPPED_EARLY))])
    count(sites.public, len(sound) + 2, len(sound[::10]) + 1)

    assert auditing.run(NIGHT)[0] == 1
    kinds = auditing.kinds(NIGHT)
    assert kinds.keys() == {"lost", "altered", "not_mirrored", "doubled", "filter_missed", "filter_published"}
    assert f"1 (candid {FIRST + LOST})" in kinds["lost"]
    assert f"1 (candid {FIRST + FLIPPED_EARLY})" in kinds["altered"]
    assert f"lacks 1 (candid {FIRST + NOT_MIRRORED})" in kinds["not_mirrored"]
    assert f"other bytes of 1 (candid {FIRST + FLIPPED_ON_THE_WAY})" in kinds["not_mirrored"]
    assert "holds 1 records more than once" in kinds["doubled"]
    record_property("faults found", "a loss at each hop, a bit flipped at each hop, a double, an output missing")


def test_the_bytes_of_real_packets_are_digested_fast_enough(record_property: pytest.RecordProperty) -> None:
    """What an audit does with each record, at the size of a real packet, without a broker."""
    manifest, data = TopicManifest(TOPIC), bytes(PACKET)
    headers = {names.HEADER_CANDID: b"1", names.HEADER_VISIT: VISIT.encode()}
    number, began = 0, time.process_time()
    while (spent := time.process_time() - began) < 5:
        for _ in range(100):
            manifest.add(b"ZTF18aaa", data, headers)
        number += 100
    rate = number * PACKET / spent / 1e6
    record_property("digested", f"{rate:.0f} MB/s")
    record_property("a night of 1.2 million packets", f"{ALERTS * PACKET / 1e6 / rate:.0f} s of a core a site")
    assert ALERTS * PACKET / 1e6 / rate <= SECONDS
