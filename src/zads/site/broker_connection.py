"""One question to one broker over a connection of its own, in Kafka's protocol (https://kafka.apache.org/protocol.html).

It is for requests that librdkafka cannot make (`zads.site.broker_requests`). A client with a certificate shows it; one
with a password first sends SaslHandshake, version 1, and SaslAuthenticate, version 2 (`zads.site.scram`).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from zads.errors import ZadsError
from zads.site.scram import MECHANISM, Scram

#: A structure may end with optional fields; there are none.
TAGS = b"\0"
_SASL_HANDSHAKE = (17, 1)  # key and version of the request
_SASL_AUTHENTICATE = (36, 2)
_LARGEST = 64 << 20  # bytes of an answer: a larger claim is no answer of Kafka
_Item = TypeVar("_Item")


def length(value: int) -> bytes:
    """A length as Kafka sends it: one more than it is, seven bits a byte."""
    value += 1
    content = bytearray()
    while value >= 0x80:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def text(value: str) -> bytes:
    """A text as Kafka sends it."""
    content = value.encode()
    return length(len(content)) + content


def array(items: Sequence[bytes]) -> bytes:
    """An array of items that are bytes already."""
    return length(len(items)) + b"".join(items)


class Answer:
    """The bytes of an answer, read from front to back. All its methods raise ValueError at its end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def skip(self, size: int) -> bytes:
        """The next bytes."""
        if size < 0 or self.place + size > len(self.content):
            raise ValueError("the answer ends early")
        self.place += size
        return self.content[self.place - size : self.place]

    def number(self, size: int) -> int:
        """An integer of this many bytes."""
        return int.from_bytes(self.skip(size), "big", signed=True)

    def length(self) -> int:
        """A length, of which Kafka sends one more than it is; -1 if there is nothing."""
        value = shift = 0
        while True:
            byte = self.skip(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value - 1
            shift += 7

    def text(self) -> str:
        """A text, empty if there is none."""
        return self.skip(max(self.length(), 0)).decode(errors="replace")

    def array(self, item: Callable[[Answer], _Item]) -> list[_Item]:
        """The items of an array, each read by `item`."""
        return [item(self) for _ in range(self.length())]

    def tags(self) -> None:
        """Read over optional fields of later versions."""
        for _ in range(self.length() + 1):
            self.length()
            self.skip(self.length() + 1)


def ask(
    conf: Mapping[str, str],
    address: tuple[str, int],
    request: tuple[int, int],
    body: bytes,
    seconds: float,
    read: Callable[[Answer], _Item],
) -> _Item:
    """Send one request, and return what `read` makes of the answer after its head. Raises ZadsError."""
    context = _encryption(conf)
    try:
        with contextlib.ExitStack() as opened:
            connection = opened.enter_context(socket.create_connection(address, timeout=seconds))
            if context:
                connection = opened.enter_context(context.wrap_socket(connection, server_hostname=address[0]))
            if _protocol(conf).startswith("sasl_"):
                _authenticate(connection, conf)
            answer = _exchange(connection, request, TAGS + body)
        answer.tags()
        return read(answer)
    except (OSError, ValueError) as error:
        raise ZadsError(f"{address[0]}:{address[1]} does not answer: {error or type(error).__name__}") from error


def _exchange(connection: socket.socket, request: tuple[int, int], rest: bytes) -> Answer:
    """Send one request, whose head ends with the client's name, and return the answer after the request's number."""
    client = b"zads"
    message = struct.pack(">hhih", *request, 1, len(client)) + client + rest
    connection.sendall(struct.pack(">i", len(message)) + message)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    if not 5 <= size <= _LARGEST:
        raise ValueError(f"the answer claims {size} bytes")
    answer = Answer(_receive(connection, size))
    answer.number(4)
    return answer


def _authenticate(connection: socket.socket, conf: Mapping[str, str]) -> None:
    """Show the client's password. Raises ValueError if the broker refuses it."""
    if conf.get("sasl.mechanism") != MECHANISM:
        raise ZadsError(f"sasl.mechanism={conf.get('sasl.mechanism')} cannot be used here", hint=f"use {MECHANISM}")
    scram = Scram(conf.get("sasl.username", ""), conf.get("sasl.password", ""))
    mechanism = MECHANISM.encode()
    answer = _exchange(connection, _SASL_HANDSHAKE, struct.pack(">h", len(mechanism)) + mechanism)
    if code := answer.number(2):
        raise ValueError(f"it does not take {MECHANISM} (Kafka's error {code})")
    scram.check(_say(connection, scram.proof(_say(connection, scram.first()))))


def _say(connection: socket.socket, said: bytes) -> bytes:
    """Send one step of the authentication, and return the broker's."""
    answer = _exchange(connection, _SASL_AUTHENTICATE, TAGS + length(len(said)) + said + TAGS)
    answer.tags()
    code, why = answer.number(2), answer.text()
    if code:
        raise ValueError(why or f"Kafka's error {code}")
    return answer.skip(max(answer.length(), 0))


def _receive(connection: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise ValueError("the connection ended before the answer")
        content += part
    return bytes(content)


def _protocol(conf: Mapping[str, str]) -> str:
    return conf.get("security.protocol", "plaintext").lower()


def _encryption(conf: Mapping[str, str]) -> ssl.SSLContext | None:
    protocol = _protocol(conf)
    if protocol in ("plaintext", "sasl_plaintext"):
        return None
    if protocol not in ("ssl", "sasl_ssl"):
        raise ZadsError(f"security.protocol={protocol} cannot be used here", hint="use ssl or SASL_SSL")
    try:
        context = ssl.create_default_context(cafile=conf["ssl.ca.location"])
        if protocol == "ssl":
            context.load_cert_chain(conf["ssl.certificate.location"], conf["ssl.key.location"])
    except (OSError, KeyError) as error:
        raise ZadsError(f"the client's certificate cannot be used: {error}") from error
    return context
