"""Memory of the producer and of a filter worker over a million alerts, through a real broker: it must stay flat.

`zads produce` and `zads worker` run as they are deployed, with ten filters. Exposures of a thousand alerts come into
the spool. Each is a new visit (the date in every packet advances), so that what is remembered of visits shows as well.
This module also removes finished exposures, as the pipeline would.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fastavro
import numpy as np

from bench import broker, clocks, group, scaling
from bench.result import Context, Point, Result, Series
from zads import names
from zads.errors import ZadsError
from zads.julian import SECONDS_A_DAY
from zads.packet import Packet
from zads.sources.simulator import VISIT_SECONDS
from zads.sources.spool import Spool

NIGHT = "20181129"
DOCKERFILE = broker.ROOT / "images/zads/Dockerfile"
ALERTS = 1_000_000
VISIT = 1000  # alerts
BYTES = 35_000  # of a packet: a small one, as only the number of packets matters
WARM = 0.2  # the first part of the alerts, in which caches, pools and buffers fill
AHEAD = 10  # visits: the producer's largest lead over the worker, as the broker holds minutes in memory
FILTERS = 10
GOAL = 1.0  # MB of growth in 100,000 alerts
SILENCE = 120  # seconds without progress that end the run
DISTINCT = 50  # packets; each visit repeats them with new candids


def measure(context: Context) -> Iterator[Result | Series]:
    """Memory by number of alerts, and its slope after the warm-up."""
    alerts = context.number("alerts", ALERTS)
    if alerts < 10 * VISIT:
        raise ZadsError(f"{alerts} alerts are too few to see a slope", hint=f"--set alerts={10 * VISIT} or more")
    samples: dict[str, list[tuple[int, int]]] = {}
    begun = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=context.out)))
        line = stack.enter_context(_line(scratch))
        for done in _stream(line, alerts):
            for name, pid in line.processes().items():
                samples.setdefault(name, []).append((done, clocks.resident(pid)))
            if done % (50 * VISIT) == 0:
                context.say(f"memory: {done:,} of {alerts:,} alerts in {time.monotonic() - begun:.0f} s")
    note = f"{alerts:,} alerts in visits of {VISIT}; {FILTERS} filters; one broker, whose data are in memory."
    lines = {name: [_point(*sample) for sample in found] for name, found in samples.items()}
    yield Series("Memory over alerts", "alerts", "MB resident", lines, note=note)
    for name, found in samples.items():
        warm = f"from {WARM:.0%} of {alerts:,} alerts on, at {found[-1][1] / 1e6:.0f} MB at the end"
        slope = [slope_mb(found, alerts)]
        yield Result(f"memory: {name}", slope, "MB per 100,000 alerts", goal=GOAL, sense="at most", note=warm)


def _point(alerts: int, size: int) -> Point:
    return alerts, size / 1e6, size / 1e6, size / 1e6


def slope_mb(samples: Sequence[tuple[int, int]], alerts: int) -> float:
    """Growth of memory after the warm-up, in MB per 100,000 alerts: the slope of a line through the samples."""
    warm = np.array([sample for sample in samples if sample[0] >= WARM * alerts], dtype=float)
    return float(np.polyfit(warm[:, 0] / 1e5, warm[:, 1] / 1e6, 1)[0])


class Line:
    """A spool, a producer, a broker and a worker."""

    def __init__(
        self, spool: Spool, logs: Path, port: int, producer: subprocess.Popen[bytes], worker: subprocess.Popen[bytes]
    ):
        self.spool, self._logs, self._producer, self._worker = spool, logs, producer, worker
        self._metrics = f"http://127.0.0.1:{port}/metrics"

    def processes(self) -> dict[str, int]:
        """The processes whose memory counts. Raises ZadsError if one of them has ended."""
        for name, process in (("producer", self._producer), ("worker", self._worker)):
            if process.poll() is not None:
                told = (self._logs / f"{name}.log").read_text(errors="replace")
                raise ZadsError(f"the {name} ended: {told[-2000:]}")
        found = {"producer": self._producer.pid, "worker": self._worker.pid}
        for pid in clocks.children(self._worker.pid):  # one, except for a moment during a restart
            found["the worker's filters"] = pid
        return found

    def seen(self) -> int:
        """The number of alerts that the worker has processed."""
        try:
            with urllib.request.urlopen(self._metrics, timeout=5) as answer:  # noqa: S310  our own
                found = re.search(r"^zads_worker_alerts_total (\S+)", answer.read().decode(), re.M)
        except OSError:
            return 0  # it is starting
        return int(float(found[1])) if found else 0


@contextmanager
def _line(scratch: Path) -> Iterator[Line]:
    """Start all parts, and end them after the body."""
    with broker.running() as cluster, ExitStack() as stack:
        night = names.night_topic(NIGHT, 1)
        # Records that have been read are deleted soon: a million packets do not fit into memory.
        cluster.create(night, partitions=4, retention_bytes="150000000", segment_bytes="32000000")
        cluster.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
        specs = group.write(scratch / "filters", "light curve", FILTERS)
        cluster.create(*(names.filter_topic(spec.name) for spec in specs), names.owner_topic("alice"))
        properties = scratch / "kafka.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in cluster.conf.items()))
        config = scratch / "filters" / "group.json"
        entries = [{"name": spec.name, "owner": "alice", "group": "bench", "state": "active"} for spec in specs]
        config.write_text(json.dumps({"group": "bench", "programmes": [1], "filters": entries}))
        spool, port = Spool(scratch / "spool"), _free_port()
        produce = ("produce", "--spool", spool.root, "--kafka", properties)
        work = ("worker", "--config", config, "--kafka", properties, "--name", "1", "--metrics-port", str(port))
        worker = stack.enter_context(_process(scratch / "worker.log", work))
        producer = stack.enter_context(_process(scratch / "producer.log", produce))
        yield Line(spool, scratch, port, producer, worker)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def allocator() -> dict[str, str]:
    """The settings of the memory allocator in the image, which hold for this measurement as well."""
    return dict(re.findall(r"(MALLOC_\w+)=(\S+)", DOCKERFILE.read_text()))


@contextmanager
def _process(log: Path, arguments: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "zads.cli", *arguments],
            stdout=output,
            stderr=output,
            env={**os.environ, **allocator()},
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stream(line: Line, alerts: int) -> Iterator[int]:
    """Keep the spool filled. Yields the number of alerts that have been processed, visit by visit."""
    coming = visits()
    dropped = processed = 0
    last = time.monotonic()
    while processed < alerts:
        done = line.seen() // VISIT * VISIT
        if done > processed:
            processed, last = done, time.monotonic()
            yield processed
        elif time.monotonic() - last > SILENCE:
            raise ZadsError(f"no alert went through the producer and the worker for {SILENCE} s, after {processed:,}")
        for path in line.spool.done.glob("[!.]*"):  # a hidden file is still being written
            path.unlink()
        if dropped < alerts and dropped - processed < AHEAD * VISIT:
            name, archive = next(coming)
            hidden = line.spool.root / f"{name}.tar"
            hidden.write_bytes(archive)
            hidden.rename(line.spool.incoming / hidden.name)
            dropped += VISIT
        else:
            time.sleep(0.02)  # until the next look at the worker's progress


def visits() -> Iterator[tuple[str, bytes]]:
    """An endless series of exposures: names, and archives of VISIT packets with new dates and candids."""
    models = [_Model(data) for data in scaling.of_size(BYTES, DISTINCT)]
    jd = Packet.trusted(models[0].data).jd
    for visit in itertools.count():
        # A million alerts are more visits than a night has at 40 s each: here they follow each other more closely.
        moment = jd + visit * VISIT_SECONDS / 4 / SECONDS_A_DAY
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for number in range(VISIT):
                data = models[number % DISTINCT].at(moment, _FIRST + visit * VISIT + number)
                entry = tarfile.TarInfo(f"{number:04d}.avro")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        yield f"visit{visit:06d}", buffer.getvalue()


_FIRST = 10**18  # the first candid; from here on Avro writes nine bytes


class _Model:
    """A packet whose date and candid can be replaced in its bytes, without encoding it again."""

    def __init__(self, data: bytes) -> None:
        packet = Packet.parse(data)
        self.data = data
        self._jd = struct.pack("<d", packet.jd)
        self._candid = _long(packet.candid)

    def at(self, jd: float, candid: int) -> bytes:
        """The packet with another date and candid."""
        return self.data.replace(self._jd, struct.pack("<d", jd)).replace(self._candid, _long(candid))


def _long(number: int) -> bytes:
    """A number as Avro writes it."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, "long", number)
    return buffer.getvalue()
