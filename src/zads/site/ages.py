"""Which of a deployment's secrets expire soon, and which so soon that a check of the system must fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zads.errors import some

_NAMED = 3  # names in one line; the others are counted


@dataclass(frozen=True)
class Limits:
    """Days. A certificate or an authority with fewer days left than its limit is a warning, and with fewer than
    ``critical`` a failure. A password older than ``password`` is a warning (0: never). ``account``: the last days of an
    account, in which `zads expiry` and a deployment name it."""

    authority: int = 365
    certificate: int = 30
    critical: int = 21
    password: int = 730
    account: int = 28


@dataclass(frozen=True)
class Expiry:
    """Days until a certificate expires; ``authority``: days until its authority does, None for an authority itself."""

    name: str
    days: int
    authority: int | None = None


def report(ends: Iterable[Expiry], passwords: Mapping[str, int], limits: Limits) -> tuple[list[str], list[str]]:
    """The warnings, and those of them that are failures. ``passwords``: the age of each user's password in days."""
    warnings, failures = [], []
    ordered = sorted(ends, key=lambda one: (one.days, one.name))
    for one in ordered:
        if one.days < (limits.authority if one.authority is None else limits.certificate):
            warnings.append(_expires(one))
            if one.days < limits.critical:
                failures.append(warnings[-1])
    if outliving := sorted(one.name for one in ordered if one.authority is not None and one.days > one.authority):
        warnings.append(f"{some(outliving, _NAMED)} outlive their authority, and are worthless when it has expired")
    if limits.password:
        old = {name: days for name, days in passwords.items() if days > limits.password}
        warnings += [f"the password of {name} is {days} days old" for name, days in sorted(old.items())]
    return warnings, failures


def _expires(one: Expiry) -> str:
    kind = "authority" if one.authority is None else "certificate"
    if one.days < 0:
        return f"the {kind} {one.name} has expired {-one.days} days ago"
    return f"the {kind} {one.name} expires in {one.days} days"
