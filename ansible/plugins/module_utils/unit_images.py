"""The images that our units name, and the units of the images before. Runs on hosts; Python's own library alone."""

from __future__ import annotations

import re
from pathlib import Path

UNITS = Path("/etc/systemd/system")
#: The unit that named another image before, by its name. Beside it, while the unit is rolled back, the image it left.
BEFORE = Path("/var/lib/zads-before")
IMAGE = re.compile(r"\bzads/[a-z0-9-]+:[\w.-]+")


def image(text: str) -> str:
    """The image that a unit names; empty if it names none."""
    found = IMAGE.search(text)
    return found[0] if found else ""


def text(path: Path) -> str:
    """A file's text; empty if there is no file."""
    return path.read_text() if path.is_file() else ""


def programs(units: Path = UNITS, before: Path = BEFORE) -> list[dict[str, str]]:
    """Each program's unit, its image, the image before, and the image from which it was rolled back."""
    found = []
    for path in sorted(units.glob("zads-*.service")):
        if now := image(text(path)):
            old = image(text(before / path.name))
            left = text(before / f"{path.name}.left").strip()
            # An interrupted rollback may have noted what it would leave, and not have left it.
            back = left if left != now else ""
            found.append({"unit": path.name, "image": now, "before": old if old != now else "", "rolled_back": back})
    return found


def instances(unit: str, units: Path = UNITS) -> list[str]:
    """The units that run from a unit's file: itself, or the enabled instances of a template."""
    if not unit.endswith("@.service"):
        return [unit]
    return sorted(path.name for path in (units / "multi-user.target.wants").glob(unit.replace("@.", "@*.")))
