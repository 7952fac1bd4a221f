"""Write what the drills found into a page: `make drill` sets ``ZADS_DRILLS`` to ``docs/drills.md``.

Each drill has a row with its last result. A run of some drills replaces only their rows. The row of a drill that no
longer exists is removed.
"""

from __future__ import annotations

import datetime
import re
import subprocess
from pathlib import Path

import pytest

HEAD = """# Drills

`make drill` runs on the local system what takes too long for `make test`, and writes this page. Each drill has its last
result, with the commit that was drilled (`+` if files differed from it).

| drill | result | took | measured | date (UTC) | commit |
| --- | --- | --- | --- | --- | --- |
"""
ROW = re.compile(r"^\| \[(?P<name>[^]]+)\]\((?P<file>[^)]+)\) \|")


def commit(root: Path, page: Path) -> str:
    """The commit of the tree, with a + if anything but the page differs from it."""
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
    others = [".", f":(exclude){page.relative_to(root)}"]
    changed = subprocess.run([*git, "status", "--porcelain", "--", *others], capture_output=True, text=True, check=True)
    return head.stdout.strip() + ("+" if changed.stdout else "")


def title(nodeid: str) -> tuple[str, str]:
    """A test's name as words, with its parameters, and its file."""
    file, _, name = nodeid.partition("::")
    plain, _, parameters = name.partition("[")
    return plain.removeprefix("test_").replace("_", " ") + (f" ({parameters[:-1]})" if parameters else ""), file


class DrillPage:
    """The pytest plugin that keeps the page."""

    def __init__(self, page: Path, root: Path) -> None:
        self.page, self.root = page, root
        self.rows: dict[tuple[str, str], str] = {}
        self.commit = commit(root, page)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a drill's result: of its body, or of its fixtures if these fail."""
        if report.when != "call" and report.passed:
            return
        name, file = title(report.nodeid)
        measured = "; ".join(f"{key} {value}" for key, value in report.user_properties)
        now = datetime.datetime.now(datetime.UTC)
        cells = [
            f"[{name}](../{file})",
            report.outcome if report.when == "call" else f"{report.outcome} ({report.when})",
            f"{report.duration:.0f} s",
            measured.replace("|", "/"),
            f"{now:%Y-%m-%d}",
            self.commit,
        ]
        self.rows[name, file] = f"| {' | '.join(cells)} |"

    def pytest_sessionfinish(self) -> None:
        """Write the page: the rows of this run in place of their older ones."""
        kept = {}
        if self.page.exists():
            for line in self.page.read_text().splitlines():
                if (match := ROW.match(line)) and (self.root / match["file"].removeprefix("../")).exists():
                    kept[match["name"], match["file"].removeprefix("../")] = line
        rows = kept | self.rows
        self.page.write_text(HEAD + "".join(f"{rows[key]}\n" for key in sorted(rows, key=lambda key: key[::-1])))
