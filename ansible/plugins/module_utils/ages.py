"""What of a deployment's secrets nears its end, and what is so near that the system must not be called well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Days. A certificate and an authority are told below ``certificate`` and ``authority``, a password above
    ``password`` (0: never); below ``critical`` a certificate or an authority is a failure."""

    authority: int = 365
    certificate: int = 30
    critical: int = 21
    password: int = 730


@dataclass(frozen=True)
class Certificate:
    """Days that are left of a certificate; ``authority``: of the one that issued it, None for an authority itself."""

    name: str
    days: int
    authority: int | None = None


def report(certificates: list[Certificate], passwords: dict[str, int], limits: Limits) -> tuple[list[str], list[str]]:
    """What to warn of, and which of it is a failure. ``passwords``: whose, and how many days ago it was made."""
    warnings, failures = [], []
    for one in sorted(certificates, key=lambda one: (one.days, one.name)):
        is_authority = one.authority is None
        if one.days < (limits.authority if is_authority else limits.certificate):
            warnings.append(_ends(one, "authority" if is_authority else "certificate"))
            if one.days < limits.critical:
                failures.append(warnings[-1])
    outliving = sorted(one.name for one in certificates if one.authority is not None and one.days > one.authority)
    if outliving:
        warnings.append(f"{_few(outliving)} outlive their authority, and are worth nothing after it")
    if limits.password:
        old = {name: days for name, days in passwords.items() if days > limits.password}
        warnings += [f"the password of {name} is {days} days old" for name, days in sorted(old.items())]
    return warnings, failures


def _ends(one: Certificate, kind: str) -> str:
    if one.days < 0:
        return f"the {kind} {one.name} has expired {-one.days} days ago"
    return f"the {kind} {one.name} expires in {one.days} days"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
