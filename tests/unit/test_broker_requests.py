"""The two requests that we write ourselves: what is sent, what an answer means, and that a wrong one is an error."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from scram_server import ScramServer
from zads.errors import ZadsError
from zads.site.broker_requests import (
    LogDirectory,
    Reassignment,
    log_directories,
    reassign,
    reassignments,
    replica_sizes,
)

HEAD = struct.pack(">i", 1) + b"\0"
OK, NO_DELAY, TAGS = b"\0\0", b"\0\0\0\0", b"\0"
PLAIN = {"security.protocol": "plaintext"}


def text(value: str) -> bytes:
    return bytes([len(value) + 1]) + value.encode()


def array(*items: bytes) -> bytes:
    return bytes([len(items) + 1]) + b"".join(items)


@contextmanager
def broker(answer: bytes, claims: int | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A listener that sends these bytes to whatever is asked. Yields its port and what it was asked."""
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            (size,) = struct.unpack(">i", connection.recv(4))
            asked.append(connection.recv(size))
            connection.sendall(struct.pack(">i", len(answer) if claims is None else claims) + answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(10)


def test_log_directories_are_read_with_those_that_failed() -> None:
    partition = struct.pack(">iqqb", 0, 100, 0, 0) + TAGS
    # A tag of a later version: number 7, two bytes.
    later = b"\1\7\2ab"
    good = OK + text("/a") + array(text("night") + array(partition) + TAGS) + struct.pack(">qq", 1000, 10) + later
    failed = struct.pack(">h", 56) + text("/b") + array() + struct.pack(">qq", -1, -1) + TAGS
    # The broker uses the third, and does not find its size.
    unknown = struct.pack(">h", -1) + text("/c") + array() + struct.pack(">qq", -1, -1) + TAGS
    with broker(HEAD + NO_DELAY + OK + array(good, failed, unknown) + TAGS) as (port, asked):
        found = log_directories(PLAIN, "127.0.0.1", port, 5)
    directories = [("/a", True, 1000, 10), ("/b", False, -1, -1), ("/c", True, -1, -1)]
    assert found == [LogDirectory(*directory) for directory in directories]
    assert asked[0] == struct.pack(">hhih", 35, 4, 1, 4) + b"zads" + TAGS + array() + TAGS


def test_reassignments_are_read_topic_by_topic() -> None:
    numbers = [array(*(struct.pack(">i", n) for n in some)) for some in ((1, 2, 4), (4,), (1,))]
    partition = struct.pack(">i", 3) + b"".join(numbers) + TAGS
    body = NO_DELAY + OK + b"\0" + array(text("night") + array(partition) + TAGS) + TAGS
    with broker(HEAD + body) as (port, asked):
        found = reassignments(PLAIN, "127.0.0.1", port, 5)
    assert found == [Reassignment("night-3", (4,), (1,))]
    assert str(found[0]) == "night-3 (to 4, from 1)"
    assert asked[0].startswith(struct.pack(">hh", 46, 0))
    assert asked[0].endswith(struct.pack(">i", 5000) + b"\0" + TAGS), "every topic"


def test_the_size_of_every_replica_is_read_except_of_one_that_is_on_its_way_to_another_disk() -> None:
    replicas = [struct.pack(">iqqb", number, size, 0, moves) + TAGS for number, size, moves in ((0, 7, 0), (1, 8, 1))]
    first = OK + text("/a") + array(text("night") + array(*replicas) + TAGS) + struct.pack(">qq", 9, 9) + TAGS
    second = OK + text("/b") + array(text("ledger") + array(replicas[0]) + TAGS) + struct.pack(">qq", 9, 9) + TAGS
    with broker(HEAD + NO_DELAY + OK + array(first, second) + TAGS) as (port, asked):
        assert replica_sizes(PLAIN, "127.0.0.1", port, 5) == {("night", 0): 7, ("ledger", 0): 7}
    assert asked[0].endswith(b"zads" + TAGS + b"\0" + TAGS), "every topic"


def test_partitions_get_replicas_or_keep_theirs_and_a_refusal_names_the_partition() -> None:
    refused = struct.pack(">ih", 1, 39) + text("no such broker") + TAGS
    unnamed = struct.pack(">ih", 2, 3) + b"\0" + TAGS
    idle = struct.pack(">ih", 3, 85) + b"\0" + TAGS
    answer = NO_DELAY + OK + b"\0" + array(text("night") + array(refused, unnamed, idle) + TAGS) + TAGS
    wanted: dict[tuple[str, int], tuple[int, ...] | None] = {
        ("night", 0): (4, 2),
        ("night", 3): None,
        ("x" * 200, 0): (1,),
    }
    with broker(HEAD + answer) as (port, asked):
        found = reassign(PLAIN, "127.0.0.1", port, wanted, 5)
    assert found == {"night-1": "no such broker", "night-2": "Kafka's error 3"}
    first = struct.pack(">i", 0) + array(struct.pack(">i", 4), struct.pack(">i", 2)) + TAGS
    cancelled = struct.pack(">i", 3) + b"\0" + TAGS
    long = b"\xc9\1" + b"x" * 200 + array(struct.pack(">i", 0) + array(struct.pack(">i", 1)) + TAGS) + TAGS
    assert asked[0].startswith(struct.pack(">hh", 45, 0))
    assert asked[0].endswith(
        struct.pack(">i", 5000) + array(text("night") + array(first, cancelled) + TAGS, long) + TAGS
    )


def _reassign(conf: dict[str, str], host: str, port: int, seconds: float) -> object:
    return reassign(conf, host, port, {}, seconds)


@pytest.mark.parametrize("ask", [log_directories, reassignments, replica_sizes, _reassign])
@pytest.mark.parametrize(
    ("answer", "claims", "says"),
    [
        pytest.param(HEAD + NO_DELAY + struct.pack(">h", 41) + b"\0\1\0", None, "Kafka's error 41", id="an error"),
        pytest.param(HEAD + NO_DELAY, None, "ends early", id="a short answer"),
        pytest.param(HEAD, 1 << 30, "claims 1073741824 bytes", id="too long an answer"),
        pytest.param(HEAD, -5, "claims -5 bytes", id="a negative length"),
        pytest.param(HEAD, 100, "ended before the answer", id="a connection that ends"),
    ],
)
def test_a_wrong_answer_is_an_error_that_names_the_broker(
    ask: Callable[..., object], answer: bytes, claims: int | None, says: str
) -> None:
    with broker(answer, claims) as (port, _), pytest.raises(ZadsError, match=f"127.0.0.1:{port} .*{says}"):
        ask(PLAIN, "127.0.0.1", port, 5)


def test_nobody_at_the_address_is_an_error_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ZadsError, match=f"127.0.0.1:{port} does not answer"):
        log_directories(PLAIN, "127.0.0.1", port, 1)


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"security.protocol": "kerberos"}, "use ssl or SASL_SSL"),
        ({"security.protocol": "SASL_SSL"}, "certificate cannot be used"),
    ],
)
def test_a_client_that_cannot_be_used_is_refused(conf: dict[str, str], says: str) -> None:
    with pytest.raises(ZadsError, match=says):
        log_directories(conf, "127.0.0.1", 1, 1)


def with_password(password: str) -> dict[str, str]:
    login = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "zads.exporter", "sasl.password": password}
    return {"security.protocol": "SASL_PLAINTEXT", **login}


@contextmanager
def broker_with_passwords(answer: bytes) -> Iterator[tuple[int, list[int]]]:
    """A listener that asks for the password `secret` first. Yields its port and the keys of the requests."""
    keys: list[int] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        server = ScramServer("secret")

        def receive() -> bytes:
            (size,) = struct.unpack(">i", connection.recv(4))
            request = connection.recv(size)
            keys.append(struct.unpack(">h", request[:2])[0])
            return request

        def send(content: bytes) -> None:
            connection.sendall(struct.pack(">i", len(content)) + content)

        with connection:
            assert receive().endswith(b"\0\x0dSCRAM-SHA-512")
            send(struct.pack(">ih", 1, 0) + struct.pack(">i", 0))  # of old requests, heads have no tags
            for step in (server.challenge, server.verdict):
                said = receive()
                start = said.index(b"zads") + 4 + 1  # the client's name, tags
                said, code = said[start + (2 if said[start] >= 0x80 else 1) : -1], b"\0\0"
                reply = step(said)
                if reply is None:
                    code, reply = struct.pack(">h", 58), b""
                why = text("refused") if code != b"\0\0" else b"\0"
                size = bytes([(len(reply) + 1) & 0x7F | 0x80, (len(reply) + 1) >> 7])
                send(HEAD + code + why + size + reply + struct.pack(">q", 0) + TAGS)
                if code != b"\0\0":
                    return
            receive()
            send(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], keys
        thread.join(10)


def test_a_client_with_a_password_shows_that_it_knows_it_before_it_asks() -> None:
    with broker_with_passwords(HEAD + NO_DELAY + OK + array() + TAGS) as (port, keys):
        assert log_directories(with_password("secret"), "127.0.0.1", port, 5) == []
    assert keys == [17, 36, 36, 35]


def test_a_wrong_password_is_an_error_that_does_not_name_it() -> None:
    with broker_with_passwords(b"") as (port, _), pytest.raises(ZadsError, match="refused") as caught:
        log_directories(with_password("not-it"), "127.0.0.1", port, 5)
    assert "not-it" not in str(caught.value)
