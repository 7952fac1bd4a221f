"""What the exporter tells Prometheus: right figures, bounded in number, and none that are old."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from zads import names
from zads.errors import ZadsError
from zads.exporter import disk_figures, expiry, figures, lag
from zads.exporter.brokers import Partition, describe
from zads.exporter.canaries import LOST_SECONDS, Canaries, Flight
from zads.exporter.figures import Figures, Found
from zads.exporter.history import History
from zads.exporter.mirror import _offset, source
from zads.exporter.service import Exporter, Settings, _Part
from zads.site import certificates
from zads.site.disks import Broker, Disk, Usage
from zads.site.policy import Policy

DATA: dict[str, Any] = {
    "topics_night": {"partitions": 2, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}},
    "users": [{"name": "alice", "site": "public", "programmes": [1]}, {"name": "bob", "site": "public"}],
    "filters": [{"name": "young", "owner": "alice", "group": "transients", "state": "active"}],
    "filter_groups": {"transients": {"workers": 1}},
}
POLICY = Policy.read(DATA)
EXPECTED = {1: "public-1", 2: "public-2", 3: "public-3"}
NIGHT = "ztf_20300101_programid1"


def told(made: Figures) -> dict[str, float]:
    """What a scrape gets, by metric and labels."""
    registry = CollectorRegistry()
    registry.register(made)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def partition(*in_sync: int, leader: int = 1, topic: str = NIGHT) -> Partition:
    return Partition(topic, leader, (1, 2, 3), frozenset(in_sync))


def at(found: Found, family: figures.Family, *labels: str) -> float:
    return found[family, labels]


def test_partitions_are_counted_by_what_they_lack() -> None:
    partitions = [partition(1, 2, 3), partition(1, 2), partition(1), partition(leader=-1), partition(1, topic="other")]
    found = describe("public", EXPECTED, {1, 2}, 2, partitions, {NIGHT: 2, "other": 1})
    assert at(found, figures.PARTITIONS, "public") == 5
    assert at(found, figures.UNDER_REPLICATED, "public") == 4
    assert at(found, figures.AT_MINIMUM, "public") == 2
    assert at(found, figures.UNDER_MINIMUM, "public") == 2
    assert at(found, figures.LEADERLESS, "public") == 1
    assert at(found, figures.CONTROLLER, "public") == 2


def test_a_broker_that_is_away_is_told_and_so_is_one_that_nobody_knows() -> None:
    found = describe("public", EXPECTED, {1, 2, 9}, 3, [partition(1, 2)], {})
    assert at(found, figures.BROKER_UP, "public", "3", "public-3") == 0
    assert at(found, figures.BROKER_BEHIND, "public", "3", "public-3") == 1
    assert at(found, figures.BROKER_LEADERS, "public", "1", "public-1") == 1
    assert at(found, figures.BROKER_UP, "public", "9", "not in the inventory") == 1
    assert at(found, figures.CONTROLLER, "public") == -1, "the controller is not up"


def test_a_part_that_fails_tells_no_old_value() -> None:
    made = Figures()
    made.put("public", {(figures.SITE_UP, ("public",)): 1.0, (figures.PARTITIONS, ("public",)): 7.0}, 0.1)
    assert told(made)['zads_site_partitions{site="public"}'] == 7
    last = told(made)['zads_exporter_last_look_seconds{part="public"}']
    made.failed("public", {(figures.SITE_UP, ("public",)): 0.0}, 0.1)
    now = told(made)
    assert now['zads_site_up{site="public"}'] == 0
    assert 'zads_site_partitions{site="public"}' not in now
    assert now['zads_exporter_part_up{part="public"}'] == 0
    assert now['zads_exporter_last_look_seconds{part="public"}'] == last
    assert 'zads_site_up{site="origin"}' not in now


def test_every_figure_has_one_name_and_says_what_it_is() -> None:
    assert len({family.name for family in figures.FAMILIES}) == len(figures.FAMILIES)
    assert all(family.name.startswith("zads_") and family.says.endswith(".") for family in figures.FAMILIES)


def test_a_disk_whose_size_is_unknown_has_no_days() -> None:
    known = Disk("/a", "ok", 100, 40, 50, None)
    disks = (
        known,
        replace(known, path="/b", days=3),
        Disk("/c", "ok", -1, -1, 5, None),
        Disk("/d", "failed", 9, 0, 0, 0),
    )
    usage = Usage((Broker(1, "public-1", disks, ("x-0",)), Broker(2, "public-2", (), (), "is not up")), ())
    found = disk_figures.describe("public", usage)
    days = {labels[-1]: value for (family, labels), value in found.items() if family == figures.DISK_DAYS}
    assert days == {"/a": 365, "/b": 3, "/d": 0}
    assert at(found, figures.DISK_FAILED, "public", "1", "public-1", "/d") == 1
    assert at(found, figures.BROKER_OFFLINE, "public", "1", "public-1") == 1
    assert (figures.BROKER_OFFLINE, ("public", "2", "public-2")) not in found


def lags(positions: dict[int, int], ends: dict[int, int], name: str = "alice-laptop") -> lag.GroupLag:
    history = History()
    for moment, part in ((0.0, 0.5), (100.0, 1.0)):
        history.see({(NIGHT, number): int(end * part) for number, end in ends.items()}, moment)
    places = {(NIGHT, number): offset for number, offset in positions.items()}
    return lag.measure(name, POLICY, places, {(NIGHT, number): end for number, end in ends.items()}, history, 130.0)


def test_a_groups_lag_is_its_offsets_and_the_age_of_the_first_one() -> None:
    found = lags({0: 40, 1: 90}, {0: 100, 1: 100})
    assert (found.kind, found.owner, found.offsets, found.seconds) == ("user", "alice", 70, 130)
    assert lags({0: 60}, {0: 100}).seconds == 30


def test_the_marker_of_the_last_transaction_is_no_lag() -> None:
    found = lags({0: 99, 1: 100}, {0: 100, 1: 100}, names.filters_principal("transients"))
    assert (found.kind, found.owner, found.offsets, found.seconds) == ("filters", "transients", 0, 0)


def test_one_user_with_a_thousand_groups_hides_no_other_and_costs_little() -> None:
    many = [f"alice-{number:04}" for number in range(1000)]
    found = lag.chosen([*many, "bob", names.filters_principal("transients"), "zzz"], POLICY)
    assert len(found) == lag.ASKED
    assert found[0] == names.filters_principal("transients")
    assert "bob" in found
    summed = lag.summary("public", [lag.GroupLag(name, "user", "alice", 2, 3.0) for name in many], 1003)
    assert len(summed) == 1 + 2 * (lag.MOST + 1)
    assert at(summed, figures.GROUP_LAG, "public", "", "", lag.OTHERS) == 2 * (1000 - lag.MOST)
    assert at(summed, figures.GROUP_BEHIND, "public", "", "", lag.OTHERS) == 3
    assert at(summed, figures.GROUPS, "public") == 1003


def test_the_name_of_a_group_is_cut() -> None:
    found = lag.summary("public", [lag.GroupLag("alice-" + "x" * 249, "user", "alice", 1, 1.0)], 1)
    assert max(len(label) for _, labels in found for label in labels) == 100


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b'["MirrorSourceConnector",{"cluster":"origin","partition":3,"topic":"ztf_20300101_programid1"}]', (NIGHT, 3)),
        (b'["MirrorHeartbeatConnector",{"sourceClusterAlias":"origin","targetClusterAlias":"public"}]', None),
        (b"", None),
        (None, None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b'["a",{"topic":"x","partition":"y"}]', None),
        (b'["a","b"]', None),
    ],
)
def test_a_place_of_the_mirror_is_read_from_connects_key(key: bytes | None, expected: Any) -> None:
    assert source(key) == expected


@given(st.binary(max_size=40))
def test_no_bytes_of_connects_topic_break_the_reader(content: bytes) -> None:
    source(content)
    _offset(content)


def test_an_offset_of_connect_is_a_number() -> None:
    assert _offset(b'{"offset":17}') == 17
    assert _offset(None) is None


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_canary_is_timed_hop_by_hop() -> None:
    clock, before = Clock(), sample("zads_canary_seconds_sum", hop="mirror")
    flight = Flight(clock)
    flight.sent(b"one", b"bytes")
    clock.now = 2.0
    flight.acknowledged(b"one")
    clock.now = 5.0
    assert flight.waiting_seconds() == 5
    arrived = sample("zads_canary_arrived_total")
    flight.arrived(b"one", b"bytes")
    flight.arrived(b"one", b"bytes")  # a second time is nobody's
    flight.arrived(b"of another", b"bytes")
    assert sample("zads_canary_arrived_total") == arrived + 1
    assert sample("zads_canary_seconds_sum", hop="mirror") == before + 3
    assert flight.waiting_seconds() == 0


def test_a_canary_with_other_bytes_is_altered_and_has_not_arrived() -> None:
    flight = Flight(Clock())
    flight.sent(b"one", b"bytes")
    altered, arrived = sample("zads_canary_altered_total"), sample("zads_canary_arrived_total")
    flight.arrived(b"one", b"bytez")
    assert sample("zads_canary_altered_total") == altered + 1
    assert sample("zads_canary_arrived_total") == arrived


def test_a_canary_is_lost_where_it_was_last_seen() -> None:
    clock = Clock()
    flight = Flight(clock)
    before = {hop: sample("zads_canary_lost_total", hop=hop) for hop in ("origin", "mirror")}
    flight.sent(b"one", b"1")
    flight.sent(b"two", b"2")
    flight.acknowledged(b"two")
    clock.now = LOST_SECONDS + 1
    flight.give_up()
    for hop in ("origin", "mirror"):
        assert sample("zads_canary_lost_total", hop=hop) == before[hop] + 1
    assert flight.waiting_seconds() == 0


@contextmanager
def server(directory: Path, *, hours: float) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server with a certificate that expires in some hours. Yields its port and what trusts it."""
    import datetime

    authority = certificates.Pair.make(directory / "ca", "ca")
    authority.save()
    now = certificates.now
    try:
        # Certificates last two years: one that expires soon was made long ago.
        certificates.now = lambda: now() - datetime.timedelta(days=730) + datetime.timedelta(hours=hours)
        old = certificates.Pair.make(directory / "old-ca", "old-ca")
        leaf = certificates.Pair.make(directory / "leaf", "broker", names=["127.0.0.1"], issuer=old)
    finally:
        certificates.now = now
    old.save()
    leaf.save()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(directory / "leaf.crt", directory / "leaf.key")
    trusting = ssl.create_default_context(cafile=str(directory / "old-ca.crt"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            try:
                with served.wrap_socket(connection, server_side=True):
                    pass
            except OSError:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], trusting
        thread.join(10)


def test_the_days_of_a_certificate_are_those_of_the_one_that_is_served(tmp_path: Path) -> None:
    with server(tmp_path, hours=36) as (port, trusting):
        assert abs(expiry.served(trusting, "127.0.0.1", port) - 1.5) < 0.1


def test_a_certificate_that_has_expired_has_no_days_left(tmp_path: Path) -> None:
    with server(tmp_path, hours=-5) as (port, trusting):
        assert expiry.served(trusting, "127.0.0.1", port) == 0


def test_a_certificate_of_a_stranger_is_an_error(tmp_path: Path) -> None:
    with (
        server(tmp_path, hours=36) as (port, _),
        pytest.raises(OSError, match=r"self-signed|unable to get local issuer"),
    ):
        expiry.served(ssl.create_default_context(cafile=str(tmp_path / "ca.crt")), "127.0.0.1", port)


def settings(directory: Path, **changes: Any) -> Path:
    brokers = {"origin": {"1": "origin-1"}, "public": {"1": "public-1"}}
    path = directory / "exporter.json"
    path.write_text(json.dumps({"policy": DATA, "brokers": brokers, "free_percent": 5, **changes}))
    return path


def test_settings_are_read_with_the_numbers_of_brokers(tmp_path: Path) -> None:
    found = Settings.read(settings(tmp_path))
    assert found.brokers == {"origin": {1: "origin-1"}, "public": {1: "public-1"}}
    assert found.policy.groups() == ["transients"]


@pytest.mark.parametrize("changes", [{"brokers": {}}, {"policy": None}, {"free_percent": "much"}, {"brokers": [1]}])
def test_settings_that_are_no_settings_are_refused_with_the_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = settings(tmp_path, **changes)
    with pytest.raises(ZadsError, match=r"exporter\.json|programmes"):
        Settings.read(path)


class OddError(BaseException):
    """Like what the client may raise from C: nobody names its class."""


def test_a_part_that_fails_stops_no_other_and_says_why_once(tmp_path: Path) -> None:
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "plaintext"}
    read = Settings.read(settings(tmp_path))
    exporter = Exporter({"origin": nowhere, "public": nowhere}, lambda: read)

    def fail() -> Found:
        raise ZadsError("broken")

    def fail_oddly() -> Found:
        raise OddError("as no class expects it")

    exporter._parts = [
        _Part("good", 1, lambda: {(figures.SITE_UP, ("public",)): 1.0}),
        _Part("bad", 1, fail),
        _Part("odd", 1, fail_oddly),
    ]
    assert exporter.once() == {"bad": "broken", "odd": "the client failed, and raised what is no exception"}
    assert told(exporter.figures)['zads_exporter_part_up{part="good"}'] == 1
    assert told(exporter.figures)['zads_exporter_part_up{part="bad"}'] == 0


def test_canaries_fly_again_after_the_client_has_failed_oddly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "plaintext"}
    read = Settings.read(settings(tmp_path))
    exporter = Exporter({"origin": nowhere, "public": nowhere}, lambda: read)
    flights = 0

    def fly(_: object, rest: Callable[[float], object]) -> None:
        nonlocal flights
        flights += 1
        if flights < 3:
            raise OddError("as no class expects it")
        exporter.stop()
        rest(0)

    monkeypatch.setattr(Canaries, "_fly", fly)
    exporter._fly(Canaries({"origin": nowhere, "public": nowhere}, NIGHT, interval=0))
    assert flights == 3


def test_an_operator_may_interrupt_a_look(tmp_path: Path) -> None:
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "plaintext"}
    read = Settings.read(settings(tmp_path))
    exporter = Exporter({"origin": nowhere, "public": nowhere}, lambda: read)

    def interrupted() -> Found:
        raise KeyboardInterrupt

    exporter._parts = [_Part("slow", 1, interrupted)]
    with pytest.raises(KeyboardInterrupt):
        exporter.once()
