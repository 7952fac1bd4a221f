"""``zads backup``: makes, lists, verifies and compares backups, and puts one back."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from zads import output, wholefile
from zads.backup import contents, envelope, making, restoring, shelf
from zads.backup.contents import Backup
from zads.commands.disks import shown
from zads.commands.groups import shown as shown_time
from zads.commands.sites import Env, OneSite, deployed
from zads.errors import ZadsError
from zads.inventory import Inventory, repository, state
from zads.site.policy import Site

app = typer.Typer(no_args_is_help=True)

_SHOWN = 20  # exposures that are named; all of them are in the list

File = Annotated[Path, typer.Argument(help="The backup.", dir_okay=False, show_default=False)]
Key = Annotated[
    Path,
    typer.Option(
        help="A file with the private key of a recipient, of age or SSH.", envvar="ZADS_BACKUP_KEY", show_default=False
    ),
]
To = Annotated[Path | None, typer.Option(help="The directory; .zads/ENV/backups if not given.", show_default=False)]


@app.command()
def make(
    env: Env = "local",
    to: To = None,
    keep: Annotated[int, typer.Option(min=1, help="How many backups of ENV to keep in the directory.")] = 30,
    recipients: Annotated[
        Path | None,
        typer.Option(help="A file of public keys, a line each; backup_recipients of the inventory if not given."),
    ] = None,
    ensembles: Annotated[
        bool,
        typer.Option("--ensembles", help="Read the ensembles' data from standard input, as `make backup` gives it."),
    ] = False,
) -> None:
    """Write a backup that only the holders of the recipients' private keys can read.

    `make backup` runs this with the sites' locks and with the ensembles' data.

    Example: zads backup make --env prod --to /mnt/backups
    """
    root = repository()
    inventory = Inventory.load(env, root)
    lines = (
        wholefile.read(recipients).decode().splitlines() if recipients else inventory.common("backup_recipients", [])
    )
    if not isinstance(lines, list):
        raise ZadsError("backup_recipients is no list", hint="correct the inventory")
    made = making.make(
        env, root, inventory.state,
        {site.name: site.conf for site in deployed(inventory, None)}, _ensembles() if ensembles else {},
        keys=envelope.recipients([str(line) for line in lines]), to=to or inventory.state / "backups", keep=keep,
    )  # fmt: skip
    typer.echo(output.plain(f"{made.path}: {shown(made.size)}"))
    typer.echo(f"SHA-256 {made.digest}")
    for path in made.removed:
        typer.echo(output.plain(f"removed {path.name}"))


def _ensembles() -> dict[str, bytes]:
    """The archive of each site's ensemble from standard input: JSON, in base64. Raises ZadsError."""
    try:
        return {str(site): base64.b64decode(data, validate=True) for site, data in json.load(sys.stdin.buffer).items()}
    except (ValueError, binascii.Error, AttributeError, TypeError) as error:
        raise ZadsError("the ensembles' data on standard input cannot be read") from error


@app.command(name="list")
def list_backups(env: Env = "local", to: To = None) -> None:
    """List the backups of an environment in a directory, the oldest first.

    Example: zads backup list --env prod --to /mnt/backups
    """
    directory = to or state(repository(), env) / "backups"
    for path in shelf.backups(directory, env):
        typer.echo(output.plain(f"{path}: {shown(path.stat().st_size)}"))


@app.command()
def verify(file: File, key: Key) -> None:
    """Read a whole backup, check every checksum, and say what it is of. Nothing is written.

    Example: zads backup verify zads-prod-20300101T000000Z.tar.gz.age --key backup.key
    """
    _describe(file, contents.read(file, key))


def _describe(file: Path, backup: Backup) -> None:
    manifest = backup.manifest
    made = datetime.datetime.fromtimestamp(manifest.made, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    size = sum(map(len, backup.members.values()))
    for line in (
        f"{file}: whole, {len(backup.members)} members with {shown(size)}",
        f"SHA-256 {shelf.digest(file)}",
        f"of {manifest.environment}, made {made}, {shown_time(time.time() - manifest.made)} ago",
        f"by zads {manifest.release}, commit {manifest.commit or 'unknown'}",
        *(f"{site}: cluster {cluster}" for site, cluster in sorted(manifest.clusters.items())),
    ):
        typer.echo(output.plain(line))


@app.command()
def compare(file: File, key: Key, env: Env = "local") -> None:
    """Say what differs between a backup and the running sites: topics, accounts, limits, grants, ledger.

    Exits 1 if anything does. Nights that have come or gone since are no difference.

    Example: zads backup compare zads-prod-20300101T000000Z.tar.gz.age --key backup.key --env prod
    """
    backup, inventory = _of(env, file, key)
    lines, remarks = restoring.compare(backup, {site.name: site.conf for site in deployed(inventory, None)})
    for line in remarks:
        typer.echo(output.plain(line))
    for line in lines:
        typer.echo(output.plain(f"DIFFERS {line}"))
    if lines:
        raise typer.Exit(1)
    typer.echo(output.plain(f"{env} is what {file} says"))


@app.command()
def secrets(
    file: File,
    key: Key,
    env: Env = "local",
    replace: Annotated[
        bool, typer.Option("--replace", help="Put them in the place of others, which are kept beside them.")
    ] = False,
) -> None:
    """Put the secrets of a backup back on this control machine: the first step of `make restore`.

    Example: zads backup secrets zads-prod-20300101T000000Z.tar.gz.age --key backup.key --env prod
    """
    backup, inventory = _of(env, file, key)
    _describe(file, backup)
    if backup.manifest.inventory != making.inventory_digest(inventory.root, env):
        typer.echo(output.plain(f"inventories/{env} has changed since the backup: a deployment makes what it says now"))
    changed = restoring.put_secrets(backup, inventory.state, replace=replace)
    typer.echo(f"{len(changed)} files of secrets written" if changed else "the secrets are those of the backup")


@app.command()
def sites(file: File, key: Key, env: Env = "local", site: OneSite = None) -> None:
    """Give new sites what only the backup has: a step of `make restore`, which stops all programs before.

    Sites that are not new are left alone. Refuses new sites that hold alerts already.

    Example: zads backup sites zads-prod-20300101T000000Z.tar.gz.age --key backup.key --env prod
    """
    backup, inventory = _of(env, file, key)
    policy = inventory.policy()
    done = restoring.put_sites(backup, {one.name: one.conf for one in deployed(inventory, None)}, policy, only=site)
    for line in done.lines:
        typer.echo(output.plain(line))
    if done.lost:
        _lost(inventory, done.lost)


@app.command()
def ensemble(
    file: File,
    key: Key,
    site: Annotated[Site, typer.Option(help="The site: origin or public.", show_default=False)],
    env: Env = "local",
) -> None:
    """Print the data of a site's ensemble, as a tar.gz in base64: a step of `make restore ENSEMBLE=`. They are secret.

    Example: zads backup ensemble zads-prod-20300101T000000Z.tar.gz.age --key backup.key --env prod --site origin
    """
    backup, _ = _of(env, file, key)
    try:
        data = backup.members[f"{site}/ensemble.tar.gz"]
    except KeyError:
        raise ZadsError(f"{file} has no data of the ensemble of {site}", hint="make backup writes them") from None
    typer.echo(base64.b64encode(data).decode())


def _lost(inventory: Inventory, lost: dict[str, int]) -> None:
    """Name the exposures that the pipeline has to deliver again; all of them are in a file."""
    path = inventory.state / "reports" / "deliver-again.json"
    wholefile.write(path, output.json_text(lost, indent=1))
    typer.echo(f"{sum(lost.values())} alerts of {len(lost)} exposures are on no site: deliver these exposures again.")
    typer.echo(output.plain(f"{path} lists them:"))
    for name, number in sorted(lost.items())[:_SHOWN]:
        typer.echo(output.plain(f"  {name}: {number} alerts"))


def _of(env: str, file: Path, key: Path) -> tuple[Backup, Inventory]:
    """A backup of this environment, and its inventory. Raises ZadsError if the backup is of another one."""
    inventory = Inventory.load(env, repository())
    backup = contents.read(file, key)
    if backup.manifest.environment != env:
        raise ZadsError(
            f"{file} is a backup of {backup.manifest.environment!r}, not of {env!r}", hint="choose it by --env"
        )
    return backup, inventory
