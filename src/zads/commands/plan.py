"""``zads plan``: what a survey's alerts need in machines, and why."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from zads import output
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.plan import figures, load, needs, verdict
from zads.plan.machine import Machine
from zads.site.policy import SITES, Policy, PolicyError

app = typer.Typer(help="Work out what a survey's alerts need: disks, network, memory, partitions, limits, machines.")

_FIRST: load.Survey = "ztf-2018"
_READERS = re.compile(r"(?P<site>origin|public):(?P<programmes>[0-9]+(,[0-9]+)*):(?P<count>[0-9]+)")
_LEAST_WIDTH = 120
_MACHINE = Machine()


@app.command()
def run(
    like: Annotated[
        load.Survey | None,
        typer.Option(help=f"A known survey; other options change its numbers. [default: {_FIRST}]"),
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="An inventory: its survey_load, users, filters and numbers of hosts.")
    ] = None,
    alerts_night: Annotated[int | None, typer.Option(help="The most alerts of a night.")] = None,
    alerts_second: Annotated[
        float | None, typer.Option(help="The burst: the most alerts a second, over a minute.")
    ] = None,
    packet_kb: Annotated[float | None, typer.Option(help="Mean size of a packet, KB.")] = None,
    night_hours: Annotated[float | None, typer.Option(help="Hours in which a night's alerts come.")] = None,
    programme: Annotated[
        list[str] | None, typer.Option(help="NUMBER=PART of the alerts, for each programme: 1=0.4.")
    ] = None,
    public: Annotated[list[int] | None, typer.Option(help="Programmes of the public site.")] = None,
    readers: Annotated[
        list[str] | None, typer.Option(help="SITE:PROGRAMMES:COUNT subscribers, for each kind: public:1:30.")
    ] = None,
    catching_up: Annotated[
        int | None, typer.Option(help="Subscribers of a site who read an old night at once.")
    ] = None,
    filters: Annotated[int | None, typer.Option(help="Filters that run.")] = None,
    owners: Annotated[int | None, typer.Option(help="Owners of filters.")] = None,
    groups: Annotated[int | None, typer.Option(help="Groups of filters.")] = None,
    filter_part: Annotated[float | None, typer.Option(help="Part of the alerts that a filter passes.")] = None,
    retention_days: Annotated[float | None, typer.Option(min=0.01, max=3650, help="Days that a night is kept.")] = None,
    replicas: Annotated[int | None, typer.Option(min=2, max=100, help="Copies of each alert at a site.")] = None,
    machine_processors: Annotated[
        int | None, typer.Option(min=2, help=f"Processors of a machine. [default: {_MACHINE.processors}]")
    ] = None,
    machine_memory_gib: Annotated[
        float | None, typer.Option(min=1, help=f"Memory of a machine, GiB. [default: {_MACHINE.memory_gib}]")
    ] = None,
    machine_disk_tb: Annotated[
        float | None, typer.Option(min=0.001, help=f"Disks of a machine altogether, TB. [default: {_MACHINE.disk_tb}]")
    ] = None,
    machine_network_gbit: Annotated[
        float | None, typer.Option(min=0.001, help=f"Network of a machine, Gbit/s. [default: {_MACHINE.network_gbit}]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Work out what a survey's alerts need: disk, network, memory, partitions, limits and machines, with the reasons.

    Exits 1 if the deployment that --env names cannot hold its survey_load. Preflight compares the hosts as well.

    Example: zads plan --like ztf-2018 --retention-days 14 --readers public:1:30
    """
    given = {
        "alerts_night": alerts_night, "alerts_second": alerts_second, "packet_kb": packet_kb,
        "night_hours": night_hours, "programmes": _parts(programme), "catching_up": catching_up,
        "filter_part": filter_part,
        "public": None if public is None else frozenset(public), "readers": _readers(readers),
        "retention_days": retention_days, "replicas": replicas,
    }  # fmt: skip
    changes = _given(given)
    running = _given({"count": filters, "owners": owners, "groups": groups})
    machine = _given({
        "processors": machine_processors, "memory_gib": machine_memory_gib, "disk_tb": machine_disk_tb,
        "network_gbit": machine_network_gbit,
    })  # fmt: skip
    if env is not None:
        if changes or running or machine or like is not None:
            raise typer.BadParameter("the inventory says it all: change it there", param_hint="--env")
        planned, found = _of_inventory(env)
    else:
        demand = _demand(like or _FIRST, changes, running)
        planned, found = needs.plan(demand, dataclasses.replace(_MACHINE, **machine)), verdict.of_demand(demand)
    _show(planned, found, as_json)
    if found.refused:
        raise typer.Exit(1)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def _demand(like: load.Survey, changes: dict[str, Any], running: dict[str, int]) -> load.Demand:
    """A known survey with other numbers. Raises ZadsError that names the options."""
    demand = load.EXAMPLES[like]
    if negative := [name for name, value in running.items() if value < 0]:
        raise typer.BadParameter("cannot be negative", param_hint=f"--{negative[0].replace('count', 'filters')}")
    try:
        return load.changed(demand, changes | {"filters": dataclasses.replace(demand.filters, **running)})
    except PolicyError as error:
        raise ZadsError(". ".join(_in_options(error))) from error


def _in_options(error: PolicyError) -> Iterator[str]:
    """The problems of a load by the options that set it, instead of the inventory's variables."""
    for problem in error.problems:
        name = problem.variable.removeprefix("survey_load.").partition(".")[0]
        yield f"--{name.replace('programmes', 'programme').replace('_', '-')}: {problem.reason}"


def _parts(texts: list[str] | None) -> dict[int, float] | None:
    if not texts:
        return None
    try:
        return {int(number): float(part) for number, part in (text.split("=") for text in texts)}
    except ValueError as error:
        raise typer.BadParameter(
            f"{' '.join(texts)!r}: write NUMBER=PART, as in 1=0.4", param_hint="--programme"
        ) from error


def _readers(texts: list[str] | None) -> tuple[load.Readers, ...] | None:
    if not texts:
        return None
    found = []
    for text in texts:
        match = _READERS.fullmatch(text)
        if match is None:
            raise typer.BadParameter(
                f"{text!r}: write SITE:PROGRAMMES:COUNT, as in public:1:30", param_hint="--readers"
            )
        site = SITES[SITES.index(match["site"])]
        found.append(load.Readers(site, frozenset(map(int, match["programmes"].split(","))), int(match["count"])))
    return tuple(found)


def _of_inventory(env: str) -> tuple[needs.Plan, verdict.Verdict]:
    """The plan for an inventory's load with the brokers that it has, and what its variables lack."""
    inventory = Inventory.load(env, repository(), realised=False)
    policy = Policy.read(inventory.hosts[inventory.group("kafka")[0]]) if inventory.group("kafka") else None
    data = inventory.common("survey_load")
    if policy is None or not data:
        raise ZadsError(
            f"inventories/{env} states no load",
            hint="write survey_load into group_vars/all/main.yml (docs/plan.md), or plan with --like and other options",
        )
    brokers = {site: len(inventory.group(f"{site}_kafka")) for site in SITES}
    if not all(brokers.values()):
        raise ZadsError(f"inventories/{env} has no brokers at a site", hint="give origin_kafka and public_kafka hosts")
    planned = needs.plan_of(load.of_policy(data, policy), brokers, policy.topics_night.partitions)
    verdicts = [verdict.of_demand(planned.demand), verdict.of_policy(planned, policy)]
    count = {name: len(hosts) for name, hosts in inventory.groups.items()}
    for name, variables in inventory.hosts.items():
        groups = frozenset(group for group, hosts in inventory.groups.items() if name in hosts)
        # What depends on other variables is known in a deployment only.
        known = {key: value for key, value in variables.items() if "{{" not in str(value)}
        verdicts.append(verdict.of_settings(planned, verdict.Host(groups, known, count)))
    return planned, verdict.Verdict(
        list(dict.fromkeys(line for one in verdicts for line in one.refused)),
        list(dict.fromkeys(line for one in verdicts for line in one.tight)),
    )


def _show(planned: needs.Plan, found: verdict.Verdict, as_json: bool) -> None:
    rows = figures.figures(planned)
    if as_json:
        whole = {"figures": [vars(one) for one in rows], "refused": found.refused, "tight": found.tight}
        typer.echo(output.json_text(whole, indent=1))
        return
    table = output.table(
        ("of", "what", "needed", "why"), [(one.part, one.name, one.shown, one.because) for one in rows]
    )
    Console(width=max(_LEAST_WIDTH, shutil.get_terminal_size().columns)).print(table)
    for word, lines in (("TIGHT", found.tight), ("REFUSED", found.refused)):
        for line in lines:
            typer.echo(output.plain(f"{word} {line}"))
