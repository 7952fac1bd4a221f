"""The topics of a site as they are wanted, and what differs from those that a cluster has."""

from __future__ import annotations

import pytest

from zads.errors import ZadsError
from zads.kafka import MESSAGE_MAX_BYTES
from zads.site.policy import SITES, Policy
from zads.site.topics import Topic, fixed_topics, night_topics, topic_changes

NIGHTS = ["20181129", "20181130"]
POLICY = Policy.read(
    {
        "topics_night": {"partitions": 16, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}, 3: {"sites": ["origin"]}},
        "users": [{"name": "alice", "site": "public"}],
        "filters": [{"name": "young", "owner": "alice", "group": "transients", "state": "active"}],
        "filter_groups": {"transients": {"workers": 1}},
    }
)


def test_a_night_has_topics_for_the_programmes_of_the_site() -> None:
    assert [topic.name for topic in night_topics(POLICY, "public", ["20181129"])] == ["ztf_20181129_programid1"]
    origin = night_topics(POLICY, "origin", ["20181129"])
    assert [topic.name for topic in origin] == [f"ztf_20181129_programid{number}" for number in (1, 2, 3)]
    assert origin[0].partitions == 16
    assert origin[0].replication_factor == 3
    assert origin[0].config["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert origin[0].config["min.insync.replicas"] == "2"


def test_every_topic_takes_the_largest_packet() -> None:
    for site in SITES:
        for topic in [*fixed_topics(POLICY, site), *night_topics(POLICY, site, NIGHTS)]:
            assert int(topic.config["max.message.bytes"]) == MESSAGE_MAX_BYTES


def test_a_night_that_is_no_date_is_refused() -> None:
    with pytest.raises(ZadsError, match="20181332"):
        night_topics(POLICY, "origin", ["20181332"])


WANTED = Topic("t1", 4, 3, {"retention.ms": "1000"})


@pytest.mark.parametrize(
    ("present", "create", "grow", "configure", "refused"),
    [
        (None, ["t1"], {}, {}, ""),
        (WANTED, [], {}, {}, ""),
        (Topic("t1", 2, 3, WANTED.config), [], {"t1": (2, 4)}, {}, ""),
        (Topic("t1", 8, 3, WANTED.config), [], {}, {}, "8 partitions"),
        (Topic("t1", 4, 1, WANTED.config), [], {}, {}, "1 replicas, not 3"),
        (Topic("t1", 4, 3, {}), [], {}, {"t1": {"retention.ms": (None, "1000")}}, ""),
        (
            Topic("t1", 4, 3, {"retention.ms": "7", "segment.ms": "9"}),
            [],
            {},
            {"t1": {"retention.ms": ("7", "1000"), "segment.ms": ("9", None)}},
            "",
        ),
        (Topic("t1", 4, 3, {**WANTED.config, "leader.replication.throttled.replicas": "*"}), [], {}, {}, ""),
    ],
)
def test_what_differs_between_wanted_and_present_topics(
    present: Topic | None, create: list[str], grow: object, configure: object, refused: str
) -> None:
    changes = topic_changes([WANTED], {"t1": present} if present else {})
    assert [topic.name for topic in changes.create] == create
    assert changes.grow == grow
    assert changes.configure == configure
    assert refused in " ".join(changes.refused)
    assert bool(changes.refused) == bool(refused)


def test_topics_of_others_are_left_alone() -> None:
    assert not topic_changes([WANTED], {"t1": WANTED, "other": Topic("other", 1, 1)})
