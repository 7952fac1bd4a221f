"""Kafka clients: reads and writes their properties files, and holds the settings that make them fast and safe.

A configuration is a mapping of librdkafka's property names, as `kcat -F` and every other librdkafka client read them.
The figures below were measured with real packets of 60-75 KB, all on the same machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from zads import logs, wholefile
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_Answer = TypeVar("_Answer")
_Client = TypeVar("_Client")

NEW_TOPIC_SECONDS = 10.0  # until all brokers of a site know a new topic and its grants
#: The largest record: the same for brokers, topics, the mirror and clients. An alert has 30 to 70 KB. The rest is for
#: packets with a long history (packet.MAX_BYTES), their keys and headers.
MESSAGE_MAX_BYTES = 4_194_304
TRANSACTION_TIMEOUT_MS = 60_000  # after which the coordinator aborts what a dead producer left open

CLIENT = {
    # Try a restarting broker again almost at once; later tries are at most two seconds apart.
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
    "socket.keepalive.enable": True,
}

PRODUCER = {
    "acks": "all",
    "enable.idempotence": True,
    # Packets of a night contain the same schema, so a batch of sixteen shrinks to 55 %; level 3 would save 1 % more.
    "compression.codec": "zstd",
    "compression.level": 1,
    # Before compression. Each batch is an append that two replicas fetch: a few large batches cost the brokers least.
    "batch.size": 2_500_000,
    "linger.ms": 50,
    "message.max.bytes": MESSAGE_MAX_BYTES,
    "delivery.timeout.ms": 120_000,
    # The Java client's partitioner: an object has the same partition whether a Java or a librdkafka client sends it.
    "partitioner": "murmur2_random",
    # 256 MiB of packets may wait for a slow broker; beyond that `produce` says that the queue is full.
    "queue.buffering.max.kbytes": 262_144,
}

CONSUMER = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    # The client's pause after its queue was full. The default of one second makes large packets ten times slower.
    "fetch.queue.backoff.ms": 10,
    # A batch that does not fit into an answer is cut; the client drops that part and fetches the batch again. Larger
    # answers waste less: with four megabytes a subscriber that catches up drops a fifth of the bytes.
    "max.partition.fetch.bytes": 4 * MESSAGE_MAX_BYTES,
    "fetch.max.bytes": 4 * MESSAGE_MAX_BYTES,  # from one broker: this bounds a client's memory
}

#: Errors of a request that went to a broker which no longer leads the partition, or does not lead it yet.
LEADER_MOVED = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}

#: Errors of a request that went to a broker which no longer coordinates the group, or does not do so yet.
COORDINATOR_MOVED = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}

#: Errors by which a site answers that this account may not do what it asked for.
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}

# Properties that only one kind of client understands. A file serves all kinds, so each kind ignores the others'.
_ONLY_PRODUCER = frozenset(PRODUCER) - {"message.max.bytes"} | {"transactional.id", "transaction.timeout.ms"}
_ONLY_CONSUMER = frozenset(CONSUMER) | {"group.id", "group.instance.id", "session.timeout.ms", "enable.partition.eof"}

#: Properties whose value is the path of a file.
_FILES = frozenset(
    {"ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.crl.location", "ssl.keystore.location"}
)


def own_group(conf: Mapping[str, Any], otherwise: str) -> str:
    """The consumer group that a client may use.

    It is the group that the properties name. Without one it is a group of the properties' user: the user's name, then
    the last part of the name `otherwise`. Without a user it is `otherwise`.
    """
    user = conf.get("sasl.username")
    return str(conf.get("group.id") or (f"{user}-{otherwise.rpartition('.')[2]}" if user else otherwise))


def read_properties(path: str | Path) -> dict[str, str]:
    """The properties of a librdkafka properties file: one ``name=value`` a line; ``#`` begins a comment line.

    A relative path in a property starts at the directory of the properties file, not at the working directory.
    Raises ZadsError that names the file and the line.
    """
    path = Path(path)
    try:
        lines = wholefile.read(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ZadsError(
            f"cannot read the Kafka client configuration {path}: {error}",
            hint="a deployment writes one for each user: .zads/ENV/clients/USER/librdkafka.properties",
        ) from error
    properties: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ZadsError(f"{path}, line {number}: expected name=value, found {line!r}")
        properties[name.strip()] = value.strip()
    for name in _FILES & properties.keys():
        if properties[name] != "probe":  # librdkafka's word for the system's authorities
            properties[name] = str(path.absolute().parent / properties[name])
    if password := properties.get("sasl.password"):
        logs.hide(password, f"<the password of {properties.get('sasl.username', 'this client')}>")
    if "bootstrap.servers" not in properties:
        raise ZadsError(f"{path} names no brokers", hint="add a line bootstrap.servers=HOST:PORT,HOST:PORT")
    return properties


def with_password(brokers: Iterable[str], authority: str, user: str, password: str) -> str:
    """Lines of a properties file: how a user connects to the brokers' listener for clients (addresses with ports).

    ``authority`` is the path of the certificate of the authority that issued the brokers' certificates.
    """
    login = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": user, "sasl.password": password}
    return _lines(brokers, "SASL_SSL", authority, login)


def with_certificate(brokers: Iterable[str], authority: str, certificate: str, key: str) -> str:
    """Lines of a properties file: how to connect to the listener for brokers with a certificate (paths of files)."""
    return _lines(brokers, "ssl", authority, {"ssl.certificate.location": certificate, "ssl.key.location": key})


def _lines(brokers: Iterable[str], protocol: str, authority: str, login: Mapping[str, str]) -> str:
    properties = {
        "bootstrap.servers": ",".join(brokers), "security.protocol": protocol, "ssl.ca.location": authority, **login,
    }  # fmt: skip
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def failure(conf: Mapping[str, str], error: KafkaError) -> ZadsError:
    """An error of the cluster in words that tell a refusal from the lack of an answer."""
    where, who = conf.get("bootstrap.servers", "the cluster"), conf.get("sasl.username", "this client")
    if error.code() in DENIED:
        return ZadsError(
            f"{who} may not do that at {where}: {error.str()}",
            hint="the inventory's data (users, programmes, filters) says who may do what; its operators can change it",
        )
    return ZadsError(
        f"{where} does not answer: {error.str()}",
        hint="is the site up, and are the addresses and the password of the client's properties its own?",
    )


def producer(conf: Mapping[str, Any], **over: Any) -> Producer:
    """An idempotent producer for `conf`; `over` (property names, with ``**{...}``) wins over both.

    With a ``transactional.id`` a record waits for its broker at most as long as a transaction may last.
    Raises ZadsError if librdkafka refuses the configuration.
    """
    wanted = {**CLIENT, **PRODUCER, **_without(conf, _ONLY_CONSUMER), **over}
    if "transactional.id" in wanted:
        wanted.setdefault("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
        limit = int(wanted["transaction.timeout.ms"])
        wanted["delivery.timeout.ms"] = min(int(wanted["delivery.timeout.ms"]), limit)
        # librdkafka wants a request to give up before its transaction does.
        wanted.setdefault("socket.timeout.ms", max(limit - 1_000, 1_000))
    return _client(Producer, wanted)


def consumer(conf: Mapping[str, Any], group: str, **over: Any) -> Consumer:
    """A consumer of committed records only, in `group`, without automatic commits of offsets; `over` wins.

    Raises ZadsError if librdkafka refuses the configuration.
    """
    wanted = {**CLIENT, **CONSUMER, **_without(conf, _ONLY_PRODUCER), "group.id": group, **over}
    return _client(Consumer, wanted)


_admins: dict[tuple[tuple[str, str], ...], AdminClient] = {}


def admin(conf: Mapping[str, Any]) -> AdminClient:
    """The administration client for `conf`. Raises ZadsError if librdkafka refuses the configuration.

    There is one client for each configuration, kept until `forget`. A client for each question would open new encrypted
    connections each time, and a client that is garbage-collected before its answer never gives it.
    """
    wanted = _admin_conf(conf)
    key = _key(wanted)
    if key not in _admins:
        _admins[key] = _client(AdminClient, wanted)
    _admins[key].poll(0)  # for what it has to log
    return _admins[key]


def _admin_conf(conf: Mapping[str, Any]) -> dict[str, Any]:
    return {**CLIENT, "log_level": 4, **_without(conf, _ONLY_PRODUCER | _ONLY_CONSUMER)}


def _key(conf: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(value)) for name, value in conf.items()))


def forget_admin(conf: Mapping[str, Any]) -> None:
    """Drop the administration client for `conf`: it keeps a leader's old epoch even when brokers name the new one."""
    _admins.pop(_key(_admin_conf(conf)), None)


_members: dict[tuple[str, tuple[tuple[str, str], ...]], Consumer] = {}


def committed(
    conf: Mapping[str, Any], group: str, partitions: Iterable[tuple[str, int]], seconds: float = 30.0
) -> dict[tuple[str, int], int]:
    """The offsets that a consumer group has committed, by (topic, partition); 0 where it has none.

    A consumer that never joins the group asks for them. The administration client would crash the process by a
    segmentation fault when the group's coordinator has just moved (librdkafka issue 5040, still in 2.16).
    Raises confluent_kafka.KafkaException when there is no answer within `seconds`.
    """
    key = (group, _key(conf))
    if key not in _members:
        # It is never polled, so what it logged would be kept for ever.
        _members[key] = consumer({**conf, "log_level": 2}, group)
    wanted = list(partitions)

    def ask() -> dict[tuple[str, int], int]:
        answer = _members[key].committed([TopicPartition(*where) for where in wanted], timeout=seconds)
        for one in answer:
            if one.error is not None:
                raise KafkaException(one.error)
        return {(one.topic, one.partition): max(one.offset, 0) for one in answer}

    return when_led(ask, lambda: None, seconds, COORDINATOR_MOVED)  # the client looks for the coordinator itself


def forget(conf: Mapping[str, Any]) -> None:
    """End the clients that are kept for `conf`: its administration client and its groups' consumers.

    Call it before the cluster goes away: a client that is kept tries to reach it, and complains, without end.
    """
    if (kept := _admins.pop(_key(_admin_conf(conf)), None)) is not None:
        with kept:  # its threads end after this, even if somebody still refers to it
            pass
    for member in [member for member in _members if member[1] == _key(conf)]:
        _members.pop(member).close()


def when_led(
    ask: Callable[[], _Answer], look_again: Callable[[], object], seconds: float, moved: Collection[int] = LEADER_MOVED
) -> _Answer:
    """Ask leaders or coordinators a question, and return the answer; ask again for `seconds` while one is elected.

    `look_again` makes the client find the new one, and `moved` has the errors of the old one. Raises what `ask` raises
    for any other reason or at the end.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in moved or time.monotonic() > until:
                raise
        time.sleep(0.2)  # an election takes a moment
        look_again()


def end(consumer: Consumer, topic: str, partition: int, seconds: float) -> int:
    """The end offset of a partition. Raises confluent_kafka.KafkaException when there is no answer in `seconds`."""
    where = TopicPartition(topic, partition)
    return when_led(
        lambda: int(consumer.get_watermark_offsets(where, timeout=seconds)[1]),
        lambda: consumer.list_topics(topic, timeout=seconds),
        seconds,
    )


def ends(consumer: Consumer, topic: str, seconds: float) -> list[TopicPartition]:
    """A topic's partitions, each at its present end: a consumer that is assigned them reads all that follows.

    The offsets are asked for now. With the logical offset "end", a record that arrives before the first fetch is lost.
    Waits for a new topic. Raises confluent_kafka.KafkaException as `end` does.
    """
    until = time.monotonic() + NEW_TOPIC_SECONDS
    while (about := consumer.list_topics(topic, timeout=seconds).topics[topic]).error is not None:
        if time.monotonic() > until:
            raise KafkaException(about.error)
        time.sleep(0.2)
    return [TopicPartition(topic, number, end(consumer, topic, number, seconds)) for number in about.partitions]


def _without(conf: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in conf.items() if name not in names}


def _client(kind: Callable[..., _Client], conf: dict[str, Any]) -> _Client:
    # A client hands its lines to a logger whenever it is polled. Without one it writes them to standard error.
    logger = logs.client_logger()
    try:
        return kind(conf) if logger is None else kind(conf, logger=logger)
    except (TypeError, ValueError, KafkaException) as error:
        raise ZadsError(f"the Kafka client refuses its configuration: {error}") from error
