"""Sources that brighten within days: young supernovae, novae, flares."""

from typing import Any

from zads.filters import Alert, Filter
from zads.filters import quantities as q


class FastRiser(Filter):
    """Rises by 0.15 mag/day since its last detection (5 days) or a limit (15 days), and is no known asteroid."""

    fields = (
        "candidate.jd", "candidate.fid", "candidate.magpsf", "candidate.sigmapsf", "candidate.isdiffpos",
        "candidate.rb", "candidate.ssdistnr", "candidate.ssmagnr",
        "prv_candidates.jd", "prv_candidates.fid", "prv_candidates.magpsf", "prv_candidates.sigmapsf",
        "prv_candidates.diffmaglim",
    )  # fmt: skip

    def accept(self, alert: Alert) -> bool | dict[str, Any]:
        """The light curve is looked at last: it is decoded only then."""
        candidate = alert["candidate"]
        if not q.is_positive(candidate) or q.real_bogus(alert) < 0.6 or q.solar_system_match(alert, 20.0):
            return False
        rate = q.rise_since_last(alert)
        if rate >= 0.15:
            return {"rise_mag_per_day": round(rate, 3)}
        # A limit of 15 days ago proves at least (limit - mag) / 15 mag/day.
        least = (q.faded_limit(alert, 15.0) - candidate["magpsf"]) / 15.0
        if q.detections_since(alert, 30.0) <= 3 and least >= 0.15:
            return {"rise_mag_per_day_at_least": round(least, 3)}
        return False
