"""Quantities that astronomers compute from an alert. The name or the first line has the unit.

Each function names the fields that it reads, so that a filter can declare them. Field meanings:
https://zwickytransientfacility.github.io/ztf-avro-alert/schema.html
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from zads.cutouts import cutout
from zads.errors import ZadsError

Floats = npt.NDArray[np.float64]
Record = Mapping[str, Any]

BANDS = {1: "g", 2: "r", 3: "i"}  # fid
# Equatorial J2000 direction of the north galactic pole, degrees (IAU 1958 in J2000, as astropy and Hipparcos use it).
_POLE_RA, _POLE_DEC = 192.8594812065348, 27.12825118085622


class Point(NamedTuple):
    """One detection: time (Julian date, days), magnitude, its 1-sigma error (mag), filter band (1 g, 2 r, 3 i)."""

    jd: float
    mag: float
    error: float
    band: int


def is_positive(record: Record) -> bool:
    """Whether a detection is brighter than the reference image. Reads isdiffpos."""
    return record["isdiffpos"] in ("t", "1")


def real_bogus(alert: Record) -> float:
    """The random forest's score, 0 bogus to 1 real; 0 if the packet has none. Reads candidate.rb."""
    score = alert["candidate"]["rb"]
    return 0.0 if score is None else float(score)


def detections(alert: Record, *, days: float = math.inf, band: int | None = None) -> list[Point]:
    """This detection and the earlier ones of the last `days`, by time; upper limits are not detections.

    Reads candidate.jd .magpsf .sigmapsf .fid and the same of prv_candidates.
    """
    now = alert["candidate"]
    return sorted(
        Point(point["jd"], point["magpsf"], point["sigmapsf"], point["fid"])
        for point in (*(alert["prv_candidates"] or ()), now)
        if point["magpsf"] is not None and now["jd"] - point["jd"] <= days and band in (None, point["fid"])
    )


def detections_since(alert: Record, days: float) -> int:
    """Number of detections in the last `days`, this one included. Reads candidate.jd and prv_candidates.jd .magpsf."""
    now = alert["candidate"]["jd"]
    earlier = (point for point in alert["prv_candidates"] or () if point["magpsf"] is not None)
    return 1 + len([point for point in earlier if now - point["jd"] <= days])


def age_days(alert: Record) -> float:
    """Days since the survey first saw a source here, 0 at the first time. Reads candidate.jd and .jdstarthist."""
    candidate = alert["candidate"]
    start = candidate["jdstarthist"]
    return 0.0 if start is None else float(candidate["jd"] - start)


def rise_rate(alert: Record, days: float = 30.0) -> float:
    """Brightening in mag/day: positive while it rises, negative while it fades.

    The slope of a straight line through the detections of the last `days` in this alert's band, each weighted with its
    error; NaN with fewer than two different times. Reads what `detections` reads.
    """
    points = detections(alert, days=days, band=alert["candidate"]["fid"])
    times = np.array([point.jd for point in points])
    if len(points) < 2 or np.ptp(times) < 0.01:
        return math.nan
    errors = np.array([max(point.error or 0.1, 0.01) for point in points])
    mags = np.array([point.mag for point in points])
    return float(-np.polyfit(times - times[-1], mags, 1, w=1 / errors)[0])


def rise_since_last(alert: Record, *, shortest_days: float = 0.02, longest_days: float = 5.0) -> float:
    """Brightening in mag/day since the latest earlier detection in the same band between two ages.

    NaN without one. Reads what `detections` reads.
    """
    now = alert["candidate"]
    earlier = [
        point
        for point in detections(alert, days=longest_days, band=now["fid"])
        if now["jd"] - point.jd >= shortest_days
    ]
    if not earlier:
        return math.nan
    return float((earlier[-1].mag - now["magpsf"]) / (now["jd"] - earlier[-1].jd))


def faded_limit(alert: Record, days: float) -> float:
    """The faintest 5-sigma limit (mag) of the last `days` in this band; NaN without one.

    It shows how faint the source must have been.
    Reads candidate.jd .fid and prv_candidates.jd .fid .magpsf .diffmaglim.
    """
    now = alert["candidate"]
    limits = [
        point["diffmaglim"]
        for point in alert["prv_candidates"] or ()
        if point["magpsf"] is None and point["fid"] == now["fid"] and now["jd"] - point["jd"] <= days
        and point["diffmaglim"] is not None
    ]  # fmt: skip
    return float(max(limits, default=math.nan))


def solar_system_match(alert: Record, within_arcsec: float = 10.0, limit_mag: float = math.inf) -> bool:
    """Whether a known solar system object brighter than `limit_mag` is predicted within `within_arcsec`.

    Reads candidate.ssdistnr (arcsec) and .ssmagnr (mag).
    """
    distance, mag = alert["candidate"]["ssdistnr"], alert["candidate"]["ssmagnr"]
    if distance is None or distance < 0 or distance > within_arcsec:
        return False
    return limit_mag == math.inf or (mag is not None and 0 < mag <= limit_mag)


def star_score(alert: Record, within_arcsec: float = math.inf) -> float:
    """Pan-STARRS star/galaxy score of the nearest source, 0 galaxy to 1 star; NaN if none is within `within_arcsec`.

    Reads candidate.sgscore1 and .distpsnr1 (arcsec).
    """
    score, distance = alert["candidate"]["sgscore1"], alert["candidate"]["distpsnr1"]
    if score is None or score < 0 or distance is None or not 0 <= distance <= within_arcsec:
        return math.nan
    return float(score)


def galactic_latitude(ra_deg: Any, dec_deg: Any) -> Any:
    """Galactic latitude in degrees of J2000 coordinates in degrees; numbers or arrays.

    sin b = sin(dec) sin(pole) + cos(dec) cos(pole) cos(ra - ra of the pole); agrees with astropy to 1e-6 degrees.
    """
    dec, pole = np.radians(dec_deg), math.radians(_POLE_DEC)
    sine = np.sin(dec) * math.sin(pole) + np.cos(dec) * math.cos(pole) * np.cos(
        np.radians(np.asarray(ra_deg) - _POLE_RA)
    )
    latitude = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return float(latitude) if np.ndim(latitude) == 0 else latitude


def total_magnitude(alert: Record) -> float:
    """Apparent magnitude (mag) of the source: reference flux plus or minus the difference's; NaN if that is negative.

    For a source that is in the reference image (a variable star). Reads candidate.magnr .magpsf .isdiffpos.
    """
    candidate = alert["candidate"]
    if candidate["magnr"] is None or candidate["magnr"] < 0:
        return math.nan
    sign = 1.0 if is_positive(candidate) else -1.0
    flux: float = 10 ** (-0.4 * candidate["magnr"]) + sign * 10 ** (-0.4 * candidate["magpsf"])
    return -2.5 * math.log10(flux) if flux > 0 else math.nan


def amplitude(alert: Record) -> float:
    """How much brighter (mag, positive) or fainter the source is now than in the reference; NaN if unknown.

    Reads candidate.magnr .magpsf .isdiffpos.
    """
    reference = alert["candidate"]["magnr"]
    total = total_magnitude(alert)
    return math.nan if math.isnan(total) else float(reference - total)


def magnitude_difference(alert: Record, days: float = 30.0) -> float:
    """Faintest minus this detection's magnitude (mag) over `days` in this band: 0 if it is the faintest itself.

    Reads what `detections` reads.
    """
    points = detections(alert, days=days, band=alert["candidate"]["fid"])
    return max(point.mag for point in points) - float(alert["candidate"]["magpsf"])


def colour(alert: Record, days: float = 1.0) -> float:
    """g - r (mag) from the latest detection in each band, taken within `days` of this one; NaN without both.

    Reads what `detections` reads.
    """
    latest = {point.band: point.mag for point in detections(alert, days=days)}
    return latest[1] - latest[2] if 1 in latest and 2 in latest else math.nan


def pixels(alert: Record, which: str = "Difference") -> npt.NDArray[np.float32] | None:
    """A cutout's pixels (rows, columns; 63 x 63 of about 1 arcsec, in detector counts); None if the alert has none.

    `which` is Science, Template or Difference. Reads cutoutWHICH.stampData. Raises ZadsError if it is no image.
    """
    stamp = alert[f"cutout{which}"]
    return None if stamp is None else cutout(stamp["stampData"])


def separation_arcsec(ra1_deg: Any, dec1_deg: Any, ra2_deg: Any, dec2_deg: Any) -> Any:
    """Angle on the sky in arcsec between positions in degrees (haversine, exact for small angles)."""
    ra1, dec1, ra2, dec2 = (np.radians(value) for value in (ra1_deg, dec1_deg, ra2_deg, dec2_deg))
    half = np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))) * 3600.0


class Match(NamedTuple):
    """An entry of a catalogue and its distance."""

    name: str
    distance_arcsec: float


class Catalogue:
    """A small local catalogue for cross-matching: positions in degrees (J2000) and names; up to a million entries."""

    def __init__(self, ra_deg: Any, dec_deg: Any, names: list[str]) -> None:
        order = np.argsort(np.asarray(dec_deg, dtype=float), kind="stable")
        self._dec: Floats = np.asarray(dec_deg, dtype=float)[order]
        self._ra: Floats = np.asarray(ra_deg, dtype=float)[order]
        self._names = [names[index] for index in order]

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._names)

    @classmethod
    def read(cls, path: str | Path) -> Catalogue:
        """A CSV file with a line of names that has ra, dec (degrees) and name. Raises ZadsError naming the line."""
        try:
            with Path(path).open(newline="", encoding="utf-8") as stream:
                rows = list(_rows(stream, path))
        except (OSError, UnicodeDecodeError) as error:
            raise ZadsError(f"cannot read the catalogue {path}: {error}") from error
        return cls([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])

    def cross_match(self, ra_deg: float, dec_deg: float, within_arcsec: float) -> Match | None:
        """The nearest entry within a cone; None if the cone is empty."""
        radius = within_arcsec / 3600.0
        first, last = np.searchsorted(self._dec, (dec_deg - radius, dec_deg + radius * (1 + 1e-9)))
        if first == last:
            return None
        distances = separation_arcsec(ra_deg, dec_deg, self._ra[first:last], self._dec[first:last])
        nearest = int(np.argmin(distances))
        if distances[nearest] > within_arcsec:
            return None
        return Match(self._names[int(first) + nearest], float(distances[nearest]))


def _rows(stream: Any, path: str | Path) -> Iterator[tuple[float, float, str]]:
    reader = csv.DictReader(stream)
    if not {"ra", "dec", "name"} <= set(reader.fieldnames or ()):
        raise ZadsError(f"{path}, line 1: a catalogue needs the columns ra, dec, name, not {reader.fieldnames}")
    for row in reader:
        try:
            ra, dec = float(row["ra"]), float(row["dec"])
        except (TypeError, ValueError):
            ra = dec = math.nan
        if not (0 <= ra <= 360 and -90 <= dec <= 90):
            raise ZadsError(f"{path}, line {reader.line_num}: ra {row['ra']!r}, dec {row['dec']!r} are not degrees")
        yield ra, dec, row["name"]


def cross_match(alert: Record, catalogue: Catalogue, within_arcsec: float) -> Match | None:
    """The catalogue's entry nearest to the alert, within `within_arcsec`. Reads candidate.ra and .dec (degrees)."""
    return catalogue.cross_match(alert["candidate"]["ra"], alert["candidate"]["dec"], within_arcsec)
