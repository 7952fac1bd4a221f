"""The sites of an environment, for commands that ask their brokers as the operators do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from zads import kafka
from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.site.policy import SITES, Site

Env = Annotated[str, typer.Option(help="The environment: a directory of inventories/.")]
OneSite = Annotated[Site | None, typer.Option(help="Only this site: origin or public.")]


@dataclass(frozen=True)
class DeployedSite:
    """A site, the operators' client there, and the hosts of its brokers by their numbers."""

    name: Site
    conf: dict[str, str]
    brokers: dict[int, str]


def deployed(inventory: Inventory, only: Site | None) -> list[DeployedSite]:
    """The sites of an inventory, or only one of them. Raises ZadsError if one has not been deployed."""
    found = []
    for name in SITES if only is None else (only,):
        hosts = inventory.group(f"{name}_kafka")
        if not hosts:
            raise ZadsError(f"inventories/{inventory.env} has no brokers at {name}", hint=f"name hosts in {name}_kafka")
        conf = kafka.read_properties(inventory.client(f"admin-{name}"))
        found.append(DeployedSite(name, conf, {int(inventory.hosts[host]["node_id"]): host for host in hosts}))
    return found
