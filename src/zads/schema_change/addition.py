"""A schema becomes a known form: a file below schemas/ztf of a checkout, and a row in the table of its README.

Nothing is deployed by that: `make deploy` brings it to producers and workers, inside their images.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zads import output, packet, schemas, wholefile
from zads.avro import described
from zads.errors import ZadsError

if TYPE_CHECKING:
    from pathlib import Path

    from zads.schema_change.change import Change

#: Where a checkout has the known forms.
DIRECTORY = "schemas/ztf"
_FORM = re.compile(r"[a-z][a-z0-9_]{0,60}")
_ROW = re.compile(r"^\| [0-9].*\|\n", re.MULTILINE)
_ROW_FIELDS = 5  # new fields that the table's row names


@dataclass(frozen=True)
class Addition:
    """A form that is to be added: its file, the file's text, and the row for the README's table."""

    path: Path
    text: str
    row: str

    def write(self) -> list[Path]:
        """Write the form's file, then the row. Returns the files that were written. Raises OSError."""
        written = [wholefile.write(self.path, self.text)]
        readme = self.path.parent.parent / "README.md"
        if readme.is_file():
            text = readme.read_text("utf-8")
            rows = list(_ROW.finditer(text))
            if rows and self.row not in text:
                end = rows[-1].end()
                written.append(wholefile.write(readme, text[:end] + self.row + text[end:]))
        return written


def addition(change: Change, root: Path, form: str = "", since: str = "", *, incompatible: bool = False) -> Addition:
    """How a schema becomes a known form of the checkout `root`.

    `form` names it; the first form of a version is always `alert`. `since` says which packets have it. Documentation of
    fields that are known already is taken from the nearest form.
    Raises ZadsError if the schema is known, if the producer could not do without a field that it lacks, if the name
    cannot be used, or if it breaks readers of the nearest form and `incompatible` does not allow that.
    """
    version = change.schema.version
    if change.known:
        raise ZadsError(f"this schema is known: it is {change.nearest.name}")
    if lost := _lost(change):
        raise ZadsError(
            f"it has no {', '.join(lost)} of the type that {change.nearest.name} has, which the producer needs",
            hint="the software has to change first",
        )
    breaking = [str(one) for one in change.differences if one.breaks]
    if breaking and not incompatible:
        raise ZadsError(
            f"a reader of {change.nearest.name} could not read it: {'; '.join(breaking)}",
            hint="zads schema diff says which filters and programs; when all of them are ready, add --incompatible",
        )
    directory = root / DIRECTORY / version
    name = _name(change, form, directory)
    path = directory / f"{name}.avsc"
    if path.exists():
        raise ZadsError(f"{path} exists", hint="name the further form with --form")
    definition = described.documented({**change.schema.definition, "version": version}, change.nearest.definition)
    return Addition(path, _text(definition), _row(change, name, since))


def _lost(change: Change) -> list[str]:
    """The fields that the producer needs and that are gone, or have another type."""
    olds, news = (described.fields(one.definition) for one in (change.nearest, change.schema))
    return [one for one in packet.IDENTITY if one not in news or news[one].kind != olds[one].kind]


def _name(change: Change, form: str, directory: Path) -> str:
    """The name of the form. Raises ZadsError if it cannot be used."""
    is_first = not (directory / f"{schemas.FIRST_FORM}.avsc").exists()
    name = form or (schemas.FIRST_FORM if is_first else f"{schemas.FIRST_FORM}_{change.schema.fingerprint[:8]}")
    if not _FORM.fullmatch(name):
        raise ZadsError(f"{name!r} cannot name a form", hint="use small letters, digits and _, a letter first")
    if is_first and name != schemas.FIRST_FORM:
        raise ZadsError(
            f"{change.schema.version} is a new version, and its first form is called {schemas.FIRST_FORM}",
            hint="leave out --form",
        )
    return name


def _text(definition: dict[str, Any]) -> str:
    """The schema as JSON, a line for each field, as the other files have it."""
    text = json.dumps(definition, indent=1, ensure_ascii=False)
    # Fields without a record within them fit in one line.
    return re.sub(r"\{[^{}]*\}", lambda match: " ".join(match[0].split()), text) + "\n"


def _row(change: Change, name: str, since: str) -> str:
    version = change.schema.version
    which = version if name == schemas.FIRST_FORM else f"{version}, form `{name}`"
    return f"| {which} | {output.plain(since).replace('|', '/')} | {_new(change)} |\n"


def _new(change: Change) -> str:
    """What is new, in a few words."""
    fields = [f"`{one.field}`" if one.what.startswith("is new") else str(one) for one in change.differences]
    more = f", and {len(fields) - _ROW_FIELDS} more" if len(fields) > _ROW_FIELDS else ""
    return (", ".join(fields[:_ROW_FIELDS]) + more or "the number alone").replace("|", "/")
