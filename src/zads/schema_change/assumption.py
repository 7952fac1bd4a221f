"""A form that is assumed to be known for a while: by this process, and by the processes of filters that it starts."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zads import environment, header, schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORM = "assumed"


@contextmanager
def assumed(schema: schemas.Schema) -> Iterator[schemas.Schema]:
    """Know a schema as a form of its version, which is yielded; afterwards everything is as before."""
    with tempfile.TemporaryDirectory(prefix="zads-schema-") as directory:
        # The first form of a version that is not known yet, else a further one.
        form = _FORM if schema.version in schemas.known() else schemas.FIRST_FORM
        path = Path(directory, schema.version, f"{form}.avsc")
        path.parent.mkdir()
        path.write_text(json.dumps(schema.definition), "utf-8")
        with known_from(Path(directory)):
            yield next(one for one in schemas.forms() if (one.version, one.form) == (schema.version, form))


@contextmanager
def known_from(directory: Path) -> Iterator[None]:
    """Know the forms in a directory (VERSION/FORM.avsc) beside those of the package; afterwards all is as before."""
    try:
        with environment.variable(schemas.VARIABLE, str(directory)):
            header.forget()
            yield
    finally:
        header.forget()
