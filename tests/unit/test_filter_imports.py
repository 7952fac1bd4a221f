"""A filter may import the packages of the workers' image, and modules beside it that its entry names."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from zads.errors import ZadsError
from zads.filters import FilterError, load, modules, packages, rehearsal
from zads.filters.group import Configuration
from zads.filters.owner import Spec
from zads.filters.recorded_night import RecordedAlert
from zads.filters.sandbox import Sandbox
from zads.packet import Packet
from zads.sources.simulator import simulate

ROOT = Path(__file__).resolve().parents[2]
HEAD = "from zads.filters import Filter\n"
BODY = 'class A(Filter):\n    "Doc."\n    fields = ("candid",)\n    def accept(self, alert): return '


@pytest.fixture(scope="module")
def night() -> list[RecordedAlert]:
    return [RecordedAlert(name, Packet.parse(data)) for _, made in simulate("20190101", 2, 30) for name, data in made]


@pytest.mark.parametrize("statement", ["import matplotlib", "from docker import from_env", "import pytest.mark"])
def test_a_rehearsed_filter_cannot_import_what_the_workers_lack(
    statement: str, tmp_path: Path, night: list[RecordedAlert]
) -> None:
    path = tmp_path / "cut.py"
    path.write_text(f"{HEAD}{statement}\n{BODY}True\n")
    name = re.split(r"[ .]", statement)[1]
    with pytest.raises(ZadsError, match=f"cut.py, line 2: No module named '{name}': the filter workers have no {name}"):
        rehearsal.run(str(path), night)


def test_an_import_within_a_call_fails_as_it_would_in_the_worker(tmp_path: Path, night: list[RecordedAlert]) -> None:
    path = tmp_path / "cut.py"
    path.write_text(f"{HEAD}{BODY}__import__('yaml') and __import__('jinja2')\n")
    outcome = rehearsal.run(str(path), night)
    assert "the filter workers have no jinja2" in outcome.failures[0].reason


def test_a_filter_may_ask_whether_a_package_exists(tmp_path: Path, night: list[RecordedAlert]) -> None:
    path = tmp_path / "cut.py"
    text = "from importlib.util import find_spec\ntry:\n    import jinja2\nexcept ImportError:\n    jinja2 = None\n"
    path.write_text(f"{HEAD}{text}{BODY}bool(find_spec('jinja2') or jinja2)\n")
    outcome = rehearsal.run(str(path), night)
    assert (outcome.failed, len(outcome.passed)) == (0, 0)


def test_a_rehearsal_hides_packages_only_while_it_runs(tmp_path: Path, night: list[RecordedAlert]) -> None:
    path = tmp_path / "cut.py"
    path.write_text(f"{HEAD}import jinja2\n{BODY}True\n")
    with pytest.raises(ZadsError):
        rehearsal.run(str(path), night)
    with Sandbox([Spec("cut", str(path))]) as sandbox:
        assert not sandbox.declared["cut"].error


def test_a_deployment_adds_packages_by_a_list_beside_its_filters(tmp_path: Path, night: list[RecordedAlert]) -> None:
    path = tmp_path / "cut.py"
    path.write_text(f"{HEAD}import jinja2\n{BODY}bool(jinja2.Template('').render())\n")
    (tmp_path / packages.OWN).write_text("# ours\njinja2==0.0.1 \\\n    --hash=sha256:00\nmarkupsafe==3.0.3\n")
    outcome = rehearsal.run(str(path), night)
    assert outcome.failures == []
    assert any(line.startswith("the workers have jinja2 0.0.1, this computer has ") for line in outcome.advice)


@pytest.mark.parametrize(
    ("line", "told"), [("jinja2", "pins no package"), ("jinja2>=3", "pins no package"), ("-e .", "pins no package")]
)
def test_a_list_that_pins_nothing_is_refused_with_its_line(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / packages.OWN
    path.write_text(f"numpy==2.4.6 \\\n    --hash=sha256:00\n{line}\n")
    with pytest.raises(ZadsError, match=rf"packages.txt, line 3: '{re.escape(line)}' {told}"):
        packages.pinned([path])


def test_differences_between_a_computer_and_the_workers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "14", "1"))
    told = packages.differences({"numpy": "1.0", "nothing-of-this-name": "2", "scipy": "1"})
    assert told[0] == f"this computer's Python is 3.14, the workers' is {packages.PYTHON}"
    assert (
        told[1] == "the workers have nothing-of-this-name 2, this computer has not: pip install nothing-of-this-name==2"
    )
    assert f"the workers have numpy 1.0, this computer has {np.__version__}" in told


def test_this_control_machine_is_like_the_workers() -> None:
    told = packages.differences(packages.pinned(packages.lists()))
    assert [line for line in told if "Python" not in line] == []


def test_the_list_is_the_one_that_the_image_is_made_from() -> None:
    [path] = packages.lists()
    assert path.resolve() == ROOT / "requirements/filters.txt"
    assert {"numpy", "astropy", "scipy"} <= packages.pinned([path]).keys()


def test_filters_and_what_runs_them_have_the_same_versions() -> None:
    runtime_pins, filters, control = (
        packages.pinned([ROOT / f"requirements/{name}.txt"]) for name in ("runtime", "filters", "control")
    )
    assert runtime_pins.items() <= filters.items() <= control.items()


ASTRONOMY = '''
import numpy as np
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from scipy.optimize import curve_fit
from zads.filters import Filter

CENTRE = SkyCoord("00h42m44.3s", "+41d16m09s")
PALOMAR = EarthLocation.from_geodetic(-116.86, 33.36, 1700)


class Astronomy(Filter):
    """A cone search, hour angles of any date, and a fit: what reaches for networks, threads and files elsewhere."""

    fields = ("candidate.ra", "candidate.dec", "candidate.jd")
    time_limit = 10  # the first call reads tables

    def accept_batch(self, alerts):
        """All of them, with what was computed."""
        candidate = alerts["candidate"]
        there = SkyCoord(candidate["ra"], candidate["dec"], unit="deg")
        near = there.separation(CENTRE).deg
        up = there.transform_to(AltAz(obstime=Time([2473000.5], format="jd"), location=PALOMAR))  # beyond all tables
        x = np.arange(9.0)
        slope = curve_fit(lambda x, a, b: a * x + b, x, 2 * x + 1)[0][0]
        count = len(alerts)
        return np.ones(count, bool), {"near": near, "alt": up.alt.deg, "slope": np.full(count, slope)}
'''


def test_astropy_and_scipy_work_in_the_sandbox(tmp_path: Path, night: list[RecordedAlert]) -> None:
    path = tmp_path / "astronomy.py"
    path.write_text(ASTRONOMY)
    outcome = rehearsal.run(str(path), night, cap=1000)
    assert outcome.failures == []
    assert len(outcome.passed) == outcome.offered > 0
    texts = [one.annotations for one in outcome.passed]
    assert all('"slope":2.0' in text or '"slope":1.99' in text for text in texts)


def test_each_filter_gets_the_modules_beside_it_whatever_their_names(tmp_path: Path) -> None:
    for owner, value in (("alice", 1), ("bob", 2)):
        (tmp_path / owner).mkdir()
        (tmp_path / owner / "near.py").write_text(f"import far\nVALUE = {value} + far.NOTHING\n")
        (tmp_path / owner / "far.py").write_text("import near\nNOTHING = 0\n")
        late = "    def late(self):\n        import near\n        return near.VALUE\n"
        text = f"{HEAD}from near import VALUE\n{BODY}{{'v': VALUE, 'w': self.late()}}\n{late}"
        (tmp_path / owner / "cut.py").write_text(text)
    loaded = [load(tmp_path / owner / "cut.py") for owner in ("alice", "bob")]
    assert [one.accept({"candid": 1}) for one in loaded] == [{"v": 1, "w": 1}, {"v": 2, "w": 2}]  # type: ignore[arg-type]
    assert "near" not in sys.modules


def test_a_module_beside_a_filter_cannot_take_the_place_of_pythons_own(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("1 / 0\n")
    (tmp_path / "cut.py").write_text(f"{HEAD}import json\n{BODY}json.loads('true')\n")
    assert load(tmp_path / "cut.py").accept({"candid": 1}) is True  # type: ignore[arg-type]


def test_a_filters_modules_may_have_data_classes(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 1\n"
    (tmp_path / "near.py").write_text(text)
    (tmp_path / "cut.py").write_text(f"{HEAD}import near\n{BODY}near.P().x == 1\n")
    assert load(tmp_path / "cut.py").accept({"candid": 1}) is True  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "told"), [("x = (", "near.py, line 1: '\\(' was never"), ("1 / 0", "cut.py, line 2")])
def test_a_wrong_module_is_refused_with_file_and_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text(text)
    (tmp_path / "cut.py").write_text(f"{HEAD}import near\n{BODY}True\n")
    with pytest.raises(FilterError, match=told):
        load(tmp_path / "cut.py")


def test_the_modules_that_a_filter_needs_are_named(tmp_path: Path, night: list[RecordedAlert]) -> None:
    (tmp_path / "near.py").write_text("from far import x\n")
    (tmp_path / "far.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("")
    path = tmp_path / "cut.py"
    path.write_text(f"{HEAD}{BODY}self.late()\n    def late(self):\n        import near\n        return False\n")
    assert modules.beside(path) == ["far.py", "near.py"]
    assert (
        "it imports far.py, near.py: its entry in the inventory says modules: [far.py, near.py]"
        in rehearsal.run(str(path), night).advice
    )


def test_a_worker_loads_a_filter_with_the_modules_of_its_entry(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("VALUE = 2\n")
    (tmp_path / "cut.py").write_text(f"{HEAD}import near\n{BODY}{{'v': near.VALUE}}\n")
    entry = {"name": "cut", "owner": "alice", "group": "g", "state": "active", "modules": ["near.py"]}
    (tmp_path / "group.json").write_text(json.dumps({"group": "g", "filters": [entry]}))
    specs = Configuration.read(tmp_path / "group.json").specs(tmp_path)
    packets = [data for _, made in simulate("20190101", 1, 3) for _, data in made]
    with Sandbox(specs) as sandbox:
        verdicts, _ = sandbox.run(packets)
    assert verdicts["cut"].passed == dict.fromkeys(range(len(packets)), '{"v":2}')
