"""Dashboards: every query can be parsed and asks for what somebody tells, and nothing lies over anything else."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from test_alarms import metrics_of, told
from zads.alarms import service_level
from zads.dashboards import DASHBOARDS
from zads.dashboards.panel import Dashboard, Panel

PANELS = [(board, panel) for board in DASHBOARDS for panel in board.panels()]
QUERIES = [query.expr for _, panel in PANELS for query in panel.queries]


def content(board: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(board.json())
    return found


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    result = subprocess.run([promtool, "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(QUERIES)} rules found" in result.stdout


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_every_query_asks_for_what_somebody_tells(query: str) -> None:
    named = metrics_of(query)
    recorded = set(re.findall(r"zads:[\w:]+", query))
    assert named or recorded or "ALERTS" in query
    for name in named:
        assert re.sub(r"_(total|bucket|count|sum)$", "", name) in told() or name in told(), name
    assert recorded <= {rule["record"] for rule in service_level.recording()}


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_panels_are_beside_each_other_and_within_the_page(board: Dashboard) -> None:
    places = [panel["gridPos"] for panel in content(board)["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    numbers = [panel["id"] for panel in content(board)["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda one: getattr(one, "title", ""))
def test_a_panel_says_what_it_shows(board: Dashboard, panel: Panel) -> None:
    assert panel.says.endswith(".")
    assert panel.queries
    assert len({query.legend for query in panel.queries}) == len(panel.queries), "lines that nobody can tell apart"


def test_dashboards_have_names_of_their_own() -> None:
    assert (
        len({board.uid for board in DASHBOARDS}) == len({board.title for board in DASHBOARDS}) == len(DASHBOARDS) == 3
    )
