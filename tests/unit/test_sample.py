"""Samples for testers: who may read one, what it may hold, and that a wrong file publishes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zads import cli, names, sample
from zads.commands import sample as command
from zads.errors import ZadsError
from zads.kit import Kit
from zads.site.access import wanted_acls
from zads.site.policy import Policy, PolicyError
from zads.site.samples import Sample
from zads.site.standing import _right
from zads.site.topics import fixed_topics
from zads.sources import simulator
from zads.transactions import Record

ROOT = Path(__file__).resolve().parents[2]
SPRING = {"name": "spring", "site": "public", "programmes": [1], "readers": ["tester"], "days": 3}
DATA: dict[str, Any] = {
    "topics_night": {"partitions": 2, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
    "users": [
        {"name": "tester", "site": "public"},
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "partner", "site": "origin", "programmes": [1, 2]},
        {"name": "student", "site": "origin"},
    ],
    "samples": [SPRING],
}
POLICY = Policy.read(DATA)


def problems(**changes: Any) -> list[str]:
    """What is wrong with a sample like SPRING that has some other values."""
    with pytest.raises(PolicyError) as refused:
        Policy.read({**DATA, "samples": [{**SPRING, **changes}]})
    return [str(one) for one in refused.value.problems]


def test_a_sample_has_a_topic_of_its_own_at_its_site_alone_for_as_long_as_it_says() -> None:
    [topic] = [one for one in fixed_topics(POLICY, "public") if one.name == "ztf_sample_spring"]
    assert (topic.partitions, topic.replication_factor, topic.config["retention.ms"]) == (1, 3, str(3 * 86_400_000))
    assert "ztf_sample_spring" not in [one.name for one in fixed_topics(POLICY, "origin")]


def test_only_its_readers_may_read_it_and_nobody_may_write_it() -> None:
    acls = [acl for acl in wanted_acls(POLICY, "public", []) if acl.name == "ztf_sample_spring"]
    assert {(acl.principal, acl.operation) for acl in acls} == {
        ("User:tester", "read"),
        ("User:tester", "describe_configs"),
    }
    assert {_right(acl) for acl in acls} == {"the sample spring"}
    assert not [acl for acl in wanted_acls(POLICY, "origin", []) if "sample" in acl.name]


def test_no_name_of_a_sample_is_that_of_a_night_or_a_filter() -> None:
    topic = names.sample_topic("spring")
    assert names.sample_name(topic) == "spring"
    assert names.parse_topic(topic) is None
    assert names.filter_name(topic) is None
    assert not topic.startswith(names.NIGHT_PREFIX)
    assert names.sample_name(names.filter_topic("spring")) is None
    with pytest.raises(ZadsError, match="cannot name a sample"):
        names.sample_topic("20181129_programid1/..")


def test_a_readers_kit_names_it_and_nobody_elses_does() -> None:
    def kit(user: str) -> dict[str, str]:
        made = Kit.of(POLICY, user, "password", ["a:1"], "-----BEGIN-----\n").files(ROOT / "roles/access/templates/kit")
        return {name: file.data.decode() for name, file in made.items()}

    assert "ztf_sample_spring" in kit("tester")["topics.txt"].splitlines()
    assert "samples for tests: `ztf_sample_spring`" in kit("tester")["README.md"]
    assert "/ztf_sample_spring\n" in kit("tester")["README.md"], "the example of hop"
    assert not [name for name, text in kit("reader").items() if "ztf_sample" in text]


def test_a_sample_that_breaks_the_data_policy_is_refused() -> None:
    assert "programme 2 is not allowed at public" in problems(programmes=[2])[0]
    assert "samples.spring.readers: 'partner' is not a user of the site public" in problems(readers=["partner"])[0]
    assert "samples.spring.readers: 'ghost' is not a user" in problems(readers=["ghost"])[0]
    assert "student may not read programme 2" in problems(site="origin", programmes=[2], readers=["student"])[0]
    assert Policy.read({**DATA, "samples": [{**SPRING, "site": "origin", "programmes": [2], "readers": ["partner"]}]})
    assert Policy.read({**DATA, "samples": [{**SPRING, "site": "origin", "readers": ["student"]}]}), (
        "a public programme"
    )


@pytest.mark.parametrize(
    "changes", [{"name": "a-b"}, {"name": "x" * 80}, {"programmes": []}, {"days": 0}, {"site": "moon"}, {"reader": "x"}]
)
def test_a_sample_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    assert problems(**changes)


def packets(programme: int, count: int = 3) -> Iterator[tuple[str, bytes]]:
    for _, found in simulator.simulate("20181129", 1, count, 1, programme_mix={programme: 1.0}):
        yield from found


WANTED = Sample(name="spring", site="public", programmes=frozenset({1}))


def test_packets_become_records_as_the_producer_makes_them() -> None:
    given = list(packets(1))
    records = sample.judged(WANTED, given)
    assert [record.value for record in records] == [data for _, data in given], "byte for byte"
    assert {record.topic for record in records} == {"ztf_sample_spring"}
    assert [name for name, _ in records[0].headers] == ["candid", "visit", "schema", "_format"]
    assert all(record.key for record in records)


def test_one_packet_of_another_programme_or_one_wrong_file_publishes_nothing() -> None:
    with pytest.raises(ZadsError, match=r"3 packets cannot be: .*it is of programme 2, and the sample may hold 1"):
        sample.judged(WANTED, [*packets(1), *packets(2)])
    with pytest.raises(ZadsError, match=r"1 packets cannot be: broken\.avro"):
        sample.judged(WANTED, [*packets(1), ("broken.avro", b"no packet")])
    with pytest.raises(ZadsError, match="no packet to publish"):
        sample.judged(WANTED, [])


def test_a_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST_PACKETS", 2)
    with pytest.raises(ZadsError, match="at most 2 packets"):
        sample.judged(WANTED, packets(1))
    monkeypatch.setattr(sample, "MOST_PACKETS", 20)
    monkeypatch.setattr(sample, "MOST_BYTES", 1000)
    with pytest.raises(ZadsError, match="at most"):
        sample.judged(WANTED, packets(1))


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(sample.time, "monotonic", lambda: clock[0])
    patience = sample._Patience("t")
    clock[0] = 59.0
    patience("the queue is full")
    patience.renew()
    clock[0] = 118.0
    patience("the queue is full")
    clock[0] = 120.0
    with pytest.raises(ZadsError, match="t cannot be written: no answer"):
        patience("no answer")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the topic holds, and what the command does with it."""
    state: dict[str, Any] = {"held": 0, "done": [], "data": DATA}
    (tmp_path / "admin.properties").write_text("bootstrap.servers=a:1\n")
    inventory = SimpleNamespace(client=lambda _: tmp_path / "admin.properties")
    monkeypatch.setattr(command, "_inventory", lambda env: (inventory, Policy.read(state["data"])))
    monkeypatch.setattr(command.sample, "held", lambda conf, wanted: state["held"])
    monkeypatch.setattr(
        command.sample,
        "publish",
        lambda conf, wanted, records, replace: state["done"].append((wanted.name, len(records), replace)),
    )
    monkeypatch.setattr(command.sample, "remove", lambda conf, name: state["done"].append(name) or name == "old")
    return state


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = cli.run(["sample", *words])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_simulated_packets_are_of_the_samples_programmes(site: dict[str, Any], capsys: Any) -> None:
    status, said = run(capsys, "publish", "spring", "--simulate", "4")
    assert (status, site["done"]) == (0, [("spring", 4, False)])
    assert said == "4 packets are in ztf_sample_spring at public for 3 days\n"


def test_real_packets_come_from_files(site: dict[str, Any], capsys: Any, tmp_path: Path) -> None:
    for name, data in packets(1):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "admin.properties").unlink()
    (tmp_path / "night").mkdir()
    for path in tmp_path.glob("*.avro"):
        path.rename(tmp_path / "night" / path.name)
    (tmp_path / "admin.properties").write_text("bootstrap.servers=a:1\n")
    assert run(capsys, "publish", "spring", "--from", str(tmp_path / "night"))[0] == 0
    assert site["done"] == [("spring", 3, False)]


def test_a_sample_that_holds_packets_is_not_doubled_by_mistake(site: dict[str, Any], capsys: Any) -> None:
    site["held"] = 7
    status, said = run(capsys, "publish", "spring", "--simulate", "1")
    assert (status, site["done"]) == (1, [])
    assert "holds 7 packets; --add or --replace" in said
    run(capsys, "publish", "spring", "--simulate", "1", "--add")
    run(capsys, "publish", "spring", "--simulate", "1", "--replace")
    assert site["done"] == [("spring", 1, False), ("spring", 1, True)]


def test_a_sample_that_the_inventory_does_not_name_is_an_error(site: dict[str, Any], capsys: Any) -> None:
    assert "no sample 'autumn' (there are: spring)" in run(capsys, "publish", "autumn", "--simulate", "1")[1]


def test_a_sample_is_removed_only_when_the_inventory_names_it_no_more(site: dict[str, Any], capsys: Any) -> None:
    assert "the next deployment would make it again" in run(capsys, "remove", "spring")[1]
    assert site["done"] == []
    assert run(capsys, "remove", "old") == (0, "the sample old is removed from origin and public\n")
    assert "there is no sample" in run(capsys, "remove", "ghost")[1]


@pytest.mark.parametrize(
    "words", [[], ["--simulate", "1", "--from", "x"], ["--simulate", "1", "--add", "--replace"], ["--simulate", "0"]]
)
def test_wrong_use_is_refused(site: dict[str, Any], capsys: Any, words: list[str]) -> None:
    assert run(capsys, "publish", "spring", *words)[0] == 2


def test_the_list_says_what_each_holds(site: dict[str, Any], capsys: Any) -> None:
    site["held"] = None
    assert "not deployed" in run(capsys, "list")[1]
    site["held"] = 12
    said = " ".join(run(capsys, "list")[1].split())
    assert "spring public ztf_sample_spring 1 tester 3 12" in said


def test_publishing_without_a_topic_or_with_a_lost_client_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample.reading, "existing", lambda conf, topics: [])
    with pytest.raises(ZadsError, match="a deployment makes it"):
        sample.publish({}, WANTED, [Record("t", b"", b"")])


def test_a_policy_without_samples_has_none() -> None:
    assert replace(POLICY, samples=()).samples == Policy.read({**DATA, "samples": None}).samples
