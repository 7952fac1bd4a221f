"""What would happen to packets of a new form if it were known: their validation, and every filter. Nothing is touched.

Filters judge the same alerts twice: in the known form nearest to the new one, and in the new form. Where only one of
the two is given, the other is made of it (`zads.schema_change.conversion`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zads.filters import rehearsal
from zads.filters.recorded_night import RecordedAlert
from zads.packet import Packet, PacketError
from zads.schema_change.assumption import assumed
from zads.schema_change.conversion import Conversion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zads.filters.owner import Spec
    from zads.filters.rehearsal import Outcome
    from zads.schema_change.change import Change

_KEPT = 5  # refusals and failures that are shown
_TOGETHER = 4  # filters that are rehearsed at a time: each has processes of its own, and there may be a hundred


@dataclass(frozen=True)
class FilterChange:
    """What a filter does with the new form, and what it gains and loses (candids) beside the known form."""

    name: str
    before: Outcome
    after: Outcome

    @property
    def compared(self) -> dict[str, list[int]]:
        """Candids that pass only in the new form (gains), or only in the known one (losses)."""
        return rehearsal.compare(self.after, self.before)

    @property
    def worse(self) -> bool:
        """Whether the filter fails on alerts of the new form, on which it did not fail before."""
        return self.after.failed + self.after.skipped > self.before.failed + self.before.skipped

    def __str__(self) -> str:
        parts = [f"sees {self.after.offered}, passes {_passed(self.after)} (known form: {_passed(self.before)})"]
        parts += [f"{what} {len(candids)}" for what, candids in self.compared.items() if candids]
        if self.after.failed or self.after.skipped:
            failures = [one.reason.splitlines()[-1] for one in self.after.failures[:1] if one.reason]
            parts.append(f"FAILS on {self.after.failed}, {self.after.skipped} not looked at: {'; '.join(failures)}")
        return f"filter {self.name}: {', '.join(parts)}"

    def report(self) -> dict[str, Any]:
        """All of it, as JSON's types."""
        return {"filter": self.name, "before": self.before.report(), "after": self.after.report(), **self.compared}


@dataclass
class Rehearsed:
    """The result: how many packets would be accepted, why others are refused, and what each filter would do."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    filters: list[FilterChange] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """All of it, as JSON's types."""
        filters = [one.report() for one in self.filters]
        return {"accepted": self.accepted, "refused": dict(self.refused), "filters": filters}

    def problems(self) -> list[str]:
        """Why the form must not be deployed yet; empty if it may be."""
        found = [f"{count} packets are refused: {why}" for why, count in self.refused.most_common(_KEPT)]
        if not self.accepted:
            found.append("no packet is accepted")
        return found + [f"filter {one.name} fails on it" for one in self.filters if one.worse]


def rehearse(change: Change, alerts: Iterable[tuple[str, bytes]], specs: Sequence[Spec], *, made: bool) -> Rehearsed:
    """Rehearse a schema that is not known with packets: names and bytes.

    `made`: they are known packets, of which packets of the new form are made; else they have the new form already.
    Raises ZadsError if a packet cannot be converted, or filters cannot be run.
    """
    result = Rehearsed()
    before: list[RecordedAlert] = []
    after: list[RecordedAlert] = []
    with assumed(change.schema) as form:
        new, nearest = Conversion(form), Conversion(change.nearest)
        for name, data in alerts:
            try:
                given = Packet.parse(data)
                now = Packet.parse(new.packet(given)) if made else given
            except PacketError as error:
                result.refused[f"{error.field}: {error.reason}" if error.field else error.reason] += 1
                continue
            result.accepted += 1
            after.append(RecordedAlert(name, now))
            before.append(RecordedAlert(name, given if made else Packet.parse(nearest.packet(given))))
        for first in range(0, len(specs) if after else 0, _TOGETHER):
            some = specs[first : first + _TOGETHER]
            places = [spec.place for spec in some]
            outcomes = zip(some, rehearsal.run_all(places, before), rehearsal.run_all(places, after), strict=True)
            result.filters += [FilterChange(spec.name, old, now) for spec, old, now in outcomes]
    return result


def _passed(outcome: Outcome) -> int:
    return len(outcome.passed) + outcome.cut
