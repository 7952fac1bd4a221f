"""One schema beside the nearest form that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zads import schemas
from zads.avro import described

if TYPE_CHECKING:
    from zads.avro.differences import Difference
    from zads.schema_change.samples import Sample

_NEW = "is new"


@dataclass(frozen=True)
class Change:
    """How a schema differs from `nearest`, the nearest known form.

    `schema` has the version under which it was compared. `known`: it has this form's meaning and version.
    `differences` decide whether a reader of `nearest` can read it; `defaults` and `docs` never do. The documentation of
    the known forms is ours, so it differs from the survey's everywhere.
    """

    schema: schemas.Schema
    nearest: schemas.Schema
    known: bool
    differences: tuple[Difference, ...]
    defaults: tuple[Difference, ...]
    docs: tuple[Difference, ...]

    @classmethod
    def of(cls, definition: dict[str, Any], version: str) -> Change:
        """Compare a schema as one of this version. Raises ZadsError if it is no version, or not an alert's schema."""
        claiming = {**definition, "version": version}
        form = schemas.identify(claiming)
        known = form is not None and form.version == version
        if form is not None and known:
            schema, nearest = form, form
            found: tuple[Difference, ...] = ()
        else:
            new = schemas.compare(claiming)
            schema, nearest, found = new.schema, new.nearest, new.differences
        defaults, docs = (tuple(of(nearest.definition, definition)) for of in (described.defaults, described.docs))
        return cls(schema, nearest, known, found, defaults, docs)

    @classmethod
    def of_sample(cls, sample: Sample) -> Change:
        """Compare a sample's schema as one of the version that its packets say. Raises ZadsError as `of` does."""
        return cls.of(sample.definition, sample.version)

    @property
    def compatible(self) -> bool:
        """Whether a reader of `nearest` can read packets of this schema."""
        return not any(one.breaks for one in self.differences)

    def lines(self) -> list[str]:
        """Each difference in a line: first those that break readers, and each new field with all that it has."""
        texts = [f"{'BREAKS  ' if one.breaks else '        '}{one}" for one in self.differences]
        fields = described.fields(self.schema.definition)
        for number, one in enumerate(self.differences):
            if one.what.startswith(_NEW) and one.field in fields:
                texts[number] = "\n".join(_new_field(fields, one.field))
        return [*texts, *(f"        {one}" for one in self.defaults)]

    def report(self) -> dict[str, Any]:
        """All of it, as JSON's types."""
        return {
            "version": self.schema.version, "fingerprint": self.schema.fingerprint, "known": self.known,
            "compared_with": self.nearest.name, "compatible": self.compatible,
            "differences": [vars(one) for one in self.differences],
            "defaults": [vars(one) for one in self.defaults], "docs": [vars(one) for one in self.docs],
        }  # fmt: skip


def _new_field(fields: dict[str, described.Described], path: str) -> list[str]:
    """A line for a new field, and one for each field within it."""
    within = [one for one in fields if one.startswith(f"{path}.")]
    return [f"        {one} is new: {fields[one]}" for one in (path, *within)]
