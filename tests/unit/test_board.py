"""What the Night Board remembers and shows: bounded, of the programmes that somebody may see, and true."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import boarding
from packets import make_packet
from zads import names
from zads.board import audits, parts, sky, view, way
from zads.board.alerts import Alerts, alert_of, passed_of
from zads.board.counted import Counted
from zads.board.health import UNDER_WAY, Broker, Group, Health, Mirror, Site, mirror_of, site_of
from zads.board.night import BIN_SECONDS, MOST_VISITS, Nights
from zads.board.passwords import MOST_BY_ADDRESS, MOST_BY_USER, WINDOW_SECONDS, Answer, Attempts, Passwords
from zads.board.sessions import Sessions
from zads.board.stream import NIGHTS, newest_nights, nights_of
from zads.board.view import View
from zads.errors import ZadsError
from zads.site.policy import Policy

SITE = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "SASL_SSL"}
EVERYBODY = View("", frozenset({1}), frozenset({"fast"}))
PARTNER = View("partner", frozenset({1, 2}), frozenset({"fast", "mine"}))
DATA: dict[str, Any] = {
    "topics_night": {"partitions": 16, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin", "public"]}, 3: {"sites": ["origin"]}},
    "users": [
        {"name": "partner", "site": "public", "programmes": [1, 2]},
        {"name": "alice", "site": "public"},
        {"name": "inside", "site": "origin", "programmes": [1, 2, 3]},
        {"name": "gone", "site": "public", "programmes": [1, 2], "expires": "2019-01-01"},
    ],
    "filters": [
        {"name": "fast", "owner": "alice", "group": "g", "state": "active", "programmes": [1]},
        {"name": "mine", "owner": "alice", "group": "g", "state": "active", "programmes": [1, 2]},
    ],
    "filter_groups": {"g": {"workers": 1}},
    "board": {"filters": ["fast"]},
}


def board_of(*, most: int = 1000, programmes: tuple[int, ...] = (1, 2)) -> tuple[Alerts, Nights]:
    """A board that has read a small night of each of some programmes."""
    alerts, nights = Alerts(most), Nights()
    for programme in programmes:
        for record in boarding.records(programme=programme):
            alert = alert_of(record)
            alerts.add(alert)
            nights.add(alert)
    return alerts, nights


# Who sees what


def test_everybody_sees_the_public_programme_and_the_filters_that_the_inventory_shows() -> None:
    assert view.of(Policy.read(DATA)) == EVERYBODY


def test_who_signs_in_sees_their_programmes_and_their_own_filters_beside() -> None:
    policy = Policy.read(DATA)
    assert view.of(policy, "partner") == View("partner", frozenset({1, 2}), frozenset({"fast"}))
    assert view.of(policy, "alice") == View("alice", frozenset({1}), frozenset({"fast", "mine"}))


@pytest.mark.parametrize("user", ["inside", "gone", "nobody", "zads.board"])
def test_who_is_no_user_of_the_public_site_has_no_view(user: str) -> None:
    assert view.of(Policy.read(DATA), user) is None


def test_nobody_sees_a_programme_that_the_policy_takes_off_the_public_site() -> None:
    data = {**DATA, "programmes": {1: {"sites": ["origin"]}}, "users": DATA["users"][1:2], "filters": [], "board": {}}
    assert view.of(Policy.read(data)) == View("", frozenset(), frozenset())


def test_an_alert_is_found_by_those_who_may_see_its_programme_alone() -> None:
    alerts, _ = board_of(programmes=(2,))
    alert = alert_of(boarding.records(programme=2)[0])
    assert alerts.versions(alert.candid, PARTNER) == [alert]
    assert alerts.versions(alert.candid, EVERYBODY) == []
    assert alert in alerts.of_object(alert.object_id, PARTNER)
    assert alerts.of_object(alert.object_id, EVERYBODY) == []


def test_what_a_filter_passed_is_seen_by_who_may_see_both_filter_and_programme() -> None:
    alerts = Alerts()
    public, kept = boarding.records()[0], boarding.records(programme=2)[0]
    for number, (record, name) in enumerate([(public, "fast"), (public, "mine"), (kept, "fast"), (kept, "mine")]):
        alerts.add_passed(passed_of(boarding.passed(record, name, number)))
    assert [one.filter for one in alerts.passed(EVERYBODY, 10)] == ["fast"]
    assert len(alerts.passed(PARTNER, 10)) == 4
    owner = View("alice", frozenset({1}), frozenset({"fast", "mine"}))
    assert {one.alert.programme for one in alerts.passed(owner, 10)} == {1}
    assert alerts.passed_by(alert_of(kept).candid, owner) == []
    assert alerts.versions(alert_of(kept).candid, EVERYBODY) == [], "not by the filter's topic either"


# What is remembered


def test_the_memory_of_alerts_is_bounded_and_the_oldest_go_first() -> None:
    alerts, _ = board_of(most=5, programmes=(1,))
    records = [alert_of(record) for record in boarding.records()]
    known = [one for one in records if alerts.versions(one.candid, EVERYBODY)]
    assert known == records[-5:]
    assert sum(len(alerts.of_object(one, EVERYBODY)) for one in {one.object_id for one in records}) == 5


def test_an_alert_that_is_published_again_has_versions_and_the_same_record_is_one() -> None:
    alerts = Alerts()
    record = boarding.records()[0]
    again = boarding.Record(record.topic_name, 0, 77, record.data, record.pairs, record.moment + 60)
    for one in (record, record, again):
        alerts.add(alert_of(one))
    assert [one.place.offset for one in alerts.versions(alert_of(record).candid, EVERYBODY)] == [record.place, 77]


def test_passed_alerts_are_the_newest_first_and_the_same_record_is_one() -> None:
    alerts = Alerts(most_passed=2)
    records = boarding.records()
    for number in (0, 0, 1, 2):
        alerts.add_passed(passed_of(boarding.passed(records[number], "fast", number)))
    assert [one.alert.place.offset for one in alerts.passed(EVERYBODY, 10)] == [2, 1]
    early = boarding.passed(records[3], "fast", 3)
    early.moment -= 60
    alerts.add_passed(passed_of(early))
    assert [one.alert.place.offset for one in alerts.passed(EVERYBODY, 10)] == [2, 3], "by arrival, not by reading"
    assert [one.alert.place.offset for one in alerts.passed(EVERYBODY, 1)] == [2]


@pytest.mark.parametrize("field", ["ra", "dec", "jd", "magpsf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_alert_without_a_place_on_the_sky_is_left_out(field: str, value: float) -> None:
    record = boarding.Record("ztf_20181129_programid1", 0, 0, make_packet(**{field: value}))
    with pytest.raises(ZadsError):
        alert_of(record)


def test_an_alert_of_another_programme_than_its_topic_is_left_out() -> None:
    record = boarding.records(programme=2)[0]
    record.topic_name = record.topic_name.replace("programid2", "programid1")
    with pytest.raises(ZadsError, match="holds an alert of programme 2"):
        alert_of(record)


@given(st.binary(max_size=200))
def test_whatever_a_record_holds_is_an_alert_or_a_refusal(data: bytes) -> None:
    with pytest.raises(ZadsError):
        alert_of(boarding.Record("ztf_20181129_programid1", 0, 0, data))


# The night


def test_a_night_is_counted_for_those_programmes_that_somebody_may_see() -> None:
    _, nights = board_of()
    one, both = (nights.summary(who, 1_700_000_010) for who in (EVERYBODY, PARTNER))
    assert one is not None
    assert both is not None
    assert (one.alerts, len(one.visits)) == (12, 3)
    assert (both.alerts, len(both.visits)) == (24, 6)
    assert nights.summary(View(programmes=frozenset({3})), 0.0) is None


def test_rate_and_latency_are_those_of_the_arrivals() -> None:
    _, nights = board_of(programmes=(1,))
    found = nights.summary(EVERYBODY, 1_700_000_000 + BIN_SECONDS)
    assert found is not None
    assert found.rate == pytest.approx(12 / 30)
    assert found.rates[-2:] == [12, 0]
    assert found.latency is not None
    assert found.latency["p50"] == pytest.approx(0.5)
    assert found.last == 1_700_000_000
    later = nights.summary(EVERYBODY, 1_700_000_000 + 3600)
    assert later is not None
    assert later.rate == 0
    assert not any(later.rates)


def test_a_visit_lies_where_its_alerts_do_across_the_first_meridian_too() -> None:
    nights = Nights()
    for number, ra in enumerate((359.0, 1.0)):
        packet = make_packet(candid=number + 1, ra=ra, dec=10.0)
        nights.add(alert_of(boarding.Record("ztf_20181129_programid1", 0, number, packet)))
    found = nights.summary(EVERYBODY, 0.0)
    assert found is not None
    [visit] = found.visits
    ra, dec = visit.position
    assert min(ra, 360 - ra) < 0.01
    assert dec == pytest.approx(10.0, abs=0.02)


def test_a_night_that_was_not_read_from_its_beginning_says_so() -> None:
    _, nights = board_of(programmes=(1,))
    whole = nights.summary(EVERYBODY, 0.0)
    nights.begins_late(boarding.NIGHT, 2)
    other = nights.summary(EVERYBODY, 0.0)
    nights.begins_late(boarding.NIGHT, 1)
    cut = nights.summary(EVERYBODY, 0.0)
    assert [one is not None and one.whole for one in (whole, other, cut)] == [True, True, False]


def test_visits_are_bounded() -> None:
    nights = Nights()
    alert = alert_of(boarding.records()[0])
    for number in range(MOST_VISITS + 10):
        nights.add(type(alert)(**{**{name: getattr(alert, name) for name in alert.__slots__}, "visit": str(number)}))
    found = nights.summary(EVERYBODY, 0.0)
    assert found is not None
    assert len(found.visits) == MOST_VISITS
    assert not found.whole


def test_the_nights_that_are_followed_are_the_newest_and_the_present_one_is_the_newest_with_records() -> None:
    topics = [f"ztf_201811{day:02d}_programid{number}" for day in range(1, 31) for number in (1, 2, 3)]
    others = ["ztf_20000101_programid1", "ztf_filter_fast", "zads_ledger"]
    found = nights_of([*topics, *others], {1, 2})
    assert len(found) == 2 * NIGHTS
    assert min(found) == f"ztf_201811{30 - NIGHTS + 1}_programid1"
    assert newest_nights(["ztf_20181128_programid1", "ztf_20181127_programid1", "ztf_20181127_programid2"]) == {
        "ztf_20181128_programid1", "ztf_20181127_programid2",
    }  # fmt: skip


# The map and the time line


@given(st.floats(0, 360), st.floats(-90, 90))
def test_every_direction_is_on_the_map(ra: float, dec: float) -> None:
    x, y = sky.project(ra, dec)
    assert (2 * x / sky.WIDTH) ** 2 + (2 * y / sky.HEIGHT) ** 2 <= 1 + 1e-6


def test_the_map_is_mollweides_with_east_at_the_left() -> None:
    assert sky.project(180, 0) == pytest.approx((0, 0))
    assert sky.project(180, 90) == pytest.approx((0, -sky.HEIGHT / 2))
    assert sky.project(181, 0)[0] < 0 < sky.project(179, 0)[0]
    # 2 theta + sin 2 theta = pi sin 40 degrees has the solution theta = 0.55973.
    assert -sky.project(180, 40)[1] / (sky.HEIGHT / 2) == pytest.approx(0.53097, abs=2e-4)


def test_the_plane_of_the_galaxy_goes_through_its_centre() -> None:
    ra, dec = sky.equatorial(0)
    assert (ra, dec) == pytest.approx((266.405, -28.936), abs=0.01)


def test_the_time_line_has_a_bar_for_each_visit_and_round_times() -> None:
    _, nights = board_of(programmes=(1,))
    found = nights.summary(EVERYBODY, 0.0)
    assert found is not None
    visits = sorted(found.visits, key=lambda one: one.jd)
    bars, ticks = parts.bars(visits), parts.ticks(visits)
    assert [one.x for one in bars] == sorted(one.x for one in bars)
    assert bars[0].x == 0
    assert 2 <= len(ticks) <= 8
    assert parts.bars([]) == []
    assert parts.ticks([]) == []


# What is ill


def metadata(up: tuple[int, ...], isrs: list[int], leader: int = 1) -> Any:
    partition = SimpleNamespace(leader=leader, replicas=[1, 2, 3], isrs=isrs)
    return SimpleNamespace(
        brokers=dict.fromkeys(up), topics={"t": SimpleNamespace(partitions={0: partition}, error=None)}
    )


def test_a_broker_that_the_inventory_names_and_the_site_does_not_is_away() -> None:
    expected = {1: "public-1", 2: "public-2", 3: "public-3"}
    site = site_of("public", metadata((1, 3), [1, 3]), expected, ["t"])
    assert site.brokers[1] == Broker(2, "public-2", False)
    assert site.ills == [
        "public: the broker public-2 is away",
        "public: 1 partitions have fewer replicas in sync than they should",
    ]
    assert site_of("public", metadata((1, 2, 3), [1, 2, 3]), expected, ["t"]).ills == []
    headless = site_of("public", metadata((1, 2, 3), [], leader=-1), expected, ["t"])
    assert headless.ills == ["public: 1 partitions have no leader, and cannot be read or written"]


def test_the_mirror_is_behind_where_the_origin_has_something_newer() -> None:
    place, other = ("t", 0), ("t", 1)
    assert mirror_of({place: 100.0, other: 50.0}, {place: 100.2, other: 50.1}, 1000.0) == Mirror(True, 0.0)
    assert mirror_of({place: 100.0, other: 300.0}, {place: 100.2, other: 50.1}, 400.0) == Mirror(True, 100.0)
    assert mirror_of({place: 100.0}, {}, 400.0).seconds == 300.0, "nothing of a new topic has been copied"
    assert Mirror(True, UNDER_WAY - 1).ills == []
    assert "behind" in Mirror(True, UNDER_WAY + 1).ills[0]


def test_all_that_is_ill_is_said_at_once() -> None:
    found = Health({"origin": Site("origin", False, why="no route")}, Mirror(True, 99.0), (Group("g", 1_000_000),), 1.0)
    assert [line.split()[0] for line in found.ills] == ["origin", "the", "the"]
    assert Health().ills == []


# Counts of filters


def count(worker: str, passed: int, circuit: str = "closed") -> boarding.Record:
    row = {"seen": 10, "passed": passed, "capped": 1, "failed": 0}
    value = {"filter": "fast", "worker": worker, "state": "active", "circuit": circuit, "nights": {"20181129": row}}
    return boarding.Record(names.FILTER_COUNTS_TOPIC, 0, 0, json.dumps(value).encode(), name=f"fast/{worker}".encode())


def test_the_counts_of_a_filter_are_those_of_its_workers_together_each_once() -> None:
    counted = Counted()
    for record in (count("a", 3), count("a", 4), count("b", 2, "open")):
        counted.add(record)
    [found] = counted.of_night("20181129", frozenset({"fast", "other"}))
    assert (found.seen, found.passed, found.capped, found.failed, found.open) == (20, 6, 2, 0, 1)
    assert counted.of_night("20181129", frozenset()) == []
    assert counted.of_night("20181130", frozenset({"fast"}))[0].seen == 0


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"filter": 3}', b'{"filter": "fast", "nights": [1]}'])
def test_counts_that_hold_nothing_harm_nothing(value: bytes) -> None:
    counted = Counted()
    counted.add(boarding.Record(names.FILTER_COUNTS_TOPIC, 0, 0, value, name=b"fast/a"))
    assert sum(one.seen for one in counted.of_night("20181129", frozenset({"fast"}))) == 0


def test_counts_that_are_no_json_are_refused() -> None:
    with pytest.raises(ZadsError):
        Counted().add(boarding.Record(names.FILTER_COUNTS_TOPIC, 0, 0, b"{", name=b"fast/a"))


# The way of one alert


def test_the_way_of_an_alert_has_each_hop_with_its_duration() -> None:
    record = boarding.records()[0]
    found = list(way.hops(alert_of(record), [passed_of(boarding.passed(record, "fast", 9))]))
    assert [one.name for one in found] == ["exposed", "sent by the producer", "at the public site", "passed by fast"]
    assert [one.after for one in found] == ["", "", "0.50 s", "0.20 s"]
    assert found[2].where == "ztf_20181129_programid1, partition 0, offset 0"
    assert found[3].note == '{"rise": 0.3}'


# Audits


def test_audits_show_what_somebody_may_see_and_count_the_rest(tmp_path: Path) -> None:
    both = {"ztf_20181128_programid1": {"records": 10}, "ztf_20181128_programid2": {"records": 5}}
    filtered = {"ztf_filter_fast": {"records": 1}, "ztf_filter_mine": {"records": 2}}
    lines = ["ztf_20181128_programid2: origin has 5 records, public has 4", "ztf_20181128_programid1: other"]
    lines += ["the ledger has 3 more", "ztf_20181128_programid1 and ztf_20181128_programid2 differ"]
    whole = {"agree": False, "disagreements": lines, "origin": {"topics": both}}
    whole["public"] = {"topics": both, "filters": filtered}
    (tmp_path / "20181128.json").write_text(json.dumps(whole))
    (tmp_path / "20181129.json").write_text(json.dumps({"agree": False, "status": "unread"}))
    for name, text in {"20181130.json": "{", "notes.json": "{}", "20181127.json": "[]"}.items():
        (tmp_path / name).write_text(text)
    newest, older = audits.nights(tmp_path, EVERYBODY)
    assert (newest.night, newest.status) == ("20181129", "unread")
    assert [row.topic for row in older.rows] == ["ztf_20181128_programid1", "ztf_filter_fast"]
    assert (older.status, older.found, older.hidden) == ("differs", ["ztf_20181128_programid1: other"], 3)
    assert len(audits.nights(tmp_path, PARTNER)[1].rows) == 4
    assert audits.nights(tmp_path / "missing", EVERYBODY) == audits.nights(None, EVERYBODY) == []


# Signing in


def test_a_session_is_worth_something_until_it_is_ended_or_too_old() -> None:
    sessions = Sessions("k" * 30)
    first, second = sessions.begin("partner"), sessions.begin("partner")
    assert sessions.user(first) == sessions.user(second) == "partner"
    sessions.end(first)
    assert (sessions.user(first), sessions.user(second)) == ("", "partner")
    assert Sessions("k" * 30, life=-1).user(second) == ""


def test_a_session_of_another_key_or_that_was_changed_is_worth_nothing() -> None:
    value = Sessions("k" * 30).begin("partner")
    assert Sessions("other" * 6).user(value) == ""
    head, _, tail = value.partition(".")
    assert Sessions("k" * 30).user(f"{head[:-2]}XX.{tail}") == ""


@given(st.text(max_size=200))
def test_any_text_may_be_a_cookie(value: str) -> None:
    assert Sessions("k" * 30).user(value) == ""


def test_attempts_are_counted_by_name_and_by_address_and_forgotten() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for number in range(MOST_BY_USER):
        assert not attempts.too_many("partner", "192.0.2.1")
        attempts.failed("partner", f"192.0.2.{number}")
    assert attempts.too_many("partner", "203.0.113.9")
    assert not attempts.too_many("alice", "192.0.2.1")
    for number in range(MOST_BY_ADDRESS):
        attempts.failed(f"user{number}", "198.51.100.7")
    assert attempts.too_many("alice", "198.51.100.7")
    now[0] = WINDOW_SECONDS + 1
    assert not attempts.too_many("partner", "198.51.100.7")


@pytest.mark.parametrize(
    ("user", "password"),
    [("zads.board", "x"), ("", "x"), ("partner", ""), ("partner", "x" * 251), ("partner", "a\0b"), ("admin\n", "x")],
)
def test_what_cannot_be_a_name_or_a_password_is_wrong_without_asking_the_site(
    user: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = Passwords(SITE)
    monkeypatch.setattr(passwords, "_ask", lambda *_: pytest.fail("the site was asked"))
    assert passwords.check(user, password, "192.0.2.1") is Answer.WRONG


def test_after_some_wrong_passwords_the_site_is_not_asked_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, asked = Passwords(SITE), []
    monkeypatch.setattr(passwords, "_ask", lambda *_: asked.append(1) or Answer.WRONG)
    found = [passwords.check("partner", "wrong", "192.0.2.1") for _ in range(MOST_BY_USER + 3)]
    assert len(asked) == MOST_BY_USER
    assert set(found[MOST_BY_USER:]) == {Answer.TOO_MANY}


@pytest.mark.parametrize("protocol", ["", "PLAINTEXT", "ssl"])
def test_at_a_site_that_asks_for_no_password_nobody_signs_in(protocol: str) -> None:
    conf = {"bootstrap.servers": "127.0.0.1:1", **({"security.protocol": protocol} if protocol else {})}
    assert Passwords(conf).check("partner", "any", "192.0.2.1") is Answer.UNKNOWN
