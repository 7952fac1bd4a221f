"""Known asteroids, where and as bright as predicted."""

from typing import Any

from zads.filters import Columns, Filter


class Asteroid(Filter):
    """A bright known asteroid: predicted brighter than 18 mag, found within 3 arcsec and 1 mag of the prediction.

    Near the ecliptic every fourth alert is a known asteroid; the bright limit keeps the stream within its bounds.
    """

    fields = (
        "candidate.ssdistnr", "candidate.ssmagnr", "candidate.magpsf", "candidate.rb", "candidate.isdiffpos",
    )  # fmt: skip

    def accept_batch(self, alerts: Columns) -> Any:
        """All alerts of a batch at once, as NumPy columns."""
        c = alerts["candidate"]
        near = (c["ssdistnr"] >= 0) & (c["ssdistnr"] <= 3.0)
        bright = (c["ssmagnr"] > 0) & (c["ssmagnr"] <= 18.0) & (abs(c["ssmagnr"] - c["magpsf"]) < 1.0)
        positive = (c["isdiffpos"] == "t") | (c["isdiffpos"] == "1")
        real = c["rb"] > 0.65
        return near & bright & positive & real, {"predicted_mag": c["ssmagnr"], "distance_arcsec": c["ssdistnr"]}
