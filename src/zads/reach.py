"""Tries to reach a site step by step, as one client of it, and says at which step it fails and what to do.

The steps, for each address that the client's properties name: its name is looked up, a connection is made, it is
encrypted, and the client logs in. Then the site names its brokers, and the same is done for each address that the
brokers name for themselves. At the end the client's consumer group is asked for, and one record is read. Nothing is
written, and no position is committed.

A copy of this file is a part of every subscriber's kit, so it imports nothing of this package, and runs on Python 3.8.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

SECONDS = 10.0  # for each step
SOON = 14  # days: a certificate that ends earlier is worth a word
_READ_SECONDS = 30.0
_BACK = 50  # offsets before the end of a partition, of which some may be marks of transactions
_DAY = 86400

OK, FAIL, SKIP = "ok", "FAIL", "skip"
_EXPIRED, _TOO_EARLY, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64  # OpenSSL's codes (X509_V_ERR_...)
_DENIED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
_CERTIFICATE = "the certificate"
_NEW_KIT = "ask the operators for the newest kit (operators: deploy, and compare the properties with those in clients/)"


@dataclass(frozen=True)
class Step:
    """One step at one place: its state (`OK`, `FAIL` or `SKIP`), what was found, and what to do if it failed."""

    where: str
    what: str
    state: str
    says: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """The step in words."""
        first = f"{self.state:4} {self.where} {self.what}: {self.says}"
        return [first, f"     what to do: {self.remedy}"] if self.remedy else [first]


def tried(conf: Mapping[str, str], group: str, seconds: float = SECONDS) -> Iterator[Step]:
    """Every step, as it is done. ``conf``: librdkafka's properties; ``group``: a consumer group of the client."""
    named = [one.strip() for one in conf["bootstrap.servers"].split(",") if one.strip()]
    metadata = yield from _all(conf, named, seconds)
    if metadata is None:
        return
    topics = sum(not name.startswith("__") for name in metadata.topics)
    yield Step("the site", "metadata", OK, f"{len(metadata.brokers)} brokers, {topics} topics that this client may see")
    others = [one for one in map(_address, metadata.brokers.values()) if one not in named]
    for address in sorted(others):
        for step in _broker(conf, address, seconds):
            yield step[0]
            if step[0].state == FAIL:
                why = "the brokers name this address to their clients, so it must be reachable from here, too"
                yield Step(address, "advertised", FAIL, "a broker is at this address", why)
    yield from _read(conf, metadata, group, seconds)


def login(conf: Mapping[str, str], address: str, seconds: float = SECONDS) -> Step:
    """Log in at one broker, ``HOST:PORT``, whatever brokers the properties name."""
    host, _, port = address.rpartition(":")
    return _login(conf, host.strip("[]"), int(port), seconds)[0]


def _all(conf: Mapping[str, str], named: list[str], seconds: float) -> Generator[Step, None, Any]:
    """The steps at each address. Returns the metadata that the first broker gave, or None."""
    metadata = None
    for address in named:
        for step, answer in _broker(conf, address, seconds):
            yield step
            metadata = metadata or answer
    if metadata is None:
        yield Step("the site", "metadata", SKIP, "no broker let this client in")
    return metadata


def _broker(conf: Mapping[str, str], address: str, seconds: float) -> Iterator[tuple[Step, Any]]:
    """The steps at one address; the last one comes with the site's metadata. It ends with the first that fails."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        yield Step(address, "name", FAIL, "this is no HOST:PORT", "correct bootstrap.servers"), None
        return
    for step in (_name, _connection, _encryption, _login):
        found, answer = step(conf, host, int(port), seconds)
        if found is not None:
            yield found, answer
            if found.state == FAIL:
                return


def _name(_conf: Mapping[str, str], host: str, port: int, _seconds: float) -> tuple[Step, None]:
    where = _joined(host, port)
    try:
        found = sorted({str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        remedy = "is the name right, and does this network's DNS know it? If not, write it into /etc/hosts"
        return Step(where, "name", FAIL, f"the name is not known here ({error})", remedy), None
    return Step(where, "name", OK, ", ".join(found)), None


def _connection(_conf: Mapping[str, str], host: str, port: int, seconds: float) -> tuple[Step, None]:
    where, began = _joined(host, port), time.monotonic()
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except (ConnectionRefusedError, ConnectionResetError) as error:
        remedy = "is the port right? If it is, the broker is down or a firewall refuses: ask the operators"
        return Step(where, "connection", FAIL, f"nobody listens there ({error})", remedy), None
    except OSError as error:
        remedy = "a firewall between here and the site drops the connection, or the machine is off: ask both sides"
        return Step(where, "connection", FAIL, f"no answer within {seconds:.0f} s ({error})", remedy), None
    return Step(where, "connection", OK, f"after {(time.monotonic() - began) * 1000:.0f} ms"), None


def _encryption(conf: Mapping[str, str], host: str, port: int, seconds: float) -> tuple[Step | None, None]:
    if "ssl" not in conf.get("security.protocol", "plaintext").lower():
        return None, None
    where = _joined(host, port)
    try:
        context = _context(conf)
    except (OSError, ValueError) as error:
        said = f"the certificates of this client cannot be used ({error})"
        return Step(where, "encryption", FAIL, said, "are the files there, beside the properties that name them?"), None
    try:
        version, certificate = _handshake(context, host, port, seconds)
    except ssl.SSLCertVerificationError as error:
        return _mistrusted(where, error, conf, (host, port), seconds), None
    except OSError as error:
        remedy = "is this the port for clients? Otherwise the broker has too many connections: try again in a minute"
        return Step(where, "encryption", FAIL, f"it does not answer with TLS ({error})", remedy), None
    end = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    days = int((end - time.time()) // _DAY)
    said = f"{version}, certificate of {_names(certificate)}, until {_day(end)} ({days} days)"
    return Step(where, "encryption", OK, said, "the operators should renew it now" if days < SOON else ""), None


def _context(conf: Mapping[str, str]) -> ssl.SSLContext:
    authority = conf.get("ssl.ca.location", "probe")
    context = ssl.create_default_context(cafile=None if authority == "probe" else authority)
    # librdkafka is not strict either.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = conf.get("ssl.endpoint.identification.algorithm", "https") != "none"
    if certificate := conf.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, conf.get("ssl.key.location"), conf.get("ssl.key.password"))
    return context


def _handshake(context: ssl.SSLContext, host: str, port: int, seconds: float) -> tuple[str, Mapping[str, Any]]:
    """The version of TLS, and what the certificate says. Raises OSError."""
    connection = socket.create_connection((host, port), timeout=seconds)
    with connection, context.wrap_socket(connection, server_hostname=host) as encrypted:
        return encrypted.version() or "TLS", encrypted.getpeercert() or {}


def _mistrusted(
    where: str, error: ssl.SSLCertVerificationError, conf: Mapping[str, str], place: tuple[str, int], seconds: float
) -> Step:
    """Why the certificate of a broker is not accepted."""
    said, remedy = f"its certificate is not of the authority in ca.pem ({error.verify_message})", _NEW_KIT
    if error.verify_code == _EXPIRED:
        said, remedy = "its certificate has ended", "the operators must renew it. Is this computer's clock right?"
    elif error.verify_code == _TOO_EARLY:
        now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017 - for Python 3.8
        said = "its certificate is not valid yet"
        remedy = f"is this computer's clock right? It says {now:%Y-%m-%d %H:%M} UTC"
    elif error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        context = _context(conf)
        context.check_hostname = False
        try:
            names = _names(_handshake(context, place[0], place[1], seconds)[1])
        except OSError:
            names = "others"
        said = f"its certificate is not for {place[0]}, but of {names}"
        remedy = "connect by one of these names, or ask the operators to give the certificate this one"
    return Step(where, "encryption", FAIL, said, remedy)


def _names(certificate: Mapping[str, Any]) -> str:
    """The name that a certificate is of, and those that it is valid for."""
    subject = [value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    names = [value for _, value in certificate.get("subjectAltName", ())]
    return f"{subject[0] if subject else '?'} (valid for {', '.join(names) or 'no name'})"


def _day(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%d")  # noqa: UP017


def _login(conf: Mapping[str, str], host: str, port: int, seconds: float) -> tuple[Step, Any]:
    """Log in at one broker. Returns the site's metadata as well."""
    where, who = _joined(host, port), conf.get("sasl.username") or _CERTIFICATE
    errors: list[KafkaError] = []
    settings: dict[str, Any] = {**_client(conf), "bootstrap.servers": where, "error_cb": errors.append}
    client, until = AdminClient(settings), time.monotonic() + seconds
    while True:
        try:
            return Step(where, "login", OK, f"as {who}"), client.list_topics(timeout=2)
        except KafkaException as error:
            client.poll(0)  # only then librdkafka reports why
            if refused := [one for one in errors if one.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)]:
                return _refused(where, who, refused[0]), None
            if time.monotonic() > until:
                said = errors[-1].str() if errors else error.args[0].str()
                remedy = "the broker ends the connection: is the certificate of this client one of this site's?"
                if "sasl" in conf.get("security.protocol", "").lower():
                    remedy = "the broker is busy or starts: try again in a minute, then ask the operators"
                return Step(where, "login", FAIL, f"no answer to {who} within {seconds:.0f} s ({said})", remedy), None


def _refused(where: str, who: str, error: KafkaError) -> Step:
    remedy = f"the password was changed, or the account has ended: {_NEW_KIT}"
    if who == _CERTIFICATE:
        remedy = "the certificate of this client is of another authority, or has ended: the operators renew it"
    return Step(where, "login", FAIL, f"the broker refuses {who} ({error.str()})", remedy)


def _client(conf: Mapping[str, str]) -> dict[str, Any]:
    """The properties that connect; those of producers and consumers make an administration client complain."""
    kept = ("security.", "sasl.", "ssl.", "bootstrap.servers")
    return {**{name: value for name, value in conf.items() if name.startswith(kept)}, "log_level": 0}


def _read(conf: Mapping[str, str], metadata: Any, group: str, seconds: float) -> Iterator[Step]:
    """Ask for a group's position, then read a record of any topic."""
    topics = {name: sorted(topic.partitions) for name, topic in metadata.topics.items() if not name.startswith("__")}
    if not any(topics.values()):
        yield Step(
            "the site", "read", SKIP, "this client may see no topic", "nothing is granted yet, or no night exists"
        )
        return
    settings = {**_client(conf), "group.id": group, "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**settings, "isolation.level": "read_committed"})
    try:
        first = next((name, numbers[0]) for name, numbers in topics.items() if numbers)
        step = _group(consumer, TopicPartition(*first), group, seconds)
        yield step
        yield _record(consumer, topics, time.monotonic() + _READ_SECONDS, seconds)
    finally:
        consumer.close()


def _group(consumer: Any, place: TopicPartition, group: str, seconds: float) -> Step:
    try:
        found = consumer.committed([place], timeout=seconds)
        if found[0].error is not None:
            raise KafkaException(found[0].error)
    except KafkaException as error:
        said, remedy = f"no answer about {group}", "the broker that keeps the groups is not reached: see above"
        if error.args[0].code() in _DENIED:
            said, remedy = f"{group} may not be used", "its name must be the user's, or begin with it and a hyphen"
        return Step("the site", "group", FAIL, f"{said} ({error.args[0].str()})", remedy)
    return Step("the site", "group", OK, f"{group} may be used")


def _record(consumer: Any, topics: Mapping[str, list[int]], until: float, seconds: float) -> Step:
    """One record, of the newest night that has one."""
    nights = sorted((name for name in topics if "_20" in name), reverse=True)
    empty = 0
    for topic in [*nights, *(name for name in topics if name not in nights)]:
        for number in topics[topic]:
            if time.monotonic() > until:  # over a slow link, hundreds of empty partitions take this long
                return Step("the site", "read", SKIP, f"no record in {empty} partitions; the others were not tried")
            try:
                size = _one(consumer, topic, number, seconds)
            except KafkaException as error:
                code = error.args[0].code()
                remedy = "this client has no right to read it" if code in _DENIED else "ask the operators: make verify"
                return Step("the site", "read", FAIL, f"{topic} cannot be read ({error.args[0].str()})", remedy)
            if size is not None:
                return Step("the site", "read", OK, f"a record of {size} bytes of {topic}")
            empty += 1
    return Step("the site", "read", SKIP, "no topic that this client may see holds a record now")


def _one(consumer: Any, topic: str, number: int, seconds: float) -> int | None:
    """The size of one of the last records of a partition; None if it has none. Raises KafkaException."""
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=seconds)
    if high <= low:
        return None
    consumer.assign([TopicPartition(topic, number, max(low, high - _BACK))])
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error() is None:
            return len(message.value() or b"")
        if message.error().code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            continue  # the step before has said so, and a record can be read without the group
        if message.error().code() == KafkaError._PARTITION_EOF:
            return None
        raise KafkaException(message.error())
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _address(broker: Any) -> str:
    return _joined(broker.host, broker.port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
