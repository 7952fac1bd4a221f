"""The sky on a flat map: Mollweide's projection, which keeps areas, in equatorial coordinates.

East is left, as on the sky. Source: J. P. Snyder, Map Projections: A Working Manual (USGS 1395, 1987), page 249.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

#: The map's size in its own units; its centre is (0, 0), and y grows downwards as in SVG.
WIDTH, HEIGHT = 400.0, 200.0
#: The right ascension at the centre, in degrees.
CENTRE = 180.0
_STEP = 5
_TOLERANCE = 1e-9


def project(ra: float, dec: float) -> tuple[float, float]:
    """Where a direction (degrees) is on the map: x from -WIDTH/2 to WIDTH/2, y from -HEIGHT/2 to HEIGHT/2."""
    longitude = (ra - CENTRE + 180.0) % 360.0 - 180.0
    return _flat(longitude, dec)


def _flat(longitude: float, dec: float) -> tuple[float, float]:
    theta = _theta(math.radians(max(-90.0, min(90.0, dec))))
    x = -longitude / 180.0 * math.cos(theta) * WIDTH / 2
    return x, -math.sin(theta) * HEIGHT / 2


def _theta(latitude: float) -> float:
    """The auxiliary angle: 2 theta + sin 2 theta = pi sin latitude, by Newton's method."""
    if abs(abs(latitude) - math.pi / 2) < _TOLERANCE:
        return math.copysign(math.pi / 2, latitude)
    theta, wanted = latitude, math.pi * math.sin(latitude)
    for _ in range(100):
        step = (2 * theta + math.sin(2 * theta) - wanted) / (2 + 2 * math.cos(2 * theta))
        theta -= step
        if abs(step) < _TOLERANCE:
            break
    return theta


def path(points: Iterable[tuple[float, float]]) -> str:
    """An SVG path through points of the map."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def graticule() -> list[str]:
    """Paths of the meridians (every 60 degrees) and parallels (every 30 degrees)."""
    meridians = [[_flat(longitude, dec) for dec in range(-90, 91, _STEP)] for longitude in range(-120, 121, 60)]
    parallels = [[_flat(longitude, dec) for longitude in (-180, 180)] for dec in range(-60, 61, 30)]
    return [path(line) for line in (*meridians, *parallels)]


def galaxy() -> list[str]:
    """Paths along the galactic equator, broken where it leaves the map at one side and comes back at the other."""
    lines: list[list[tuple[float, float]]] = [[]]
    for x, y in (project(*equatorial(longitude)) for longitude in range(0, 361, 2)):
        if lines[-1] and abs(x - lines[-1][-1][0]) > WIDTH / 4:
            lines.append([])
        lines[-1].append((x, y))
    return [path(line) for line in lines if len(line) > 1]


#: The north galactic pole (J2000) and the galactic longitude of the north celestial pole, in degrees.
_POLE_RA, _POLE_DEC, _POLE_LONGITUDE = 192.85948, 27.12825, 122.93192


def equatorial(longitude: float) -> tuple[float, float]:
    """Right ascension and declination (J2000, degrees) of a galactic longitude at latitude 0."""
    angle, pole = math.radians(_POLE_LONGITUDE - longitude), math.radians(_POLE_DEC)
    dec = math.asin(math.cos(pole) * math.cos(angle))
    ra = math.radians(_POLE_RA) + math.atan2(math.sin(angle), -math.sin(pole) * math.cos(angle))
    return math.degrees(ra) % 360.0, math.degrees(dec)


def hours() -> Iterator[tuple[float, float, str]]:
    """Labels of right ascension along the equator: x, y, and the hour."""
    for ra in range(60, 301, 60):
        yield (*project(ra, 0), f"{ra // 15} h")
