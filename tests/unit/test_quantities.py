"""Quantities are what their names say, in the units that their docstrings give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

import packets
from zads.errors import ZadsError
from zads.filters import quantities as q

RA = st.floats(0, 360, allow_nan=False)
DEC = st.floats(-90, 90, allow_nan=False)


def alert(*earlier: dict[str, Any], **now: Any) -> dict[str, Any]:
    base = {"jd": 100.0, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "isdiffpos": "t", "diffmaglim": 20.5}
    points = [{**base, **point} for point in earlier]
    return {"candidate": {**base, **now}, "prv_candidates": points or None}


@given(RA, DEC)
def test_galactic_latitude_is_astropys(ra: float, dec: float) -> None:
    wanted = SkyCoord(ra * u.deg, dec * u.deg, frame="icrs").galactic.b.deg
    assert q.galactic_latitude(ra, dec) == pytest.approx(wanted, abs=1e-5)


def test_galactic_latitude_takes_columns() -> None:
    assert q.galactic_latitude(np.array([0.0, 10.0]), np.array([0.0, 10.0])).shape == (2,)


@given(RA, DEC, RA, DEC)
def test_separation_is_astropys(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    wanted = SkyCoord(ra1 * u.deg, dec1 * u.deg).separation(SkyCoord(ra2 * u.deg, dec2 * u.deg)).arcsec
    assert q.separation_arcsec(ra1, dec1, ra2, dec2) == pytest.approx(wanted, abs=0.05)


@given(st.floats(-2, 2).filter(lambda rate: abs(rate) > 1e-3))
def test_a_straight_rise_has_its_own_rate(rate: float) -> None:
    points = [{"jd": 100.0 - days, "magpsf": 18.0 + rate * days} for days in (1, 3, 7)]
    assert q.rise_rate(alert(*points)) == pytest.approx(rate, abs=1e-6)
    assert q.rise_since_last(alert(*points)) == pytest.approx(rate, abs=1e-6)


def test_one_detection_has_no_rate() -> None:
    assert math.isnan(q.rise_rate(alert()))
    assert math.isnan(q.rise_since_last(alert()))


def test_another_band_does_not_count_for_the_rate() -> None:
    assert math.isnan(q.rise_rate(alert({"jd": 98.0, "fid": 2})))


def test_detections_are_counted_within_days_and_limits_are_not() -> None:
    history = alert({"jd": 99.0}, {"jd": 98.0, "magpsf": None}, {"jd": 80.0})
    assert q.detections_since(history, 5) == 2
    assert q.detections_since(history, 30) == 3
    assert q.detections_since(alert(), 30) == 1


def test_the_deepest_limit_is_found() -> None:
    assert (
        q.faded_limit(alert({"jd": 99.0, "magpsf": None}, {"jd": 97.0, "magpsf": None, "diffmaglim": 21.0}), 5) == 21.0
    )
    assert math.isnan(q.faded_limit(alert(), 5))


@pytest.mark.parametrize(
    ("distance", "mag", "wanted"), [(-999.0, -999.0, False), (3.0, 17.0, True), (11.0, 17.0, False)]
)
def test_solar_system_match_is_in_arcsec(distance: float, mag: float, wanted: bool) -> None:
    assert q.solar_system_match(alert(ssdistnr=distance, ssmagnr=mag), within_arcsec=10) is wanted


def test_equal_fluxes_are_three_quarters_of_a_magnitude_brighter() -> None:
    star = alert(magnr=18.0, magpsf=18.0)
    assert q.amplitude(star) == pytest.approx(2.5 * math.log10(2))
    assert math.isnan(q.amplitude(alert(magnr=18.0, magpsf=18.0, isdiffpos="f")))


def test_colour_and_magnitude_difference() -> None:
    assert q.colour(alert({"jd": 99.9, "fid": 2, "magpsf": 17.5})) == pytest.approx(0.5)
    assert q.magnitude_difference(alert({"jd": 95.0, "magpsf": 19.5})) == pytest.approx(1.5)


def test_a_cutout_is_an_array_of_pixels() -> None:
    alert = {"cutoutScience": {"stampData": packets.fits(2.5)}, "cutoutDifference": None}
    image = q.pixels(alert, "Science")
    assert image is not None
    assert image.shape == (63, 63)
    assert (image == 2.5).all()
    assert q.pixels(alert) is None


def test_star_score_is_of_the_nearest_source_within_reach() -> None:
    assert q.star_score(alert(sgscore1=0.9, distpsnr1=0.4), 1.0) == 0.9
    assert math.isnan(q.star_score(alert(sgscore1=0.9, distpsnr1=2.0), 1.0))
    assert math.isnan(q.star_score(alert(sgscore1=-999.0, distpsnr1=-999.0)))


@given(st.lists(st.tuples(RA, DEC), min_size=1, max_size=30), RA, DEC, st.floats(1, 1e6))
def test_a_cone_finds_the_nearest(entries: list[tuple[float, float]], ra: float, dec: float, radius: float) -> None:
    catalogue = q.Catalogue([e[0] for e in entries], [e[1] for e in entries], [str(n) for n in range(len(entries))])
    distances = [float(q.separation_arcsec(ra, dec, *entry)) for entry in entries]
    match = catalogue.cross_match(ra, dec, radius)
    if match is None:
        assert min(distances) > radius * (1 - 1e-9)
    else:
        assert match.distance_arcsec == pytest.approx(min(distances))


def test_a_catalogue_is_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    path.write_text("name,ra,dec\nVega,279.2347,38.7837\n")
    assert q.cross_match(alert(ra=279.2348, dec=38.7837), q.Catalogue.read(path), 2.0).name == "Vega"
    assert q.cross_match(alert(ra=280.0, dec=38.7837), q.Catalogue.read(path), 2.0) is None
    path.write_text("name,ra,dec\nVega,279,138\n")
    with pytest.raises(ZadsError, match="line 2"):
        q.Catalogue.read(path)
