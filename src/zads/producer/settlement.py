"""Settles one exposure: publishes what the ledger does not have of it, then moves it away with its receipt.

Steps 3 to 6 of `zads.producer`.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import chain
from typing import TYPE_CHECKING

import structlog

from zads import ledger, metrics, names
from zads.ledger import LedgerEntry
from zads.packet import PacketError
from zads.producer.intake import Intake
from zads.rejections import rejection
from zads.sources.delivery import Delivery, UnfinishedError
from zads.sources.files import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from zads.producer.disk import Disk
    from zads.producer.intake import Rules
    from zads.producer.publisher import Publisher
    from zads.producer.pulse import Pulse
    from zads.sources.files import Item
    from zads.sources.spool import Exposure, Spool

# A night later than this is a wrong date, if it has no topics: those of the coming nights are made days ahead.
_FUTURE = datetime.timedelta(days=366)

_VISITS = 3  # of an exposure that are named in the log; there is one, unless nights were put together

_log = structlog.get_logger("zads.producer")


class Settlement:
    """Settles the exposures of a spool by the `rules`, and remembers those that could not be moved away."""

    def __init__(self, spool: Spool, rules: Rules, publisher: Publisher, disk: Disk, pulse: Pulse) -> None:
        self._spool, self._rules, self._publisher = spool, rules, publisher
        self._disk, self._pulse = disk, pulse
        self._settled: set[tuple[str, str]] = set()
        self._given_up: dict[str, frozenset[str]] = {}

    def has(self, exposure: Exposure) -> bool:
        """Whether an exposure has been settled in its present state, though it is still in the spool."""
        return (exposure.path.name, exposure.state) in self._settled

    def settle(self, exposure: Exposure) -> None:
        """Settle an exposure. Raises UnfinishedError, TopicsMissing, and any error that an exposure can cause."""
        started, state = time.monotonic(), exposure.state
        if state == "gone":
            return
        # Step 3.
        delivery = Delivery(exposure, self._pulse.pause)
        try:
            delivery.check()
            intake, result = self._deliver(delivery)
        except SourceError as error:
            if delivery.changed():
                raise UnfinishedError(error.message) from error
            self._refuse(exposure, str(error), state, delivery.listing)
            result = "refused"
        else:
            self._finish(delivery, intake, result, started)
        # It was settled but could not be moved away. In another state it is a new delivery under the same name.
        if exposure.state == state:
            self._settled.add((exposure.path.name, state))
        self._given_up.pop(exposure.path.name, None)
        metrics.PRODUCER_EXPOSURES.labels(result).inc()
        metrics.PRODUCER_SECONDS.observe(time.monotonic() - started)
        metrics.PRODUCER_LAST.set_to_current_time()

    def give_up(self, exposure: Exposure, missing: Collection[str]) -> bool:
        """Whether an exposure goes on without the packets of some nights, which are refused from now on.

        `missing`: topics that do not exist. A packet whose date is wrong by years would hold up its exposure, and with
        it all later ones of the exposure's other nights. An exposure of one night alone holds up nobody else.
        """
        limit = f"{datetime.datetime.now(datetime.UTC) + _FUTURE:%Y%m%d}"
        far = {parts[0] for name in missing if (parts := names.parse_topic(name)) and parts[0] > limit}
        if not far or not self.nights(exposure) - far:
            return False
        _log.warning(
            "its packets of nights far in the future are refused", exposure=exposure.path.name, nights=sorted(far)
        )
        self._given_up[exposure.path.name] = self._rules_for(exposure).without | far
        return True

    def nights(self, exposure: Exposure) -> set[str]:
        """The nights (YYYYMMDD) of an exposure's packets."""
        nights, rules = set(), self._rules_for(exposure)
        with contextlib.suppress(SourceError):
            for number, item in enumerate(exposure.items()):
                with contextlib.suppress(PacketError):
                    packet = rules.parse(item.data)
                    rules.check_night(packet)
                    nights.add(packet.night)
                if number % 100 == 0:
                    self._pulse.pause()
        return nights

    def _rules_for(self, exposure: Exposure) -> Rules:
        return replace(self._rules, without=self._given_up.get(exposure.path.name, frozenset()))

    def _deliver(self, delivery: Delivery) -> tuple[Intake, str]:
        """Publish the part of an exposure that the ledger does not have. Returns its intake, and the result in a word.

        Raises SourceError, UnfinishedError, TopicsMissing.
        """
        exposure = delivery.exposure
        known = self._publisher.entries.get(exposure.name)
        intake = self._intake(delivery, indexed=known is None or known.indexed)
        items = exposure.items()
        if known:
            # Step 4.
            same = intake.skip(items, known)
            more = next(items, None)
            if same and more is None and known.complete:
                intake.entry = known.copy()
                return intake, "duplicate"
            if same:
                # A copy of the ledger's counts, which must not change before the transaction that changes them.
                intake.entry = known.copy()
                intake.entry.complete = False
                items = items if more is None else chain([more], items)
            elif known.indexed:
                if known.complete:
                    _log.warning("its contents are not those of before: what is new is published", name=exposure.name)
                intake = self._intake(delivery)
                items = exposure.items()
            else:
                raise SourceError(
                    f"{exposure.name} was published before by an older release, with other contents",
                    hint="compare it with the one in done/; deliver what is new under another name",
                )
        self._publish(intake, items)
        return intake, "duplicate" if known and known.complete and not intake.sent else "published"

    def _intake(self, delivery: Delivery, *, indexed: bool = True) -> Intake:
        exposure = delivery.exposure

        def keep_refused(item: Item) -> None:
            self._disk.write("no copy of a refused file can be kept", self._spool.keep_refused, exposure, item)

        return Intake(
            exposure.name,
            self._rules_for(exposure),
            self._publisher,
            self._pulse,
            indexed=indexed,
            whole=lambda: not delivery.changed(),
            unfinished=delivery.unfinished,
            keep_refused=keep_refused,
        )

    def _publish(self, intake: Intake, items: Iterator[Item]) -> None:
        """Publish the rest of an exposure, chunk by chunk: step 5. An exposure without files has a ledger record, too.

        Raises UnfinishedError at the end if the exposure has changed meanwhile.
        """
        chunks = intake.chunks(items)
        # The next chunk is validated while a transaction waits for its brokers, which leaves the processor free.
        with ThreadPoolExecutor(1, "validation") as beside:
            ahead = beside.submit(next, chunks, None)
            while (chunk := ahead.result()) is not None:
                ahead = beside.submit(next, chunks, None)
                self._pulse.pause()
                if chunk.records or self._publisher.entries.get(intake.name) != chunk.entry:
                    self._publisher.commit(intake.name, *chunk)
                    intake.sent += len(chunk.records)
        if not intake.entry.complete:
            raise UnfinishedError(
                f"{intake.postponed} files may still be written" if intake.postponed else "it changes while read"
            )

    def _finish(self, delivery: Delivery, intake: Intake, result: str, started: float) -> None:
        """Move an exposure to done/, and write its receipt: step 6."""
        exposure, entry = delivery.exposure, intake.entry
        receipt = asdict(entry) | {
            "exposure": exposure.name,
            "published_before": result == "duplicate",
            "refusals": intake.refusals,
            "versions": intake.versions,
            "finished": round(time.time(), 3),
        }
        self._disk.write("no receipt can be written", self._spool.finish, exposure, receipt, delivery.listing)
        _log.info(
            "exposure",
            name=exposure.name,
            visit=", ".join(sorted(intake.visits)[:_VISITS]),
            result=result,
            read=entry.read,
            published=sum(entry.published.values()),
            refused=entry.refused,
            already=entry.already,
            passed=entry.passed,
            versions=intake.versions,
            seconds=round(time.monotonic() - started, 3),
        )

    def _refuse(self, exposure: Exposure, reason: str, state: str, seen: str) -> None:
        """Refuse an exposure as a whole, once: if it stays in the spool, a restart does not refuse it again."""
        key, entry = f"{exposure.name}/refused", LedgerEntry(digest=state, refused=1, complete=True)
        if self._publisher.entries.get(key) != entry:
            _log.error("exposure refused", name=exposure.path.name, reason=reason)
            record = rejection(ledger.key_bytes(exposure.name), b"", source=exposure.path.name, reason=reason)
            self._publisher.commit(key, [record], [], entry)
        receipt = {"exposure": exposure.name, "refused": reason, "finished": round(time.time(), 3)}
        self._disk.write("no receipt can be written", self._spool.refuse, exposure, receipt, seen)
