"""``zads sample``: samples of packets for testers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from zads import kafka, output, sample
from zads.commands.sites import Env
from zads.errors import ZadsError
from zads.inventory import Inventory, repository
from zads.site.policy import SITES, Policy
from zads.site.samples import Sample
from zads.sources import files, simulator

app = typer.Typer(no_args_is_help=True, help="Publish a sample of packets for testers, beside the nights.")
Name = Annotated[str, typer.Argument(help="The sample's name in the inventory.", show_default=False)]


@app.command("list")
def list_samples(env: Env = "local") -> None:
    """List the inventory's samples, who may read each, and how many packets each holds.

    Example: zads sample list --env prod
    """
    inventory, policy = _inventory(env)
    rows = []
    for one in policy.samples:
        conf = kafka.read_properties(inventory.client(f"admin-{one.site}"))
        try:
            count = sample.held(conf, one)
        except KafkaException as error:
            raise kafka.failure(conf, error.args[0]) from error
        numbers = ", ".join(map(str, sorted(one.programmes)))
        packets = "not deployed" if count is None else count
        rows.append((one.name, one.site, one.topic, numbers, ", ".join(one.readers), f"{one.days:g}", packets))
    columns = ("sample", "site", "topic", "programmes", "readers", "days", "packets")
    Console(width=150).print(output.table(columns, rows))


@app.command()
def publish(
    name: Name,
    env: Env = "local",
    packets: Annotated[
        list[Path] | None, typer.Option("--from", help="A directory, an archive or a file of packets; may be repeated.")
    ] = None,
    simulate: Annotated[
        int | None, typer.Option(min=1, max=sample.MOST_PACKETS, help="Simulate this number of packets instead.")
    ] = None,
    night: Annotated[str, typer.Option(help="The night of simulated packets, YYYYMMDD.")] = "20181129",
    add: Annotated[bool, typer.Option("--add", help="Add to what the sample holds.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Delete what the sample holds, then publish.")] = False,
) -> None:
    """Publish packets to a sample's topic: real ones, or simulated ones of the sample's programmes.

    Nothing is published if one of them is no packet, or of another programme; or if the sample holds packets already,
    without --add or --replace.

    Example: zads sample publish spring --env prod --from night.tar.gz
    """
    if bool(packets) == (simulate is not None):
        raise typer.BadParameter("say which packets: --from PATH, or --simulate NUMBER")
    if add and replace:
        raise typer.BadParameter("--add and --replace exclude each other")
    inventory, policy = _inventory(env)
    wanted = _sample(policy, name)
    found = _simulated(wanted, simulate, night) if simulate is not None else _packets(packets or [])
    records = sample.judged(wanted, found)
    conf = kafka.read_properties(inventory.client(f"admin-{wanted.site}"))
    try:
        if not (add or replace) and (count := sample.held(conf, wanted)):
            raise ZadsError(f"the sample {name} holds {count} packets", hint="--add or --replace says what to do")
        sample.publish(conf, wanted, records, replace=replace)
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    typer.echo(output.plain(f"{len(records)} packets are in {wanted.topic} at {wanted.site} for {wanted.days:g} days"))


@app.command()
def remove(name: Name, env: Env = "local") -> None:
    """Remove the topic of a sample that the inventory names no more.

    Example: zads sample remove spring --env prod
    """
    inventory, policy = _inventory(env)
    if any(one.name == name for one in policy.samples):
        raise ZadsError(
            f"the inventory names the sample {name}, and the next deployment would make it again",
            hint="take it out of samples in group_vars, deploy with TAGS=topics,access, and run this again",
        )
    removed = []
    for site in SITES:
        conf = kafka.read_properties(inventory.client(f"admin-{site}"))
        try:
            removed += [site] if sample.remove(conf, name) else []
        except KafkaException as error:
            raise kafka.failure(conf, error.args[0]) from error
    if not removed:
        raise ZadsError(f"there is no sample {output.plain(name)!r}", hint="zads topics lists what there is")
    typer.echo(output.plain(f"the sample {name} is removed from {' and '.join(removed)}"))


def _inventory(env: str) -> tuple[Inventory, Policy]:
    inventory = Inventory.load(env, repository())
    return inventory, inventory.policy()


def _sample(policy: Policy, name: str) -> Sample:
    """Raises ZadsError if the inventory names no such sample."""
    for one in policy.samples:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in policy.samples) or "none"
    raise ZadsError(
        f"the inventory names no sample {output.plain(name)!r} (there are: {known})",
        hint="write it into samples in group_vars/all/main.yml, and deploy with TAGS=topics,access",
    )


def _packets(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        yield from files.packets(path)


def _simulated(wanted: Sample, count: int, night: str) -> Iterator[tuple[str, bytes]]:
    mix = dict.fromkeys(wanted.programmes, 1.0)
    for _, packets in simulator.simulate(night, 1, count, 1, programme_mix=mix):
        yield from packets
