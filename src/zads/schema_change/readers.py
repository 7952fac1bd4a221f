"""Who reads which fields of an alert, and which of them notice a change of the schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zads import alert_card, packet
from zads.errors import ZadsError
from zads.filters import group, loading
from zads.filters.owner import Spec
from zads.filters.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zads.avro.differences import Difference
    from zads.inventory import Inventory

#: What the programs of a deployment read; a filter declares for itself what it reads.
BUILT_IN = {
    "the producer and the filter workers": packet.IDENTITY,
    "the pages of alerts": alert_card.FIELDS,
    "a subscriber's kit (kit.py)": ("objectId", "candid", "candidate.jd", "candidate.magpsf"),
}


@dataclass(frozen=True)
class Reader:
    """A program or a filter, and the fields (dotted paths) that it reads. `problem`: why these are not known."""

    name: str
    fields: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class Effect:
    """What a reader notices of a change: what it cannot read any more, and what is different but does not hurt."""

    reader: Reader
    breaks: tuple[Difference, ...]
    notices: tuple[Difference, ...]

    def __str__(self) -> str:
        if self.reader.problem:
            return f"{self.reader.name}: it is not known what it reads: {self.reader.problem}"
        parts = [f"breaks: {'; '.join(map(str, self.breaks))}"] if self.breaks else []
        parts += [f"sees: {'; '.join(map(str, self.notices))}"] if self.notices else []
        return f"{self.reader.name}: {'. '.join(parts) or 'notices nothing'}"

    def report(self) -> dict[str, Any]:
        """All of it, as JSON's types."""
        return {
            "reader": self.reader.name, "fields": list(self.reader.fields), "problem": self.reader.problem,
            "breaks": list(map(str, self.breaks)), "notices": list(map(str, self.notices)),
        }  # fmt: skip


def effect(reader: Reader, differences: Iterable[Difference]) -> Effect:
    """What a reader notices of a schema's differences."""
    touched = [one for one in differences if any(_touches(field, one.field) for field in reader.fields)]
    return Effect(reader, tuple(one for one in touched if one.breaks), tuple(one for one in touched if not one.breaks))


def _touches(field: str, changed: str) -> bool:
    """Whether a difference at a path concerns somebody who reads a field: it lies within the field, or around it."""
    return not changed or field == changed or field.startswith(f"{changed}.") or changed.startswith(f"{field}.")


def all_of(inventory: Inventory | None) -> list[Reader]:
    """The built-in readers, and the filters of an inventory that run; without one, the filters that come with ZADS."""
    return [*(Reader(name, fields) for name, fields in BUILT_IN.items()), *filters(places(inventory))]


def places(inventory: Inventory | None) -> list[Spec]:
    """The filters that an inventory's workers run; without an inventory, those that come with ZADS.

    Raises ZadsError if the inventory's data cannot be used.
    """
    if inventory is None:
        return [Spec(name, name) for name in loading.builtin_names()]
    policy = inventory.policy()
    own = Path(inventory.common("filters_dir") or inventory.root / "inventories" / inventory.env / "filters")
    return [Spec(one.name, group.place(one, own), one.owner) for one in policy.filters if one.runs]


def filters(specs: list[Spec]) -> list[Reader]:
    """What filters declare. Their files are executed behind the fence, in a process for each owner."""
    if not specs:
        return []
    try:
        with Sandbox(specs) as sandbox:
            declared = sandbox.declared
    except ZadsError as error:
        return [Reader(f"filter {spec.name}", (), str(error)) for spec in specs]
    return [
        Reader(f"filter {spec.name}", tuple(declared[spec.name].fields), declared[spec.name].error) for spec in specs
    ]
