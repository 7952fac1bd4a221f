"""One bad filter costs the others nothing, and its own failures are told with the alert."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from zads.filters import runtime
from zads.filters.runtime import Circuit, Group, Spec
from zads.sources.simulator import simulate

ALERTS = [data for _, members in simulate("20190101", 1, 12) for _, data in members]
RESTART_SECONDS = 5.0  # about one, on a machine that does nothing else
GOOD = "return alert['candid'] > 0"


def write(directory: Path, name: str, body: str) -> Spec:
    path = directory / f"{name}.py"
    indented = "\n".join(f"        {line}" for line in body.splitlines())
    path.write_text(
        "import os\nfrom zads.filters import Filter\nKEPT = []\nclass Cut(Filter):\n"
        f"    'Doc.'\n    fields = ('candid',)\n    time_limit = 0.2\n    def accept(self, alert):\n{indented}\n"
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
        ("open(__file__, 'a').write('x' * 100000)", "too large"),
        ("return None", "returns True, False or a dict"),
        ("return {'a': object()}", "not JSON"),
        ("return {'a': 'x' * 5000}", "characters"),
        ("return alert['objectId']", 'add "objectId" to its fields'),
    ],
)
def test_a_bad_filter_is_charged_and_the_good_one_unharmed(body: str, reason: str, tmp_path: Path) -> None:
    specs = [write(tmp_path, "bad", body), write(tmp_path, "good", GOOD)]
    with Group(specs) as group:
        begun = time.monotonic()
        verdicts, undecodable = group.run(ALERTS)
        took = time.monotonic() - begun
    assert took < runtime.FATAL_FAILURES * (runtime.BATCH_SECONDS + runtime.KILL_GRACE + RESTART_SECONDS)
    assert undecodable == {}
    assert sorted(verdicts["good"].passed) == list(range(len(ALERTS)))
    bad = verdicts["bad"]
    assert bad.passed == {}
    assert bad.failed
    assert reason in next(iter(bad.failed.values()))
    assert len(bad.failed) + bad.skipped == len(ALERTS)


def test_only_the_alert_that_fails_is_charged(tmp_path: Path) -> None:
    candid = bench_candid(3)
    for body in (f"return 1 / (alert['candid'] - {candid}) != 0", f"return alert['candid'] != {candid} or os._exit(1)"):
        with Group([write(tmp_path, "picky", body)]) as group:
            verdicts, _ = group.run(ALERTS)
        assert list(verdicts["picky"].failed) == [3]
        assert len(verdicts["picky"].passed) == len(ALERTS) - 1


def bench_candid(index: int) -> int:
    from zads.packet import Packet

    return Packet.trusted(ALERTS[index]).candid


def test_a_file_that_cannot_be_loaded_stops_only_itself(tmp_path: Path) -> None:
    broken, endless = tmp_path / "broken.py", tmp_path / "exits.py"
    broken.write_text("x = (\n")
    endless.write_text("import os\nos._exit(1)\n")
    with Group([Spec("broken", str(broken)), Spec("exits", str(endless)), write(tmp_path, "good", GOOD)]) as group:
        verdicts, _ = group.run(ALERTS)
        assert "line 1" in group.circuits["broken"].why
        assert "exit status 1" in group.circuits["exits"].why
    assert len(verdicts["good"].passed) == len(ALERTS)
    assert verdicts["exits"].skipped == len(ALERTS)


def test_bytes_that_are_no_packet_are_told_and_the_rest_is_judged(tmp_path: Path) -> None:
    with Group([write(tmp_path, "good", GOOD)]) as group:
        verdicts, undecodable = group.run([ALERTS[0], b"no packet", ALERTS[1]])
    assert list(undecodable) == [1]
    assert sorted(verdicts["good"].passed) == [0, 2]


def test_a_batch_larger_than_the_shared_memory_is_done_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.wire, "AREA_BYTES", 3 * max(map(len, ALERTS)))
    pieces = runtime._pieces(ALERTS)
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
    circuit.ran(runtime.FAILURES_IN_A_ROW - 1, "no")
    assert circuit.allows()
    circuit.ran(runtime.FAILURES_IN_A_ROW, "no")
    assert not circuit.allows()
    clock.now += runtime.REST_SECONDS
    assert circuit.allows()
    assert (circuit.state, circuit.stop_at) == ("half-open", 1)
    circuit.ran(1, "no")
    clock.now += runtime.REST_SECONDS
    assert not circuit.allows(), "it rests longer after a trial that failed"
    clock.now += runtime.REST_SECONDS
    assert circuit.allows()
    circuit.ran(0, "")
    assert circuit.state == "closed"


def test_rare_deaths_do_not_open_a_circuit_and_frequent_ones_do() -> None:
    clock = Time()
    circuit = Circuit(clock)
    for _ in range(10):
        circuit.fatal("died")
        clock.now += runtime.REST_SECONDS
    assert circuit.allows()
    for _ in range(runtime.FATAL_FAILURES):
        circuit.fatal("died")
    assert not circuit.allows()
