"""The host of each worker, the limits of its sandbox, and the paths of the deployment's own filters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HOSTS = ["w-1", "w-2"]


@pytest.fixture(scope="module")
def workers(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("filter/filter_workers.py")


def test_a_worker_has_a_sandbox_that_comes_before_it(workers: ModuleType) -> None:
    assert workers.worker_units({"moving": {}}, ["w-1"], "w-1") == [
        "zads-sandbox-moving@1.service",
        "zads-filters-moving@1.service",
    ]


@pytest.mark.parametrize(("host", "numbers"), [("w-1", {1, 3}), ("w-2", {2})])
def test_the_workers_of_a_group_are_dealt_out_to_the_hosts_in_turn(
    workers: ModuleType, host: str, numbers: set[int]
) -> None:
    units = workers.worker_units({"moving": {"workers": 3}}, HOSTS, host)
    assert {int(unit.partition("@")[2].partition(".")[0]) for unit in units} == numbers


def test_every_worker_runs_on_exactly_one_host(workers: ModuleType) -> None:
    groups = {"a": {"workers": 4}, "b": {"workers": 1}, "c": None}
    units = [unit for host in HOSTS for unit in workers.worker_units(groups, HOSTS, host)]
    assert len(units) == len(set(units)) == 2 * (4 + 1 + 1)


def test_a_worker_is_not_restarted_again_after_its_sandbox(workers: ModuleType) -> None:
    sandbox, worker = "zads-sandbox-a@1.service", "zads-filters-a@1.service"
    assert workers.due_units({sandbox: "restarted", worker: "restarted"}) == [{"key": sandbox, "value": "restarted"}]
    assert workers.due_units({worker: "restarted"}) == [{"key": worker, "value": "restarted"}]
    assert [one["value"] for one in workers.due_units({sandbox: "restarted", worker: "started"})] == [
        "restarted",
        "started",
    ]
    assert workers.due_units({}) == []


@pytest.mark.parametrize(("owners", "room"), [(0, 0), (1, 4), (4, 4), (5, 8)])
def test_a_sandbox_has_room_for_owners_in_steps_of_four(workers: ModuleType, owners: int, room: int) -> None:
    filters = [{"name": f"f{n}", "owner": f"o{n}", "group": "a"} for n in range(owners)]
    filters.append({"name": "other", "owner": "another", "group": "b"})
    assert workers.sandbox_limits(filters, "a", 400) == {"owners": room, "memory_mb": 192 + 2 * room * 464}


def test_filters_of_one_owner_count_once(workers: ModuleType) -> None:
    filters = [{"name": f"f{n}", "owner": "alice", "group": "a"} for n in range(9)]
    assert workers.sandbox_limits(filters, "a", 400)["owners"] == 4


def test_only_files_that_the_deployment_has_are_its_own(workers: ModuleType, tmp_path: Path) -> None:
    for name in ("near.py", "cuts.py", "stars.csv", "off.py"):
        (tmp_path / name).touch()
    filters: list[dict[str, Any]] = [
        {"name": "built_in", "group": "a"},
        {"name": "first", "group": "a", "file": "cuts.py:First", "modules": ["near.py"], "data": ["stars.csv"]},
        {"name": "second", "group": "a", "file": "cuts.py:Second"},
        {"name": "near", "group": "b"},
        {"name": "off", "group": "gone"},
    ]
    assert workers.filter_paths(filters, {"a": {}, "b": {}}, str(tmp_path), "/etc/zads/filters") == [
        "/etc/zads/filters/a/filters/cuts.py",
        "/etc/zads/filters/a/filters/near.py",
        "/etc/zads/filters/a/filters/stars.csv",
        "/etc/zads/filters/b/filters/near.py",
    ]
