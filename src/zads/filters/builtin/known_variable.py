"""Stars that have varied before and do it again."""

from typing import Any

from zads.filters import Alert, filter  # noqa: A004
from zads.filters import quantities as q


@filter(
    fields=(
        "candidate.rb", "candidate.ndethist", "candidate.distnr", "candidate.magnr", "candidate.magpsf",
        "candidate.isdiffpos", "candidate.sgscore1", "candidate.distpsnr1",
    )
)  # fmt: skip
def known_variable(alert: Alert) -> bool | dict[str, Any]:
    """A star with at least 30 earlier detections, 0.3 mag brighter or fainter now than in the reference image."""
    candidate = alert["candidate"]
    if candidate["ndethist"] < 30 or q.real_bogus(alert) < 0.65 or not q.star_score(alert, within_arcsec=1.0) > 0.8:
        return False
    if candidate["distnr"] is None or candidate["distnr"] > 0.8:
        return False
    amplitude = q.amplitude(alert)
    return {"amplitude_mag": round(amplitude, 3)} if abs(amplitude) > 0.3 else False
