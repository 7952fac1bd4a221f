"""The parts of the producer that need no broker: ledger entries, settings, heartbeat. tests/streams has the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import packets
from test_schemas import edited
from zads import metrics, schemas
from zads.cli import run
from zads.commands.simulate import drop
from zads.ledger import AlertIndex, Digest, LedgerEntry
from zads.packet import PacketError
from zads.producer import intake, loop, publisher
from zads.producer.disk import Disk
from zads.producer.intake import Intake, Rules
from zads.producer.pulse import Pulse
from zads.producer.settlement import Settlement
from zads.sources.files import Item
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

ROOT = Path(__file__).resolve().parents[2]
NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}


def digest(*items: Item) -> str:
    found = Digest()
    for item in items:
        found.add(item)
    return found.hex


def exposure(rules: Rules | None = None) -> Intake:
    """An exposure that is read by a producer without a broker."""
    pulse = Pulse(None, threading.Event(), 0)
    return Intake("a", rules or Rules(), publisher.Publisher(NOBODY, "producer", pulse), pulse)


def test_a_digest_tells_names_contents_and_order_apart():
    one, two = Item("a", b"x", 1), Item("b", b"y", 1)
    different = [
        (one, two), (two, one), (one,), (), (Item("ax", b"", 0), two), (one, Item("b", b"", 1, "y")),
    ]  # fmt: skip
    assert len({digest(*items) for items in different}) == len(different)
    assert digest(one, two) == digest(one, two)


def test_a_ledger_entry_survives_its_record():
    entry = LedgerEntry(3, "abc", {"ztf_20181129_programid1": 2}, 1, True)
    assert LedgerEntry(**json.loads(entry.record())) == entry


def test_an_exposure_has_a_candid_once():
    ((_, made),) = simulate("20181129", 1, 1)
    one = exposure()
    [chunk] = one.chunks(iter([Item("a", made[0][1], 0), Item("b", made[0][1], 0)]))
    assert (len(chunk.records), chunk.entry.refused) == (2, 1)
    assert "already in this exposure" in one.refusals[0]["reason"]


def test_each_transaction_says_what_was_settled_up_to_it_though_the_next_is_validated_meanwhile(monkeypatch):
    monkeypatch.setattr(intake, "CHUNK_PACKETS", 8)
    ((_, made),) = simulate("20181129", 1, 20)
    items = iter([Item(name, data, number) for number, (name, data) in enumerate(made)])
    chunks = list(exposure().chunks(items))
    assert [(len(chunk.records), len(chunk.rows)) for chunk in chunks] == [(8, 8), (8, 8), (4, 4)]
    assert [(one.entry.read, sum(one.entry.published.values()), one.entry.complete) for one in chunks] == [
        (8, 8, False), (16, 16, False), (20, 20, True),
    ]  # fmt: skip


def test_a_file_that_the_ledger_covers_keeps_its_candid():
    ((_, made),) = simulate("20181129", 1, 2)
    first, second = (Item(name, data, 0) for name, data in made)
    known = next(exposure().chunks(iter([first]))).entry
    again = exposure()
    assert again.skip(iter([first]), known)
    [chunk] = again.chunks(iter([second, first]))
    assert chunk.entry.refused == 1
    assert not exposure().skip(iter([second]), known)


def test_packets_of_a_new_schema_are_counted_by_its_mark_in_ledger_and_metric():
    definition = edited("a new optional field")
    record = packets.make_record("4.02", definition=definition) | {"schemavsn": "4.03"}
    data = packets.encode(record, definition=definition)
    mark = schemas.compare(definition).schema.mark
    assert mark.startswith("4.03:")
    for accepts, refused in ((False, 1), (True, 0)):
        one = exposure(Rules(schemas.Admission(accepts=accepts)))
        [(_, _, entry)] = one.chunks(iter([Item("a.avro", data, len(data))]))
        assert entry.refused == refused
        assert entry.new_schemas == ({mark: 1} if accepts else {})
        assert LedgerEntry(**json.loads(entry.record())) == entry
    assert LedgerEntry(read=1).new_schemas == {}, "what an earlier release wrote is read"
    published = publisher.Publisher(NOBODY, "producer", Pulse(None, threading.Event(), 0))
    published.entries = {"a": entry, "b": LedgerEntry(new_schemas={mark: 2, schemas.get("4.02").mark: 5})}
    published._count_new_schemas()
    samples = metrics.PRODUCER_NEW_SCHEMAS.collect()[0].samples
    assert [(sample.labels["schema"], sample.value) for sample in samples] == [(mark, 3)]


class Committed:
    """What takes the place of a publisher: it has everything at once."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}
        self.index = AlertIndex()

    def commit(self, key: str, records: object, rows: object, entry: LedgerEntry) -> None:
        self.entries[key] = entry


def test_what_is_dropped_under_the_name_of_an_exposure_that_moves_away_is_settled_too(tmp_path, monkeypatch):
    spool, pulse, committed = Spool(tmp_path), Pulse(None, threading.Event(), 0), Committed()
    one = Settlement(spool, Rules(), committed, Disk(tmp_path, pulse), pulse)
    ((name, made),) = simulate("20181129", 1, 4)
    drop(spool.incoming, name, made[:3])
    finish = spool.finish

    def finish_and_drop(*arguments):
        finish(*arguments)
        drop(spool.incoming, name, made)

    monkeypatch.setattr(spool, "finish", finish_and_drop)
    [first] = spool.pending()
    one.settle(first)
    [second] = spool.pending()
    assert not one.has(second)
    monkeypatch.undo()
    one.settle(second)
    assert committed.entries[name].read == 4
    assert spool.pending() == []


def test_an_exposure_that_cannot_be_moved_is_settled_once(tmp_path, monkeypatch):
    spool, pulse, committed = Spool(tmp_path), Pulse(None, threading.Event(), 0), Committed()
    one = Settlement(spool, Rules(), committed, Disk(tmp_path, pulse), pulse)
    ((name, made),) = simulate("20181129", 1, 2)
    drop(spool.incoming, name, made)
    monkeypatch.setattr(spool, "finish", lambda *_: None)
    [exposure] = spool.pending()
    assert not one.has(exposure)
    one.settle(exposure)
    assert one.has(exposure)


def test_a_beat_makes_the_heartbeat_young(tmp_path):
    file = tmp_path / "heartbeat"
    for _ in range(2):
        metrics.beat(file)
        assert time.time() - file.stat().st_mtime < 10
        os.utime(file, (0, 0))


@pytest.mark.parametrize(
    ("option", "value", "status"),
    [
        ("--first-night", "20181301", 1),
        ("--last-night", "tomorrow", 1),
        ("--metrics-port", "70000", 2),
        ("--new-schemas", "perhaps", 2),
    ],
)
def test_a_wrong_option_is_named(tmp_path, capsys, option, value, status):
    command = ["produce", "--spool", str(tmp_path), "--kafka", str(tmp_path / "none"), option, value]
    assert run(command) == status
    assert (value if status == 1 else option) in capsys.readouterr().err


@pytest.mark.parametrize(("night", "jd"), [("1990", 2447893.0), ("2000-01-01", 2451544.9), ("2050", 2469808.5)])
def test_an_alert_of_a_night_that_this_survey_does_not_have_is_refused(night, jd):
    rules = Rules()
    with pytest.raises(PacketError, match="night"):
        rules.check_night(rules.parse(packets.make_packet(jd=jd)))
    for allowed in (2458119.5, 2462502.5, 2466154.5):  # 2018, 2030, 2040
        rules.check_night(rules.parse(packets.make_packet(jd=allowed)))


def test_a_producer_that_hangs_ends_itself_and_says_where(tmp_path):
    # Nobody answers at this address, and the call waits longer than the watchdog does.
    script = (
        "import sys, pathlib; from zads.producer import Producer; from zads.sources.spool import Spool;"
        "Producer({'bootstrap.servers': '127.0.0.1:1', 'log_level': '0'}, Spool(pathlib.Path(sys.argv[1])),"
        " watchdog=1.0).run()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "the producer made no progress for 1 s" in ended.stderr
    assert "publisher.py" in ended.stderr, "the log says what it did"


def test_the_watchdog_is_more_patient_than_any_call():
    assert loop.HUNG_SECONDS > 4 * publisher.CALL_SECONDS
    unit = (ROOT / "roles/container_program/templates/container.service.j2").read_text()
    [unhealthy] = re.findall(r'-newermt "-([0-9]+) seconds"', unit)
    assert float(unhealthy) < loop.HUNG_SECONDS, "the log says first that it is unhealthy"


def test_simulate_fills_a_spool_as_a_pipeline_does(tmp_path, capsys):
    command = ["simulate", "--visits", "2", "--alerts", "3", "--spool", str(tmp_path)]
    assert run(command) == 0
    assert "6 packets in 2 exposures" in capsys.readouterr().out
    exposures = sorted((tmp_path / "incoming").iterdir())
    assert [len(list(exposure.iterdir())) for exposure in exposures] == [3, 3]
    assert run(command) == 1
    assert "exists" in capsys.readouterr().err
