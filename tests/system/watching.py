"""The Prometheus of the local system, as people ask it: over TLS, with their password."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.parse
import urllib.request
from typing import Any

import yaml

from local_system import STATE, System
from zads import names

PORT = 9441


def ask(system: System, path: str, **parameters: str) -> Any:
    """What Prometheus answers to a question of its API."""
    (monitor, *_) = system.inventory.group("monitors")
    user = names.program("monitor")
    passwords: dict[str, str] = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    login = base64.b64encode(f"{user}:{passwords[user]}".encode()).decode()
    address = f"https://{system.inventory.address(monitor)}:{PORT}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {login}"})
    trusted = ssl.create_default_context(cafile=str(STATE / "secrets/monitoring/ca.crt"))
    with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
        found = json.load(answer)
    assert found["status"] == "success", found
    return found["data"]


def query(system: System, expression: str) -> list[dict[str, Any]]:
    """The result of an expression now, series by series."""
    found: list[dict[str, Any]] = ask(system, "query", query=expression)["result"]
    return found


def ringing(system: System) -> set[str]:
    """The alarms that ring now, without the dead man's switch."""
    alerts = ask(system, "alerts")["alerts"]
    return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"} - {"Watchdog"}
