"""A filter can be tried on a night in a topic, as on a night in files."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from bench.broker import Broker
from zads import kafka
from zads.commands import filter as verbs
from zads.packet import Packet
from zads.sources import simulator

COUNT = 120


def test_a_topic_and_a_directory_of_the_same_packets_give_the_same_figures(broker: Broker, tmp_path: Path) -> None:
    [(_, packets)] = list(simulator.simulate("20300103", 1, COUNT, programme_mix={1: 1.0}))
    topic = Packet.trusted(packets[0][1]).topic
    broker.create(topic, partitions=3)
    files = tmp_path / "files"
    files.mkdir()
    producer = kafka.producer(broker.conf)
    for name, data in packets:
        producer.produce(topic, data, key=Packet.trusted(data).key)
        (files / name).write_bytes(data)
    assert producer.flush(30) == 0
    client = tmp_path / "client.properties"
    client.write_text("".join(f"{name}={value}\n" for name, value in broker.conf.items()))

    def figures(*where: str) -> dict:
        result = CliRunner().invoke(verbs.app, ["test", "fast_riser", "--json", "--night", *where])
        assert result.exit_code == 0, repr(result.exception)
        found = json.loads(result.output.splitlines()[0])
        return {key: value for key, value in found.items() if key != "microseconds_per_alert"}

    from_topic = figures(topic, "--kafka", str(client))
    assert from_topic["offered"] == COUNT
    assert from_topic == figures(str(files))
