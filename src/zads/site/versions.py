"""Which steps between versions of Kafka a site may take, and in which order.

Kafka's notes on upgrades (3.9) say: change the software of one broker after another while all speak the older
``inter.broker.protocol.version``; when all is well, raise it, one broker after another. There is no way back below a
protocol that a broker has spoken, since brokers then write what older software cannot read. Software of any 3.x may
follow any other. Version 4 has no ZooKeeper, and before 3.0 another setting had to be stepped as well. ZooKeeper asks
that servers are newer than their clients: an ensemble is the first on the way up, and the last on the way down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from zads.errors import some

Kind = Literal["kafka", "zookeeper"]
Version = tuple[int, ...]
#: The first version whose brokers need no more than the protocol to be stepped, and the first without ZooKeeper.
OLDEST, WITHOUT_ZOOKEEPER = (3, 0), (4,)
_NAMED = 5  # hosts named in one sentence
_WORDS: Mapping[Kind, str] = {"kafka": "broker", "zookeeper": "member of the ensemble"}


@dataclass(frozen=True)
class Daemon:
    """A broker or a member of an ensemble, as its host describes it.

    ``version`` is the version of Kafka that its unit starts, ``runs`` the one that its process has; empty if there is
    none. ``protocol`` is what a broker's file says, ``speaks`` what it said when the broker started.
    """

    host: str
    kind: Kind
    version: str
    runs: str = ""
    protocol: str = ""
    speaks: str = ""

    @property
    def versions(self) -> set[str]:
        """The versions that it has or runs."""
        return {self.version, self.runs} - {""}

    @property
    def protocols(self) -> set[str]:
        """The protocols that it has or speaks."""
        return {self.protocol, self.speaks} - {""}

    def __str__(self) -> str:
        return f"{self.host} ({_WORDS[self.kind]})"


@dataclass(frozen=True)
class Plan:
    """What an operation does at a site.

    ``refused`` are reasons against it, ``said`` is a line for each thing that an operator should know, ``turns`` are
    the daemons that restart. ``up`` is whether the versions rise, so that the ensemble comes first.
    """

    refused: list[str]
    said: list[str]
    turns: list[Daemon]
    up: bool = True


def number(version: str) -> Version:
    """The parts of a version such as 3.9.1. Raises ValueError if it is none."""
    return tuple(int(part) for part in version.split("."))


def protocol_of(version: str) -> str:
    """The newest protocol of a version: 3.9 of 3.9.1. Raises ValueError if it is none."""
    return ".".join(map(str, number(version)[:2]))


def may_speak(version: str, protocol: str) -> bool:
    """Whether brokers of a version can speak a protocol. Raises ValueError if either is none."""
    return number(protocol)[:2] <= number(version)[:2]


def change(site: str, daemons: Iterable[Daemon], wanted: str, hosts: Iterable[str] = ()) -> Plan:
    """How a site's daemons come to a version of Kafka; ``hosts`` limits it to some.

    A daemon that has come there already has no turn, so the same plan continues an interrupted one.
    """
    every = list(daemons)
    if reasons := _impossible(site, every, wanted):
        return Plan(reasons, [], [])
    chosen = [one for one in every if one.host in set(hosts) or not hosts]
    turns = [one for one in chosen if one.versions != {wanted}]
    present = {version for one in every for version in one.versions}
    up = number(wanted) >= max(map(number, present))
    left = len([one for one in every if one.versions != {wanted}]) - len(turns)
    spoken = _newest(protocol for one in every for protocol in one.protocols)
    said = [f"{one}: Kafka {_joined(one.versions)} becomes {wanted}" for one in _ordered(turns, up=up)]
    if not turns:
        said.append(f"nothing changes: {'these hosts have' if left else 'every daemon has'} Kafka {wanted}")
    if left:
        said.append(f"{left} daemons of other hosts stay as they are: the same command without LIMIT continues")
    if up and not may_speak(spoken, protocol_of(wanted)):
        said.append(f"the brokers' protocol stays {spoken}, so there is a way back until make protocol raises it")
    return Plan([], [f"{site}: {line}" for line in said], turns, up)


def _impossible(site: str, daemons: list[Daemon], wanted: str) -> list[str]:
    """The reasons why a site cannot come to a version."""
    try:
        asked = number(wanted)
    except ValueError:
        return [f"{wanted!r} is no version: write KAFKA=3.9.1"]
    if asked >= WITHOUT_ZOOKEEPER:
        return [f"Kafka {wanted} has no ZooKeeper, and {site} needs it: 3.9 is the last line that has it"]
    if asked < OLDEST:
        return [f"Kafka {wanted} is too old: its notes ask for more steps than these"]
    if new := [str(one) for one in daemons if not one.version]:
        return [f"{site}: no Kafka is installed: {some(new, _NAMED)}; make deploy first"]
    reasons = []
    present = sorted({version for one in daemons for version in one.versions}, key=number)
    if len(present) > 1 and wanted not in present:
        reasons.append(
            f"{site} is between Kafka {_joined(present)}: bring it to one of them before you bring it to {wanted}"
        )
    above = {p for one in daemons for p in one.protocols if not may_speak(wanted, p)}
    if above:
        reasons.append(
            f"{site} cannot go to Kafka {wanted}: its brokers speak the protocol {_newest(above)}, and what they have "
            "written since is not for older ones. There is no way back below it"
        )
    return reasons


def raising(site: str, daemons: Iterable[Daemon]) -> Plan:
    """How a site's brokers come to the newest protocol of their version."""
    every = list(daemons)
    if new := [str(one) for one in every if not one.version]:
        return Plan([f"{site}: no Kafka is installed: {some(new, _NAMED)}; make deploy first"], [], [])
    present = sorted({version for one in every for version in one.versions}, key=number)
    if len(present) > 1:
        return Plan([f"{site} is between Kafka {_joined(present)}: first finish make upgrade"], [], [])
    wanted = protocol_of(present[0])
    turns = [one for one in every if one.kind == "kafka" and one.protocols != {wanted}]
    said = [f"{one}: the protocol {_joined(one.protocols)} becomes {wanted}" for one in turns]
    if turns:
        said.append(f"afterwards there is no way back below Kafka {wanted}")
    else:
        said.append(f"nothing changes: every broker speaks the protocol {wanted}")
    return Plan([], [f"{site}: {line}" for line in said], turns)


def differences(site: str, daemons: Iterable[Daemon], wanted: str) -> list[str]:
    """A line for each way in which a site's versions differ, from each other or from what the inventory wants."""
    every = [one for one in daemons if one.version]
    found = [
        f"{site}: {one} runs Kafka {one.runs}, and starts {one.version} next time: make upgrade continues"
        for one in every
        if one.runs and one.runs != one.version
    ]
    present = sorted({one.version for one in every}, key=number)
    if len(present) > 1:
        few = "; ".join(
            f"{version}: {some([str(one) for one in every if one.version == version], _NAMED)}" for version in present
        )
        found.append(
            f"{site} is between versions of Kafka ({few}): make upgrade SITE={site} KAFKA=… finishes or undoes it"
        )
    elif present and present[0] != wanted:
        found.append(
            f"{site} has Kafka {present[0]}, the inventory says {wanted}: make upgrade, or change kafka_version"
        )
    spoken = {protocol for one in every for protocol in one.protocols}
    if len(spoken) > 1:
        found.append(f"{site} is between the protocols {_joined(spoken)}: make protocol SITE={site} continues")
    return found


def _ordered(daemons: list[Daemon], *, up: bool) -> list[Daemon]:
    first: Kind = "zookeeper" if up else "kafka"
    return sorted(daemons, key=lambda one: one.kind != first)


def _joined(versions: Iterable[str]) -> str:
    return " and ".join(sorted(versions, key=number))


def _newest(versions: Iterable[str]) -> str:
    return max(versions, key=number, default="0")
