"""One alert is followed through every hop of two real sites: by operators, and by people who may see less.

It takes minutes, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import archiving
from archiving import POLICY, Sites
from bench.broker import await_true
from packets import reencoded
from zads import cli, names
from zads.filters import status
from zads.packet import Packet
from zads.site.policy import Site
from zads.trace import Trace, follow, rerun

BODIES = {"every": "True", "none": "False", "broken": "1 / 0", "quiet": "True", "asleep": "True"}


@dataclass
class Played:
    """A night that has been published, mirrored and filtered, with a file that is no packet."""

    sites: Sites
    night: str
    filters: Path
    packets: dict[int, list[Packet]] = field(default_factory=dict)
    refused: int = 0
    again: bytes = b""

    def follow(self, candid: int, user: str = "", *only: Site, **options: Any) -> Trace:
        """What a user can tell of an alert; the administrator without a name."""
        confs = {site: one for site, one in self.sites.confs(user).items() if site in (only or ("origin", "public"))}
        return follow(candid, confs, **options)

    def operators(self, candid: int, **options: Any) -> Trace:
        """What operators can tell of it, who have the inventory."""
        return self.follow(candid, policy=POLICY, judge=rerun.judge(self.filters), **options)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    directory = tmp_path_factory.mktemp("trace")
    for sites in archiving.sites():
        night = sites.night()
        found = Played(sites, night.night, directory)
        packets = [Packet.trusted(data) for data in night.publish(directory / "spool", visits=range(2), alerts=15)]
        found.packets = {n: [one for one in packets if one.programid == n] for n in (1, 2)}
        cut = found.packets[1][0].data[:-9]
        found.refused = found.packets[1][0].candid + 7_000
        night.drop(directory / "spool", "cut", {f"{found.refused}.avro": cut})
        found.again = reencoded(found.packets[1][1].data, lambda record: record["candidate"].update(rb=0.125))
        night.drop(directory / "spool", "again", {"again.avro": found.again})
        night.produce(directory / "spool")
        _filter(sites, directory, night.night, len(found.packets[1]) + 1)
        yield found


def _filter(sites: Sites, directory: Path, night: str, alerts: int) -> None:
    """Run a real worker until it has read all alerts of the night."""
    for name, body in BODIES.items():
        (directory / f"{name}.py").write_text(
            f'from zads.filters import Filter\nclass One(Filter):\n    """{name}."""\n    fields = ("candid",)\n'
            f"    def accept(self, alert):\n        return {body}\n"
        )
    config, properties, log = directory / "group.json", directory / "kafka.properties", directory / "worker.log"
    entries = [one.model_dump(exclude_unset=True, mode="json") for one in POLICY.filters]
    config.write_text(json.dumps({"group": "some", "programmes": [1], "filters": entries}))
    public = sites.brokers["public"].conf
    properties.write_text("".join(f"{name}={value}\n" for name, value in public.items()))
    command = [sys.executable, "-m", "zads.cli", "worker", "--config", str(config), "--kafka", str(properties)]
    with log.open("wb") as output:
        worker = subprocess.Popen([*command, "--name", "1"], stdout=output, stderr=output)
    try:
        await_true(
            lambda: status.counts(public, [night]).get("every", {}).get("seen") == alerts,
            "the worker to read the night", 120, lambda: log.read_text()[-3000:],
        )  # fmt: skip
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


def verdicts(trace: Trace) -> dict[str, str]:
    return {one.filter: one.verdict for one in trace.filters}


def passed(played: Played) -> set[int]:
    records = played.sites.brokers["public"].read_all(names.filter_topic("every"))
    return {Packet.trusted(message.value()).candid for message in records}


def test_an_alert_that_passed_is_followed_from_its_exposure_to_its_filter(played: Played) -> None:
    packet = next(one for one in played.packets[1] if one.candid in passed(played) and one is not played.packets[1][1])
    trace = played.operators(packet.candid)
    sha256 = hashlib.sha256(packet.data).hexdigest()
    (row,), (origin,), (public,) = trace.ledger, trace.origin, trace.public
    assert (row.night, row.content) == (played.night, sha256[:12])
    assert row.exposure == packet.visit
    assert origin.sha256 == public.sha256 == sha256
    assert origin.topic == public.topic == packet.topic
    assert origin.produced == public.produced
    assert origin.partition == public.partition
    (record,) = (
        message for message in played.sites.brokers["public"].read_all(packet.topic) if message.value() == packet.data
    )
    assert (public.partition, public.offset) == (record.partition(), record.offset())
    assert public.received == record.timestamp()[1] / 1000
    assert public.object == packet.object_id
    assert verdicts(trace) == {
        "asleep": "off", "broken": "failed", "every": "passed", "none": "not passed", "quiet": "shadow",
    }  # fmt: skip
    every = next(one for one in trace.filters if one.filter == "every")
    assert every.record is not None
    assert every.record.sha256 == sha256
    broken = next(one for one in trace.filters if one.filter == "broken")
    assert "ZeroDivisionError" in broken.reason


def test_an_alert_that_the_cap_has_cut_is_told_from_one_that_was_rejected(played: Played) -> None:
    through = passed(played)
    assert 0 < len(through) < len(played.packets[1]), "the cap is one a visit"
    cut = next(one for one in played.packets[1] if one.candid not in through)
    trace = played.operators(cut.candid)
    assert verdicts(trace)["every"] == "cut"
    assert verdicts(trace)["none"] == "not passed"
    without_code = played.follow(cut.candid, policy=POLICY)
    assert verdicts(without_code)["every"] == "cut or not passed"
    assert verdicts(without_code)["none"] == "not passed"


def test_refused_input_is_found_by_the_name_of_its_file(played: Played) -> None:
    trace = played.operators(played.refused)
    assert (trace.origin, trace.public, trace.filters) == ([], [], [])
    (refusal,) = trace.refusals
    assert refusal.site == "origin"
    assert refusal.source == f"cut/{played.refused}.avro"
    assert refusal.reason


def test_an_alert_that_was_processed_again_has_both_contents(played: Played) -> None:
    packet = played.packets[1][1]
    trace = played.operators(packet.candid)
    assert [one.exposure for one in trace.ledger] == [packet.visit, "again"]
    wanted = [hashlib.sha256(data).hexdigest() for data in (packet.data, played.again)]
    for hops in (trace.origin, trace.public):
        assert {one.version: one.sha256 for one in hops} == {1: wanted[0], 2: wanted[1]}


def test_an_alert_of_programme_2_is_at_the_origin_alone(played: Played) -> None:
    packet = played.packets[2][0]
    trace = played.operators(packet.candid)
    assert [one.topic for one in trace.origin] == [packet.topic]
    assert (trace.public, trace.filters) == ([], [])


def test_who_may_not_see_an_alert_learns_no_more_than_of_one_that_does_not_exist(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, nowhere = played.packets[2][0].candid, played.packets[2][0].candid + 99_999

    def told(candid: int, **options: Any) -> list[dict[str, Any]]:
        answers = []
        for user, site in (("reader", "public"), ("alice", "public"), ("partner", "origin")):
            answers.append(replace(played.follow(candid, user, site, **options), candid=0).as_json())
        answers.append(replace(played.follow(candid, programmes={1}, **options), candid=0).as_json())
        return answers

    known_night = {"night": played.night}
    assert told(secret, **known_night) == told(nowhere, **known_night)
    for answer in [*told(secret)[:3], *told(secret, **known_night)[:3]]:
        assert answer["found"] is False
    properties = tmp_path / "reader.properties"
    properties.write_text("".join(f"{k}={v}\n" for k, v in played.sites.confs("reader")["public"].items()))
    answers = []
    for candid in (secret, nowhere):
        assert cli.run(["trace", str(candid), "--public", str(properties)]) == 1
        told_on = capsys.readouterr()
        answers.append((told_on.out, told_on.err.replace(str(candid), "")))
    assert answers[0] == answers[1]


def test_a_reader_is_told_of_what_they_may_read(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packet = played.packets[1][2]
    trace = played.follow(packet.candid, "reader", "public")
    assert [one.sha256 for one in trace.public] == [hashlib.sha256(packet.data).hexdigest()]
    assert (trace.ledger, trace.origin, trace.filters, trace.refusals) == ([], [], [], [])
    partner = played.follow(packet.candid, "partner", "origin")
    assert len(partner.origin) == 1
    assert partner.ledger == []
    properties = tmp_path / "reader.properties"
    properties.write_text("".join(f"{k}={v}\n" for k, v in played.sites.confs("reader")["public"].items()))
    assert cli.run(["trace", str(packet.candid), "--public", str(properties), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["found"] is True
    assert answer["candid_str"] == str(packet.candid)
    assert answer["public"][0]["topic"] == packet.topic


def test_a_page_for_everybody_is_told_nothing_of_failures_and_refusals(played: Played) -> None:
    packet = played.packets[1][0]
    everything = played.operators(packet.candid)
    assert everything.refusals
    for_everybody = played.operators(packet.candid, programmes={1})
    assert for_everybody.refusals == []
    assert len(for_everybody.public) == 1
