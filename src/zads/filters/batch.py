"""The alerts of a batch in the process of filters: decoded once, and shown to each filter as it declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from zads.filters import wire
from zads.filters.alert import Alert, MissingField, View
from zads.filters.columns import Columns
from zads.packet import Packet


class DecodedAlert:
    """One alert of a batch, with the fields that any filter of the owner declares.

    Its packet stays in the shared memory: to copy every packet of a batch would cost more than everything else.
    """

    def __init__(self, data: memoryview, fields: Mapping[str, tuple[str, ...]]) -> None:
        """`fields` has the declared paths by the top-level field to fetch, and under "" those to decode at once."""
        self._data: memoryview | bytes = data
        self._fields = fields
        self._late: dict[str, Any] = {}
        self.eager = self._read(fields[""])

    def fetch(self, name: str) -> Any:
        """A late field. Raises MissingField."""
        if name not in self._late:
            found = self._read(self._fields[name])
            if not found:
                raise MissingField(f"this packet's schema has no field {name}: read it with .get()")
            self._late[name] = found[name]
        return self._late[name]

    def keep(self) -> None:
        """Copy the packet out of the shared memory, before the next batch overwrites it."""
        self._data = bytes(self._data)

    def _read(self, fields: tuple[str, ...]) -> dict[str, Any]:
        packet = Packet.trusted(bytes(self._data))
        return packet.read(packet.having(fields))


class Selection:
    """Alerts of a batch as filters that declare the same fields see them: one by one, or as columns."""

    def __init__(self, indices: list[int], alerts: list[Alert], fields: Sequence[str]) -> None:
        self.indices, self.alerts = indices, alerts
        self._fields = fields
        self._columns: Columns | None = None

    def columns(self) -> Columns:
        """All alerts as columns, which all filters of the selection share."""
        if self._columns is None:
            self._columns = Columns(self.alerts, self._fields)
        return self._columns


class DecodedBatch:
    """The alerts of a batch, and what filters that see the same alerts and fields share.

    What only one filter sees is dropped after it has run: the views that a hundred filters have of a batch would take
    more memory than the owner may have, and more time.
    """

    def __init__(
        self,
        alerts: Sequence[DecodedAlert | None],
        selections: Sequence[Sequence[int]],
        shared: Set[View],
    ) -> None:
        """`alerts` has None where an alert cannot be decoded; `shared` has the views that several filters use."""
        self._alerts, self._selections, self._shared = alerts, selections, shared
        self._kept: dict[tuple[View, int | None], Selection] = {}

    def selection(self, job: wire.Job, view: View, fields: Sequence[str]) -> Selection:
        """What a filter is to judge: its selection of the alerts, as far as they can be decoded."""
        key = (view, job.selection)
        if key in self._kept and not job.skip:
            return self._kept[key]
        skip = frozenset(job.skip)
        indices = range(len(self._alerts)) if job.selection is None else self._selections[job.selection]
        seen = [index for index in indices if self._alerts[index] is not None and index not in skip]
        alerts = [view(alert.eager, alert.fetch) for index in seen if (alert := self._alerts[index]) is not None]
        selection = Selection(seen, alerts, fields)
        if view in self._shared and not skip:
            self._kept[key] = selection
        return selection
