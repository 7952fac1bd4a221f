"""A deployment's certificates and passwords: what is there, what is wanted, and the difference.

Secrets are either made or given. If they are given, every missing or wrong one is a problem, and nothing is made. Each
site has one authority for its brokers and one for its ensemble, so that only these can speak to ZooKeeper.
"""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from zads import kafka, wholefile
from zads.site import certificates
from zads.site.ages import Expiry
from zads.site.certificates import Pair, beside


@dataclass(frozen=True)
class Host:
    """A host that needs certificates: the name in the inventory, and the names and addresses that reach it."""

    name: str
    names: Sequence[str] = ()
    site: str = ""
    kafka: bool = False  # whether it is a broker; else it is only in the ensemble


@dataclass
class Changes:
    """The names of secrets that were made (or, in a check, would be), and the reasons why nothing can be made."""

    created: list[str] = field(default_factory=list)
    renewed: dict[str, str] = field(default_factory=dict)  # and why
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Authorities:
    """The certificates below a directory. ``ends`` holds the expiry of each. With ``check`` nothing is written."""

    def __init__(self, directory: Path, changes: Changes, *, given: bool, check: bool, renew_days: int) -> None:
        self._directory, self._changes = directory, changes
        self._given, self._check, self._renew_days = given, check, renew_days
        self.ends: list[Expiry] = []

    def site(self, site: str, hosts: Iterable[Host]) -> None:
        """The certificates of a site: of its brokers, its ensemble and its administrator."""
        brokers = self._authority(f"{site}/kafka-ca", f"ZADS {site} Kafka")
        ensemble = self._authority(f"{site}/zookeeper-ca", f"ZADS {site} ZooKeeper")
        for host in hosts:
            names = [host.name, *host.names, "localhost", "127.0.0.1"]
            if host.kafka:
                self._certificate(f"{site}/{host.name}/kafka", host.name, names, brokers)
            self._certificate(f"{site}/{host.name}/zookeeper", host.name, names, ensemble)
        self._certificate(f"{site}/admin", "admin", [], brokers)

    def mirrors(self, hosts: Sequence[Host]) -> None:
        """The certificates with which mirrors speak to each other. A single mirror needs none."""
        if len(hosts) > 1:
            authority = self._authority("mirrors/ca", "ZADS mirrors")
            for host in hosts:
                self._certificate(f"mirrors/{host.name}/rest", host.name, [host.name, *host.names], authority)

    def _load(self, name: str, *, keyless: bool = False) -> Pair | None:
        try:
            return Pair.load(self._directory / name, keyless=keyless)
        except ValueError as error:
            self._changes.problems.append(f"{self._directory / name}.{{crt,key}} cannot be read: {error}")
            return None

    def _authority(self, name: str, title: str) -> Pair | None:
        pair = self._load(name, keyless=self._given)
        if pair is None and not self._given and (half := self._half(name)):
            self._changes.problems.append(half)
            return None
        if pair is None:
            if self._refuses(f"{name}.crt is missing" if self._given else f"{name}.crt and its .key are missing"):
                return None
            pair = self._save(Pair.make(self._directory / name, title))
            self._changes.created.append(name)
        self.ends.append(Expiry(name, pair.days))
        return pair

    def _half(self, name: str) -> str:
        """The problem of an authority that has lost one of its two files, without which no host would be trusted."""
        there = [kind for kind in ("crt", "key") if beside(self._directory / name, kind).exists()]
        if len(there) != 1:
            return ""
        lost = "key" if there == ["crt"] else "crt"
        return f"{self._directory}/{name}.{lost} is missing, but {name}.{there[0]} is there: restore it from the backup"

    def _certificate(self, name: str, title: str, names: Sequence[str], issuer: Pair | None) -> None:
        pair = self._load(name)
        if issuer is None:
            if pair is None:
                self._refuses(f"{name}.crt and its .key are missing")
            return
        wrong = pair.wrong(issuer, title, names, self._renew_days, given=self._given) if pair else "missing"
        if wrong and not self._refuses(f"{name}.crt: {wrong}"):
            if pair:
                self._changes.renewed[name] = wrong
            else:
                self._changes.created.append(name)
            pair = self._save(Pair.make(self._directory / name, title, names=names, issuer=issuer))
        if pair:
            self.ends.append(Expiry(name, pair.days, issuer.days))

    def _save(self, pair: Pair) -> Pair:
        if not self._check:
            pair.save()
        return pair

    def _refuses(self, lack: str) -> bool:
        """Whether a missing secret becomes a problem and is not made: secrets are given or there is another problem."""
        refuses = self._given or bool(self._changes.problems)
        if refuses:
            self._changes.problems.append(f"{self._directory}/{lack}")
        return refuses


def passwords(path: Path, users: Iterable[str], changes: Changes, *, given: bool, check: bool) -> dict[str, int]:
    """Make the file hold a password for each user and nobody else. Returns their ages in days if they are made."""
    there = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    if given:
        changes.problems += [f"{path} has no password for {user}" for user in users if not there.get(user)]
    if given or changes.problems:
        return {}
    wanted = {user: there.get(user) or secrets.token_urlsafe(24) for user in sorted(users)}
    new = [user for user in wanted if not there.get(user)]
    ages = _ages(path, wanted, new, changes, check=check)
    changes.created += [f"password of {user}" for user in new]
    changes.removed += [f"password of {user}" for user in there if user not in wanted]
    if wanted != there and not check:
        text = f"# Made by the deployment. A line that you remove is made again.\n{yaml.safe_dump(wanted)}"
        wholefile.write_private(path, text.encode())
    return ages


def _ages(path: Path, users: Mapping[str, str], new: Sequence[str], changes: Changes, *, check: bool) -> dict[str, int]:
    """Record the day on which each password was made; a password without a record gets the day of the file."""
    memory = path.with_name("passwords-made.json")
    there = json.loads(memory.read_text()) if memory.exists() else {}
    today = certificates.now().date()
    earlier = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date() if path.exists() else today
    made = {user: str(today if user in new else there.get(user, earlier)) for user in users}
    if made != there:
        changes.written.append(memory.name)
        if not check:
            wholefile.write_private(memory, (json.dumps(made, indent=1, sort_keys=True) + "\n").encode())
    return {user: (today - datetime.date.fromisoformat(day)).days for user, day in made.items()}


def administrator(
    path: Path, site: str, brokers: Sequence[str], authorities: Path, changes: Changes, *, check: bool
) -> None:
    """Write how the operators' tools reach a site: the listener for brokers, with the administrator's certificate."""
    if not brokers:
        return
    files = (f"{authorities}/{name}" for name in ("kafka-ca.crt", "admin.crt", "admin.key"))
    heading = f"# Super user of the site {site}: for the operators' tools on the control machine only.\n"
    text = heading + kafka.with_certificate(brokers, *files)
    if not path.exists() or path.read_text() != text:
        changes.written.append(path.name)
        if not check:
            wholefile.write_private(path, text.encode())
