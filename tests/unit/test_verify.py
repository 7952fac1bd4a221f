"""Verify names everything that is wrong, and nothing that is not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import progress
from zads.progress import Tail
from zads.site.policy import Policy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def promises(plugin):
    return plugin("filter/promises.py")


@pytest.fixture(scope="module")
def condition(plugin):
    return plugin("modules/host_condition.py")


# Clocks


def measured(offset, delay=2.0):
    return {"clock": 1000.0 + offset + delay / 2, "before": 1000.0, "after": 1000.0 + delay}


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ({"a": 0, "b": 0.5}, []),
        ({"a": 0, "b": 30}, ["b: its clock is 29 s fast"]),
        ({"a": -691_200, "b": 0}, ["a: its clock is 691199 s slow"]),
        ({"a": -5.5, "b": 5.5}, ["b and a: their clocks differ by 9 s"]),
        ({}, []),
    ],
)
def test_clocks_that_differ_are_named(promises, offsets, said):
    found = promises.clock_problems({host: measured(offset) for host, offset in offsets.items()}, 5)
    assert len(found) == len(said)
    assert all(line.startswith(words) for line, words in zip(found, said, strict=True)), found


@given(st.floats(0, 100), st.floats(0, 1))
def test_a_slow_answer_makes_no_clock_wrong(promises, delay, when):
    one = {"clock": 1000.0 + delay * when, "before": 1000.0, "after": 1000.0 + delay}
    assert promises.clock_problems({"a": one, "b": one}, 1) == []


# Hosts


def test_a_unit_that_runs_as_it_was_deployed_is_well(condition, tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text("a=b\n")
    (tmp_path / "started-with").write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}\n")
    assert condition.unit_problems("kafka.service", {"ActiveState": "active"}, tmp_path) == []
    file.write_text("a=c\n")
    assert condition.unit_problems("kafka.service", {"ActiveState": "active"}, tmp_path) == [
        f"kafka.service runs with older files than are there ({file}): make deploy"
    ]
    file.unlink()
    assert len(condition.unit_problems("kafka.service", {"ActiveState": "active"}, tmp_path)) == 1


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_a_unit_that_does_not_run_is_named(condition, tmp_path, state):
    [line] = condition.unit_problems("zads-producer.service", {"ActiveState": state, "SubState": "dead"}, tmp_path)
    assert line.startswith(f"zads-producer.service is {state} (dead)")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("zads/p:1|sha256:a|sha256:a|healthy", ""),
        ("zads/p:1|sha256:a|sha256:a|", ""),
        ("zads/p:1|sha256:a|sha256:a|unhealthy", "is unhealthy"),
        ("zads/p:0|sha256:a|sha256:a|healthy", "runs zads/p:0 (sha256:a), not the image that was deployed"),
        ("zads/p:1|sha256:a|sha256:b|healthy", "not the image that was deployed"),
        ("", "has no container"),
    ],
)
def test_a_container_of_another_image_or_unwell_is_named(condition, told, said):
    found = condition.container_problems("zads-producer.service", told, "ExecStart=docker run zads/p:1 \\\n")
    assert (said in " ".join(found)) if said else not found


@pytest.mark.parametrize(("role", "template", "expected"), [
    ("container_program", "container", True), ("debian_daemon", "debian_daemon", False),
    ("journal_access", "journal", False), ("archive_server", "zads-archive-server", False),
])  # fmt: skip
def test_only_units_that_run_a_container_must_have_one(condition, role, template, expected):
    text = (ROOT / "roles" / role / "templates" / f"{template}.service.j2").read_text()
    assert condition.runs_container(text) is expected


@pytest.mark.parametrize(
    ("about", "waits"),
    [
        ({"ActiveState": "active", "NRestarts": "0", "ActiveEnterTimestampMonotonic": "99000000"}, False),
        ({"ActiveState": "active", "NRestarts": "3", "ActiveEnterTimestampMonotonic": "99000000"}, True),
        ({"ActiveState": "active", "NRestarts": "3", "ActiveEnterTimestampMonotonic": "10000000"}, False),
        ({"ActiveState": "activating", "NRestarts": "3", "ActiveEnterTimestampMonotonic": "0"}, True),
        ({"ActiveState": "failed", "NRestarts": "0", "ActiveEnterTimestampMonotonic": "0"}, False),
    ],
)
def test_what_starts_or_may_end_again_is_judged_later(condition, about, waits):
    assert condition.unsettled({"a.service": about}, 100.0) == (["a.service"] if waits else [])


def test_what_systemd_says_is_told_apart(condition):
    output = "Id=a.service\nActiveState=active\nSubState=running\n\nId=b@1.service\nActiveState=failed\n"
    assert condition.blocks(output)["b@1.service"]["ActiveState"] == "failed"


@pytest.mark.parametrize(
    ("free", "written", "problems"), [(50, 10, 0), (5, 0, 1), (50, 60, 1), (5, 60, 2), (100, 0, 0), (0, 0, 1)]
)
def test_a_disk_without_room_is_named(condition, free, written, problems):
    gigabyte = 1 << 30
    found = condition.disk_problems("/srv", 100 * gigabyte, free * gigabyte, written * gigabyte, 10, 1)
    assert len(found) == problems, found


def test_what_waits_too_long_or_is_deferred_is_named(condition, tmp_path):
    incoming, deferred = tmp_path / "incoming", tmp_path / "deferred"
    incoming.mkdir()
    deferred.mkdir()
    now = 1_000_000.0
    for name, age in (("old.tar", 3600), ("new.tar", 10), (".partial", 9000)):
        (incoming / name).touch()
        os.utime(incoming / name, (now - age, now - age))
    [line] = condition.spool_problems(tmp_path, now, 15)
    assert line.startswith("1 exposures wait")
    assert "'old.tar'" in line
    (deferred / "later").touch()
    assert len(condition.spool_problems(tmp_path, now, 15)) == 2


# The stream


def tail(offset, candid=b"1", arrived=0.0):
    return Tail(offset, (b"object", candid), arrived)


def test_the_mirror_is_behind_when_origins_last_alert_is_not_publics_last():
    where = ("ztf_20181129_programid1", 0)
    assert progress.not_mirrored({where: tail(7)}, {where: tail(3)}, 1000.0) == []
    assert progress.not_mirrored({where: tail(7, b"2", 950.0)}, {where: tail(3)}, 1000.0) == []
    [line] = progress.not_mirrored({where: tail(7, b"2", 900.0)}, {where: tail(3)}, 1000.0)
    assert "1 partitions of ztf_20181129_programid1, at origin for 100 s" in line
    assert len(progress.not_mirrored({where: tail(7)}, {}, 1000.0)) == 1


def test_filters_are_behind_when_their_offset_is_not_past_the_last_alert():
    where = ("ztf_20181129_programid1", 0)
    assert progress.not_filtered("moving", {where: tail(7)}, {where: 8}, 1000.0) == []
    assert progress.not_filtered("moving", {where: tail(7, arrived=950.0)}, {where: 3}, 1000.0) == []
    [line] = progress.not_filtered("moving", {where: tail(7)}, {where: 7}, 1000.0)
    assert "the filters of moving are behind in 1 partitions" in line


def test_a_filter_that_is_off_does_not_put_its_group_behind(monkeypatch):
    asteroid = {"owner": "alice", "file": "asteroid.py", "group": "moving"}
    policy = Policy.read({
        "topics_night": {"partitions": 1, "replication_factor": 3, "retention_days": 7, "min_insync_replicas": 2},
        "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin", "public"]}},
        "users": [{"name": "alice", "site": "public", "programmes": [1, 2]}],
        "filters": [
            asteroid | {"name": "runs", "programmes": [1], "state": "active"},
            asteroid | {"name": "rests", "programmes": [2], "state": "off"},
        ],
        "filter_groups": {"moving": {"workers": 1}},
    })  # fmt: skip
    read, unread = ("ztf_20181129_programid1", 0), ("ztf_20181129_programid2", 0)
    monkeypatch.setattr(progress.kafka, "admin", lambda _: Mock())
    monkeypatch.setattr(progress, "newest_topics", lambda _: [read[0], unread[0]])
    monkeypatch.setattr(progress, "tails", lambda *_: {read: tail(7), unread: tail(7)})
    monkeypatch.setattr(progress.kafka, "committed", lambda *_: {read: 8})
    monkeypatch.setattr(progress.status, "records", lambda _: [])
    assert progress.problems({}, {}, policy) == []


def test_an_open_circuit_is_named():
    records = [
        {"filter": "young", "worker": "apps-1-1", "circuit": "open"},
        {"filter": "fast", "worker": "apps-1-1", "circuit": "closed"},
        {"filter": "gone", "worker": "apps-1-1", "circuit": "open"},
    ]
    [line] = progress.open_circuits(records, ["young", "fast"])
    assert line.startswith("the circuit of the filter young is open at the worker apps-1-1")


def test_the_newest_nights_of_each_programme_are_looked_at():
    names = [f"ztf_201811{day}_programid{number}" for day in (28, 29, 30) for number in (1, 2)]
    found = progress.newest_topics([*names, "ztf_20000101_programid1", "zads_rejected"])
    assert found == sorted(name for name in names if "20181128" not in name)


# All together


def test_all_problems_are_told_at_once_by_host_and_site(promises):
    clock = {"clock": 100.0, "asked": 100.0}
    sites = {
        "verify_plan": {"reachable": True},
        "verify_health": {"reasons": ["broker 2 is not up"]},
        "verify_topics": {"created": ["t"], "grown": [], "configured": []},
        "verify_users": {"set": [], "removed": ["mallory"]},
        "verify_acls": {"added": [], "removed": []},
        "verify_quotas": {"set": ["user reader"], "removed": ["user mallory"]},
    }
    hostvars = {
        "a": {"site": "origin", "verify_host": {"problems": ["x"], **clock},
              "verify_stream": {"problems": ["y"]}, **sites, "verify_said": ["late", "silent"]},
        "b": {"site": "public", "verify_host": {"unreachable": True, "msg": "no\nroute"}, "verify_plan": {"msg": "no"}},
        "c": {"verify_host": {"msg": "no python"}},
        "d": {"verify_said": []},
        "e": {"verify_said": ["not archived"]},
    }  # fmt: skip
    assert promises.broken_promises(hostvars, ["a", "b", "c", "d"], ["a", "b"], 101.0, 5) == [
        "a: x",
        "b: cannot be reached: no route",
        "c: could not be checked: no python",
        "d: could not be checked: it was not asked",
        "origin: broker 2 is not up",
        "origin: missing topic t: make deploy TAGS=access",
        "origin: unwanted account of mallory: make deploy TAGS=access",
        "origin: missing or other limit of user reader: make deploy TAGS=access",
        "origin: unwanted limit of user mallory: make deploy TAGS=access",
        "public: its topics, accounts and grants are unknown: no",
        "y",
        "a: late",
        "a: silent",
        "e: not archived",
    ]


NOW = 1_900_000_000


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ({"origin": 20, "public": 20}, []),
        ({"origin": 20, "public": 11}, ["the nights at public are ready only until 2030-03-18T04:46Z"]),
        ({"origin": 12, "public": -5}, ["the nights at origin are ready only", "the nights at public are ready only"]),
        ({"origin": 20}, ["the night keeper has not said until when"]),
        ({}, ["the night keeper has not said until when"]),
    ],
)
def test_nights_that_are_late_are_named(promises, hours, said):
    told = "".join(
        f'zads_nights_ready_until_seconds{{site="{site}"}} {NOW + more * 3600:.9e}\n' for site, more in hours.items()
    )
    found = promises.late_nights(f"# HELP of it\n{told}zads_nights_late 0\n", NOW)
    assert len(found) == len(said)
    assert all(line.startswith(words) for line, words in zip(found, said, strict=True)), found
