"""A bad filter costs the others nothing, and each of its failures names the alert."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from zads.filters import circuit as circuits
from zads.filters import process, sandbox, shared_memory, verdicts, wire
from zads.filters.circuit import Circuit
from zads.filters.owner import Spec
from zads.filters.sandbox import Sandbox
from zads.packet import Packet
from zads.sources.simulator import simulate

ALERTS = [data for _, members in simulate("20190101", 1, 12) for _, data in members]
RESTART_SECONDS = 5.0  # about one on an idle machine
GOOD = "return alert['candid'] > 0"


def write(directory: Path, name: str, body: str, fields: tuple[str, ...] = ("candid",)) -> Spec:
    path = directory / f"{name}.py"
    indented = "\n".join(f"        {line}" for line in body.splitlines())
    path.write_text(
        "import os\nfrom zads.filters import Filter\nKEPT = []\nclass Cut(Filter):\n"
        f"    'Doc.'\n    fields = {fields}\n    time_limit = 0.2\n    def accept(self, alert):\n{indented}\n"
    )
    return Spec(name, str(path))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("while True: pass", "0.2 s for one call"),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", ""),
        ("sum(range(10**13))", "could not be interrupted"),
        ("KEPT.append(bytearray(10**12))", "memory"),
        ("while True: KEPT.append(bytearray(10**7))", "memory"),
        ("while True: print('x' * 10**6)", "0.2 s for one call"),
        ("raise SystemExit(1)", "SystemExit"),
        ("os._exit(7)", "exit status 7"),
        ("os.kill(os.getppid(), 9)", "PermissionError"),
        ("os.fork()", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import threading; threading.Thread(target=print).start()", "RuntimeError"),
        ("open(__file__, 'a').write('x' * 100000)", "PermissionError"),
        ("return None", "returns True, False or a dict"),
        ("return {'a': object()}", "not JSON"),
        ("return {'a': 'x' * 5000}", "characters"),
        ("return alert['objectId']", 'add "objectId" to its fields'),
    ],
)
def test_a_bad_filter_is_charged_and_the_good_one_unharmed(body: str, reason: str, tmp_path: Path) -> None:
    specs = [write(tmp_path, "bad", body), write(tmp_path, "good", GOOD)]
    with Sandbox(specs) as running:
        begun = time.monotonic()
        verdicts, undecodable = running.run(ALERTS)
        took = time.monotonic() - begun
    assert took < circuits.FATAL_FAILURES * (process.BATCH_SECONDS + process.KILL_GRACE + RESTART_SECONDS)
    assert undecodable == {}
    assert sorted(verdicts["good"].passed) == list(range(len(ALERTS)))
    bad = verdicts["bad"]
    assert bad.passed == {}
    assert bad.failed
    assert reason in next(iter(bad.failed.values()))
    assert len(bad.failed) + bad.skipped == len(ALERTS)


def test_only_the_alert_that_fails_is_charged(tmp_path: Path) -> None:
    candid = Packet.trusted(ALERTS[3]).candid
    for body in (f"return 1 / (alert['candid'] - {candid}) != 0", f"return alert['candid'] != {candid} or os._exit(1)"):
        with Sandbox([write(tmp_path, "picky", body)]) as running:
            verdicts, _ = running.run(ALERTS)
        assert list(verdicts["picky"].failed) == [3]
        assert len(verdicts["picky"].passed) == len(ALERTS) - 1


def test_a_later_filters_death_loses_no_result_and_repeats_no_run(tmp_path: Path) -> None:
    told = "return {'process': os.getpid()}"
    specs = [write(tmp_path, "first", told), write(tmp_path, "dies", "os._exit(1)"), write(tmp_path, "last", told)]
    with Sandbox(specs) as running:
        verdicts, _ = running.run(ALERTS)
        assert running.restarts == circuits.FATAL_FAILURES
    assert len(verdicts["first"].passed) == len(verdicts["last"].passed) == len(ALERTS)
    (before,), (after,) = set(verdicts["first"].passed.values()), set(verdicts["last"].passed.values())
    assert before != after, "the first filter ran before the process died, and not again after"


def test_many_short_calls_are_not_a_hang_and_a_hang_among_them_is_found(tmp_path: Path) -> None:
    body = "import time\nKEPT.append(1)\ntime.sleep(0.1)\nreturn len(KEPT) < 16 or sum(range(10**13)) > 0"
    with Sandbox([write(tmp_path, "slow", body)]) as running:
        for _ in range(15):  # longer in all than a call's limit and the grace
            verdicts, _ = running.run(ALERTS[:1])
            assert verdicts["slow"].passed == {0: ""}
        assert running.restarts == 0
        verdicts, _ = running.run(ALERTS[:1])
        assert list(verdicts["slow"].failed) == [0]
        assert running.restarts == 1


def test_failures_in_a_row_are_counted_over_batches_until_a_success(tmp_path: Path) -> None:
    odd = "KEPT.append(1)\nreturn 1 / (len(KEPT) % 2) == 1"
    always = "return 1 / 0"
    with Sandbox([write(tmp_path, "odd", odd), write(tmp_path, "always", always)]) as running:
        half = circuits.FAILURES_IN_A_ROW - 3
        first, _ = running.run(ALERTS[:half])
        assert (running.circuits["always"].in_a_row, running.circuits["odd"].in_a_row) == (half, 0)
        second, _ = running.run(ALERTS)
        running.run(ALERTS * 2)
        assert (len(second["always"].failed), second["always"].skipped) == (3, len(ALERTS) - 3)
        assert running.circuits["odd"].state == "closed"
        assert len(first["odd"].failed) + len(second["odd"].failed) == (half + len(ALERTS)) // 2


def test_an_alert_that_a_filter_keeps_does_not_change(tmp_path: Path) -> None:
    body = (
        "KEPT.append(alert)\nfirst = KEPT[0]\n"
        "return {'first': first['candid'], 'late': len(first['prv_candidates'] or ()) if len(KEPT) > 1 else -1}"
    )
    spec = write(tmp_path, "keeps", body, fields=("candid", "prv_candidates.jd"))
    packets = [Packet.trusted(data) for data in ALERTS]
    with Sandbox([spec]) as running:
        running.run([ALERTS[0]])
        verdicts, _ = running.run([ALERTS[1]])
    history = packets[0].read(("prv_candidates",))["prv_candidates"] or ()
    other = packets[1].read(("prv_candidates",))["prv_candidates"] or ()
    assert len(history) != len(other)
    assert json.loads(verdicts["keeps"].passed[0]) == {"first": packets[0].candid, "late": len(history)}


def test_results_may_be_larger_than_the_shared_memory(tmp_path: Path) -> None:
    body = "KEPT.append(1)\nreturn {'a': 'x' * 4000, 'call': len(KEPT)}"
    specs = [write(tmp_path, f"wordy{number}", body) for number in range(10)]
    alerts = [min(ALERTS, key=len)] * 500
    assert len(specs) * len(alerts) * 4000 > shared_memory.RESULTS_BYTES
    with Sandbox(specs) as running:
        verdicts, _ = running.run(alerts)
    for spec in specs:
        calls = [json.loads(text)["call"] for text in verdicts[spec.name].passed.values()]
        assert calls == list(range(1, len(alerts) + 1)), "each alert once"


def test_a_result_is_visible_when_complete_and_refused_if_it_does_not_fit() -> None:
    words, area = memoryview(bytearray(shared_memory.PAGE)).cast("I"), memoryview(bytearray(100))
    results = shared_memory.Results(words, area)
    assert results.copy() == b"[]"
    assert results.add(wire.Result(1, 0, 0.5))
    assert not results.add(wire.Result(3, 0, 0.5, overrun="a" * 40))
    assert results.add(wire.Result(2, 0, 0.5))
    assert [result.filter for result in verdicts.results(results.copy())] == [1, 2]
    results.clear()
    assert results.copy() == b"[]"
    words[shared_memory.RESULTS] = 101
    with pytest.raises(wire.ProtocolError, match="101 bytes"):
        results.copy()


def test_filters_with_the_same_selection_share_columns(tmp_path: Path) -> None:
    path = tmp_path / "counts.py"
    path.write_text(
        "import numpy as np\nfrom zads.filters import Filter\nKEPT = []\nclass Counts(Filter):\n    'Doc.'\n"
        "    fields = ('candid',)\n    def accept_batch(self, alerts):\n"
        "        KEPT.append(column := alerts['candid'])\n"
        "        return np.ones(len(alerts), bool), {'candid': column, 'id': np.full(len(alerts), id(column))}\n"
    )
    names = ("a", "b", "c")
    even, odd = list(range(0, len(ALERTS), 2)), list(range(1, len(ALERTS), 2))
    with Sandbox([Spec(name, str(path)) for name in names]) as running:
        verdicts, _ = running.run(ALERTS, {"a": even, "b": even, "c": odd})
    told = {name: {index: json.loads(text) for index, text in verdicts[name].passed.items()} for name in names}
    candids = [Packet.trusted(data).candid for data in ALERTS]
    assert {index: one["candid"] for index, one in told["a"].items()} == {index: candids[index] for index in even}
    assert {index: one["candid"] for index, one in told["c"].items()} == {index: candids[index] for index in odd}
    assert told["a"] == told["b"], "the same column, made once"


def test_a_file_that_cannot_be_loaded_stops_no_other_filter(tmp_path: Path) -> None:
    broken, endless = tmp_path / "broken.py", tmp_path / "exits.py"
    broken.write_text("x = (\n")
    endless.write_text("import os\nos._exit(1)\n")
    with Sandbox([Spec("broken", str(broken)), Spec("exits", str(endless)), write(tmp_path, "good", GOOD)]) as running:
        verdicts, _ = running.run(ALERTS)
        assert "line 1" in running.circuits["broken"].why
        assert "exit status 1" in running.circuits["exits"].why
    assert len(verdicts["good"].passed) == len(ALERTS)
    assert verdicts["exits"].skipped == len(ALERTS)


def test_a_second_close_of_a_sandbox_closes_no_descriptor_of_others(tmp_path: Path) -> None:
    running = Sandbox([write(tmp_path, "good", GOOD)])
    running.close()
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]  # they get the numbers that the sandbox had
    running.close()
    for descriptor in opened:
        os.close(descriptor)  # raises if the second call has closed it


def test_bytes_that_are_not_a_packet_are_reported_and_the_rest_is_judged(tmp_path: Path) -> None:
    with Sandbox([write(tmp_path, "good", GOOD)]) as running:
        verdicts, undecodable = running.run([ALERTS[0], b"no packet", ALERTS[1]])
    assert list(undecodable) == [1]
    assert sorted(verdicts["good"].passed) == [0, 2]


def test_a_batch_larger_than_the_shared_memory_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "PACKETS_BYTES", 3 * max(map(len, ALERTS)))
    pieces = sandbox._pieces(ALERTS)
    assert len(pieces) >= 3
    assert [index for first, last in pieces for index in range(first, last)] == list(range(len(ALERTS)))


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_circuit_opens_rests_tries_and_closes() -> None:
    clock = Time()
    circuit = Circuit(clock)
    circuit.ran(circuits.FAILURES_IN_A_ROW - 1, "no")
    assert circuit.allows()
    circuit.ran(circuits.FAILURES_IN_A_ROW, "no")
    assert not circuit.allows()
    clock.now += circuits.REST_SECONDS
    assert circuit.allows()
    assert (circuit.state, circuit.stop_at) == ("half-open", 1)
    circuit.ran(1, "no")
    clock.now += circuits.REST_SECONDS
    assert not circuit.allows(), "it rests longer after a trial that failed"
    clock.now += circuits.REST_SECONDS
    assert circuit.allows()
    circuit.ran(0, "")
    assert circuit.state == "closed"


def test_rare_deaths_do_not_open_a_circuit_and_frequent_ones_do() -> None:
    clock = Time()
    circuit = Circuit(clock)
    for _ in range(10):
        circuit.fatal("died")
        clock.now += circuits.REST_SECONDS
    assert circuit.allows()
    for _ in range(circuits.FATAL_FAILURES):
        circuit.fatal("died")
    assert not circuit.allows()
