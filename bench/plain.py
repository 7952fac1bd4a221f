"""What others run, on the hosts of the benchmark: plain brokers, MirrorMaker 2 with Kafka's defaults, a plain loop.

All of it uses the same Kafka distribution and the same images as ours: only the settings differ.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import fastavro
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.broker import IMAGE
from bench.cluster import APPS, Cluster, await_that
from zads.kafka import MESSAGE_MAX_BYTES

PORT = 19092
HEAP = "512m"
CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"
MIRROR = "zads-bench-mirror"
#: Names of the sites in the default mirror. They differ from the deployed mirror's, whose offsets must stay.
SOURCE, TARGET = "from", "to"
#: One broker without replication or encryption; everything else is Kafka's default. It is its own controller: it
#: needs no ZooKeeper, unlike the survey's first brokers.
_BROKER = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:19093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://:{port},CONTROLLER://localhost:19093
advertised.listeners=PLAINTEXT://{address}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=/var/lib/kafka/peer
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
message.max.bytes={message_bytes}
"""
#: Replication factors of one, the only settings that a pair of single brokers needs.
_PLAIN = "replication.factor=1\n" + "".join(
    f"{name}.replication.factor=1\n"
    for name in (
        "checkpoints.topic", "heartbeats.topic", "offset-syncs.topic", "offset.storage", "status.storage",
        "config.storage",
    )
)  # fmt: skip


class PlainBroker:
    """One unreplicated broker without encryption, on one of the hosts; use it as a context manager."""

    def __init__(self, cluster: Cluster, host: str) -> None:
        self.cluster, self.host = cluster, host
        address = cluster.inventory.address(host)
        self.conf = {"bootstrap.servers": f"{address}:{PORT}"}
        self._settings = _BROKER.format(port=PORT, address=address, message_bytes=MESSAGE_MAX_BYTES)

    def __enter__(self) -> PlainBroker:
        script = f"""
            rm -rf /var/lib/kafka/peer; mkdir -p /var/lib/kafka/peer; cat > /tmp/peer.properties
            /opt/kafka/bin/kafka-run-class.sh kafka.tools.StorageTool format -t {CLUSTER_ID} -c /tmp/peer.properties
            systemd-run --quiet --collect --unit zads-bench-peer --setenv KAFKA_HEAP_OPTS=-Xms{HEAP}\\ -Xmx{HEAP} \
                /opt/kafka/bin/kafka-server-start.sh /tmp/peer.properties"""
        self.cluster.on(self.host, script, self._settings.encode())
        await_that(f"a plain broker on {self.host}", self._answers, seconds=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.on(self.host, "systemctl stop zads-bench-peer; rm -rf /var/lib/kafka/peer /tmp/peer.properties")

    def _answers(self) -> bool:
        try:
            with AdminClient({**self.conf, "log_level": 0}) as client:
                return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def topic(self, name: str, partitions: int) -> None:
        """Create a topic of one replica."""
        with AdminClient(dict(self.conf)) as client:
            for answer in client.create_topics([NewTopic(name, partitions, 1)]).values():
                answer.result(30)


class DefaultMirror:
    """MirrorMaker 2 with its defaults: only source, target and topic are set. Use as a context manager."""

    def __init__(self, cluster: Cluster, settings: str) -> None:
        self._cluster, self._settings = cluster, settings

    @classmethod
    def of_brokers(cls, origin: PlainBroker, public: PlainBroker, topic: str) -> DefaultMirror:
        """Between two plain brokers."""
        return cls(origin.cluster, _flow(topic) + _PLAIN + "".join(
            f"{name}.bootstrap.servers={broker.conf['bootstrap.servers']}\n"
            for name, broker in ((SOURCE, origin), (TARGET, public))
        ))  # fmt: skip

    @classmethod
    def of_sites(cls, cluster: Cluster, topic: str) -> DefaultMirror:
        """Between the two deployed sites, as their administrator. It creates new topics, SOURCE.TOPIC."""
        lines = [_flow(topic)]
        for name, conf in ((SOURCE, cluster.origin), (TARGET, cluster.public)):
            lines += [
                f"{name}.bootstrap.servers={conf['bootstrap.servers']}",
                f"{name}.security.protocol=SSL",
                f"{name}.ssl.truststore.type=PEM",
                f"{name}.ssl.truststore.certificates={_one_line(conf['ssl.ca.location'])}",
                f"{name}.ssl.keystore.type=PEM",
                f"{name}.ssl.keystore.certificate.chain={_one_line(conf['ssl.certificate.location'])}",
                f"{name}.ssl.keystore.key={_one_line(conf['ssl.key.location'])}",
            ]
        return cls(cluster, "\n".join(lines) + "\n")

    def __enter__(self) -> DefaultMirror:
        script = f"""
            mkdir -p /run/{MIRROR}; cat > /run/{MIRROR}/mm2.properties
            docker rm --force {MIRROR} >/dev/null 2>&1 || true
            docker run --detach --rm --name {MIRROR} --network host --user 0 --env KAFKA_HEAP_OPTS=-Xmx{HEAP} \
                --volume /run/{MIRROR}:/run/{MIRROR}:ro --entrypoint /opt/kafka/bin/connect-mirror-maker.sh \
                {json.loads(IMAGE.read_text())["tag"]} /run/{MIRROR}/mm2.properties"""
        self._cluster.on(APPS, script, self._settings.encode())
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.on(APPS, f"docker stop {MIRROR}; rm -rf /run/{MIRROR}")


def _flow(topic: str) -> str:
    """Settings of source, target and topic. Access rights, which it would copy as well, are left alone."""
    return (
        f"clusters={SOURCE},{TARGET}\n{SOURCE}->{TARGET}.enabled=true\n{SOURCE}->{TARGET}.topics={topic}\n"
        "sync.topic.acls.enabled=false\n"
    )


def _one_line(path: str) -> str:
    """A PEM file as a value of a properties file."""
    return "\\n".join(Path(path).read_text().strip().splitlines())


def plain_loop(conf: dict[str, str], topic: str, packets: Iterable[bytes], *, recode: bool) -> float:
    """Send packets as lsst-dm/alert_stream does. Returns the seconds until all are acknowledged.

    With `recode` each is decoded with fastavro and encoded again, as there. Settings are the client's defaults.
    """
    producer = Producer(dict(conf))
    schemas: dict[str, Any] = {}
    started = time.monotonic()
    for data in packets:
        producer.produce(topic, _again(data, schemas) if recode else data)
        producer.poll(0)
    producer.flush()
    return time.monotonic() - started


def _again(data: bytes, schemas: dict[str, Any]) -> bytes:
    reader = fastavro.reader(io.BytesIO(data))
    record = cast("dict[str, Any]", next(reader))
    schema = schemas.setdefault(record["schemavsn"], reader.writer_schema)
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema, record)
    return written.getvalue()


def send_all(conf: dict[str, str], topic: str, packets: Sequence[bytes], **over: object) -> None:
    """Put packets into a topic as fast as possible. Raises KafkaException if one is refused."""
    failed: list[object] = []
    producer = Producer({**conf, **over})
    for data in packets:
        while True:
            try:
                producer.produce(topic, data, on_delivery=lambda error, _: failed.append(error) if error else None)
                break
            except BufferError:  # the client's queue is full
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    if failed:
        raise KafkaException(failed[0])
