"""The producer's loop: settles one exposure after the other, and sets aside those that cannot be settled."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from zads import metrics, names, schemas
from zads.producer.disk import Disk
from zads.producer.intake import Rules
from zads.producer.publisher import RETRY_SECONDS, ProducerError, Publisher, TopicsMissing, remedy
from zads.producer.pulse import Pulse, StopRequested
from zads.producer.settlement import Settlement
from zads.sources.delivery import UnfinishedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zads.sources.spool import Exposure, Spool

WATCH_SECONDS = 0.2  # between two looks at the spool
UNFINISHED_SECONDS = 1.0  # after which an unfinished exposure is looked at again
FAILED_SECONDS = 60.0  # after which one that failed is tried again; doubled each time,
LONGEST_FAILED_SECONDS = 3600.0  # up to this
SWEEP_SECONDS = 60.0
#: No step of the loop takes this long: calls to Kafka end after CALL_SECONDS, and files are checked in small steps.
HUNG_SECONDS = 120.0
KEEP_SECONDS = 48 * 3600.0
TOPIC, UNFINISHED, FAILED = "topic", "unfinished", "failed"  # why exposures are set aside

_log = structlog.get_logger("zads.producer")


@dataclass
class Deferral:
    """An exposure that is set aside: why (a label of the metric), in which state, until when (monotonic seconds).

    `missing`: the topics that it waits for; empty if it waits behind another exposure of the same `nights`.
    `failures`: how many times in succession it could not be settled.
    """

    reason: str
    state: str
    until: float
    missing: set[str] = field(default_factory=set)
    nights: set[str] = field(default_factory=set)
    failures: int = 1


class Producer:
    """Publishes the exposures that come into a spool, one after the other, in the order of their names.

    `name` is the transactional id: if a second producer starts with the same name, the first is fenced and ends.
    `heartbeat` is a file that is touched while the loop runs. `stop` ends the run at the next opportunity. Originals
    are removed `keep_seconds` after they were published. Alerts of nights before or after `nights` (YYYYMMDD) are
    refused. `admission` decides about packets of new schemas. `watchdog` ends the process when the loop has made no
    progress for that many seconds; 0 disables it.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        spool: Spool,
        *,
        name: str = "producer",
        heartbeat: Path | None = None,
        keep_seconds: float = KEEP_SECONDS,
        nights: tuple[str, str] = (names.FIRST_NIGHT, names.LAST_NIGHT),
        watchdog: float = 0,
        stop: threading.Event | None = None,
        admission: schemas.Admission | None = None,
    ) -> None:
        self.spool = spool
        self._keep_seconds = keep_seconds
        self._pulse = Pulse(heartbeat, stop or threading.Event(), watchdog)
        self._disk = Disk(spool.root, self._pulse)
        self._publisher = Publisher(conf, name, self._pulse)
        rules = Rules(admission or schemas.Admission(), nights)
        self._settlement = Settlement(spool, rules, self._publisher, self._disk, self._pulse)
        self._deferrals: dict[str, Deferral] = {}
        self._swept = 0.0

    def run(self, *, once: bool = False) -> int:
        """Publish until stopped or, if `once`, until the spool is empty. Returns the number of settled exposures.

        Raises ProducerError if another producer of this name has taken over, if the cluster refuses this one, or if
        `once` has to leave exposures that could not be settled; ZadsError if the spool cannot be used.
        """
        settled = 0
        self._pulse.watch()
        try:
            self._disk.write("the spool cannot be used", self.spool.open)
            self._publisher.open()
            while True:
                number, left = self._round()
                settled += number
                if once and not number and all(deferral.reason == FAILED for deferral in left):
                    if left:
                        raise ProducerError(
                            f"{len(left)} exposures could not be settled", hint="the log above says why of each"
                        )
                    return settled
                if not number:
                    self._sweep()
                    self._pulse.pause(WATCH_SECONDS)
        except StopRequested:
            _log.info("stopped", exposures=settled)
            return settled

    def _round(self) -> tuple[int, list[Deferral]]:
        """Look once at every exposure in the spool. Returns how many were settled, and why others are set aside."""
        self._disk.write("an exposure cannot be given its name", self.spool.admit)
        self._disk.write("what has changed cannot be put back", self.spool.recheck)
        pending = [one for one in self.spool.pending() if not self._settlement.has(one)]
        waiting = {one.path.name for one in pending}
        self._deferrals = {name: deferral for name, deferral in self._deferrals.items() if name in waiting}
        metrics.PRODUCER_PENDING.set(len(pending))
        self._publisher.held = set()
        settled = 0
        for exposure in pending:
            self._pulse.pause()
            deferral = self._deferrals.get(exposure.path.name)
            if deferral is not None and self._waits(deferral, exposure):
                self._publisher.held |= deferral.nights
            else:
                settled += self._try(exposure)
        left = list(self._deferrals.values())
        for reason in (TOPIC, UNFINISHED, FAILED):
            metrics.PRODUCER_DEFERRED.labels(reason).set(sum(deferral.reason == reason for deferral in left))
        if not settled and any(deferral.reason == TOPIC for deferral in left):
            metrics.PRODUCER_BLOCKED.set(1)
        return settled, left

    def _waits(self, deferral: Deferral, exposure: Exposure) -> bool:
        """Whether an exposure stays set aside for now."""
        if deferral.reason == TOPIC and not deferral.missing:
            return bool(deferral.nights & self._publisher.held)
        changed = deferral.state != exposure.state
        if time.monotonic() < deferral.until:
            return deferral.reason != FAILED or not changed
        if deferral.reason != TOPIC or changed:
            return False
        deferral.until = time.monotonic() + RETRY_SECONDS
        return any(self._publisher.missing(name) is not None for name in deferral.missing)

    def _try(self, exposure: Exposure) -> bool:
        """Settle an exposure if possible; else set it aside. Returns whether it is settled."""
        name, started = exposure.path.name, time.monotonic()
        before = self._deferrals.get(name)
        try:
            self._settlement.settle(exposure)
        except (StopRequested, ProducerError):
            raise
        except TopicsMissing as error:
            if self._settlement.give_up(exposure, error.missing):
                return self._try(exposure)
            self._deferrals[name] = self._deferred(exposure, error)
        except UnfinishedError as error:
            # An exposure that takes long to check is checked more rarely.
            pause = max(UNFINISHED_SECONDS, 2 * (time.monotonic() - started))
            self._deferrals[name] = Deferral(UNFINISHED, exposure.state, time.monotonic() + pause)
            if before is None or before.reason != UNFINISHED:
                _log.warning("unfinished: looked at again", exposure=name, reason=error.message)
        except Exception as error:  # no failure of one exposure may stop the others
            failures = before.failures + 1 if before is not None and before.reason == FAILED else 1
            pause = min(FAILED_SECONDS * 2 ** min(failures - 1, 10), LONGEST_FAILED_SECONDS)
            until = time.monotonic() + pause
            _log.exception("set aside: it could not be settled", exposure=name, reason=repr(error), again_in=pause)
            self._publisher.abandon()
            self._deferrals[name] = Deferral(FAILED, exposure.state, until, failures=failures)
        else:
            self._deferrals.pop(name, None)
            return True
        return False

    def _deferred(self, exposure: Exposure, error: TopicsMissing) -> Deferral:
        """Let an exposure, and all later ones of its nights, wait for topics or behind another exposure."""
        nights = self._settlement.nights(exposure)
        self._publisher.held |= nights
        remedies = {remedy(name) for name in error.missing}
        _log.warning(
            "deferred: waiting for a topic" if error.missing else "deferred: behind an exposure of the same night",
            exposure=exposure.path.name,
            nights=sorted(nights),
            **({"topics": error.missing, "remedy": "; ".join(sorted(remedies))} if error.missing else {}),
        )
        return Deferral(TOPIC, exposure.state, time.monotonic() + RETRY_SECONDS, set(error.missing), nights)

    def _sweep(self) -> None:
        """Remove from time to time what is no longer needed in the spool and in the ledger."""
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            self.spool.put_back()
            problem = "cannot remove what was published"
            if removed := self._disk.write(problem, self.spool.sweep, self._keep_seconds):
                _log.info("removed originals that were published", exposures=removed)
            self._publisher.expire()
