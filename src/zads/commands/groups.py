"""``zads groups``: the consumer groups of the sites, and changes of one of them."""

from __future__ import annotations

import dataclasses
import datetime
import sys
import time
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from zads import kafka, output
from zads.commands.sites import DeployedSite, Env, OneSite, deployed
from zads.errors import ZadsError
from zads.groups import change, look
from zads.groups.look import Group, Place
from zads.groups.owner import Owner, owner
from zads.inventory import Inventory, repository
from zads.reading import Partition
from zads.site.policy import Policy

app = typer.Typer()


@app.command()
def show(
    group: Annotated[str | None, typer.Argument(help="Only this group, in detail.", show_default=False)] = None,
    env: Env = "local",
    site: OneSite = None,
    move_to: Annotated[
        str | None,
        typer.Option(
            help="Move the group to the records of this moment: beginning, now, or a time (UTC) as 2018-11-29T04:00.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the group with its positions.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a change.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Show consumer groups: whose they are, their state and members, and how many records they have yet to read.

    With GROUP also each member, when it last committed, and for how long the site has had the first record that the
    group has not read. A change is shown first; it asks, and refuses while the group has members.

    Example: zads groups --env prod broker_north-ingest
    """
    if (move_to is not None or remove) and (group is None or as_json):
        raise typer.BadParameter("a change needs the name of one GROUP, and has no --json")
    if move_to is not None and remove:
        raise typer.BadParameter("--move-to and --remove exclude each other")
    to = None if move_to is None else change.moment(move_to)
    inventory = Inventory.load(env, repository())
    policy = inventory.policy()
    sites = deployed(inventory, site)
    if group is None:
        _show_all(sites, policy, as_json)
        return
    where, found = _one(sites, group)
    whose = owner(group, policy)
    try:
        if to is not None:
            _move(where, found, whose, to, yes)
        elif remove:
            _remove(where, found, whose, yes)
        else:
            _show_one(where, found, whose, as_json)
    except KafkaException as error:
        raise kafka.failure(where.conf, error.args[0]) from error


def _show_all(sites: list[DeployedSite], policy: Policy, as_json: bool) -> None:
    """All groups of all sites. A site that does not answer does not hide the other; the exit status is 1 then."""
    found, problems = [], []
    for where in sites:
        try:
            found += [(where, one, owner(one.name, policy)) for one in look.groups(where.conf)]
        except KafkaException as error:
            problems.append(f"{where.name}: {kafka.failure(where.conf, error.args[0])}")
        except ZadsError as error:  # records stopped coming
            problems.append(f"{where.name}: {error}")
    if as_json:
        rows = [_plain(*one) for one in found]
        typer.echo(output.json_text({"groups": rows, "problems": problems}, indent=1))
    else:
        cells = [
            (where.name, one.name, whose, one.state, len(one.members), len(one.topics()), _left(one.places), note(one))
            for where, one, whose in found
        ]
        columns = ("site", "group", "of", "state", "members", "topics", "to read", "")
        Console(width=150).print(output.table(columns, cells))
        for problem in problems:
            typer.echo(output.plain(f"FAIL {problem}"))
    if problems:
        raise typer.Exit(1)


def note(group: Group) -> str:
    """What is remarkable about a group."""
    if group.leaderless:
        return f"{len(group.leaderless)} partitions have no leader"
    if not group.has_read:
        return "has read nothing"
    return "nobody reads" if group.left and not group.members else ""


def _left(places: dict[Any, Place] | Any) -> str:
    """The records that are left; with a sign if there may be fewer."""
    exact = all(place.exact for place in places.values())
    return f"{'' if exact else '<= '}{sum(place.left for place in places.values())}"


def _one(sites: list[DeployedSite], name: str) -> tuple[DeployedSite, Group]:
    """The group and its site. Raises ZadsError if it is at no site, or at both."""
    found = []
    for where in sites:
        try:
            [one] = look.groups(where.conf, [name])
        except KafkaException as error:
            raise kafka.failure(where.conf, error.args[0]) from error
        if one.state != "dead" or one.places:
            found.append((where, one))
    if not found:
        raise ZadsError(
            f"there is no group {name} at {' or '.join(where.name for where in sites)}",
            hint="Kafka forgets a group that nobody has used for seven days; `zads groups` lists all",
        )
    if len(found) > 1:
        raise ZadsError(f"both sites have a group {name}", hint="choose one by --site origin or --site public")
    return found[0]


def _show_one(where: DeployedSite, group: Group, whose: Owner, as_json: bool) -> None:
    arrived, commits = look.arrivals(where.conf, group), look.last_commits(where.conf, group.name)
    now = time.time()
    if as_json:
        rows = [
            {"topic": place[0], "partition": place[1], **dataclasses.asdict(at), **_times(place, arrived, commits, now)}
            for place, at in sorted(group.places.items())
        ]
        whole = {**_plain(where, group, whose), "who": [vars(one) for one in group.members], "places": rows}
        typer.echo(output.json_text(whole, indent=1))
        return
    typer.echo(output.plain(f"{group.name} at {where.name}, of {whose}: {group.state}. {note(group)}".strip()))
    console = Console(width=150)
    members = [(one.client, one.host, one.partitions) for one in group.members]
    console.print(output.table(("member", "address", "partitions"), members) if members else "no members")
    rows_of_topics = [
        (topic, len(places), _left(places), *_summary(topic, places, arrived, commits, now))
        for topic, places in group.topics().items()
    ]
    console.print(output.table(("topic", "partitions", "to read", "behind", "last commit"), rows_of_topics))
    typer.echo("behind: how long the site has had the first record that the group has not read")


def _times(
    place: Partition, arrived: dict[Partition, float], commits: dict[Partition, float], now: float
) -> dict[str, Any]:
    behind = max(now - arrived[place], 0.0) if place in arrived else None
    return {"behind_seconds": behind, "last_commit": _utc(commits[place]) if place in commits else None}


def _summary(
    topic: str,
    places: dict[int, Place],
    arrived: dict[Partition, float],
    commits: dict[Partition, float],
    now: float,
) -> tuple[str, str]:
    """How far behind a group is in a topic, and when it last committed there."""
    waiting = [number for number, place in places.items() if place.left]
    oldest = [arrived[topic, number] for number in waiting if (topic, number) in arrived]
    newest = [commits[topic, number] for number in places if (topic, number) in commits]
    behind = "" if not waiting else shown(now - min(oldest)) if len(oldest) == len(waiting) else "unknown"
    return behind, _utc(max(newest)) if newest else "never"


def shown(seconds: float) -> str:
    """A time span in words, in its two largest units."""
    whole = round(max(seconds, 0))
    for size, word, smaller, small_word in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {word} {whole % size // smaller} {small_word}"
    return f"{whole} s"


def _utc(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(where: DeployedSite, group: Group, whose: Owner) -> dict[str, Any]:
    return {
        "site": where.name, "group": group.name, "owner": {"kind": whose.kind, "name": whose.name},
        "state": group.state, "members": len(group.members), "topics": sorted(group.topics()),
        "to_read_at_most": group.left, "exact": all(place.exact for place in group.places.values()),
        "note": note(group),
    }  # fmt: skip


def _move(where: DeployedSite, group: Group, whose: Owner, to: str | datetime.datetime, yes: bool) -> None:
    change.refuse(group, whose, "moved")
    if not group.places:
        raise ZadsError(
            f"{group.name} has been in no topic", hint="a new group begins with the oldest record by itself"
        )
    planned = change.move(where.conf, group, to)
    for line in planned.lines():
        typer.echo(output.plain(line))
    if not planned:
        typer.echo("nothing to move")
        return
    _ask(f"move {group.name} at {where.name}, of {whose}?", yes)
    change.apply(where.conf, planned)
    typer.echo(output.plain(f"{group.name} is moved: its readers go on from there"))


def _remove(where: DeployedSite, group: Group, whose: Owner, yes: bool) -> None:
    change.refuse(group, whose, "removed")
    for topic, places in group.topics().items():
        typer.echo(output.plain(f"{topic}: {_left(places)} records that it has not read; its position is forgotten"))
    _ask(f"remove {group.name} at {where.name}, of {whose}?", yes)
    change.remove(where.conf, group.name)
    typer.echo(output.plain(f"{group.name} is removed: a reader of this name begins with the oldest record"))


def _ask(question: str, yes: bool) -> None:
    """Raises ZadsError if there is nobody to ask; exits 1 if the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ZadsError("nothing is changed: there is no terminal to ask at", hint="--yes does not ask")
    if not typer.confirm(output.plain(question)):
        raise typer.Exit(1)
