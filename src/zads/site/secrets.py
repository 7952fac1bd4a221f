"""A deployment's certificates and passwords: what is there, what is wanted, and the difference.

Secrets are either made or given. If they are given, every missing or wrong one is a problem, and nothing is made. Each
site has one authority for its brokers and one for its ensemble, so that only these can speak to ZooKeeper. Monitoring
has an authority of its own: who can read metrics can do nothing else.

A secret that is good can be wanted *anew* all the same, by a pattern of its name. A password that is replaced stays in
``passwords-before.yml`` until somebody has logged in with the new one.
"""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from zads import kafka, wholefile
from zads.site import certificates, hashes
from zads.site.ages import Expiry
from zads.site.authority import Authority
from zads.site.certificates import Pair, beside

#: Begins the name of a password among changes.
PASSWORD = "password of "  # noqa: S105 - it is none


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
    """The certificates below a directory. ``ends`` holds the expiry of each. With ``check`` nothing is written.

    ``anew``: patterns of the names of certificates that are made again although they are good.
    """

    def __init__(
        self, directory: Path, changes: Changes, *, given: bool, check: bool, renew_days: int, anew: Sequence[str] = ()
    ) -> None:
        self._directory, self._changes = directory, changes
        self._given, self._check, self._renew_days, self._anew = given, check, renew_days, anew
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

    def archives(self, hosts: Iterable[Host]) -> None:
        """The certificates with which archives are served. Without a server none is needed."""
        hosts = tuple(hosts)
        if hosts:
            authority = self._authority("archives/ca", "ZADS archives")
            for host in hosts:
                self._certificate(f"archives/{host.name}/server", host.name, [host.name, *host.names], authority)

    def monitoring(self, hosts: Sequence[Host], monitors: Sequence[Host]) -> None:
        """The certificates with which hosts tell metrics, and monitors show them. Without monitors none is needed."""
        if not monitors:
            return
        authority = self._authority("monitoring/ca", "ZADS monitoring")
        for host in hosts:
            self._certificate(f"monitoring/{host.name}/front", host.name, [host.name, *host.names], authority)
        for host in monitors:
            names = [host.name, *host.names, "localhost", "127.0.0.1"]
            self._certificate(f"monitoring/{host.name}/pages", host.name, names, authority)

    def boards(self, hosts: Sequence[Host]) -> None:
        """The certificates with which boards are served to browsers. Their authority is trusted for nothing else."""
        if hosts:
            authority = self._authority("boards/ca", "ZADS boards")
            for host in hosts:
                self._certificate(f"boards/{host.name}/https", host.name, [host.name, *host.names], authority)

    def logs(self, hosts: Sequence[Host]) -> None:
        """The certificates with which hosts send their journals, and take them, if there are any."""
        if hosts:
            authority = self._authority("logs/ca", "ZADS logs")
            for host in hosts:
                self._certificate(f"logs/{host.name}/journal", host.name, [host.name, *host.names], authority)

    def _load(self, name: str) -> Pair | None:
        try:
            return Pair.load(self._directory / name)
        except ValueError as error:
            self._unreadable(name, error)
            return None

    def _unreadable(self, name: str, error: ValueError) -> None:
        self._changes.problems.append(f"{self._directory / name}.{{crt,key}} cannot be read: {error}")

    def _authority(self, name: str, title: str) -> Authority | None:
        try:
            authority = Authority.load(self._directory / name, keyless=self._given)
        except ValueError as error:
            self._unreadable(name, error)
            return None
        if authority is None and not self._given and (half := self._half(name)):
            self._changes.problems.append(half)
            return None
        if authority is None:
            if self._refuses(f"{name}.crt is missing" if self._given else f"{name}.crt and its .key are missing"):
                return None
            authority = Authority.make(self._directory / name, title)
            if not self._check:
                authority.save()
            self._changes.created.append(name)
        issuer, *others = authority.pairs
        self.ends.append(Expiry(name, issuer.days))
        self.ends += [Expiry(f"{name} (trusted, issues nothing)", pair.days) for pair in others]
        return authority

    def _half(self, name: str) -> str:
        """The problem of an authority that has lost one of its two files, without which no host would be trusted."""
        there = [kind for kind in ("crt", "key") if beside(self._directory / name, kind).exists()]
        if len(there) != 1:
            return ""
        lost = "key" if there == ["crt"] else "crt"
        return f"{self._directory}/{name}.{lost} is missing, but {name}.{there[0]} is there: restore it from the backup"

    def _certificate(self, name: str, title: str, names: Sequence[str], authority: Authority | None) -> None:
        pair = self._load(name)
        if authority is None:
            if pair is None:
                self._refuses(f"{name}.crt and its .key are missing")
            return
        issuer = authority.issuer_of(pair.certificate) if pair and self._given else authority.issuer
        wrong = pair.wrong(issuer, title, names, self._renew_days, given=self._given) if pair else "missing"
        if not wrong and any(fnmatchcase(name, pattern) for pattern in self._anew):
            wrong = "a new one is wanted"
        if wrong and not self._refuses(f"{name}.crt: {wrong}"):
            if pair:
                self._changes.renewed[name] = wrong
            else:
                self._changes.created.append(name)
            pair = Pair.make(self._directory / name, title, names=names, issuer=authority.issuer)
            if not self._check:
                pair.save()
        if pair:
            self.ends.append(Expiry(name, pair.days, issuer.days))

    def _refuses(self, lack: str) -> bool:
        """Whether a missing secret becomes a problem and is not made: secrets are given or there is another problem."""
        refuses = self._given or bool(self._changes.problems)
        if refuses:
            self._changes.problems.append(f"{self._directory}/{lack}")
        return refuses


def passwords(
    path: Path, users: Iterable[str], changes: Changes, *, given: bool, check: bool, anew: Sequence[str] = ()
) -> dict[str, int]:
    """Make the file hold a password for each user and nobody else. Returns their ages in days if they are made.

    Users whose names match the patterns ``anew`` get another password. If an earlier change has not ended, it is
    continued instead. A password that is replaced is written to ``passwords-before.yml`` first.
    """
    there = _read(path)
    if given:
        changes.problems += [f"{path} has no password for {user}" for user in users if not there.get(user)]
    if given or changes.problems:
        return {}
    replaced = _replaced(path, there, anew, check=check)
    wanted = {user: None if user in replaced else there.get(user) for user in sorted(users)}
    new = [user for user, password in wanted.items() if not password]
    made = {user: password or secrets.token_urlsafe(24) for user, password in wanted.items()}
    ages = _ages(path, made, new, changes, check=check)
    changes.created += [f"{PASSWORD}{user}" for user in new if user not in replaced]
    changes.renewed |= {f"{PASSWORD}{user}": "a new one is wanted" for user in new if user in replaced}
    changes.removed += [f"{PASSWORD}{user}" for user in there if user not in wanted]
    if made != there and not check:
        text = f"# Made by the deployment. A line that you remove is made again.\n{yaml.safe_dump(made)}"
        wholefile.write_private(path, text.encode())
    return ages


def before(path: Path) -> Path:
    """The file of the passwords that are being replaced, beside the file of all passwords."""
    return path.with_name("passwords-before.yml")


def replacing(path: Path) -> dict[str, str]:
    """User -> the password that was replaced, of everybody for whom nobody has logged in with the new one yet."""
    return _read(before(path))


def _read(path: Path) -> dict[str, str]:
    """The passwords in a file, by user; none if there is no such file."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _replaced(path: Path, there: Mapping[str, str], anew: Sequence[str], *, check: bool) -> set[str]:
    """The users whose present password is to be replaced now. It is kept in `before` from here on."""
    if not anew:
        return set()
    old = replacing(path)
    if not old:
        old = {user: one for user, one in there.items() if one and any(fnmatchcase(user, want) for want in anew)}
        if old and not check:
            wholefile.write_private(before(path), yaml.safe_dump(old).encode())
    # One that is no longer the present password has been replaced by an earlier, interrupted run.
    return {user for user, password in old.items() if there.get(user) == password}


def web_hashes(directory: Path, costs: Mapping[str, int], changes: Changes, *, check: bool) -> None:
    """Keep the hashes of the passwords that web servers ask for: ``costs`` has their users, and how slow each is."""
    path = directory / "passwords.yml"
    there = {user: str(password) for user, password in _read(path).items()}  # YAML reads one of digits as a number
    changes.problems += [f"{path}: {problem}" for problem in hashes.problems(there, costs)]
    if costs and not changes.problems:
        made = hashes.keep(directory / "monitoring" / "hashes.json", there, costs, check=check)
        changes.written += [f"hash of the password of {user}" for user in made]


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
