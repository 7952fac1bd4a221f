"""A dashboard and its panels, and their JSON for Grafana (schema 38, Grafana 9.5 and later)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

#: The data source that the role `grafana_dashboards` provisions.
SOURCE = {"type": "prometheus", "uid": "zads-prometheus"}
_COLUMNS = 24
_SCHEMA = 38
_HEIGHT = {"timeseries": 8, "stat": 4, "table": 8, "bargauge": 8}
Kind = Literal["timeseries", "stat", "table", "bargauge"]


@dataclass(frozen=True)
class Query:
    """A query in PromQL, and how each of its series is called: ``{{LABEL}}`` is the value of a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel. ``unit`` is Grafana's name of a unit; ``says`` is a sentence that its corner shows.

    ``steps``: from which value on it is shown in another colour, in their order. ``width``: columns of 24.
    ``quiet``: a query may have no result in a healthy system.
    """

    title: str
    queries: tuple[Query, ...]
    says: str
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    steps: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under a title."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard. ``uid``: its name in addresses, and of its file. ``hours``: the time that it shows at first."""

    uid: str
    title: str
    says: str
    rows: tuple[Row, ...]
    hours: int = 12
    refresh: str = "10s"

    def panels(self) -> list[Panel]:
        """All panels, in their order."""
        return [panel for row in self.rows for panel in row.panels]

    def json(self) -> str:
        """The file that Grafana reads."""
        content = {
            "uid": self.uid,
            "title": self.title,
            "description": self.says,
            "tags": ["zads"],
            "timezone": "utc",
            "editable": False,
            "graphTooltip": 1,
            "schemaVersion": _SCHEMA,
            "refresh": self.refresh,
            "time": {"from": f"now-{self.hours}h", "to": "now"},
            "annotations": {"list": [_ALARMS]},
            "panels": self._placed(),
        }
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    def _placed(self) -> list[dict[str, Any]]:
        """The panels in their places: from the left to the right, row by row."""
        found: list[dict[str, Any]] = []
        top = 0
        for row in self.rows:
            place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
            found.append({"type": "row", "title": row.title, "id": len(found) + 1, "gridPos": place, "panels": []})
            top, left, lowest = top + 1, 0, top + 1
            for panel in row.panels:
                if left + panel.width > _COLUMNS:
                    top, left = lowest, 0
                height = _HEIGHT[panel.kind]
                place = {"h": height, "w": panel.width, "x": left, "y": top}
                found.append({**_panel(panel), "id": len(found) + 1, "gridPos": place})
                left, lowest = left + panel.width, max(lowest, top + height)
            top = lowest
        return found


#: Marks on the time axis: when an alarm began to ring.
_ALARMS = {
    "name": "Alarms",
    "datasource": SOURCE,
    "enable": True,
    "expr": 'ALERTS{alertstate="firing", alertname!="Watchdog"}',
    "titleFormat": "{{alertname}}",
    "iconColor": "red",
    "step": "60s",
}


def _panel(panel: Panel) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    targets = [
        {
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            "refId": chr(ord("A") + number),
            "instant": instant,
            "range": not instant,
            **({"format": "table"} if panel.kind == "table" else {}),
        }
        for number, query in enumerate(panel.queries)
    ]
    colours: list[dict[str, Any]] = [{"color": "green" if panel.steps else "blue", "value": None}]
    colours += [{"color": colour, "value": value} for value, colour in panel.steps]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": colours}}
    if panel.kind == "timeseries":
        shading = 25 if panel.stacked else 0
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"fillOpacity": shading, "lineWidth": 1, "showPoints": "never", "stacking": stacking}
        defaults["min"] = 0
    else:
        defaults["color"] = {"mode": "thresholds"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
    }


def _options(panel: Panel) -> dict[str, Any]:
    reduced = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    match panel.kind:
        case "timeseries":
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return {**reduced, "colorMode": "background", "graphMode": "none", "textMode": "value_and_name"}
        case "bargauge":
            return {**reduced, "displayMode": "lcd", "orientation": "horizontal"}
        case _:
            return {"showHeader": True, "cellHeight": "sm"}
