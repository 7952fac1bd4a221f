"""The page of the drills has each drill's last result."""

from __future__ import annotations

from pathlib import Path

import pytest

import drills


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(drills, "commit", lambda root, page: "0123456789")
    for name in ("faults", "clients"):
        (tmp_path / f"{name}.py").touch()
    return tmp_path / "drills.md"


def report(
    nodeid: str, outcome: str, when: str = "call", properties: list[tuple[str, object]] | None = None
) -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", 0, ""), {}, outcome, None, when, user_properties=properties, duration=61.7)  # type: ignore[arg-type]


def drill(page: Path, *reports: pytest.TestReport) -> list[str]:
    plugin = drills.DrillPage(page, page.parent)
    for one in reports:
        plugin.pytest_runtest_logreport(one)
    plugin.pytest_sessionfinish()
    return [line for line in page.read_text().splitlines() if line.startswith("| [")]


def test_a_drill_has_a_row_with_what_it_measured(page: Path) -> None:
    (row,) = drill(page, report("faults.py::test_a_broker_crashes[origin-1]", "passed", properties=[("away", "18 s")]))
    assert row.startswith("| [a broker crashes (origin-1)](../faults.py) | passed | 62 s | away 18 s | 2")
    assert row.endswith(" | 0123456789 |")


def test_a_run_of_some_drills_replaces_their_rows_alone(page: Path) -> None:
    drill(page, report("faults.py::test_one", "passed"), report("clients.py::test_two[a-b]", "passed"))
    rows = drill(page, report("clients.py::test_two[a-b]", "failed"))
    assert [("| failed |" in row, "one" in row) for row in rows] == [(True, False), (False, True)]


def test_a_drill_whose_fixture_fails_did_not_pass(page: Path) -> None:
    (row,) = drill(
        page, report("faults.py::test_one", "passed", "setup"), report("faults.py::test_one", "failed", "setup")
    )
    assert "| failed (setup) |" in row
    (row,) = drill(page, report("faults.py::test_one", "passed"), report("faults.py::test_one", "failed", "teardown"))
    assert "| failed (teardown) |" in row


def test_rows_of_files_that_are_gone_go(page: Path) -> None:
    drill(page, report("faults.py::test_one", "passed"))
    (page.parent / "faults.py").unlink()
    assert not drill(page)
