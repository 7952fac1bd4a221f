"""A real broker for tests and benchmarks: ZooKeeper and Kafka in one container, its data in memory."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.cimpl import NewTopic

from zads import kafka, names
from zads.errors import ZadsError

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image is not ours; `timeout` below does its work
from testcontainers.core.container import DockerContainer

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / ".zads/cache/images/mirrormaker.json"
READY_SECONDS = 120
LIFE_SECONDS = 3600  # if the test run is killed, the container ends after this, and the engine removes it

ZOOKEEPER = """
dataDir=/data/zookeeper
clientPort=2181
clientPortAddress=127.0.0.1
admin.enableServer=false
"""

# Sent to the container by its environment; ADDRESS is filled in there.
BROKER = f"""
broker.id=1
zookeeper.connect=127.0.0.1:2181
listeners=PLAINTEXT://0.0.0.0:9092
advertised.listeners=PLAINTEXT://ADDRESS:9092
log.dirs=/data/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
message.max.bytes={kafka.MESSAGE_MAX_BYTES}
num.partitions=1
authorizer.class.name=kafka.security.authorizer.AclAuthorizer
super.users=User:ANONYMOUS
controlled.shutdown.enable=false
"""

START = """
set -eu
echo "$ZOOKEEPER" > /data/zookeeper.properties
echo "$BROKER" | sed "s/ADDRESS/$(hostname -i)/g" > /data/broker.properties
export KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:/opt/kafka/config/tools-log4j.properties
KAFKA_HEAP_OPTS=-Xmx64m /opt/kafka/bin/zookeeper-server-start.sh /data/zookeeper.properties &
KAFKA_HEAP_OPTS="-Xmx$HEAP" exec timeout "$LIFE" /opt/kafka/bin/kafka-server-start.sh /data/broker.properties
"""


@dataclass
class Broker:
    """One broker: `conf` is all that a client needs (no security: that is tested where it is deployed)."""

    conf: dict[str, str]
    container: DockerContainer

    def create(self, *topics: str, partitions: int = 1, **config: str) -> None:
        """Create topics and wait until they can be written. The names of `config` have _ in place of dots."""
        admin = kafka.admin(self.conf)
        settings = {name.replace("_", "."): value for name, value in config.items()}
        for answer in admin.create_topics(
            [NewTopic(name, partitions, 1, config=settings) for name in topics], operation_timeout=20
        ).values():
            try:
                answer.result(30)
            except KafkaException as error:
                # No test creates a topic twice: the first answer was lost, and librdkafka asked again.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def read_all(self, topic: str) -> list[Message]:
        """Every committed record up to the present end, by partition and offset."""
        reader = kafka.consumer(
            self.conf, f"test-{os.getpid()}", **{"enable.partition.eof": True, "fetch.wait.max.ms": 20}
        )
        try:
            partitions = reader.list_topics(topic, 20).topics[topic].partitions
            reader.assign([TopicPartition(topic, number, 0) for number in partitions])
            unread, found = set(partitions), []
            deadline = time.monotonic() + 60
            while unread:
                assert time.monotonic() < deadline, f"no end of {topic} in 60 s; partitions unread: {sorted(unread)}"
                for message in reader.consume(500, 0.1):
                    problem = message.error()
                    if problem is None:
                        found.append(message)
                    elif problem.code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition())
                    else:
                        raise KafkaException(problem)
            return sorted(found, key=lambda message: (message.partition(), message.offset()))
        finally:
            reader.close()


def await_true(
    condition: Callable[[], bool], what: str, seconds: float = 30, state: Callable[[], str] = lambda: ""
) -> None:
    """Wait for a condition. A failure names what did not come true, and shows the text of `state`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}\n{state()}"
        time.sleep(0.05)


@contextmanager
def running(heap: str = "384m", settings: Mapping[str, object] = MappingProxyType({})) -> Iterator[Broker]:
    """Start a broker with further settings, and remove it at the end. Raises ZadsError if its image is not built."""
    if not IMAGE.exists():
        raise ZadsError("the image of Kafka has not been built", hint="run `make images`")
    container = (
        DockerContainer(json.loads(IMAGE.read_text())["tag"])
        .with_env("ZOOKEEPER", ZOOKEEPER)
        .with_env("BROKER", BROKER + "".join(f"{name}={value}\n" for name, value in settings.items()))
        .with_env("HEAP", heap)
        .with_env("LIFE", str(LIFE_SECONDS))
        .with_tmpfs_mount("/data", "size=3g,mode=1777")
        .with_kwargs(labels={"zads": "streams"}, auto_remove=True, healthcheck={"test": ["NONE"]}, init=True)
        .with_command(["sh", "-c", START])
    )
    # SIGTERM (a CI job's time limit) must clean up as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    container.start()
    conf: dict[str, str] = {}
    try:
        wrapped = container.get_wrapped_container()
        wrapped.reload()
        conf["bootstrap.servers"] = f"{wrapped.attrs['NetworkSettings']['IPAddress']}:9092"
        started = Broker(conf, container)
        await_true(lambda: _answers(conf), "the broker to answer", READY_SECONDS, lambda: _logs(container))
        started.create(names.REJECTED_TOPIC)
        started.create(names.LEDGER_TOPIC, cleanup_policy="compact")
        yield started
    finally:
        for used in (conf, _silent(conf)):
            kafka.forget(used)  # the next broker has the same address but is another cluster
        container.stop(force=True, delete_volume=True)
        signal.signal(signal.SIGTERM, before)


def _silent(conf: dict[str, str]) -> dict[str, str]:
    return {**conf, "log_level": "0"}


def _answers(conf: dict[str, str]) -> bool:
    try:
        return bool(kafka.admin(_silent(conf)).list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _logs(container: DockerContainer) -> str:
    out, err = container.get_logs()
    return (out + err).decode(errors="replace")[-4000:]
