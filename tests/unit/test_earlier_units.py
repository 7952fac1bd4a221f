"""Each program's unit of the image before is kept, and can be put back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ONE, TWO, THREE = (f"zads/producer:{digit * 12}" for digit in "123")


@pytest.fixture(scope="module")
def earlier(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/earlier_units.py")


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Directories of units and of those before."""
    (tmp_path / "units").mkdir()
    return tmp_path / "units", tmp_path / "before"


def unit(image: str, options: str = "") -> str:
    return f"ExecStart=docker run --rm --name zads-producer {options} \\\n    {image} \\\n    produce\n"


@pytest.fixture(autouse=True)
def as_its_own_user(earlier: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests do not run as root."""
    monkeypatch.setattr(earlier, "ROOT", None)


def deploy(earlier: ModuleType, places: tuple[Path, Path], text: str, *, check: bool = False) -> tuple[bool, list[str]]:
    """Keep the unit as the role does, then write the new one."""
    path = places[0] / "zads-producer.service"
    kept: tuple[bool, list[str]] = earlier.keep([{"path": str(path), "content": text}], *places, check=check)
    if not check:
        path.write_text(text)
    return kept


def found(earlier: ModuleType, places: tuple[Path, Path]) -> dict[str, str]:
    (one,) = earlier.chosen(["zads-producer.service"], *places)
    described: dict[str, str] = one
    return described


def test_the_unit_before_is_kept_with_its_options(earlier: ModuleType, places: tuple[Path, Path]) -> None:
    assert deploy(earlier, places, unit(ONE, "--old-option")) == (False, [])
    assert deploy(earlier, places, unit(TWO), check=True) == (True, [])
    assert not places[1].exists()
    assert deploy(earlier, places, unit(TWO)) == (True, [])
    assert deploy(earlier, places, unit(TWO, "--memory 1g")) == (False, []), "the same image"
    assert found(earlier, places)["before"] == ONE
    assert "--old-option" in (places[1] / "zads-producer.service").read_text()
    assert (places[1] / "zads-producer.service").stat().st_mode & 0o777 == 0o600


def test_a_rollback_is_noted_until_the_next_deployment_ends_it(earlier: ModuleType, places: tuple[Path, Path]) -> None:
    deploy(earlier, places, unit(ONE))
    deploy(earlier, places, unit(TWO))
    earlier.restore([found(earlier, places)], *places)
    assert found(earlier, places) == {
        "unit": "zads-producer.service", "image": ONE, "before": "", "rolled_back": TWO,
    }  # fmt: skip
    earlier.restore([found(earlier, places)], *places)  # once more, as after an interruption
    assert found(earlier, places)["image"] == ONE
    changed, said = deploy(earlier, places, unit(THREE))
    assert (changed, said) == (True, [f"zads-producer.service was rolled back from {TWO} to {ONE}: it goes to {THREE}"])
    assert found(earlier, places) == {
        "unit": "zads-producer.service", "image": THREE, "before": ONE, "rolled_back": "",
    }  # fmt: skip
    assert deploy(earlier, places, unit(THREE)) == (False, [])


def test_a_rollback_that_the_inventory_makes_lasting_is_none_any_more(
    earlier: ModuleType, places: tuple[Path, Path]
) -> None:
    deploy(earlier, places, unit(ONE))
    deploy(earlier, places, unit(TWO))
    earlier.restore([found(earlier, places)], *places)
    changed, said = deploy(earlier, places, unit(ONE))
    assert (changed, said) == (True, [f"zads-producer.service was rolled back from {TWO} to {ONE}: it stays there"])
    assert deploy(earlier, places, unit(ONE)) == (False, [])


def test_a_rollback_interrupted_before_its_end_is_done_again(earlier: ModuleType, places: tuple[Path, Path]) -> None:
    deploy(earlier, places, unit(ONE))
    deploy(earlier, places, unit(TWO))
    (places[1] / "zads-producer.service.left").write_text(f"{TWO}\n")  # noted, but not put back
    assert found(earlier, places)["before"] == ONE
    earlier.restore([found(earlier, places)], *places)
    assert found(earlier, places)["image"] == ONE


def test_what_cannot_go_back_is_named(earlier: ModuleType, places: tuple[Path, Path]) -> None:
    deploy(earlier, places, unit(ONE))
    assert earlier.refusals([found(earlier, places)], set()) == []
    assert "it has had no other on this host" in earlier.said_of(found(earlier, places))
    deploy(earlier, places, unit(TWO))
    assert earlier.refusals([found(earlier, places)], {ONE, TWO}) == []
    assert earlier.refusals([found(earlier, places)], {TWO}) == [
        f"zads-producer.service: the engine has no {ONE} any more"
    ]


def test_files_that_are_no_units_are_left_alone(earlier: ModuleType, places: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "group.json"
    other.write_text(ONE)
    given: list[dict[str, Any]] = [{"path": str(other), "content": TWO}]
    assert earlier.keep(given, *places, check=False) == (False, [])


def test_the_instances_of_a_template_are_restarted(earlier: ModuleType, places: tuple[Path, Path]) -> None:
    wants = places[0] / "multi-user.target.wants"
    wants.mkdir()
    for name in ("zads-filters-a@1.service", "zads-filters-a@2.service", "zads-filters-ab@1.service"):
        (wants / name).touch()
    assert earlier.instances("zads-filters-a@.service", places[0]) == [
        "zads-filters-a@1.service",
        "zads-filters-a@2.service",
    ]
    assert earlier.instances("zads-producer.service", places[0]) == ["zads-producer.service"]
