"""What the producer and the filter workers tell Prometheus, and how a container knows that they are alive."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from zads.errors import ZadsError

HEALTHY_SECONDS = 60.0  # a loop that has not come round for so long hangs

PRODUCER_PUBLISHED = Counter("zads_producer_published", "Packets committed to a topic.", ["topic"])
PRODUCER_BYTES = Counter("zads_producer_bytes", "Bytes of the packets committed.")
PRODUCER_REFUSED = Counter("zads_producer_refused", "Files committed to the topic of refused input.")
PRODUCER_EXPOSURES = Counter(
    "zads_producer_exposures", "Exposures settled.", ["result"]
)  # published, duplicate, refused
PRODUCER_NEW_SCHEMAS = Gauge(
    "zads_producer_new_schema_packets",
    "Packets published by a schema that was not known and was accepted, as the ledger has them.",
    ["schema"],
)
PRODUCER_ABORTED = Counter("zads_producer_aborted", "Transactions aborted and tried again.")
PRODUCER_PENDING = Gauge("zads_producer_pending", "Exposures that wait in the spool, those set aside among them.")
PRODUCER_DEFERRED = Gauge(
    "zads_producer_deferred", "Exposures set aside: for a topic, as unfinished, or for an error.", ["reason"]
)  # topic, unfinished, failed
PRODUCER_ALREADY = Counter("zads_producer_already", "Files whose bytes another exposure had published.")
PRODUCER_BLOCKED = Gauge("zads_producer_blocked", "1 while the producer waits for a topic or a broker.")
PRODUCER_LAST = Gauge("zads_producer_last_exposure_seconds", "Unix time at which an exposure was last settled.")
PRODUCER_SECONDS = Histogram(
    "zads_producer_exposure_seconds",
    "From the first look at an exposure to its receipt.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160),
)

WORKER_ALERTS = Counter("zads_worker_alerts", "Alerts read and committed by a group of filters.")
WORKER_PASSED = Counter("zads_worker_passed", "Alerts that a filter passed.", ["filter"])
WORKER_CAPPED = Counter("zads_worker_capped", "Alerts that passed beyond a filter's cap.", ["filter"])
WORKER_FAILED = Counter("zads_worker_failed", "Alerts on which a filter failed.", ["filter"])
WORKER_OPEN = Gauge("zads_worker_circuit_open", "1 while a filter is not run because it failed too often.", ["filter"])
WORKER_LAG = Gauge("zads_worker_lag", "Records that a group has yet to read.")
WORKER_LATENCY = Histogram(
    "zads_worker_latency_seconds",
    "From the producer's hand to the filter's result.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160),
)


def serve(port: int, address: str = "127.0.0.1") -> None:
    """Answer Prometheus on `port`, from a thread; 0 serves nothing. Raises ZadsError if the port cannot be had.

    Whoever reaches `address` may read: nothing there asks for a password.
    """
    if not port:
        return
    try:
        start_http_server(port, address)
    except OSError as error:
        raise ZadsError(
            f"cannot serve metrics on port {port}: {error.strerror}", hint="set another metrics_port, 0 for none"
        ) from error


def beat(path: Path | None) -> None:
    """Say that the loop came round, by the time stamp of a file."""
    if path is not None:
        path.touch()


def healthy(path: Path, seconds: float = HEALTHY_SECONDS) -> bool:
    """Whether the loop that beats in `path` came round in the last `seconds`."""
    try:
        return time.time() - path.stat().st_mtime < seconds
    except OSError:
        return False
