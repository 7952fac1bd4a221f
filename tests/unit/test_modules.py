"""The modules for Kafka: what they accept, and the differences that they find before they change anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from zads.errors import ZadsError
from zads.site.topics import Topic, TopicChanges


@pytest.fixture
def module(request: pytest.FixtureRequest, plugin: Callable[[str], ModuleType]) -> ModuleType:
    """The module that the test names."""
    return plugin(f"modules/{request.param}.py")


@pytest.mark.parametrize("module", ["kafka_topics"], indirect=True)
def test_settings_are_written_as_kafka_writes_them(module: ModuleType) -> None:
    config = {"a": True, "b": 604800000, "c": "delete"}
    (topic,) = module.read([{"name": "t", "partitions": 1, "replication_factor": 1, "config": config}])
    assert topic.config == {"a": "true", "b": "604800000", "c": "delete"}


@pytest.mark.parametrize("module", ["kafka_topics"], indirect=True)
def test_impossible_and_doubled_topics_are_refused(module: ModuleType) -> None:
    topic = {"name": "t", "partitions": 1, "replication_factor": 1, "config": {}}
    with pytest.raises(ZadsError, match="named twice: t"):
        module.read([topic, topic])
    with pytest.raises(ZadsError, match="at least one partition"):
        module.read([{**topic, "partitions": 0}])


@pytest.mark.parametrize("module", ["kafka_topics"], indirect=True)
def test_the_difference_shows_each_setting_before_and_after(module: ModuleType) -> None:
    changes = TopicChanges([Topic("n", 2, 3)], {"g": (2, 4)}, {"c": {"x": (None, "1"), "y": ("2", None)}}, [])
    shown = module.difference(changes)
    assert shown["before"] == "g: 2 partitions\nc: x=(default)\nc: y=2\n"
    assert "g: 4 partitions\nc: x=1\nc: y=(default)\n" in shown["after"]


@pytest.mark.parametrize("module", ["kafka_users"], indirect=True)
def test_an_account_is_set_again_only_when_something_about_it_differs(module: ModuleType, tmp_path: Path) -> None:
    memory = module.Memory(tmp_path / "accounts.json", "cluster-1")
    memory.digests = {"a": memory.digest("a", "secret")}
    memory.write()
    again = module.Memory(tmp_path / "accounts.json", "cluster-1")
    there = {"a": {"SCRAM-SHA-512": 8192}}
    assert module.changes({"a": "secret"}, there, again, 8192) == ([], [])
    assert module.changes({"a": "other"}, there, again, 8192) == (["a"], [])
    assert module.changes({"a": "secret"}, there, again, 4096) == (["a"], [])
    assert module.changes({"a": "secret"}, {}, again, 8192) == (["a"], [])


@pytest.mark.parametrize("module", ["kafka_users"], indirect=True)
def test_a_cluster_made_anew_knows_no_password(module: ModuleType, tmp_path: Path) -> None:
    memory = module.Memory(tmp_path / "accounts.json", "cluster-1")
    memory.digests = {"a": memory.digest("a", "secret")}
    memory.write()
    assert not module.Memory(tmp_path / "accounts.json", "cluster-2").knows("a", "secret")


@pytest.mark.parametrize("module", ["kafka_users"], indirect=True)
def test_who_is_not_named_loses_the_account_and_weaker_mechanisms_go(module: ModuleType, tmp_path: Path) -> None:
    memory = module.Memory(tmp_path / "accounts.json", "cluster-1")
    memory.digests = {"a": memory.digest("a", "secret")}
    there = {"a": {"SCRAM-SHA-512": 8192, "SCRAM-SHA-256": 4096}, "gone": {"SCRAM-SHA-512": 8192}}
    _, deleted = module.changes({"a": "secret"}, there, memory, 8192)
    assert deleted == [("a", "SCRAM-SHA-256"), ("gone", "SCRAM-SHA-512")]


@pytest.mark.parametrize("module", ["kafka_users"], indirect=True)
def test_what_is_remembered_is_no_password_and_its_owners_alone(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "accounts.json"
    memory = module.Memory(path, "cluster-1")
    memory.digests = {"a": memory.digest("a", "secret")}
    memory.write()
    assert "secret" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("module", ["kafka_users"], indirect=True)
def test_a_damaged_memory_means_that_every_account_is_set_again(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text("{")
    assert module.Memory(path, "cluster-1").digests == {}


@dataclass
class Partition:
    """As confluent_kafka describes one."""

    replicas: list[int]
    isrs: list[int]
    leader: int = 1


@dataclass
class Described:
    """A cluster, or a topic of one, as confluent_kafka describes it."""

    brokers: dict[int, object] | None = None
    topics: dict[str, Described] | None = None
    partitions: dict[int, Partition] | None = None


@pytest.mark.parametrize("module", ["kafka_health"], indirect=True)
def test_every_broken_promise_of_a_cluster_is_told_at_once(module: ModuleType) -> None:
    topics = {
        "good": Described(partitions={0: Partition([1, 2, 3], [3, 2, 1])}),
        "behind": Described(partitions={number: Partition([1, 2, 3], [1, 2]) for number in range(5)}),
        "headless": Described(partitions={0: Partition([1, 2, 3], [1, 2, 3], leader=-1)}),
        "thin": Described(partitions={0: Partition([1, 2], [1, 2])}),
    }
    cluster = Described(brokers={1: None, 2: None}, topics=topics)
    wanted = {"good": 3, "thin": 3, "lost": 3}
    assert module.cluster_reasons(cluster, [1, 2, 3], wanted) == [
        "broker 3 is not up",
        "the topic lost is missing",
        "not in sync on broker 3: behind-0, behind-1, behind-2 and 2 more",
        "no leader: headless-0",
        "2 replicas, not 3: thin-0",
    ]


@pytest.mark.parametrize("module", ["kafka_health"], indirect=True)
def test_strangers_try_every_listener_of_every_broker(module: ModuleType) -> None:
    conf = {"bootstrap.servers": "h1:9093,h2:9093", "ssl.ca.location": "/ca", "ssl.key.location": "/key"}
    tried = module.attempts(conf, ["h1:9094", "h2:9094"])
    assert len(tried) == 16
    assert not [settings for settings in tried.values() if "ssl.key.location" in settings]


class Ended(Exception):
    """What ends a module; `args` holds its answer."""


@pytest.mark.parametrize(("code", "again"), [("TOPIC_ALREADY_EXISTS", True), ("POLICY_VIOLATION", False)])
def test_work_is_done_again_when_a_topic_was_made_by_a_request_whose_answer_got_lost(
    plugin: Callable[[str], ModuleType], tmp_path: Path, code: str, again: bool
) -> None:
    site_file = tmp_path / "site.properties"
    site_file.write_text("bootstrap.servers=127.0.0.1:1\n")
    utils = plugin("module_utils/kafka_site.py")
    tries = []

    def work(site: Any) -> dict[str, bool]:
        site.answered = True
        tries.append(site)
        if len(tries) == 1:
            site.altered = True
            raise KafkaException(KafkaError(getattr(KafkaError, code)))
        return {"changed": False}

    def end(**answer: Any) -> None:
        raise Ended(answer)

    module: Any = SimpleNamespace(params={"client": str(site_file)}, exit_json=end, fail_json=end)
    with pytest.raises(Ended) as ended:
        utils.run(module, work)
    assert len(tries) == (2 if again else 1)
    if again:
        assert ended.value.args[0] == {"changed": True}, "the first try made it"
    else:
        assert "msg" in ended.value.args[0]
