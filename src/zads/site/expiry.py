"""When certificates, authorities, accounts and passwords end: those that the control machine keeps, and those in use.

Each is an `End`, with the days before it at which somebody should act. A certificate in use is read from a daemon's
port, which shows it to everybody.
"""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from zads.site import certificates
from zads.site.ages import Limits
from zads.site.certificates import fingerprint, is_authority
from zads.site.people import User

SECONDS = 10.0  # for each daemon
_AT_ONCE = 16
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class End:
    """When something ends (UTC), and how many days earlier somebody should act.

    ``kind``: ``authority``, ``certificate``, ``served``, ``account`` or ``password``. ``ends`` is None if a daemon does
    not answer. ``problem``: what is wrong whatever the date.
    """

    kind: str
    name: str
    ends: datetime.datetime | None
    act: int
    problem: str = ""

    def days(self, now: datetime.datetime) -> int | None:
        """Whole days that are left; negative afterwards."""
        return None if self.ends is None else (self.ends - now) // _DAY

    def wrong(self, now: datetime.datetime) -> str:
        """What somebody has to know of it; empty if there is time."""
        days = self.days(now)
        if self.problem or days is None:
            return self.problem or "unknown"
        if days < 0:
            return f"has ended {-days} days ago"
        return f"ends in {days} days" if days < self.act else ""


@dataclass(frozen=True)
class Daemon:
    """A port that shows a certificate: its name for people, and its address."""

    name: str
    address: str
    port: int


def kept(directory: Path, hosts: Collection[str], limits: Limits) -> list[End]:
    """The ends of the certificates below a directory, without those of hosts that the inventory does not have.

    Raises ValueError for a file that cannot be read.
    """
    ends = []
    for name, there in certificates.found(directory).items():
        if not there or name.endswith("-second"):  # that one is also in the authority's own file
            continue
        parts = name.split("/")
        if is_authority(there[0]):
            more = ("", *[" (trusted, issues nothing)"] * (len(there) - 1))
            ends += [
                End("authority", f"{name}{what}", one.not_valid_after_utc, limits.authority)
                for one, what in zip(there, more, strict=True)
            ]
        elif len(parts) < 3 or parts[1] in hosts:
            ends.append(End("certificate", name, there[0].not_valid_after_utc, limits.certificate))
    return ends


def served(
    daemons: Iterable[Daemon], limits: Limits, known: Collection[str] = (), seconds: float = SECONDS
) -> list[End]:
    """The ends of the certificates that daemons show now, asked all at once.

    ``known``: SHA-256 of the certificates that they should show; empty if that is not known here.
    """

    def look(one: Daemon) -> End:
        try:
            shown = _shown(one, seconds)
        except (OSError, ValueError) as error:
            return End("served", one.name, None, limits.certificate, f"does not answer: {error}")
        other = bool(known) and fingerprint(shown) not in known
        problem = "shows another certificate than the control machine has: make deploy" if other else ""
        return End("served", one.name, shown.not_valid_after_utc, limits.certificate, problem)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(look, daemons))


def fingerprints(directory: Path) -> set[str]:
    """SHA-256 of each certificate below a directory. Raises ValueError for a file that cannot be read."""
    return {fingerprint(one) for there in certificates.found(directory).values() for one in there}


def accounts(users: Iterable[User], limits: Limits) -> list[End]:
    """The ends of the accounts that have a last day."""
    return [
        End("account", user.name, _midnight(user.expires) + _DAY, limits.account)
        for user in users
        if user.expires is not None
    ]


def passwords(made: Path, limits: Limits) -> list[End]:
    """When each password should be changed, from the file of the days on which they were made; none without a limit."""
    if not limits.password or not made.exists():
        return []
    days: Mapping[str, str] = json.loads(made.read_text())
    span = datetime.timedelta(days=limits.password)
    return [
        End("password", user, _midnight(datetime.date.fromisoformat(day)) + span, limits.certificate)
        for user, day in sorted(days.items())
    ]


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)


def _shown(one: Daemon, seconds: float) -> x509.Certificate:
    """The certificate that a daemon shows. Raises OSError, ValueError.

    It is not verified: one that has expired, or is of an unknown authority, is what this looks for. A daemon that
    wants a certificate of the client ends the connection after it has shown its own.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((one.address, one.port), timeout=seconds) as connection,
        context.wrap_socket(connection) as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
    if not shown:
        raise ValueError("it shows no certificate")
    return x509.load_der_x509_certificate(shown)
