"""What became of a night's alerts in each filter, by the counts that its workers committed with their offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zads.filters.counts import NUMBERS


@dataclass
class FilterCounts:
    """One filter's numbers of a night (`zads.filters.outcome`), summed over its workers.

    A number that a worker of an older release did not count is missing, as is `programmes` then.
    """

    name: str
    group: str
    state: str
    programmes: frozenset[int] | None
    numbers: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, number: str) -> int:
        return self.numbers.get(number, 0)

    @property
    def complete(self) -> bool:
        """Whether everything is known that adds up to what the filter has seen."""
        return self.numbers.keys() >= set(NUMBERS)

    @property
    def declined(self) -> int:
        """How many alerts the filter judged and did not pass."""
        return self["seen"] - self["passed"] - self["capped"] - self["failed"] - self["skipped"]


def of_night(records: Iterable[Mapping[str, Any]], night: str) -> dict[str, FilterCounts]:
    """Each filter that was offered alerts of a night. `records`: the newest of each filter and worker."""
    found: dict[str, FilterCounts] = {}
    for record in records:
        row = record.get("nights", {}).get(night)
        if row is None:
            continue
        programmes = frozenset(record["programmes"]) if "programmes" in record else None
        one = found.get(record["filter"])
        if one is None:
            numbers: dict[str, int] = {name: int(row[name]) for name in NUMBERS if name in row}
            one = FilterCounts(record["filter"], record["group"], record["state"], programmes, numbers)
            found[one.name] = one
            continue
        # A number that one worker does not know is not known of the filter.
        one.numbers = {name: value + int(row[name]) for name, value in one.numbers.items() if name in row}
        one.programmes = None if programmes is None or one.programmes is None else one.programmes | programmes
    return found
