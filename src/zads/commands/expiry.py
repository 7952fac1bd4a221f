"""``zads expiry``: what ends, and when."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from zads import output
from zads.commands.sites import Env
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.site import certificates, expiry
from zads.site.ages import Limits
from zads.site.expiry import Daemon, End
from zads.site.policy import SITES

app = typer.Typer()

#: What a daemon is called -> its group, and the role and variable of its port.
_DAEMONS = {
    "Kafka for clients": ("kafka", "kafka", "kafka_clients_port"),
    "Kafka for brokers": ("kafka", "kafka", "kafka_brokers_port"),
    "ZooKeeper": ("zookeeper", "zookeeper", "zookeeper_client_port"),
}


@app.command()
def show(
    env: Env = "local",
    everything: Annotated[bool, typer.Option("--all", help="Also what has time.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only what this machine keeps; ask no daemon.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Show what ends: certificates as kept and as served, authorities, people's accounts, and old passwords.

    Exits 1 if something ends within its time for warning, a daemon does not answer, or one shows another certificate
    than this machine has. The first of each kind is shown in any case.

    Example: zads expiry --env prod
    """
    inventory = Inventory.load(env, repository())
    found, now = look(inventory, offline=offline), certificates.now()
    found.sort(key=lambda one: (one.ends is not None, one.ends))
    wrong = [one for one in found if one.wrong(now)]
    if as_json:
        typer.echo(output.json_text([_plain(one) for one in found], indent=1))
    else:
        first = {one.kind: one for one in reversed(found)}.values()
        shown = [one for one in found if everything or one in wrong or one in first]
        rows = [(one.kind, one.name, str(one.ends or "?")[:10], _days(one), one.wrong(now)) for one in shown]
        Console(width=140).print(output.table(("what", "name", "ends", "days left", ""), rows))
        typer.echo(f"{len(found)} looked at, {len(wrong)} need somebody")
    if wrong:
        raise typer.Exit(1)


def look(inventory: Inventory, *, offline: bool = False) -> list[End]:
    """Everything of an environment that ends. Raises ZadsError if it has not been deployed."""
    secrets = inventory.state / "secrets"
    if not secrets.is_dir():
        raise ZadsError(f"{secrets} is not there", hint=f"make deploy ENV={inventory.env} makes the secrets")
    limits = Limits(
        authority=_number(inventory, "certificates_authority_days", Limits.authority),
        certificate=_number(inventory, "certificates_renew_days", Limits.certificate),
        password=_number(inventory, "certificates_password_days", Limits.password),
    )
    policy = inventory.policy()
    try:
        found = expiry.kept(secrets, inventory.hosts, limits)
        known = expiry.fingerprints(secrets)
    except ValueError as error:
        raise ZadsError(f"a certificate below {secrets} cannot be read: {error}", hint="restore the backup") from error
    found += expiry.accounts([*policy.users, *policy.expired], limits)
    found += expiry.passwords(secrets / "passwords-made.json", limits)
    return found if offline else found + expiry.served(daemons(inventory), limits, known)


def daemons(inventory: Inventory) -> list[Daemon]:
    """The ports of an environment that show certificates."""
    found = []
    for title, (group, role, variable) in _DAEMONS.items():
        for site in SITES:
            for host in inventory.group(f"{site}_{group}"):
                port = int(inventory.setting(host, variable, role))
                found.append(Daemon(f"{title} on {host}", inventory.address(host), port))
    return found


def _number(inventory: Inventory, variable: str, default: int) -> int:
    value = inventory.common(variable, default)
    if not isinstance(value, int):
        raise ZadsError(f"{variable} is {value!r}, not a number of days", hint="correct the inventory")
    return value


def _days(one: End) -> str:
    days = one.days(certificates.now())
    return "?" if days is None else str(days)


def _plain(one: End) -> dict[str, Any]:
    """What --json prints."""
    now = certificates.now()
    ends = one.ends.isoformat() if one.ends else None
    return {
        "kind": one.kind, "name": one.name, "ends": ends, "days": one.days(now), "act_days": one.act,
        "wrong": one.wrong(now),
    }  # fmt: skip
