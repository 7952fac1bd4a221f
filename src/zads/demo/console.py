"""What a demo says on the terminal: lines with their time, a summary, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from zads import names, output
from zads.board import PORT
from zads.inventory import Inventory


def timed_lines(console: Console) -> Callable[[str], None]:
    """Prints lines with the seconds since this call, on a terminal and into a file alike."""
    started = time.monotonic()

    def say(line: str) -> None:
        stamp = (f"{time.monotonic() - started:6.1f} s  ", "dim")
        console.print(Text.assemble(stamp, output.plain(line)), soft_wrap=True)

    return say


def summary(figures: Mapping[str, Any]) -> Iterator[str]:
    """The report's main figures, line by line."""
    counts, ages = figures["alerts"], figures["latency_seconds"]
    yield f"dropped {counts['read']}, origin {counts['origin']}, public {counts['public']}"
    if ages:
        yield f"produced to read: median {ages['p50']:.2f} s, 99 % within {ages['p99']:.2f} s"
    for name, row in figures["filters"].items():
        yield f"filter {name} ({row['state']}): {row['passed']} of {row['seen']} passed, {row['capped']} cut by its cap"


def ending(inventory: Inventory, figures: Mapping[str, Any], page: Path, subscriber: str) -> str:
    """Where the report (``page``) is, and commands to look around as the user ``subscriber``."""
    topic = next((row["topic"] for row in figures["topics"] if row["public"]), "ztf_20181129_programid1")
    kit = inventory.kit(subscriber).relative_to(inventory.root)
    host = inventory.group("producers")[0]
    pages = "".join(f"\n{line}" for line in _pages(inventory))
    return f"""
The report:   {page}{pages}
Read it:      {kit}/kcat.sh -C -t {topic} -e -q -f '%k %S bytes\\n'
In Python:    {kit}/README.md and docs/consume.md
Look around:  .venv/bin/zads lab status {inventory.env}
              .venv/bin/zads lab exec {host} --env {inventory.env} -- docker ps
Check it:     make verify ENV={inventory.env}
Take it down: make down ENV={inventory.env}"""


def _pages(inventory: Inventory) -> Iterator[str]:
    """A line for each of our web pages that the inventory has."""
    secrets = (inventory.state / "secrets").relative_to(inventory.root)
    if hosts := inventory.group("boards"):
        port = inventory.hosts[hosts[0]].get("board_port", PORT)
        yield f"Night Board:  https://{inventory.address(hosts[0])}:{port}/ (its authority: {secrets}/boards/ca.crt)"
    if hosts := inventory.group("archives"):
        port = inventory.setting(hosts[0], "archive_server_port", "archive_server")
        yield f"Archives:     https://{inventory.address(hosts[0])}:{port}/ ({secrets}/archives/ca.crt)"
    if hosts := inventory.group("monitors"):
        port = inventory.setting(hosts[0], "monitoring_prometheus_port", "monitoring")
        yield f"Prometheus:   https://{inventory.address(hosts[0])}:{port}/ ({secrets}/monitoring/ca.crt)"
        yield f"              as {names.program('monitor')}, whose password is in {secrets}/passwords.yml"
