"""What a worker tells Prometheus of a batch: how long its filters ran, what they did, and how long each hop took."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from zads import metrics, names
from zads.filters.counts import Counts
from zads.filters.records import AlertRecord
from zads.filters.verdicts import Verdicts


def ran(verdicts: Mapping[str, Verdicts]) -> None:
    """Count the time that each filter has run, whether its results are committed or not."""
    for name, verdict in verdicts.items():
        metrics.WORKER_RUN.labels(name).inc(verdict.seconds)


def committed(batch: Sequence[AlertRecord], before: Mapping[str, Counts], counts: Mapping[str, Counts]) -> None:
    """Count a batch that has just been committed; each filter's counts were those ``before``."""
    now = time.time()
    metrics.WORKER_ALERTS.inc(len(batch))
    metrics.WORKER_BYTES.inc(sum(len(alert.data) for alert in batch))
    for name, after in counts.items():
        old = before.get(name, Counts())
        metrics.WORKER_PASSED.labels(name).inc(after.passed - old.passed)
        metrics.WORKER_CAPPED.labels(name).inc(after.capped - old.capped)
        metrics.WORKER_FAILED.labels(name).inc(after.failed - old.failed)
        metrics.WORKER_SKIPPED.labels(name).inc(after.skipped - old.skipped)
    for alert in batch:
        _hops(alert, now)


def _hops(alert: AlertRecord, committed_at: float) -> None:
    """Observe how long an alert took over each hop, as far as its headers and its timestamp say."""
    kind, milliseconds = alert.message.timestamp()
    arrived = None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
    produced = None
    with contextlib.suppress(ValueError, KeyError):
        produced = float(dict(alert.headers)[names.HEADER_PRODUCED] or b"")
    for metric, begin, end in (
        (metrics.WORKER_LATENCY, produced, committed_at),
        (metrics.WORKER_PUBLIC, produced, arrived),
        (metrics.WORKER_JUDGED, arrived, committed_at),
        (metrics.WORKER_CANDIDATE, names.start_of_visit(alert.visit), arrived),
    ):
        if begin is not None and end is not None and math.isfinite(begin):
            # Clocks differ by milliseconds, so a hop can seem to end before it began.
            metric.observe(max(0.0, end - begin))
