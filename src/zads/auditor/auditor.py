"""One round after the other: what `zads.auditor` says, in the steps of its docstring."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

import structlog

from zads import audit, kafka, metrics, names, reading
from zads.audit import Difference
from zads.auditor import findings, page, schedule
from zads.auditor.evidence import Evidence, gather
from zads.auditor.mail import MailError
from zads.auditor.results import Result
from zads.errors import ZadsError
from zads.site.nights import DAY, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from zads.auditor.mail import Mail
    from zads.auditor.results import Results
    from zads.auditor.schedule import Ends
    from zads.site.policy import Policy, Site

RUNBOOK = "docs/runbooks/an-audit-failed.md"
#: An audit ends this long before the first record may expire: what has gone would seem lost.
SPARE_SECONDS = 3_600.0
#: After this a mail about a night is not tried again.
MAIL_SECONDS = 2 * DAY
_SITES: tuple[Site, ...] = ("origin", "public")

_log = structlog.get_logger("zads.auditor")


class Auditor:
    """Audits the nights of a deployment.

    `confs`: properties of the auditor's client at each site. `read_policy` gives the data policy at each round.
    `receipts`: the directory of the pipeline's receipts, if this host has it. `over_seconds` after its beginning a
    night is over; nothing may have arrived for `quiet_seconds`. `rest` waits for some seconds, and is called between
    steps, too; an exception from it ends the round.
    """

    def __init__(
        self,
        confs: Mapping[Site, Mapping[str, str]],
        read_policy: Callable[[], Policy],
        results: Results,
        *,
        receipts: Path | None = None,
        over_seconds: float = 14 * 3_600.0,
        quiet_seconds: float = 900.0,
        mail: Mail | None = None,
        rest: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._confs = {site: {"group.id": names.AUDITOR, **conf} for site, conf in confs.items()}
        self._read_policy, self._results, self._receipts = read_policy, results, receipts
        self._over = over_seconds
        self._mail, self._rest, self._clock = mail, rest, clock
        self._quiet = schedule.Quiet(quiet_seconds)

    def round(self, only: Iterable[str] | None = None) -> list[Result]:
        """Audit the nights that are due, or `only` some, due or not. Returns their results, which are written.

        Raises ZadsError or OSError if there is no data policy, if a site does not say how far the nights reach, or if
        results cannot be written.
        """
        with self._results.alone() as alone:
            if not alone:
                raise ZadsError(f"another auditor writes its results to {self._results.directory}", hint="wait for it")
            return self._round(only)

    def _round(self, only: Iterable[str] | None) -> list[Result]:
        # Step 1.
        policy = self._read_policy()
        ends = self._ends()
        known = self._results.read()
        # Step 2.
        now = self._clock()
        resting = self._quiet.see(ends, now)
        chosen = schedule.due(ends, known, resting, now, over_seconds=self._over) if only is None else list(only)
        # Steps 3 to 5.
        found = []
        for night in chosen:
            self._rest(0)
            result = self._audit(policy, night, ends.get(night, {}), known.get(night))
            known[night] = result
            found.append(result)
            self._results.write(result, page.of_night(result))
            self._tell(result)
        self._send(known)
        self._results.prune()
        self._results.write_index(page.of_all(known.values()))
        waiting = schedule.due(ends, known, ends, now, over_seconds=self._over)
        report(known.values(), len(waiting))
        return found

    def _ends(self) -> dict[str, Ends]:
        """The ends of every night that has a topic. Raises AuditError."""
        found: dict[str, Ends] = {}
        for site in _SITES:
            conf = self._confs[site]
            with audit.answering(site, conf):
                topics = kafka.admin(conf).list_topics(timeout=reading.ANSWER_SECONDS).topics
                nights = schedule.nights_of(topics)
                wanted = [name for name in topics if schedule.nights_of([name]) & nights]
                for (topic, number), end in reading.committed_ends(conf, reading.existing(conf, wanted)).items():
                    (night,) = schedule.nights_of([topic])
                    found.setdefault(night, {}).setdefault(site, {})[f"{topic}/{number}"] = end
        return found

    def _audit(self, policy: Policy, night: str, ends: Ends, last: Result | None) -> Result:
        """Steps 3 and 4. A failure to read is a result, too."""
        began = time.monotonic()
        result = Result(night, "whole", 0.0, ends=ends)
        if last is not None:
            result.mailed, result.expires = last.mailed, last.expires
        try:
            evidence = gather(self._confs, policy, night, self._receipts, lambda: self._rest(0))
        except ZadsError as error:
            result.status, result.differences = "unread", [Difference("unread", str(error))]
        else:
            self._judge(result, evidence, policy.topics_night.retention_days * DAY)
        result.tries = 0 if result.status == "whole" else 1 + (last.tries if last and last.ends == ends else 0)
        result.audited, result.seconds = round(self._clock(), 3), round(time.monotonic() - began, 3)
        result.memory_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return result

    def _judge(self, result: Result, evidence: Evidence, retention: float) -> None:
        result.alerts = evidence.origin.records
        result.evidence = as_json(evidence)
        if evidence.first < float("inf"):
            result.expires = evidence.first + retention - SPARE_SECONDS
        now = self._clock()
        # Without any record the night's own date has to say whether there may have been some.
        gone = any(end for at in result.ends.values() for end in at.values()) and now >= begin(result.night) + retention
        if (result.expires is not None and now >= result.expires) or (evidence.first == float("inf") and gone):
            result.status = "late"
            text = "records had expired before this audit, so it cannot be known whether they were whole"
            result.differences = [Difference("late", text)]
            return
        result.differences, result.notes = findings.of(evidence)
        result.status = "differs" if result.differences else "whole"

    def _tell(self, result: Result) -> None:
        """The log's part of step 5."""
        numbers = {"night": result.night, "status": result.status, "alerts": result.alerts, "seconds": result.seconds}
        if result.status == "whole":
            _log.info("audited", **numbers)
            return
        _log.error("audited", **numbers, differences=len(result.differences), runbook=RUNBOOK)
        for one in result.differences:
            _log.error("difference", night=result.night, kind=one.kind, reason=one.text)

    def _send(self, known: Mapping[str, Result]) -> None:
        """The mail's part of step 5: a line for each night whose status has changed since the last mail about it."""
        if self._mail is None:
            return
        for result in known.values():
            if result.mailed == result.status or not 0 <= self._clock() - result.audited < MAIL_SECONDS:
                continue
            try:
                self._mail.send(result.line)
            except MailError as error:
                _log.warning("no mail could be sent; it is tried again", night=result.night, reason=str(error))
                metrics.AUDIT_MAIL_FAILURES.inc()
                return
            result.mailed = result.status
            self._results.write(result, page.of_night(result))


def as_json(evidence: Evidence) -> dict[str, Any]:
    """What was counted of a night, as plain data."""
    return {
        "public_programmes": list(evidence.programmes),
        "receipts": None if evidence.receipts is None else len(evidence.receipts),
        "published": {
            "alerts": len(evidence.published),
            "exposures": len(evidence.published.counted(evidence.night)),
        },
        "origin": audit.site_json(evidence.origin),
        "public": audit.site_json(evidence.public),
        "filters": [
            {
                "filter": one.name,
                "group": one.group,
                "state": one.state,
                "offered": None if one.programmes is None else findings.offered(evidence, one.programmes),
                **one.numbers,
                **({"declined": one.declined} if one.complete else {}),
            }
            for _, one in sorted(evidence.counts.items())
        ],
    }


def report(results: Iterable[Result], waiting: int) -> None:
    """The metrics' part of step 5, from all results that are kept; `waiting`: how many nights are due."""
    ordered = sorted(results, key=lambda one: one.night)
    metrics.AUDIT_WAITING.set(waiting)
    for status in ("whole", "differs", "unread", "late"):
        metrics.AUDIT_NIGHTS.labels(status).set(sum(one.status == status for one in ordered))
    if ordered:
        last = max(ordered, key=lambda one: one.audited)
        metrics.AUDIT_LAST.set(last.audited)
        metrics.AUDIT_LAST_WHOLE.set(last.status == "whole")
        metrics.AUDIT_LAST_ALERTS.set(last.alerts)
        metrics.AUDIT_LAST_DIFFERENCES.set(len(last.differences))
        metrics.AUDIT_LAST_DURATION.set(last.seconds)
        metrics.AUDIT_LAST_MEMORY.set(last.memory_bytes)
