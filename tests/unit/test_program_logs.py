"""What programs log: one line an event, a priority that the journal knows, no secret, whatever an event quotes."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import logs

PASSWORD = 'a"secret\\word'
BEGIN = "from zads import logs; logs.begin(); import structlog; log = structlog.get_logger('zads.test'); "


def said(code: str, **environment: str) -> list[str]:
    """The lines that a process writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.splitlines()


def events(code: str) -> list[dict[str, Any]]:
    """The events of a deployed program. Every line must be one, with its priority."""
    found = []
    for line in said(code, ZADS_LOG="journal"):
        match = re.fullmatch(r"<([0-7])>(\{.*\})", line)
        assert match, line
        event = json.loads(match[2])
        assert int(match[1]) == logs.PRIORITIES[event["level"]]
        found.append(event)
    return found


def test_levels_are_priorities_and_every_event_has_the_same_form() -> None:
    found = events(
        "[getattr(log, level)('x', night='20181129') for level in ('debug','info','warning','error','critical')]"
    )
    assert [one["level"] for one in found] == ["debug", "info", "warning", "error", "critical"]
    assert all(list(one) == ["level", "event", "night", "timestamp"] for one in found)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[0]["timestamp"])


def test_a_person_who_keeps_the_log_of_a_command_gets_no_priorities() -> None:
    [line] = said("log.warning('x')", ZADS_LOG="")
    assert json.loads(line)["event"] == "x"


def test_exceptions_warnings_and_what_other_packages_log_are_events_of_one_line() -> None:
    code = (
        "import logging, warnings, threading\n"
        "logging.getLogger('other').warning('two\\nlines')\n"
        "warnings.warn('old')\n"
        "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()\n"
        "try:\n    int('x')\nexcept ValueError:\n    log.exception('caught')\n"
        "raise RuntimeError('the\\nend')"
    )
    found = events(code)
    assert [one["level"] for one in found] == ["warning", "warning", "critical", "error", "critical"]
    assert found[0]["event"] == "two\nlines"
    assert "ZeroDivisionError" in found[2]["exception"]
    assert "Traceback" in found[3]["exception"]
    assert found[4]["event"] == "RuntimeError: the\nend"


def test_a_command_that_fails_says_so_in_the_same_form() -> None:
    found = events("from zads import cli; cli.run(['produce', '--spool', '/dev/null/x', '--kafka', '/nowhere'])")
    assert found[-1]["level"] == "critical"
    assert "/nowhere" in found[-1]["event"]


def test_a_program_that_hangs_says_where_in_one_line(tmp_path: Path) -> None:
    found = events("import time; from zads.watchdog import Watchdog; Watchdog('test', 0.1).beat(); time.sleep(30)")
    assert "made no progress" in found[-1]["event"]
    assert "File" in found[-1]["threads"]


def test_no_line_shows_a_clients_password(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(f"bootstrap.servers=a:1\nsasl.username=zads.test\nsasl.password={PASSWORD}\n")
    code = (
        f"from zads import kafka; conf = kafka.read_properties({str(file)!r}); log.info('x', conf=conf, key=[conf])\n"
        "log.info(f'it is {conf[\"sasl.password\"]!r}'); log.error('y', text='token=abc password: def')\n"
        "raise ValueError(conf)"
    )
    text = "\n".join(said(code, ZADS_LOG="journal"))
    assert "secret" not in text
    assert "abc" not in text
    assert "def" not in text
    assert len(events(code)) == 4


def test_a_kafka_client_without_brokers_says_so_in_events_and_not_all_the_time() -> None:
    code = (
        "import time; from zads import kafka; client = kafka.producer({'bootstrap.servers': '127.0.0.1:9'})\n"
        "until = time.monotonic() + 3\nwhile time.monotonic() < until: client.poll(0.1)"
    )
    found = events(code)
    assert found
    assert {one["logger"] for one in found} == {"zads.kafka-client"}
    assert len(found) <= 4


def test_what_was_left_out_is_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    handler = logs._Handler()
    for now in (0.0, 1.0, 2.0, 40.0):
        handler.handle(logging.makeLogRecord({"name": "n", "levelname": "ERROR", "msg": f"broken after {now} ms"}))
    for number in range(2 * logs._REMEMBERED):
        handler.handle(logging.makeLogRecord({"name": f"n{number:03}", "levelname": "ERROR", "msg": "x"}))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one.get("repeated") for one in lines[:2]] == [None, 2]
    assert len(handler._said) == logs._REMEMBERED


Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(min_size=1), Values, max_size=4))
def test_any_event_is_one_line_of_json(event: str, fields: dict[str, Any]) -> None:
    fields = {name: one for name, one in fields.items() if name not in ("level", "event", "timestamp")}
    text = logs._rendered(None, "warning", {"level": "warning", "event": event, **fields})
    assert text.isascii()
    assert text.isprintable()
    assert set(json.loads(text)) >= {"level", "event", "timestamp"}


def test_what_is_long_is_cut_and_a_candid_stays_exact() -> None:
    text = logs._rendered(None, "info", {"event": "x" * 10_000, "candid": 2**60 + 1, "reasons": ["y" * 10_000]})
    found = json.loads(text)
    assert found["candid"] == str(2**60 + 1)
    assert len(found["event"]) < logs.MOST + 50
    assert len(text) < 3 * logs.MOST
