"""``zads audit``: whether both sites hold the same night."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zads import audit, kafka, names, output
from zads.manifest import TopicManifest

app = typer.Typer(help="Prove that both sites hold the same night.")


@app.command()
def run(
    origin: Annotated[Path, typer.Option(help="Properties of a client that may read all of origin.")],
    public: Annotated[Path, typer.Option(help="Properties of a client that may read all of public.")],
    night: Annotated[list[str], typer.Option(help="A night, YYYYMMDD; may be given several times.")],
    programme: Annotated[
        list[int] | None, typer.Option(help="Programmes that the public site has. [default: 1]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifests as JSON.")] = False,
) -> None:
    """Read a night on both sites, compare counts and digests, and exit 1 if anything disagrees.

    Example: zads audit --origin .zads/local/clients/admin-origin.properties
    --public .zads/local/clients/admin-public.properties --night 20181129
    """
    nights = [names.check_night(text) for text in night]
    found = audit.audit(kafka.read_properties(origin), kafka.read_properties(public), nights, programme or [1])
    if as_json:
        typer.echo(output.json_text(found.as_json(), indent=1))
    else:
        _print(found)
    if found.disagreements:
        raise typer.Exit(1)


def _print(found: audit.Audit) -> None:
    rows: list[tuple[str, ...]] = []
    empty = TopicManifest("")
    for name in sorted(found.origin.topics.keys() | found.public.topics.keys()):
        origin, public = found.origin.topics.get(name, empty), found.public.topics.get(name)
        records, digest = (str(public.records), public.digest[:16]) if public else ("not there", "")
        rows.append((name, str(origin.records), records, origin.digest[:16], digest))
    for name, manifest in sorted(found.public.filters.items()):
        rows.append((name, "", str(manifest.records), "", manifest.digest[:16]))
    columns = ("topic", "origin", "public", "digest at origin", "digest at public")
    Console(width=120).print(output.table(columns, rows))
    for site in (found.origin, found.public):
        for rejection in site.rejections:
            where = f"{rejection.field}: " if rejection.field else ""
            text = f"{site.site} refused {rejection.count}: {where}{rejection.reason} (such as {rejection.source})"
            typer.echo(output.plain(text))
        for name, manifest in sorted(site.topics.items()):
            if manifest.versions:
                typer.echo(f"{site.site}: {manifest.versions} records of {name} are a later version of their alert")
    for sentence in found.disagreements:
        typer.echo(output.plain(f"DISAGREES {sentence}"))
    if not found.disagreements:
        typer.echo("both sites agree")
