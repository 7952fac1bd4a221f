"""``zads schema``: what the survey has changed in its packets, who notices, and how the change is taken in."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zads import kafka, output, schemas
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.schema_change import samples
from zads.schema_change.change import Change
from zads.sources import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zads.schema_change.retry import Plan
    from zads.schema_change.samples import Found, Sample

app = typer.Typer(no_args_is_help=True, help="Take in a change of the survey's schema.")
Paths = Annotated[
    list[Path], typer.Argument(help="Packets, .avsc files, or directories or archives of them.", show_default=False)
]
Env = Annotated[
    str, typer.Option(help="The environment whose filters read the packets; without one, the filters of ZADS.")
]
Version = Annotated[
    str, typer.Option(help="The version of the schema. [default: what its packets say, or else what it claims]")
]
SHOWN = 5  # files without a schema that are named


@app.command()
def diff(
    paths: Paths,
    env: Env = "",
    version: Version = "",
    docs: Annotated[bool, typer.Option("--docs", help="Show how the fields' documentation differs, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list, an entry for each schema.")] = False,
) -> None:
    """Say what differs from the known schemas, field by field, and which readers notice. Changes nothing.

    Example: zads schema diff --env local refused/20190110T0700/
    """
    from zads.schema_change import readers

    found = samples.read(paths)
    changes = [(sample, _change(sample, version)) for sample in found.samples]
    who = readers.all_of(_inventory(env)) if any(not change.known for _, change in changes) else []
    reports = []
    for sample, change in changes:
        effects = [readers.effect(reader, change.differences) for reader in who] if not change.known else []
        if as_json:
            reports.append(
                {"first": sample.first, "packets": sample.packets, **change.report(),
                 "readers": [one.report() for one in effects]}
            )  # fmt: skip
        else:
            _print(sample, change, docs=docs)
            for effect in effects:
                typer.echo(output.plain(f"  {effect}"))
    if as_json:
        typer.echo(output.json_text(reports, indent=1))
    _print_unusable(found)


@app.command()
def add(
    paths: Paths,
    version: Version = "",
    form: Annotated[str, typer.Option(help="The name of a further form of a known version.")] = "",
    since: Annotated[str, typer.Option(help="Which packets have it, for the table in schemas/ztf/README.md.")] = "",
    incompatible: Annotated[
        bool, typer.Option("--incompatible", help="Add a schema that breaks readers of the form before it, too.")
    ] = False,
) -> None:
    """Write a schema into schemas/ztf of this checkout: a new version, or a further form of a known one.

    Deploys nothing; before a deployment, git shows and undoes what was written.

    Example: zads schema add refused/20190110T0700/ --since "packets of January 2019"
    """
    from zads.schema_change.addition import addition

    sample, change = _one_new(samples.read(paths), version)
    _print(sample, change)
    made = addition(change, repository(), form, since, incompatible=incompatible)
    for path in made.write():
        typer.echo(output.plain(f"wrote {path}"))
    typer.echo("next: make deploy ENV=..., which brings it to producers and workers")


@app.command()
def rehearse(
    paths: Paths,
    night: Annotated[
        Path | None,
        typer.Option(help="Known packets, of which packets of the new form are made. [default: those of PATHS]"),
    ] = None,
    env: Env = "",
    version: Version = "",
    alerts: Annotated[int, typer.Option(min=1, max=5_000, help="The largest number of packets.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Say what would happen if a schema were known: validation, and each filter beside the known form.

    Touches nothing; exit 1 if packets would be refused, or if a filter would fail on them. If only an .avsc file is
    given, packets are made: of those of --night, or of simulated ones.

    Example: zads schema rehearse --env local refused/20190110T0700/
    """
    from zads.schema_change import readers
    from zads.schema_change.rehearsal import rehearse as rehearsed

    sample, change = _one_new(samples.read(paths), version)
    made = night is not None or not sample.packets
    packets = islice(_packets([night] if night else paths if sample.packets else [], change), alerts)
    result = rehearsed(change, packets, readers.places(_inventory(env)), made=made)
    if as_json:
        typer.echo(output.json_text({**change.report(), **result.report()}, indent=1))
    else:
        how = " (made for this)" if made else ""
        typer.echo(f"{change.schema.mark}: {result.accepted} packets{how} would be accepted")
        for one in result.filters:
            typer.echo(output.plain(f"  {one}"))
    if problems := result.problems():
        raise ZadsError(f"it may not be deployed: {'; '.join(problems)}")


@app.command()
def retry(
    env: Annotated[str, typer.Option(help="The environment of whose origin the refusals are.")] = "",
    properties: Annotated[
        Path | None, typer.Option("--kafka", help="A client's properties file, instead of --env.", metavar="PROPERTIES")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the exposures into this directory, such as a spool's incoming/.")
    ] = None,
    deliver: Annotated[
        bool, typer.Option("--deliver", help="Put the exposures into the spool of ENV's producer, and wait for it.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the producer.")] = 600.0,
    new_schemas: Annotated[
        Literal["refuse", "accept"] | None,
        typer.Option(help="What the producer does with schemas that are not known. [default: as ENV says, or refuse]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The exposures and what is left out, as JSON.")] = False,
) -> None:
    """Find what the producer refused for its schema and would accept now; with --deliver, give it to it again.

    Each packet is published once, however often this runs: the producer's ledger knows what is on its night's topic.
    Deploy the schema before.

    Example: zads schema retry --env local --deliver
    """
    from zads.schema_change import retry as again

    if bool(env) == (properties is not None) or (deliver and not env):
        raise ZadsError("say whose refusals these are", hint="give --env ENV, or --kafka PROPERTIES without --deliver")
    inventory = _inventory(env)
    if inventory is not None:
        properties = inventory.client("admin-origin")
        new_schemas = new_schemas or inventory.common("producer_new_schemas")
    conf = kafka.read_properties(properties or "")
    found = again.plan(conf, schemas.Admission(accepts=new_schemas == "accept"))
    if as_json:
        typer.echo(output.json_text(found.report(), indent=1))
    else:
        count = len(found.exposures)
        typer.echo(f"{found.packets} packets of {count} exposures can be delivered again, {found.size} bytes")
        for why, number in found.left.most_common():
            typer.echo(output.plain(f"{number} left out: {why}"))
    if to is not None:
        again.deliver(conf, found, to)
    if deliver and inventory is not None:
        _deliver(conf, found, inventory, wait)


def _deliver(conf: dict[str, str], found: Plan, inventory: Inventory, wait: float) -> None:
    """Put a plan's exposures into the producer's spool, and say what became of them. Raises ZadsError."""
    from zads.demo.spool import RemoteSpool
    from zads.schema_change import retry as again

    spool = RemoteSpool(inventory)
    inventory.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="retry-", dir=inventory.state) as directory:
        outcome = again.give(conf, found, spool, Path(directory), wait)
    typer.echo(str(outcome), err=True)
    if outcome.refused:
        raise ZadsError("packets were refused again", hint="deploy the schema to the producer, then run this again")


def _packets(paths: list[Path], change: Change) -> Iterator[tuple[str, bytes]]:
    """The packets below paths; without any, simulated ones of the form with which a schema was compared."""
    for path in paths:
        for item in files.read(path):
            if not item.passed and not item.refused and not item.name.lower().endswith(samples.AVSC):
                yield item.name, item.data
    if not paths:
        from zads.sources import simulator

        for _, packets in simulator.simulate("20181129", 5, 100, 1, schema_mix={change.nearest.version: 1.0}):
            yield from packets


def _inventory(env: str) -> Inventory | None:
    return Inventory.load(env, repository()) if env else None


def _change(sample: Sample, version: str) -> Change:
    if not version and not sample.version:
        claimed = sample.definition.get("version")
        raise ZadsError(f"{sample.first}: it claims version {claimed!r}, which is none", hint="say it with --version")
    return Change.of(sample.definition, version) if version else Change.of_sample(sample)


def _one_new(found: Found, version: str) -> tuple[Sample, Change]:
    """The one schema among those found that is not known. Raises ZadsError if there is none, or more than one."""
    changes = [(sample, _change(sample, version)) for sample in found.samples]
    new = [(sample, change) for sample, change in changes if not change.known]
    if not new:
        raise ZadsError(f"all schemas are known: {', '.join(change.nearest.name for _, change in changes)}")
    if len(new) > 1:
        listed = "; ".join(f"{change.schema.mark} ({sample.first})" for sample, change in new)
        raise ZadsError(f"there are {len(new)} new schemas: {listed}", hint="give a packet of one of them")
    return new[0]


def _print(sample: Sample, change: Change, *, docs: bool = False) -> None:
    many = f"{sample.packets} packets, the first is {sample.first}" if sample.packets else sample.first
    typer.echo(output.plain(f"{change.schema.mark} ({many})"))
    claimed = sample.definition.get("version")
    if claimed != change.schema.version:
        typer.echo(output.plain(f"  its schema claims version {claimed!r}"))
    if change.known:
        typer.echo(f"  known: it is {change.nearest.name}")
    else:
        can = "can" if change.compatible else "CANNOT"
        typer.echo(f"  new: readers of {change.nearest.name} {can} read it")
    for line in change.lines():
        typer.echo(output.lines(line))
    for one in change.docs if docs else ():
        typer.echo(output.plain(f"        {one}"))


def _print_unusable(found: Found) -> None:
    for name, why in list(found.unusable.items())[:SHOWN]:
        typer.echo(output.plain(f"{name}: no schema: {why}"), err=True)
    if (more := len(found.unusable) - SHOWN) > 0:
        typer.echo(f"{more} more files have no schema", err=True)
