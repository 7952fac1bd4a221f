"""Names follow from nights, visits, programmes and filters, and lead back to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

import pytest

from zads import names
from zads.errors import ZadsError


@pytest.mark.parametrize(
    ("jd", "night"),
    [
        (2458451.5, "20181129"),  # midnight UTC begins a day
        (2458452.4999, "20181129"),
        (2458452.5, "20181130"),
        (2458452.0, "20181129"),  # noon, when the Julian day changes
        (2440587.5, "19700101"),
    ],
)
def test_a_night_is_the_utc_date(jd: float, night: str) -> None:
    assert names.night_of(jd) == night


@pytest.mark.parametrize(("visit", "night"), [("58451.21875", "20181129"), ("", None), ("x", None), ("1e99", None)])
def test_the_night_of_a_visit_header(visit: str, night: str | None) -> None:
    assert names.night_of_visit(visit) == night


def test_a_visit_leads_back_to_its_night() -> None:
    assert names.visit_of(2458451.71875) == "58451.21875"
    assert names.night_of_visit(names.visit_of(2458451.5)) == "20181129"


def test_names_of_topics_are_read_back() -> None:
    for programme in names.PROGRAMMES:
        assert names.parse_topic(names.night_topic("20181129", programme)) == ("20181129", programme)
    for other in (
        "ztf_20181129_programid4",
        "ztf_filter_x",
        "zads_rejected",
        "ztf_2018_programid1",
        "ztf_２０１８１１２９_programid1",
    ):
        assert names.parse_topic(other) is None


def test_only_programs_whose_group_has_hosts_have_accounts() -> None:
    assert names.accounts({"boards": ["apps-1"], "archives": [], "kafka": ["origin-1"]}) == ["zads.board"]
    assert names.accounts({group: ["apps-1"] for group in names.ACCOUNTS}) == [*names.ACCOUNTS.values()]


def test_a_pattern_matches_its_programmes_alone() -> None:
    pattern = re.compile(names.topic_pattern({1, 2}))
    assert pattern.search("ztf_20181129_programid1")
    assert pattern.search("ztf_20181129_programid2")
    assert pattern.search("ztf_20300101_programid1")
    assert not pattern.search(names.night_topic(names.CANARY_NIGHT, 1))
    for other in ("ztf_20181129_programid3", "ztf_20181129_programid12", "xztf_20181129_programid1", "ztf_filter_a"):
        assert not pattern.search(other)


def test_the_mirror_takes_the_programmes_of_the_policy_with_the_canaries(plugin: Callable[[str], ModuleType]) -> None:
    programmes = {"1": {"sites": ["origin", "public"]}, "2": {"sites": ["origin"]}, 3: {"sites": ["public", "origin"]}}
    taken = re.compile(plugin("filter/names.py").mirrored_topics(programmes))
    nights = ("20181129", names.CANARY_NIGHT)
    assert [n for night in nights for n in names.PROGRAMMES if taken.fullmatch(names.night_topic(night, n))] == [
        1,
        3,
        1,
        3,
    ]
    assert not taken.fullmatch(names.filter_topic("asteroid"))


@pytest.mark.parametrize("text", ["2018112", "20181329", "tonight", "2018-11-29", "", "２０１８１１２９"])
def test_what_is_no_night_is_refused(text: str) -> None:
    with pytest.raises(ZadsError, match="YYYYMMDD"):
        names.check_night(text)


@pytest.mark.parametrize("name", ["", "Asteroid", "a-b", "1st", "a" * 64])
def test_a_name_that_cannot_be_a_filters_is_refused(name: str) -> None:
    with pytest.raises(ZadsError, match="filter"):
        names.filter_topic(name)


def test_a_filters_topic_leads_back_to_it() -> None:
    assert names.filter_name(names.filter_topic("asteroid")) == "asteroid"
    assert names.filter_name("ztf_20181129_programid1") is None
