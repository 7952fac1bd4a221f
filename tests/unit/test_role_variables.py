"""Variables and templates of roles: two deployments of one inventory write the same files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for pattern in ("roles/*/vars/*.yml", "roles/*/defaults/*.yml", "roles/*/templates/**/*", "inventories/**/*.yml")
    for path in ROOT.glob(pattern)
    if path.is_file()
)
#: Ansible's filters of sets return their elements in another order in each run.
OF_SETS = re.compile(r"\|\s*(difference|intersect|symmetric_difference|union)\(")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lists_keep_their_order(path: Path) -> None:
    found = [line.strip() for line in path.read_text().splitlines() if OF_SETS.search(line)]
    assert found == [], "use select('in', …) or reject('in', …)"
