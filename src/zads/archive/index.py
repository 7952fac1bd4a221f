"""The lists of archives: a page for people, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from zads import pages
from zads.archive.record import Archive


def files(archives: Sequence[Archive]) -> dict[str, str]:
    """The text of each list, by the name of its file. The same archives give the same texts."""
    listed = [{**one.as_json(), "checksum": f"{one.file}.sha256"} for one in archives]
    return {
        "index.json": json.dumps({"archives": listed}, indent=1) + "\n",
        "index.html": pages.render("archives.html", archives=archives),
    }
