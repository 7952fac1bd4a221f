"""An owner sees what their filters count: at most once a minute, when it has changed, on a topic of their own."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from zads import names
from zads.filters.counts import Counts
from zads.filters.news import News, of_counts, of_failure
from zads.transactions import Record

FILTERS: Any = SimpleNamespace(
    config=SimpleNamespace(group="g"),
    entries={
        "young": SimpleNamespace(owner="alice", state="active"),
        "fast": SimpleNamespace(owner="bob", state="shadow"),
    },
    programmes={"young": frozenset([1]), "fast": frozenset([1])},
    sandbox=SimpleNamespace(
        circuits={"young": SimpleNamespace(state="closed"), "fast": SimpleNamespace(state="closed")}
    ),
)


class Clock:
    """Seconds that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def news(clock: Clock) -> News:
    return News("apps-1-1", clock)


def send(news: News, **counts: Counts) -> list[str]:
    """The filters whose counts are due; the records have then been committed."""
    records = news.due(FILTERS, counts)
    news.sent(records)
    return [dict(record.headers)[names.HEADER_FILTER].decode() for record in records]


def test_each_owner_sees_their_own_filters_alone(news: News) -> None:
    records = news.due(FILTERS, {"young": Counts(seen=3), "fast": Counts(seen=4)})
    assert {record.topic: json.loads(record.value or b"")["filter"] for record in records} == {
        "ztf_owner_alice": "young", "ztf_owner_bob": "fast"
    }  # fmt: skip
    assert json.loads(records[0].value or b"")["seen"] == 3


def test_no_counts_are_sent_twice_or_sooner_than_a_minute(news: News, clock: Clock) -> None:
    assert send(news, young=Counts(seen=3)) == ["young"]
    clock.now = 30
    assert send(news, young=Counts(seen=4)) == []
    clock.now = 61
    assert send(news, young=Counts(seen=4), fast=Counts()) == ["young", "fast"]
    clock.now = 600
    assert send(news, young=Counts(seen=4), fast=Counts()) == []


def test_counts_that_were_not_committed_are_sent_again(news: News) -> None:
    assert len(news.due(FILTERS, {"young": Counts()})) == 1
    assert send(news, young=Counts()) == ["young"]


def test_a_filter_that_no_longer_runs_has_no_news(news: News) -> None:
    assert send(news, gone=Counts()) == []


def test_the_record_for_a_restart_has_the_caps_and_the_news_does_not(news: News) -> None:
    counts = Counts(visits={"58451.1": 7})
    assert json.loads(of_counts("young", "apps-1-1", FILTERS, counts).value or b"")["visits"] == {"58451.1": 7}
    [record] = news.due(FILTERS, {"young": counts})
    assert "visits" not in json.loads(record.value or b"")


def test_a_failure_is_the_same_record_on_the_owners_topic() -> None:
    failure = Record(names.REJECTED_TOPIC, b"k", b"v", [("reason", b"r")])
    assert of_failure(failure, "alice") == failure._replace(topic="ztf_owner_alice")
