"""Julian dates (UTC, days), as alerts have them, and Unix time."""

from __future__ import annotations

#: Julian dates at which modified Julian dates and Unix time begin.
MJD_EPOCH_JD = 2_400_000.5
UNIX_EPOCH_JD = 2_440_587.5
SECONDS_A_DAY = 86_400.0


def unix_seconds(jd: float) -> float:
    """The Unix time (seconds) of a Julian date."""
    return (jd - UNIX_EPOCH_JD) * SECONDS_A_DAY
