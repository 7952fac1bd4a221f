"""What programs report to Prometheus, and the sign of life for their containers.

The number of series of a process is bounded: labels have the values of the inventory (programmes, filters, sites) or of
this package, and never those of packets, nights, topics or users. docs/metrics.md is made from this module.
"""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from zads.errors import ZadsError

ADDRESS = "127.0.0.1"
#: Each label, and what bounds the number of its values.
LABELS = {
    "programme": "the survey has three",
    "kind": "six kinds of refused files (src/zads/rejections.py)",
    "result": "published, duplicate and refused; of signing in: right, wrong, too many, no answer",
    "reason": "topic, unfinished and failed",
    "schema": "new schemas that were accepted, as the ledger has them",
    "filter": "the filters of the worker's group since its start",
    "site": "origin and public",
    "place": "origin, public and mirror",
    "status": "whole, differs, unread and late",
    "hop": "origin, mirror and whole",
}
#: Upper bounds of histograms in seconds. The service level is 10 s.
HOP_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160)
#: From the telescope: a survey's pipeline takes minutes, and a delivery may come a day late.
CANDIDATE_SECONDS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280, 3_600, 86_400)

PRODUCER_PUBLISHED = Counter("zads_producer_published", "Packets committed to the origin's topics.", ["programme"])
PRODUCER_BYTES = Counter("zads_producer_bytes", "Bytes of the packets committed.")
PRODUCER_REFUSED = Counter(
    "zads_producer_refused", "Files committed to the topic of refused input, by what is wrong with them.", ["kind"]
)
PRODUCER_CANDIDATE = Histogram(
    "zads_producer_candidate_seconds",
    "From the start of an alert's exposure (candidate.jd) to its commit at the origin; an observation an alert.",
    buckets=CANDIDATE_SECONDS,
)
PRODUCER_COMMIT = Histogram(
    "zads_producer_commit_seconds",
    "From the beginning of a transaction to its commit at the origin; its first alerts wait so long.",
    buckets=HOP_SECONDS,
)
PRODUCER_EXPOSURES = Counter("zads_producer_exposures", "Exposures published, duplicate or refused.", ["result"])
PRODUCER_NEW_SCHEMAS = Gauge(
    "zads_producer_new_schema_packets",
    "Packets published by a new schema that was accepted, as the ledger has them.",
    ["schema"],
)
PRODUCER_ABORTED = Counter("zads_producer_aborted", "Transactions aborted and tried again.")
PRODUCER_PENDING = Gauge("zads_producer_pending", "Exposures that wait in the spool, those set aside among them.")
PRODUCER_DEFERRED = Gauge("zads_producer_deferred", "Exposures set aside: topic, unfinished or failed.", ["reason"])
PRODUCER_ALREADY = Counter("zads_producer_already", "Files whose bytes another exposure had published.")
PRODUCER_BLOCKED = Gauge("zads_producer_blocked", "1 while the producer waits for a topic or a broker.")
PRODUCER_LAST = Gauge("zads_producer_last_exposure_seconds", "Unix time at which an exposure was last settled.")
PRODUCER_SECONDS = Histogram(
    "zads_producer_exposure_seconds",
    "From the first look at an exposure to its receipt.",
    buckets=HOP_SECONDS,
)

WORKER_ALERTS = Counter("zads_worker_alerts", "Alerts read and committed by a group of filters.")
WORKER_BYTES = Counter("zads_worker_bytes", "Bytes of these alerts.")
WORKER_PASSED = Counter("zads_worker_passed", "Alerts that a filter passed.", ["filter"])
WORKER_CAPPED = Counter("zads_worker_capped", "Alerts that passed beyond a filter's cap.", ["filter"])
WORKER_FAILED = Counter("zads_worker_failed", "Alerts on which a filter failed.", ["filter"])
WORKER_SKIPPED = Counter(
    "zads_worker_skipped", "Alerts that a filter was not shown, since its circuit was open.", ["filter"]
)
WORKER_RUN = Counter("zads_worker_filter_run_seconds", "Time that a filter has run, in seconds.", ["filter"])
WORKER_OPEN = Gauge("zads_worker_circuit_open", "1 while a filter is not run because it failed too often.", ["filter"])
WORKER_LATENCY = Histogram(
    "zads_worker_latency_seconds",
    "From the moment at which the producer handed an alert to Kafka to the commit of the filters' results.",
    buckets=HOP_SECONDS,
)
WORKER_PUBLIC = Histogram(
    "zads_worker_public_seconds",
    "From the moment at which the producer handed an alert to Kafka to its timestamp at the site of the worker.",
    buckets=HOP_SECONDS,
)
WORKER_JUDGED = Histogram(
    "zads_worker_judged_seconds",
    "From an alert's timestamp at the site of the worker to the commit of the filters' results.",
    buckets=HOP_SECONDS,
)
WORKER_CANDIDATE = Histogram(
    "zads_worker_candidate_seconds",
    "From the start of an alert's exposure (candidate.jd) to its timestamp at the site of the worker.",
    buckets=CANDIDATE_SECONDS,
)

NIGHTS_READY_UNTIL = Gauge(
    "zads_nights_ready_until_seconds",
    "Unix time until which every night, from the present one on, has its topics and grants at a site.",
    ["site"],
)
NIGHTS_LATE = Gauge(
    "zads_nights_late",
    "Nights that have begun, or begin within 12 hours, and lack topics or grants at a site.",
    ["site"],
)
NIGHTS_CREATED = Counter("zads_nights_topics_created", "Topics of nights that were made at a site.", ["site"])
NIGHTS_REMOVED = Counter("zads_nights_topics_removed", "Topics of nights that were removed at a site.", ["site"])
NIGHTS_FAILED = Counter(
    "zads_nights_failures", "Rounds in which something failed: at a site, or the mirror.", ["place"]
)
NIGHTS_LAST = Gauge("zads_nights_last_round_seconds", "Unix time at which a round last ended without a failure.")
NIGHTS_CLOCK = Gauge(
    "zads_nights_clock_offset_seconds", "By how much the brokers' clocks at a site are ahead of this host's.", ["site"]
)
NIGHTS_CANARY = Gauge(
    "zads_nights_canary_seconds", "How long the last canary took through the mirror; NaN if it was lost."
)

AUDIT_LAST = Gauge("zads_audit_last_seconds", "Unix time at which an audit of a night last ended, whatever it found.")
AUDIT_LAST_WHOLE = Gauge("zads_audit_last_whole", "1 if that audit found nothing that contradicts a promise, else 0.")
AUDIT_LAST_ALERTS = Gauge("zads_audit_last_alerts", "Alerts at the origin in the night that was last audited.")
AUDIT_LAST_DIFFERENCES = Gauge("zads_audit_last_differences", "Differences that this audit found.")
AUDIT_LAST_DURATION = Gauge("zads_audit_last_duration_seconds", "How long this audit took.")
AUDIT_LAST_MEMORY = Gauge("zads_audit_last_memory_bytes", "The most memory that the auditor had used by its end.")
AUDIT_NIGHTS = Gauge("zads_audit_nights", "Nights whose result is kept, by the status of their last audit.", ["status"])
AUDIT_WAITING = Gauge("zads_audit_nights_waiting", "Nights that are over and wait for an audit.")
AUDIT_LAST_ROUND = Gauge(
    "zads_audit_last_round_seconds", "Unix time at which the auditor last looked at the nights without a failure."
)
AUDIT_FAILURES = Counter("zads_audit_failures", "Rounds in which the auditor could not look at the nights at all.")
AUDIT_MAIL_FAILURES = Counter("zads_audit_mail_failures", "Mails about a night that could not be sent.")
CANARY_SENT = Counter("zads_canary_sent", "Canaries sent to origin.")
CANARY_ARRIVED = Counter("zads_canary_arrived", "Canaries read at the public site, unchanged.")
CANARY_LOST = Counter("zads_canary_lost", "Canaries that did not arrive, by the hop that they did not pass.", ["hop"])
CANARY_ALTERED = Counter("zads_canary_altered", "Canaries that arrived with other bytes.")
CANARY_WAITING = Gauge("zads_canary_waiting_seconds", "For how long the oldest canary has been under way.")
CANARY_SECONDS = Histogram(
    "zads_canary_seconds",
    "How long canaries took: to origin's acknowledgement, from there to a reader at the public site, and the whole.",
    ["hop"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60),
)
BOARD_PAGES = Gauge("zads_board_pages", "Open pages of the Night Board that are kept live.")
BOARD_SIGN_INS = Counter("zads_board_sign_ins", "Attempts to sign in to the Night Board.", ["result"])
BOARD_UNREADABLE = Counter("zads_board_unreadable", "Records that the Night Board could not read.")

ARCHIVE_MADE = Counter("zads_archive_made", "Archives of nights that were made.")
ARCHIVE_FAILED = Counter("zads_archive_failures", "Attempts to archive a night that failed.")
ARCHIVE_LATE = Gauge(
    "zads_archive_late", "Nights that ended more than a day ago, are at rest, and hold alerts which are in no archive."
)
ARCHIVE_LAST = Gauge("zads_archive_last_round_seconds", "Unix time at which a round last ended without a failure.")
ARCHIVE_BYTES = Gauge("zads_archive_bytes", "Bytes of all archives.")


def of_program(program: str, *more: Collector) -> CollectorRegistry:
    """The metrics ``zads_PROGRAM_…``, those of the process, and those of `more` collectors.

    A process has the metrics of all programs in memory, at 0. Told by the wrong program, a 0 would ring alarms.
    """
    registry = CollectorRegistry()
    metrics = (one for one in globals().values() if isinstance(one, Counter | Gauge | Histogram))
    ours = [one for one in metrics if next(iter(one.describe())).name.startswith(f"zads_{program}_")]
    for collector in (*ours, *more):
        registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def serve(port: int, program: str, *more: Collector) -> None:
    """Answer Prometheus on a port of 127.0.0.1, from a thread; 0 serves nothing. Raises ZadsError if it is in use.

    It tells what `of_program` has. Everyone on this host may read: nothing asks for a password.
    """
    if not port:
        return
    try:
        start_http_server(port, ADDRESS, registry=of_program(program, *more))
    except OSError as error:
        raise ZadsError(
            f"cannot serve metrics on port {port}: {error.strerror}",
            hint="choose another with --metrics-port, or 0 for none",
        ) from error


def beat(path: Path | None) -> None:
    """Show by a file's modification time that the loop came round; the units' health checks look at its age."""
    if path is not None:
        path.touch()
