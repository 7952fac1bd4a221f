"""What an alarm is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: page: somebody is woken. ticket: somebody looks at it on the next working day.
Severity = Literal["page", "ticket"]


@dataclass(frozen=True)
class Alarm:
    """An alarm, true while its expression has a result.

    ``says`` is a sentence for people; ``{{ $labels.NAME }}`` and ``{{ $value }}`` are Prometheus' words for what was
    found. ``after`` is how long the expression must be true first, as Prometheus writes it. ``runbook`` is a page of
    docs/runbooks.
    """

    name: str
    severity: Severity
    expr: str
    says: str
    runbook: str
    after: str = "0s"


@dataclass(frozen=True)
class Quiet:
    """While ``loud`` rings, the alarms ``silent`` with the same values of the labels ``equal`` are not sent."""

    loud: str
    silent: tuple[str, ...]
    equal: tuple[str, ...] = ()
