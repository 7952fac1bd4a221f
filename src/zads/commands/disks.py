"""``zads disks``: what is on the brokers' disks, and how long they suffice."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from zads import kafka, output
from zads.commands.sites import Env, OneSite, deployed
from zads.errors import ZadsError, some
from zads.inventory import Inventory, repository
from zads.site import disks, forecast
from zads.site.disks import Broker, Disk, Usage

app = typer.Typer()

_NAMED = 5  # replicas that are named: a broker holds hundreds


@app.command()
def show(
    env: Env = "local",
    site: OneSite = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the largest topics to show.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Show each broker's disks: used, free, days left, the largest topics, and replicas that are offline.

    Exits 1 if less than kafka_gate_free_percent of a disk is free (no broker is restarted then), if a broker cannot use
    a disk or does not answer, or if it lacks replicas.

    Example: zads disks --env prod
    """
    inventory = Inventory.load(env, repository())
    percent = free_percent(inventory)
    found, problems = {}, []
    for one in deployed(inventory, site):
        try:
            found[one.name] = disks.look(one.conf, one.brokers, percent)
        except KafkaException as error:
            problems.append(f"{one.name}: {kafka.failure(one.conf, error.args[0])}")
        else:
            problems += [f"{one.name}: {problem}" for problem in found[one.name].problems()]
    if as_json:
        typer.echo(output.json_text(_plain(found, percent, problems), indent=1))
    else:
        _print(found, percent, top)
        for problem in problems:
            typer.echo(output.plain(f"FAIL {problem}"))
    if problems:
        raise typer.Exit(1)


def free_percent(inventory: Inventory) -> int:
    """The least free part of each disk, as the gate demands it. Raises ZadsError if the inventory's is no number."""
    value = inventory.common("kafka_gate_free_percent", disks.FREE_PERCENT)
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ZadsError(f"kafka_gate_free_percent is {value!r}, not a number", hint="correct the inventory") from error


def _plain(found: dict[Any, Usage], percent: int, problems: list[str]) -> dict[str, Any]:
    """What --json prints."""
    sites = {
        name: {
            "brokers": [dataclasses.asdict(one) for one in usage.brokers],
            "topics": [{"topic": topic, "bytes": size} for topic, size in usage.topics],
        }
        for name, usage in found.items()
    }
    return {"least_free_percent": percent, "assumed": forecast.ASSUMED, "sites": sites, "problems": problems}


def _print(found: dict[Any, Usage], percent: int, top: int) -> None:
    console = Console(width=140)
    rows = [
        (name, broker.number, broker.host, *cells)
        for name, usage in found.items()
        for broker in usage.brokers
        for cells in _cells(broker)
    ]
    columns = ("site", "broker", "host", "disk", "size", "Kafka's", "free", "free %", "days left", "offline", "")
    console.print(output.table(columns, rows))
    for name, usage in found.items():
        if top and usage.topics:
            whole = sum(size for _, size in usage.topics)
            console.print()
            largest = [(topic, shown(size), f"{size * 100 // max(whole, 1)} %") for topic, size in usage.topics[:top]]
            console.print(output.table((f"largest at {name}", "on all brokers", "part"), largest))
        for broker in usage.brokers:
            if broker.offline:
                typer.echo(f"broker {broker.number} of {name} lacks {some(broker.offline, _NAMED)}")
    typer.echo(f"{forecast.ASSUMED}; less than {percent} % free stops every operation")


def _cells(broker: Broker) -> list[tuple[object, ...]]:
    """The cells of each disk of a broker; of one that does not answer, a single row."""
    missing = len(broker.offline)
    if not broker.disks:
        return [("?", "", "", "", "", "", missing, "AWAY")]
    return [(disk.path, *_sizes(disk), missing, disk.state.upper()) for disk in broker.disks]


def _sizes(disk: Disk) -> tuple[str, str, str, str, str]:
    if disk.total <= 0:
        return "?", shown(disk.used), "?", "?", "?"
    days = f"more than {forecast.HORIZON}" if disk.days is None else str(disk.days)
    return shown(disk.total), shown(disk.used), shown(disk.free), str(disk.free * 100 // disk.total), days


def shown(size: float) -> str:
    """A number of bytes in words, with three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"
