"""A filter to start from, and a test of its cuts: what ``zads filter new`` writes."""

from __future__ import annotations

from pathlib import Path

from zads.errors import ZadsError
from zads.names import filter_topic


def write(name: str, directory: Path) -> tuple[Path, Path]:
    """Write NAME.py and test_NAME.py. Raises ZadsError if the name is not a filter's, or a file exists already."""
    filter_topic(name)
    target, test = directory / f"{name}.py", directory / f"test_{name}.py"
    directory.mkdir(parents=True, exist_ok=True)
    for path in (target, test):
        if path.exists():
            raise ZadsError(f"{path} exists already", hint="choose another name, or remove it")
    title = "".join(part.capitalize() for part in name.split("_"))
    target.write_text(_TEMPLATE.replace("NAME", title))
    test.write_text(_TEST.replace("MODULE", name).replace("NAME", title))
    return target, test


_TEMPLATE = '''"""One line on what this file is about."""

from zads.filters import Alert, Filter
from zads.filters import quantities as q


class NAME(Filter):
    """Real, bright (below 17 mag), and not a known asteroid."""

    fields = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr", "candidate.ssmagnr")
    cap = 20

    def accept(self, alert: Alert) -> bool:
        """All cuts."""
        candidate = alert["candidate"]
        if q.real_bogus(alert) < 0.65 or not q.is_positive(candidate) or candidate["magpsf"] > 17.0:
            return False
        return not q.solar_system_match(alert, within_arcsec=10.0)
'''

_TEST = '''"""The cuts of MODULE, one alert each. Run with: pytest test_MODULE.py"""

from pathlib import Path

from zads.filters import View, load

GOOD = {"magpsf": 15.0, "rb": 0.9, "isdiffpos": "t", "ssdistnr": -999.0, "ssmagnr": -999.0}


def accepts(**changed: object) -> bool:
    loaded = load(Path(__file__).with_name("MODULE.py"))
    return bool(loaded.accept(View(loaded.fields)({"candidate": {**GOOD, **changed}})))


def test_a_bright_real_source_passes() -> None:
    assert accepts()


def test_a_faint_one_does_not() -> None:
    assert not accepts(magpsf=18.0)


def test_an_asteroid_does_not() -> None:
    assert not accepts(ssdistnr=1.0, ssmagnr=15.0)
'''
