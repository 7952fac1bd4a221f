"""Stars that brighten steadily, as a lens in front of them makes them."""

from typing import Any

from zads.filters import Alert, Filter
from zads.filters import quantities as q


class MicrolensingLike(Filter):
    """A star that rose at 0.01 to 0.5 mag/day over 30 days, in at least 3 detections, without a history of variation.

    Only a shape that deserves a second look: a light curve of 30 days cannot tell a lens from a slow variable.
    """

    fields = (
        "candidate.jd", "candidate.fid", "candidate.magpsf", "candidate.sigmapsf",
        "candidate.isdiffpos", "candidate.rb", "candidate.ndethist", "candidate.distnr", "candidate.magnr",
        "candidate.sgscore1", "candidate.distpsnr1",
        "prv_candidates.jd", "prv_candidates.fid", "prv_candidates.magpsf", "prv_candidates.sigmapsf",
    )  # fmt: skip

    def accept(self, alert: Alert) -> bool | dict[str, Any]:
        """The light curve is looked at last: it is decoded only then."""
        candidate = alert["candidate"]
        if not q.is_positive(candidate) or q.real_bogus(alert) < 0.5 or candidate["ndethist"] > 60:
            return False
        if candidate["distnr"] is None or candidate["distnr"] > 0.8 or not q.star_score(alert, 1.0) > 0.8:
            return False
        rate = q.rise_rate(alert, days=30.0)
        if q.detections_since(alert, 30.0) < 3 or not 0.01 <= rate <= 0.5:
            return False
        return {"rise_mag_per_day": round(rate, 4), "amplitude_mag": round(q.amplitude(alert), 3)}
