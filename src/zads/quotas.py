"""What each user may take of a cluster: Kafka's client quotas, read and altered.

librdkafka cannot do this, nor can any other Python library without use of its inner parts. Kafka's own tool starts a
Java process for each user. So this module speaks the two requests itself, in their first version, over TLS with the
administrator's certificate or without security. Source: the messages DescribeClientQuotas and AlterClientQuotas of the
Kafka protocol (KIP-546).
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping

from zads.errors import ZadsError

#: Whom a quota is for: (type, name) pairs, sorted. The name None: everybody of the type who has no quota of their own.
Entity = tuple[tuple[str, str | None], ...]

_DESCRIBE, _ALTER = 48, 49
_SECONDS = 30
_MOST_BYTES = 16 << 20  # of an answer: a quota takes some hundred


def user(name: str | None) -> Entity:
    """A user's entity; None: every user without a quota of their own."""
    return (("user", name),)


def in_words(entity: Entity) -> str:
    """An entity as Kafka's tools write it."""
    return ", ".join(f"{kind} {'<default>' if name is None else name}" for kind, name in entity)


def describe(conf: Mapping[str, str]) -> dict[Entity, dict[str, float]]:
    """Every quota of a cluster: its values by their names, such as ``consumer_byte_rate``. Raises ZadsError."""
    answer = _ask(conf, _DESCRIBE, struct.pack(">ib", 0, 0))  # no condition: all of them
    _, code, reason, entries = answer.int32(), answer.int16(), answer.text(), answer.int32()
    if code:
        raise ZadsError(f"the cluster does not tell its quotas: {reason or f'error {code}'}")
    found: dict[Entity, dict[str, float]] = {}
    for _ in range(entries):
        entity = answer.entity()
        found[entity] = {answer.text() or "": answer.float64() for _ in range(answer.int32())}
    return found


def alter(conf: Mapping[str, str], changes: Mapping[Entity, Mapping[str, float | None]]) -> None:
    """Set values of quotas in the order given; None removes a value. Raises ZadsError with the first refusal."""
    body = struct.pack(">i", len(changes))
    for entity, values in changes.items():
        body += struct.pack(">i", len(entity)) + b"".join(_text(kind) + _text(name) for kind, name in entity)
        body += struct.pack(">i", len(values))
        for key, value in values.items():
            body += _text(key) + struct.pack(">db", value or 0.0, value is None)
    answer = _ask(conf, _ALTER, body + struct.pack(">b", 0))
    answer.int32()
    for _ in range(answer.int32()):
        code, reason = answer.int16(), answer.text()
        entity = answer.entity()
        if code:
            raise ZadsError(f"the cluster refuses a quota for {in_words(entity)}: {reason or f'error {code}'}")


class _Answer:
    """The fields of an answer, in their order. Raises ZadsError where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def _take(self, size: int) -> bytes:
        part = self._data[self._place : self._place + size]
        if len(part) != size:
            raise ZadsError("the cluster's answer about quotas ends too early")
        self._place += size
        return part

    def int16(self) -> int:
        """Two bytes."""
        return int.from_bytes(self._take(2), "big", signed=True)

    def int32(self) -> int:
        """Four bytes."""
        return int.from_bytes(self._take(4), "big", signed=True)

    def float64(self) -> float:
        """Eight bytes."""
        number: float = struct.unpack(">d", self._take(8))[0]
        return number

    def text(self) -> str | None:
        """A text after its length in two bytes; None if the length is -1."""
        size = self.int16()
        return None if size < 0 else self._take(size).decode()

    def entity(self) -> Entity:
        """Pairs of a type and a name."""
        pairs = [(self.text() or "", self.text()) for _ in range(self.int32())]
        return tuple(sorted(pairs, key=lambda pair: pair[0]))


def _text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">h", -1)
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def _ask(conf: Mapping[str, str], api: int, body: bytes) -> _Answer:
    """The answer of the first broker that can be reached: every broker can answer. Raises ZadsError."""
    request = struct.pack(">hhi", api, 0, 1) + _text("zads") + body
    failures = []
    for server in conf["bootstrap.servers"].split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with _connected(conf, host.strip("[]"), int(port)) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                size = int.from_bytes(_received(connection, 4), "big")
                if size > _MOST_BYTES:
                    raise OSError(f"{size} bytes are no answer of Kafka's")
                answer = _Answer(_received(connection, size))
                answer.int32()  # the number of the request: there is only one
                return answer
        except (OSError, ValueError) as error:
            failures.append(f"{server}: {error}")
    raise ZadsError(f"no broker answers a question about quotas: {'; '.join(failures)}")


def _connected(conf: Mapping[str, str], host: str, port: int) -> socket.socket:
    """A connection, encrypted if the properties say so."""
    protocol = conf.get("security.protocol", "plaintext").lower()
    if protocol not in ("plaintext", "ssl"):
        raise ZadsError(f"quotas are set with the administrator's certificate, not by {protocol}")
    connection = socket.create_connection((host, port), timeout=_SECONDS)
    if protocol == "plaintext":
        return connection
    context = ssl.create_default_context(cafile=conf.get("ssl.ca.location"))
    if certificate := conf.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, conf.get("ssl.key.location"))
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _received(connection: socket.socket, size: int) -> bytes:
    """Exactly this many bytes. Raises OSError if the broker closes the connection before."""
    data = b""
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 16))
        if not part:
            raise OSError("it has closed the connection")
        data += part
    return data
