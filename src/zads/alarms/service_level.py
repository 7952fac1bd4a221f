"""The service level, and how fast its budget burns.

99 % of all alerts are at the public site within 10 s of the moment at which the producer handed them to Kafka. The
remaining one percent is the budget of 30 days. An alarm rings when it burns too fast, over a long window and over a
short one: the long one makes it certain, the short one ends the alarm soon after the fault. Source: The Site
Reliability Workbook (Google, 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

from __future__ import annotations

from dataclasses import dataclass

from zads.alarms.alarm import Alarm, Severity

IN_TIME, SECONDS = 0.99, 10.0
_EARLY, _ALL = f'zads_worker_public_seconds_bucket{{le="{SECONDS:.1f}"}}', "zads_worker_public_seconds_count"


@dataclass(frozen=True)
class Burn:
    """A rate at which the budget burns, as a multiple of the rate that uses it up in 30 days, and its windows."""

    name: str
    rate: float
    long: str
    short: str
    severity: Severity
    says: str

    def alarm(self) -> Alarm:
        """The alarm."""
        most = f"{self.rate * (1 - IN_TIME):.4g}"
        return Alarm(
            self.name,
            self.severity,
            f"{late(self.long)} > {most} and {late(self.short)} > {most}",
            f"{{{{ $value | humanizePercentage }}}} of the alerts of the last {self.long} came late. {self.says}",
            "latency-is-high",
        )


BURNS = (
    Burn("AlertsAreLate", 14.4, "1h", "5m", "page", "At this rate the budget of a month is gone in two days."),
    Burn("AlertsAreOftenLate", 6.0, "6h", "30m", "page", "At this rate the budget of a month is gone in five days."),
    Burn("AlertsAreSometimesLate", 1.0, "3d", "6h", "ticket", "At this rate the budget of a month will not suffice."),
)
WINDOWS = tuple(dict.fromkeys(window for burn in BURNS for window in (burn.long, burn.short)))


def late(window: str) -> str:
    """The name of the rule that records which part of the alerts of a window was late."""
    return f"zads:alerts_late:ratio_{window}"


def recording() -> list[dict[str, str]]:
    """The rules that record the late part, for each window. Without alerts in the window there is no value."""
    return [
        {
            "record": late(window),
            "expr": f"1 - sum(increase({_EARLY}[{window}])) / (sum(increase({_ALL}[{window}])) > 0)",
        }
        for window in WINDOWS
    ]
