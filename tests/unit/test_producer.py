"""What of the producer needs no broker: its ledger's entries, its settings, its heartbeat. The rest: tests/streams."""

from __future__ import annotations

import json
import os

import pytest

from zads import metrics, producer
from zads.cli import run
from zads.packet import PacketError
from zads.producer import Entry, _Progress
from zads.sources.files import Item
from zads.sources.simulator import simulate
from zads.sources.spool import Exposure, Spool


def digest(*items: Item) -> str:
    progress = _Progress()
    for item in items:
        progress.take(item)
    return progress.digest


def test_a_digest_tells_names_contents_and_order_apart():
    one, two = Item("a", b"x", 1), Item("b", b"y", 1)
    different = [
        (one, two), (two, one), (one,), (), (Item("ax", b"", 0), two), (one, Item("b", b"", 1, "y")),
    ]  # fmt: skip
    assert len({digest(*items) for items in different}) == len(different)
    assert digest(one, two) == digest(one, two)


def test_a_ledger_entry_survives_its_record():
    entry = Entry(3, "abc", {"ztf_20181129_programid1": 2}, 1, True)
    assert Entry(**json.loads(entry.record())) == entry


def test_an_exposure_has_a_candid_once():
    ((_, packets),) = simulate("20181129", 1, 1)
    progress = _Progress()
    progress.parse(Item("a", packets[0][1], 0), "a")
    with pytest.raises(PacketError, match="already in this exposure"):
        progress.parse(Item("b", packets[0][1], 0), "b")


def test_each_transaction_says_what_was_settled_up_to_it_though_the_next_is_validated_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(producer, "CHUNK_PACKETS", 8)
    ((_, packets),) = simulate("20181129", 1, 20)
    one = producer.Producer({"bootstrap.servers": "127.0.0.1:1"}, Spool(tmp_path))
    items = iter([Item(name, data, number) for number, (name, data) in enumerate(packets)])
    chunks = list(one._chunks(Exposure("a", tmp_path), items, _Progress()))
    assert [len(records) for records, _ in chunks] == [8, 8, 4]
    assert [(entry.read, sum(entry.published.values()), entry.complete) for _, entry in chunks] == [
        (8, 8, False), (16, 16, False), (20, 20, True),
    ]  # fmt: skip


def test_health_is_the_age_of_the_heartbeat(tmp_path):
    file = tmp_path / "heartbeat"
    assert run(["produce", "--health", str(file)]) == 1
    metrics.beat(file)
    assert run(["produce", "--health", str(file)]) == 0
    os.utime(file, (0, 0))
    assert run(["produce", "--health", str(file)]) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spool = 1", "spool"),
        ('spool = "s"', "kafka"),
        ('spool = "s"\nkafka = "k"\nspol = 1', "spol"),
        ("nonsense", "settings.toml"),
    ],
)
def test_wrong_settings_are_named(tmp_path, capsys, text, message):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    assert run(["produce", "--config", str(file)]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_simulate_fills_a_spool_as_a_pipeline_does(tmp_path, capsys):
    command = ["simulate", "--visits", "2", "--alerts", "3", "--spool", str(tmp_path)]
    assert run(command) == 0
    assert "6 packets in 2 exposures" in capsys.readouterr().out
    exposures = sorted((tmp_path / "incoming").iterdir())
    assert [len(list(exposure.iterdir())) for exposure in exposures] == [3, 3]
    assert run(command) == 1
    assert "exists" in capsys.readouterr().err
