"""A source that was not there three weeks ago."""

from typing import Any

from zads.filters import Alert, Filter
from zads.filters import quantities as q


class BrightYoungTransient(Filter):
    """Brighter than 19 mag, first seen at most 21 days ago, real, and neither a star nor an asteroid."""

    fields = (
        "candidate.jd", "candidate.jdstarthist", "candidate.magpsf", "candidate.isdiffpos", "candidate.rb",
        "candidate.ssdistnr", "candidate.ssmagnr", "candidate.sgscore1", "candidate.distpsnr1",
    )  # fmt: skip

    def accept(self, alert: Alert) -> bool | dict[str, Any]:
        """Cuts from cheap to dear."""
        candidate = alert["candidate"]
        if candidate["magpsf"] > 19.0 or not q.is_positive(candidate) or q.real_bogus(alert) < 0.55:
            return False
        if q.age_days(alert) > 21.0 or q.solar_system_match(alert, within_arcsec=20.0):
            return False
        if q.star_score(alert, within_arcsec=2.0) > 0.5:
            return False
        return {"age_days": round(q.age_days(alert), 3)}
