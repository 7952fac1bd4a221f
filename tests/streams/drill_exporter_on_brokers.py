"""The site exporter on two real sites of one broker each, with a real mirror, by its own account and its grants.

It takes minutes, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from prometheus_client import REGISTRY

from bench.broker import Broker, await_true, running
from zads import kafka, names
from zads.exporter import figures
from zads.exporter.canaries import Canaries
from zads.exporter.disk_figures import Disks
from zads.exporter.figures import Found
from zads.exporter.lag import Groups
from zads.exporter.mirror import Mirror
from zads.exporter.service import Exporter, Settings
from zads.site.access import known_nights, wanted_acls
from zads.site.cluster import Cluster
from zads.site.policy import NightTopics, Policy, Site
from zads.site.topics import fixed_topics, night_topics

Sites = Mapping[Site, Broker]
NIGHT = "20300101"
DATA: dict[str, Any] = {
    "topics_night": {"partitions": 2, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
    "users": [{"name": "reader", "site": "public", "programmes": [1]}],
    "programs": [names.EXPORTER],
}
# One broker is enough here; an inventory needs two replicas.
ONE_REPLICA = NightTopics.model_construct(partitions=2, replication_factor=1, min_insync_replicas=1, retention_days=7.0)
POLICY = replace(Policy.read(DATA), topics_night=ONE_REPLICA)
SETTINGS = Settings(POLICY, {"origin": {1: "origin-1", 2: "origin-2"}, "public": {1: "public-1"}}, 5)
FIRST, SECOND = names.night_topic(NIGHT, 1), names.night_topic(NIGHT, 2)
CANARIES = names.night_topic(names.CANARY_NIGHT, 1)
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
#: Beside the listener of the administrator, the role's listener for clients, without encryption.
BROKER = {
    "listeners": "PLAINTEXT://0.0.0.0:9092,CLIENTS://0.0.0.0:9094",
    "advertised.listeners": "PLAINTEXT://ADDRESS:9092,CLIENTS://ADDRESS:9094",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.clients.scram-sha-512.sasl.jaas.config": LOGIN,
}
#: The role's settings, as far as they decide what the mirror writes to the public site.
MIRROR = """
clusters=origin, public
origin->public.enabled=true
public->origin.enabled=false
emit.heartbeats.enabled=false
emit.checkpoints.enabled=false
sync.group.offsets.enabled=false
emit.offset-syncs.enabled=false
origin->public.topics={pattern}
replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy
refresh.topics.interval.seconds=2
refresh.groups.enabled=false
replication.factor=1
sync.topic.acls.enabled=false
sync.topic.configs.enabled=false
public.exactly.once.source.support=enabled
origin.consumer.isolation.level=read_committed
origin->public.transaction.boundary=interval
origin->public.transaction.boundary.interval.ms=100
origin->public.consumer.poll.timeout.ms=20
dedicated.mode.enable.internal.rest=true
listeners=http://127.0.0.1:8083
rest.advertised.host.name=127.0.0.1
public.group.id=zads.mirror
public.config.storage.topic=mm2-configs.origin.test.internal
public.offset.storage.partitions=5
public.config.storage.replication.factor=1
public.offset.storage.replication.factor=1
public.status.storage.replication.factor=1
origin.bootstrap.servers={origin}
public.bootstrap.servers={public}
"""
START_MIRROR = """
echo $$ >/data/mirror.pid
exec >/data/mirror.log 2>&1
export KAFKA_HEAP_OPTS=-Xmx192m KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:/opt/mirrormaker/log4j.properties
exec /opt/kafka/bin/connect-mirror-maker.sh /data/mm2.properties --clusters public
"""
#: Java may need minutes to start on a busy machine.
MIRROR_SECONDS = 300


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    """Two sites as a deployment leaves them, with one night."""
    with running(settings=BROKER) as origin, running(settings=BROKER) as public:
        both: dict[Site, Broker] = {"origin": origin, "public": public}
        for site, broker in both.items():
            cluster = Cluster(broker.conf)
            canaries = [topic for topic in fixed_topics(POLICY, site) if topic.name == CANARIES]
            cluster.create_topics([*canaries, *night_topics(POLICY, site, [NIGHT])])
            cluster.create_acls(wanted_acls(POLICY, site, known_nights(POLICY, site, [], [NIGHT])))
            credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            given = UserScramCredentialUpsertion(names.EXPORTER, credential, b"secret")
            for answer in kafka.admin(broker.conf).alter_user_scram_credentials([given]).values():
                answer.result(20)
        yield both


class RunningMirror:
    """MirrorMaker in the public broker's container."""

    def __init__(self, sites: Sites) -> None:
        self._container = sites["public"].container.get_wrapped_container()
        content = MIRROR.format(
            pattern=names.mirrored_pattern([1]),
            origin=sites["origin"].conf["bootstrap.servers"],
            public=sites["public"].conf["bootstrap.servers"],
        )
        self._run(f"cat > /data/mm2.properties <<'END'\n{content}\nEND")
        self._container.exec_run(["sh", "-c", START_MIRROR], detach=True)

    def signal(self, name: str) -> None:
        self._run(f"kill -{name} $(cat /data/mirror.pid)")

    def log(self) -> str:
        return self._run("tail -n 30 /data/mirror.log")

    def _run(self, script: str) -> str:
        status, output = self._container.exec_run(["sh", "-c", script])
        assert status == 0, (script, output)
        return str(output.decode(errors="replace"))


@pytest.fixture(scope="module")
def mirror(sites: Sites) -> Iterator[RunningMirror]:
    """A mirror that copies."""
    started = RunningMirror(sites)
    publish(sites["origin"], FIRST, 3)
    await_true(lambda: len(sites["public"].read_all(FIRST)) == 3, "the mirror's start", MIRROR_SECONDS, started.log)
    yield started
    started.signal("CONT")


def conf(broker: Broker) -> dict[str, str]:
    """The properties of the exporter's account."""
    return {
        "bootstrap.servers": broker.conf["bootstrap.servers"].replace(":9092", ":9094"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": names.EXPORTER,
        "sasl.password": "secret",
        "group.id": names.EXPORTER,
    }


def confs(sites: Sites) -> dict[Site, dict[str, str]]:
    return {site: conf(broker) for site, broker in sites.items()}


def publish(broker: Broker, topic: str, count: int, *, abort: bool = False) -> None:
    """Records in one transaction."""
    client = kafka.producer(broker.conf, **{"transactional.id": "test", "linger.ms": 0})
    client.init_transactions(30)
    client.begin_transaction()
    for number in range(count):
        client.produce(topic, b"x" * 1000, partition=number % 2)
    assert client.flush(30) == 0
    if abort:
        client.abort_transaction(30)
    else:
        client.commit_transaction(30)


def eventually(what: str, condition: Callable[[], bool], seconds: float = 60) -> float:
    """Wait for a condition; returns the seconds that it took."""
    started = time.monotonic()
    await_true(condition, what, seconds)
    return time.monotonic() - started


def watch(sites: Sites) -> Mirror:
    return Mirror(confs(sites), lambda: POLICY, names.EXPORTER)


def test_every_part_works_with_the_exporters_account(sites: Sites, mirror: RunningMirror) -> None:
    exporter = Exporter(confs(sites), lambda: SETTINGS)
    assert exporter.once() == {}
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for one in exporter.figures.collect()
        for sample in one.samples
    }
    assert told["zads_site_up", "origin"] == 1
    assert told["zads_broker_up", "origin", "1", "origin-1"] == 1
    assert told["zads_broker_up", "origin", "2", "origin-2"] == 0
    assert told["zads_site_partitions_leaderless", "public"] == 0
    assert told["zads_night_end_offsets", "origin", NIGHT, "1"] >= 4
    assert time.time() - told["zads_night_newest_seconds", "public", NIGHT, "1"] < 3600
    assert told["zads_mirror_partitions",] == 4
    assert all(told["zads_exporter_part_up", part] == 1 for part in ("mirror", "origin disks", "public groups"))


def test_the_disks_are_asked_for_with_a_password(sites: Sites) -> None:
    found = Disks("origin", conf(sites["origin"]), lambda: ({1: "origin-1"}, 5)).look()
    labels = ("origin", "1", "origin-1", "/data/kafka")
    assert found[figures.DISK_TOTAL, labels] >= found[figures.DISK_FREE, labels] > 0
    assert found[figures.DISK_FAILED, labels] == 0


def test_the_account_reads_no_alert_that_is_not_public_and_changes_nothing(sites: Sites) -> None:
    for site, topic in (("origin", SECOND), ("public", FIRST)):
        reader = kafka.consumer(conf(sites[site]), names.EXPORTER)
        reader.assign([TopicPartition(topic, 0, 0)])
        message = reader.poll(20)
        assert message is not None
        assert message.error().code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        reader.close()
        with pytest.raises(KafkaException, match="AUTHORIZATION"):
            Cluster(conf(sites[site])).delete_topics([topic])


def test_a_mirror_that_stops_is_noticed_within_30_seconds_and_one_that_goes_on_is_too(
    sites: Sites, mirror: RunningMirror
) -> None:
    looked = watch(sites)
    eventually("the mirror is in step", lambda: not looked.judge().behind)
    mirror.signal("STOP")
    try:
        publish(sites["origin"], FIRST, 10)
        took = eventually("it is noticed", lambda: bool(looked.judge().silent))
        assert 15 < took <= 30
        found = looked.look()
        assert found[figures.MIRROR_SILENT, ()] == 1
        assert found[figures.MIRROR_BEHIND_PARTITIONS, ()] == 2
        assert found[figures.MIRROR_UNREAD, ()] >= 10
    finally:
        mirror.signal("CONT")
    eventually("it moves again", lambda: not looked.judge().behind, 120)
    assert looked.look()[figures.MIRROR_SILENT, ()] == 0


def test_markers_idle_partitions_and_new_and_removed_topics_are_no_silence(sites: Sites, mirror: RunningMirror) -> None:
    looked = watch(sites)
    publish(sites["origin"], FIRST, 6, abort=True)
    publish(sites["origin"], FIRST, 0)
    new = [topic for topic in night_topics(POLICY, "origin", ["20300102"]) if topic.name.endswith("1")]
    for site in ("public", "origin"):
        Cluster(sites[site].conf).create_topics(new)
    seen = []

    def looks(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            seen.append(looked.judge())
            time.sleep(1)

    looks(26)
    for site in ("origin", "public"):
        Cluster(sites[site].conf).delete_topics([new[0].name])
    looks(4)
    assert not any(verdict.silent for verdict in seen)
    assert not seen[-1].behind
    assert max(verdict.partitions for verdict in seen) == 6
    assert seen[-1].partitions == 4


def test_canaries_arrive_and_are_timed(sites: Sites, mirror: RunningMirror) -> None:
    before = _canaries()
    flight = Canaries(confs(sites), CANARIES, interval=0.5)

    class Enough(Exception):
        pass

    until = time.monotonic() + 60

    def rest(seconds: float) -> None:
        time.sleep(seconds)
        if _canaries() >= before + 5 or time.monotonic() > until:
            raise Enough

    with pytest.raises(Enough):
        flight.run(rest)
    assert _canaries() >= before + 5
    whole, hop = (
        REGISTRY.get_sample_value("zads_canary_seconds_sum", {"hop": hop}) or 0.0 for hop in ("whole", "origin")
    )
    assert whole > hop > 0


def _canaries() -> float:
    return REGISTRY.get_sample_value("zads_canary_arrived_total") or 0.0


def test_a_subscriber_who_does_not_read_on_is_behind_until_they_do(sites: Sites, mirror: RunningMirror) -> None:
    public = sites["public"]
    reader = kafka.consumer(public.conf, "reader-laptop")
    groups = Groups("public", conf(public), lambda: POLICY)

    def lag(found: Found) -> tuple[float, float]:
        labels = ("public", "user", "reader", "reader-laptop")
        return found.get((figures.GROUP_LAG, labels), -1.0), found.get((figures.GROUP_BEHIND, labels), -1.0)

    reader.subscribe([FIRST])
    assert reader.poll(60) is not None
    reader.commit(asynchronous=False)
    publish(sites["origin"], FIRST, 40)  # half of them in the partition in which the group has been
    eventually("they are behind", lambda: lag(groups.look())[0] >= 20)
    time.sleep(2)  # not a wait for something: the age must grow by this
    assert lag(groups.look())[1] >= 2
    until = time.monotonic() + 60
    while lag(groups.look()) != (0, 0):
        assert time.monotonic() < until, lag(groups.look())
        for message in reader.consume(100, 1):
            assert message.error() is None
        reader.commit(asynchronous=False)
    reader.close()
