"""The nightly audit of a night that a producer and a worker have really worked on. One broker is both sites."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from auditing import Auditing
from bench.broker import Broker, await_true
from zads import kafka, names, reading
from zads.commands.simulate import drop
from zads.filters import status
from zads.packet import Packet
from zads.producer import Producer
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

NIGHT, EMPTY = "20181129", "20181130"
FILTERS = {"evens": 'alert["candid"] % 2 == 0', "faulty": "1 / 0"}


@pytest.fixture(scope="module")
def spool(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Spool:
    """The spool of a night: three exposures of all programmes, one file that is no packet."""
    for night in (NIGHT, EMPTY):
        broker.create(*(names.night_topic(night, programme) for programme in names.PROGRAMMES), partitions=4)
    made = Spool(tmp_path_factory.mktemp("night") / "spool")
    for name, packets in simulate(NIGHT, 3, 60, seed=7):
        drop(made.incoming, name, [*packets, ("strange.avro", b"no packet")])
    assert Producer(broker.conf, made, name="producer").run(once=True) == 3
    return made


@pytest.fixture(scope="module")
def worked(broker: Broker, spool: Spool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker after a worker has judged the night."""
    directory = tmp_path_factory.mktemp("filters")
    broker.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
    broker.create(names.owner_topic("alice"), *map(names.filter_topic, FILTERS))
    for name, verdict in FILTERS.items():
        (directory / f"{name}.py").write_text(
            f"from zads.filters import Filter\nclass Cut(Filter):\n    '''{name}.'''\n    fields = ('candid',)\n"
            f"    programmes = {{1, 2, 3}}\n    cap = 20\n    def accept(self, alert):\n        return {verdict}\n"
        )
    entries = [{"name": name, "owner": "alice", "group": "g", "state": "active"} for name in FILTERS]
    (directory / "group.json").write_text(json.dumps({"group": "g", "programmes": [1, 2, 3], "filters": entries}))
    (directory / "kafka.properties").write_text("".join(f"{key}={one}\n" for key, one in broker.conf.items()))
    command = [sys.executable, "-m", "zads.cli", "worker", "--name", "1"]
    command += ["--config", str(directory / "group.json"), "--kafka", str(directory / "kafka.properties")]
    everything = 3 * 60
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        try:
            await_true(lambda: seen(broker) == everything, f"{everything} alerts to be seen", 120)
        finally:
            worker.send_signal(signal.SIGTERM)
    yield broker


def seen(broker: Broker) -> int:
    return min((one["seen"] for one in status.counts(broker.conf, [NIGHT]).values()), default=0)


@pytest.fixture
def auditing(worked: Broker, spool: Spool, tmp_path: Path) -> Auditing:
    return Auditing(
        tmp_path, worked.conf, worked.conf, programmes=(1, 2, 3), groups={"g": FILTERS}, receipts=spool.done
    )


def test_a_night_is_whole_from_the_receipts_to_the_filters(auditing: Auditing, spool: Spool) -> None:
    returned, said = auditing.run()
    assert returned == 0, said
    assert f"night {NIGHT}: whole, 180 alerts" in said
    assert f"night {EMPTY}: whole, 0 alerts" in said
    found = auditing.result(NIGHT)
    assert (found["receipts"], found["published"]) == (3, {"alerts": 180, "exposures": 3})
    assert [one["count"] for one in found["origin"]["rejected"] if "Avro" in one["reason"]] == [3]
    rows = {row["filter"]: row for row in found["filters"]}
    assert rows.keys() == FILTERS.keys()
    for row in rows.values():
        parts = ("declined", "passed", "capped", "failed", "skipped")
        assert row["offered"] == row["seen"] == sum(row[part] for part in parts) == 180
        assert row["passed"] == row["published"]
    assert rows["evens"]["capped"] > 0
    assert rows["faulty"]["failed"] > 0
    assert rows["faulty"]["skipped"] > 0, "its circuit opens"
    assert auditing.run() == (0, "no night is due\n")


def test_a_receipt_that_the_ledger_contradicts_is_found(auditing: Auditing, spool: Spool) -> None:
    path = next(spool.done.glob("*.json"))
    kept = path.read_text()
    path.write_text(json.dumps({**json.loads(kept), "exposure": "never-delivered"}))
    try:
        returned, _ = auditing.run(NIGHT)
    finally:
        path.write_text(kept)
    assert returned == 1
    assert auditing.kinds(NIGHT).keys() == {"receipt"}
    assert "never-delivered" in auditing.kinds(NIGHT)["receipt"]
    assert auditing.run(NIGHT)[0] == 0


def first(broker: Broker, topic: str) -> Message:
    return broker.read_all(topic)[0]


def again(broker: Broker, message: Message, **over: bytes) -> None:
    client = kafka.producer(broker.conf)
    headers = {**reading.headers(message), **over}
    client.produce(message.topic(), message.value(), message.key(), headers=list(headers.items()))
    assert client.flush(30) == 0


def test_a_double_that_came_late_makes_the_night_due_and_is_found(auditing: Auditing, worked: Broker) -> None:
    assert auditing.run()[0] == 0
    again(worked, first(worked, names.night_topic(NIGHT, 1)))
    returned, said = auditing.run()
    assert returned == 1
    assert NIGHT in said
    assert "doubled" in auditing.kinds(NIGHT)
    # The filters have not seen it, since their worker is away.
    assert "filter_missed" in auditing.kinds(NIGHT)
    assert "seen 180 of 181" in auditing.kinds(NIGHT)["filter_missed"]


def test_an_alert_of_a_filter_that_it_did_not_pass_is_found(auditing: Auditing, worked: Broker) -> None:
    topic = names.filter_topic("evens")
    packet = next(
        packet
        for message in worked.read_all(names.night_topic(NIGHT, 1))
        if (packet := Packet.trusted(message.value())).candid % 2
    )
    headers = [(names.HEADER_CANDID, str(packet.candid)), (names.HEADER_VISIT, packet.visit)]
    client = kafka.producer(worked.conf)
    client.produce(topic, packet.data, packet.key, headers=headers)
    assert client.flush(30) == 0
    assert auditing.run(NIGHT)[0] == 1
    assert f"{topic} has" in auditing.kinds(NIGHT)["filter_published"]


def test_a_site_that_is_away_is_a_result_of_its_own(worked: Broker, tmp_path: Path) -> None:
    away = {**worked.conf, "bootstrap.servers": "127.0.0.1:9"}
    returned, said = Auditing(tmp_path, worked.conf, away).run(NIGHT)
    assert returned == 1
    assert "public cannot be read" in said
