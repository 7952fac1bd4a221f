"""A broker survives any sizes that a client announces, and serves other clients."""

from __future__ import annotations

import importlib.util
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType

import pytest

from bench.broker import ROOT, Broker, await_true, running
from zads import kafka

HEAP = "320m"  # the laptop's inventories
NEIGHBOUR = (
    "timeout 30 /opt/kafka/bin/kafka-run-class.sh org.apache.kafka.tools.GetOffsetShell "
    "--bootstrap-server $(hostname -i):9092 --topic neighbour"
)
CLAIM = 100_000_000  # bytes of a request that Kafka's default settings accept


def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bounds", ROOT / "ansible/plugins/filter/bounds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BOUNDS: dict[str, int] = plugin().broker_bounds(HEAP)
SETTINGS = {
    "socket.request.max.bytes": BOUNDS["request"],
    "queued.max.request.bytes": BOUNDS["queued"],
    "max.connections.per.ip": BOUNDS["address"],
    "max.connections.per.ip.overrides": "127.0.0.1:10",
}


@pytest.fixture(scope="module")
def bounded() -> Iterator[Broker]:
    """A broker with the smallest memory of any inventory, and the bounds that the role sets for it."""
    with running(HEAP, SETTINGS) as started:
        started.create("neighbour", partitions=1)
        yield started


def address(broker: Broker) -> tuple[str, int]:
    host, _, port = broker.conf["bootstrap.servers"].partition(":")
    return host, int(port)


@contextmanager
def claims(broker: Broker, number: int, size: int) -> Iterator[list[socket.socket]]:
    """Connections that announce a request of `size` bytes and do not send it."""
    with ExitStack() as stack:
        opened = []
        for _ in range(number):
            connection = stack.enter_context(socket.create_connection(address(broker), timeout=10))
            connection.sendall(struct.pack(">i", size))
            opened.append(connection)
        yield opened


def is_open(connection: socket.socket) -> bool:
    """Whether the broker still holds a connection."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def seconds_to_publish(broker: Broker) -> float:
    """Seconds in which another client connects and publishes a record."""
    failures: list[object] = []
    began = time.monotonic()
    client = kafka.producer(broker.conf, **{"linger.ms": 0, "delivery.timeout.ms": 15_000})
    client.produce("neighbour", b"x" * 65_000, on_delivery=lambda error, _: error and failures.append(error))
    assert client.flush(20) == 0
    assert not failures, failures
    return time.monotonic() - began


def alive(broker: Broker) -> bool:
    wrapped = broker.container.get_wrapped_container()
    wrapped.reload()
    return bool(wrapped.status == "running")


def test_a_claim_beyond_the_largest_request_ends_its_own_connection_only(bounded: Broker) -> None:
    before = seconds_to_publish(bounded)
    with claims(bounded, 8, CLAIM) as opened:
        await_true(lambda: not any(map(is_open, opened)), "the broker to close all that claim 100 MB")
        assert seconds_to_publish(bounded) < before + 2
    assert alive(bounded)


def test_one_address_can_neither_fill_the_memory_nor_keep_neighbours_out(bounded: Broker) -> None:
    """The other client runs on the broker's host, so it has another address."""
    with claims(bounded, 200, BOUNDS["request"]) as opened:
        await_true(
            lambda: sum(map(is_open, opened)) <= BOUNDS["address"],
            "the broker to close the connections above the bound",
        )
        assert sum(map(is_open, opened)) > 0
        answer = bounded.container.exec(["sh", "-c", NEIGHBOUR])
        assert b"neighbour:0" in answer.output, answer.output
    assert alive(bounded)
    seconds_to_publish(bounded)
