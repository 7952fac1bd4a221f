"""What the verdicts on a batch come to: the records to write, and each filter's counts as they will be afterwards.

Of the alerts that a filter has *seen*, those of its programmes, each is in one of these numbers:

passed    it passed, and was within the filter's cap; *published*: as many of them as went to the filter's topic
capped    it passed beyond the cap
failed    the filter failed on it
skipped   the filter was not run on it: its circuit was open, the time was over, or the packet cannot be decoded
the rest  the filter did not pass it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from zads.filters import measuring, news, records
from zads.filters.counts import Counts
from zads.filters.records import AlertRecord
from zads.filters.running_filters import RunningFilters
from zads.filters.verdicts import Verdicts
from zads.transactions import Record

REJECTIONS_A_VISIT = 20  # failed alerts of one filter that go to the topic of refused input
_REMEMBERED = 10_000  # visits and filters whose rejections are counted

_log = structlog.get_logger("zads.worker")


class Outcomes:
    """Runs the filters of the worker `name` over batches, and draws up what is to be written."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rejections: dict[tuple[str, str], int] = {}

    def forget(self) -> None:
        """Begin to count rejections again: the filters have changed."""
        self._rejections.clear()

    def of(
        self, filters: RunningFilters, batch: Sequence[AlertRecord], before: Mapping[str, Counts]
    ) -> tuple[list[Record], dict[str, Counts]]:
        """Run the filters. Returns the records to write, and the counts after `before`. Raises PacketError."""
        counts = {name: before.get(name, Counts()).copy() for name in filters.entries}
        outputs: list[Record] = []
        offered: set[str] = set()
        # The process of a filter does not say which alerts it skipped. So alerts of two nights are not judged together.
        for night in dict.fromkeys(alert.night for alert in batch):
            alerts = [alert for alert in batch if alert.night == night]
            eligible = filters.eligible(alerts)
            verdicts, undecodable = filters.sandbox.run([alert.data for alert in alerts], eligible)
            measuring.ran(verdicts)
            for index, reason in sorted(undecodable.items()):
                outputs.append(records.of_failed(alerts[index], "", reason))
                _log.warning("cannot be decoded", **_named(alerts[index]), reason=reason)
            for name, verdict in verdicts.items():
                _count(counts[name], night, eligible[name], verdict, undecodable)
                outputs += self._passed(filters, name, alerts, verdict, counts[name])
                outputs += self._failed(filters, name, alerts, verdict)
            offered.update(name for name, chosen in eligible.items() if chosen)
        outputs += [news.of_counts(name, self._name, filters, counts[name]) for name in counts if name in offered]
        return outputs, counts

    def _passed(
        self, filters: RunningFilters, name: str, alerts: Sequence[AlertRecord], verdict: Verdicts, count: Counts
    ) -> Iterable[Record]:
        for index, text in sorted(verdict.passed.items()):
            alert = alerts[index]
            if count.admit(alert.visit, filters.caps[name], alert.night) and filters.entries[name].state == "active":
                count.add("published", alert.night)
                yield records.of_passed(alert, name, text)

    def _failed(
        self, filters: RunningFilters, name: str, alerts: Sequence[AlertRecord], verdict: Verdicts
    ) -> Iterable[Record]:
        for index, reason in sorted(verdict.failed.items()):
            number = self._count_rejection(name, alerts[index].visit)
            if number == 1:  # its owner has the others on a topic of their own
                _log.warning(
                    "filter failed", filter=name, **_named(alerts[index]), reason=reason.strip().splitlines()[-1:]
                )
            if number <= REJECTIONS_A_VISIT:
                failure = records.of_failed(alerts[index], name, reason)
                yield failure
                yield news.of_failure(failure, filters.entries[name].owner)

    def _count_rejection(self, name: str, visit: str) -> int:
        number = self._rejections[name, visit] = self._rejections.get((name, visit), 0) + 1
        while len(self._rejections) > _REMEMBERED:
            del self._rejections[next(iter(self._rejections))]
        return number


def _named(alert: AlertRecord) -> dict[str, str]:
    return {"candid": alert.candid, "visit": alert.visit}


def _count(
    count: Counts, night: str, eligible: Sequence[int], verdict: Verdicts, undecodable: Mapping[int, str]
) -> None:
    """Count a night's alerts that a filter may see; those that it passed are counted as they are admitted."""
    if not eligible:
        return
    count.add("seen", night, len(eligible))
    count.add("failed", night, len(verdict.failed))
    # An alert that cannot be decoded may be among those that were skipped anyway.
    judged = len(verdict.passed) + len(verdict.failed)
    unread = sum(index in undecodable for index in eligible)
    count.add("skipped", night, min(verdict.skipped + unread, len(eligible) - judged))
