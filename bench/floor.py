"""The floor: what an alert of the chain cannot do without, done by the best tools at hand.

Packets go the way of the deployed chain, in batches of the producer's size. The producer reads a batch from a file,
validates its packets and compresses it. Then it passes from process to process as `HOPS` says: that table is what runs.
At the end the readers must have the bytes of the beginning.

A floor does nothing that could be left out:

- There is no protocol: no requests, records, offsets, transactions, indexes or checksums but those of encryption.
- One thread does everything: no process waits for another or is woken by it, and nothing is done in Java.
- Bytes go through a socket in pieces of a size that costs least. Larger and smaller ones cost up to twice as much.
- A broker does not open batches. It sends from memory what it has just received, and does not read its file again.
- No filter decides anything, and no filter's topic is written.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from zstandard import ZstdCompressor, ZstdDecompressor

from bench.result import Context, Result
from zads import kafka
from zads.errors import ZadsError
from zads.packet import Packet

NAME = "the floor: what an alert cannot do without"
UNIT = "CPU-ms an alert"
ALERTS = 200  # of a round, at least: fewer packets are repeated

BATCH_BYTES = int(str(kafka.PRODUCER["batch.size"]))  # of packets, before compression
PRODUCER_LEVEL = int(str(kafka.PRODUCER["compression.level"]))
MIRROR_LEVEL = -3  # public.producer.compression.zstd.level of the role mirrormaker
RECORD_BYTES = 16_384  # the most that a record of TLS carries (RFC 8446, section 5.1)
PIECE_RECORDS = 16  # that pass together: they stay in the processor's cache from one step to the next
TAG_BYTES = 16  # of a record, by which its receiver checks it
KEY_BITS = 256  # the first cipher suite of the deployment is AES-256-GCM


@dataclass(frozen=True)
class Hop:
    """The passage of a batch from one process to another over an encrypted connection, and what the receiver does.

    A passage is one encryption, one sending, one receiving and one decryption.
    """

    sender: str
    receiver: str
    writes: bool = False  # the batch as it came, to a file in memory
    opens: bool = False  # decompresses the batch
    packs: int | None = None  # compresses it again, at this level of zstd


#: The way of a batch once the producer has compressed it. The public site has the batch that the mirror made.
HOPS = (
    Hop("producer", "origin leader", writes=True),
    Hop("origin leader", "origin follower 1", writes=True),
    Hop("origin leader", "origin follower 2", writes=True),
    Hop("origin leader", "mirror", opens=True, packs=MIRROR_LEVEL),
    Hop("mirror", "public leader", writes=True),
    Hop("public leader", "public follower 1", writes=True),
    Hop("public leader", "public follower 2", writes=True),
    Hop("public leader", "worker", opens=True),
    Hop("public leader", "subscriber", opens=True),
)

#: What an alert goes through, and how often on its whole way.
TIMES = {
    "read": 1,  # the exposure, from a file in memory
    "validate": 1,
    "compress": 1 + sum(hop.packs is not None for hop in HOPS),
    "decompress": sum(hop.opens for hop in HOPS),
    "encrypt": len(HOPS),
    "decrypt": len(HOPS),
    "send and receive": len(HOPS),
    "write": sum(hop.writes for hop in HOPS),
}


def measure(context: Context) -> Iterator[Result]:
    """The row of the floor."""
    with running(context.packets) as floor:
        rounds = [floor.round() for _ in range(context.rounds)]
    yield Result(NAME, list(map(total, rounds)), UNIT, sense="at most", note=by_part(rounds))


def total(costs: Mapping[str, float]) -> float:
    """CPU-milliseconds an alert of all parts together."""
    return sum(costs.values())


def by_part(rounds: Sequence[Mapping[str, float]]) -> str:
    """CPU-milliseconds an alert by part, the median of several rounds, and how often each part is done."""
    medians = {part: statistics.median(costs[part] for costs in rounds) for part in TIMES}
    return ", ".join(f"{part} ({times} x) {medians[part]:.3f}" for part, times in TIMES.items())


def batches(packets: Sequence[bytes]) -> list[list[bytes]]:
    """The packets in batches of at most BATCH_BYTES; a larger packet is a batch of its own."""
    found: list[list[bytes]] = []
    size = BATCH_BYTES
    for data in packets:
        size += len(data)
        if size > BATCH_BYTES:
            found.append([])
            size = len(data)
        found[-1].append(data)
    return found


@contextmanager
def running(packets: Sequence[bytes]) -> Iterator[Floor]:
    """Make connections and files, and close them after the body. The first round, which is not counted, is over."""
    alerts = list(itertools.islice(itertools.cycle(packets), max(ALERTS, len(packets))))
    with ExitStack() as stack:
        floor = Floor(batches(alerts), stack)
        floor.round()
        yield floor


class Floor:
    """All processes of the chain, reduced to what an alert needs of them. `stack` closes what it opens."""

    def __init__(self, made: Sequence[Sequence[bytes]], stack: ExitStack) -> None:
        self._batches = made
        largest = max(sum(map(len, batch)) for batch in made)
        self._exposure = _memory_file("exposure", stack)
        self._read = bytearray(largest)
        # Compression can make what it cannot compress a little larger, by less than a hundredth.
        room = largest + largest // 100 + RECORD_BYTES
        senders = {hop.sender for hop in HOPS}
        last = bytearray(room)  # of those who send nothing on: what they have in common stays in the cache
        self._connections = {
            hop: Connection(bytearray(room) if hop.receiver in senders else last, stack) for hop in HOPS
        }
        self._files = {hop: _memory_file(hop.receiver, stack) for hop in HOPS if hop.writes}
        levels = {PRODUCER_LEVEL, *(hop.packs for hop in HOPS if hop.packs is not None)}
        self._packers = {level: ZstdCompressor(level=level) for level in levels}
        self._opener = ZstdDecompressor()

    def round(self) -> dict[str, float]:
        """Take all batches through the chain. Returns CPU-milliseconds an alert by part.

        Raises ZadsError if a reader has not received the packets.
        """
        clock = Clock()
        for batch in self._batches:
            self._pass(batch, clock)
        alerts = sum(map(len, self._batches))
        return {part: 1000 * seconds / alerts for part, seconds in clock.seconds.items()}

    def _pass(self, batch: Sequence[bytes], clock: Clock) -> None:
        whole = b"".join(batch)
        held = {"producer": memoryview(self._produced(batch, whole, clock))}
        for hop in HOPS:
            arrived = self._connections[hop].carry(held[hop.sender], clock)
            if hop.writes:
                with clock.part("write"):
                    _write(self._files[hop], arrived)
                os.ftruncate(self._files[hop], 0)  # the next batch needs new pages, as a growing log does
            if hop.opens:
                with clock.part("decompress"):
                    opened = self._opener.decompress(arrived)
                if opened != whole:
                    raise ZadsError(f"the {hop.receiver} has other bytes than the producer sent: nothing is measured")
            if hop.packs is not None:
                with clock.part("compress"):
                    arrived = memoryview(self._packers[hop.packs].compress(opened))
            held[hop.receiver] = arrived

    def _produced(self, batch: Sequence[bytes], whole: bytes, clock: Clock) -> bytes:
        """The compressed batch, after the exposure has been read and its packets have been validated."""
        os.pwrite(self._exposure, whole, 0)
        room = memoryview(self._read)[: len(whole)]
        with clock.part("read"):
            os.preadv(self._exposure, [room], 0)
        with clock.part("validate"):
            for data in batch:
                Packet.parse(data)
        with clock.part("compress"):
            return self._packers[PRODUCER_LEVEL].compress(room)


class Clock:
    """Processor time of this thread by part, user and system together, in seconds.

    The loopback's work is done in the thread that sends. Other threads of the process, such as those of Kafka clients
    that the benchmark keeps, do not count.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(TIMES, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the body's time for a part."""
        begun = time.thread_time()
        yield
        self.seconds[name] += time.thread_time() - begun


class Connection:
    """A TCP connection over the loopback with a key of its own. This process has both of its ends.

    What arrives is decrypted into `room`, which must have room for a whole batch.
    """

    def __init__(self, room: bytearray, stack: ExitStack) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._near = stack.enter_context(socket.create_connection(server.getsockname()))
            self._far = stack.enter_context(server.accept()[0])
        for end in (self._near, self._far):
            end.setblocking(False)
        self._cipher = AESGCM(AESGCM.generate_key(KEY_BITS))
        self._sealed = self._opened = 0  # records; a record's number is its nonce
        self._out, self._in = (memoryview(bytearray(PIECE_RECORDS * (RECORD_BYTES + TAG_BYTES))) for _ in range(2))
        self._plain = memoryview(room)

    def carry(self, plain: memoryview, clock: Clock) -> memoryview:
        """Encrypt, send, receive and decrypt. Returns the bytes as they arrived, valid until the next call."""
        end = 0
        for start in range(0, len(plain), PIECE_RECORDS * RECORD_BYTES):
            with clock.part("encrypt"):
                size = self._seal(plain[start : start + PIECE_RECORDS * RECORD_BYTES])
            with clock.part("send and receive"):
                self._pass(size)
            with clock.part("decrypt"):
                end += self._open(size, self._plain[end:])
        return self._plain[:end]

    def _seal(self, plain: memoryview) -> int:
        """Encrypt a piece. Returns its size then."""
        end = 0
        for start in range(0, len(plain), RECORD_BYTES):
            record = plain[start : start + RECORD_BYTES]
            nonce = self._sealed.to_bytes(12, "big")
            end += self._cipher.encrypt_into(nonce, record, None, self._out[end : end + len(record) + TAG_BYTES])
            self._sealed += 1
        return end

    def _pass(self, size: int) -> None:
        """Send and receive a piece, by turns: the system's buffers may be smaller."""
        sent = got = 0
        while got < size:
            before = sent + got
            with suppress(BlockingIOError):
                sent += self._near.send(self._out[sent:size]) if sent < size else 0
            with suppress(BlockingIOError):
                got += self._far.recv_into(self._in[got:size])
            if sent + got == before:  # the bytes are on their way; waiting for them costs nothing
                select.select([self._far], [self._near] if sent < size else [], [])

    def _open(self, size: int, plain: memoryview) -> int:
        """Decrypt a piece. Returns its size then."""
        end = 0
        for start in range(0, size, RECORD_BYTES + TAG_BYTES):
            record = self._in[start : min(size, start + RECORD_BYTES + TAG_BYTES)]
            nonce = self._opened.to_bytes(12, "big")
            end += self._cipher.decrypt_into(nonce, record, None, plain[end : end + len(record) - TAG_BYTES])
            self._opened += 1
        return end


def _memory_file(name: str, stack: ExitStack) -> int:
    """A new file in memory, as the brokers' data are in the benchmark's deployment. Returns its descriptor."""
    descriptor = os.memfd_create(name)
    stack.callback(os.close, descriptor)
    return descriptor


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
