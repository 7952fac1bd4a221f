"""Quotas as the brokers' protocol has them, against a broker that says what the test wants."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from zads import quotas
from zads.errors import ZadsError


@contextmanager
def broker(answer: Callable[[bytes], bytes]) -> Iterator[tuple[dict[str, str], list[bytes]]]:
    """A server that answers each request with these bytes. Yields properties to reach it, and what it was asked."""
    asked: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            size = int.from_bytes(self.rfile.read(4), "big")
            asked.append(self.rfile.read(size))
            self.wfile.write(answer(asked[-1]))

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield {"bootstrap.servers": f"127.0.0.1:{server.server_address[1]}"}, asked
        server.shutdown()


def framed(body: bytes) -> bytes:
    data = struct.pack(">i", 1) + body
    return struct.pack(">i", len(data)) + data


def text(value: str | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def test_what_a_cluster_has_is_read() -> None:
    body = struct.pack(">ih", 0, 0) + text(None) + struct.pack(">i", 2)
    body += struct.pack(">i", 1) + text("user") + text(None)
    body += struct.pack(">i", 1) + text("consumer_byte_rate") + struct.pack(">d", 5.5)
    body += struct.pack(">i", 2) + text("user") + text("reader") + text("client-id") + text("x") + struct.pack(">i", 0)
    with broker(lambda _: framed(body)) as (conf, asked):
        assert quotas.describe(conf) == {
            quotas.user(None): {"consumer_byte_rate": 5.5},
            (("client-id", "x"), ("user", "reader")): {},
        }
    assert asked[0][:4] == struct.pack(">hh", 48, 0)


def test_a_refusal_names_whose_quota_it_was() -> None:
    body = struct.pack(">iih", 0, 1, 42) + text("must be a Long value") + struct.pack(">i", 1)
    body += text("user") + text("reader")
    with (
        broker(lambda _: framed(body)) as (conf, _),
        pytest.raises(ZadsError, match="refuses a quota for user reader: must be a Long value"),
    ):
        quotas.alter(conf, {quotas.user("reader"): {"consumer_byte_rate": 0.5}})


@pytest.mark.parametrize(
    "answer", [b"", framed(b"\x00"), b"\x7f\xff\xff\xff", framed(struct.pack(">ihhi", 0, 0, -1, 7))]
)
def test_half_an_answer_is_an_error_in_one_sentence(answer: bytes) -> None:
    with broker(lambda _: answer) as (conf, _), pytest.raises(ZadsError, match="quotas"):
        quotas.describe(conf)


def test_the_next_broker_is_asked_when_one_is_down() -> None:
    empty = struct.pack(">ih", 0, 0) + text(None) + struct.pack(">i", -1)
    with broker(lambda _: framed(empty)) as (conf, _):
        servers = f"127.0.0.1:9,{conf['bootstrap.servers']}"
        assert quotas.describe({"bootstrap.servers": servers}) == {}
    with pytest.raises(ZadsError, match=r"no broker answers.*127\.0\.0\.1:9"):
        quotas.describe({"bootstrap.servers": "127.0.0.1:9"})


def test_a_password_is_never_sent_for_quotas() -> None:
    with pytest.raises(ZadsError, match="the administrator's certificate"):
        quotas.describe({"bootstrap.servers": "127.0.0.1:9", "security.protocol": "SASL_SSL"})
