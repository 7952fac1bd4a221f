"""`make logs`: merged in order of time, bounded, without secrets, and with every character visible."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import logs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import journals
from zads.errors import ZadsError
from zads.journals import Entry
from zads.secrecy import Secrets

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/unit_journals.py")


def entry(at: int, text: str, unit: str = "kafka.service") -> dict[str, Any]:
    return {"at": at, "unit": unit, "text": text}


def test_the_journals_of_hosts_are_merged_by_time_and_the_newest_lines_stay() -> None:
    answers = {"a": [entry(5, "e"), entry(1, "a")], "b": [entry(4, "d"), entry(2, "b")], "c": []}
    assert [one.text for one in journals.merged(answers, 9)] == ["a", "b", "d", "e"]
    assert [one.text for one in journals.merged(answers, 2)] == ["d", "e"]


def test_lines_of_one_moment_stay_in_their_hosts_order() -> None:
    answers = {host: [entry(5, f"{host}{number}") for number in (3, 2, 1)] for host in ("b", "a")}
    assert [one.text for one in journals.merged(answers, 4)] == ["a3", "b1", "b2", "b3"]


def test_a_line_shows_time_host_unit_and_every_character() -> None:
    moment = int(datetime.datetime(2026, 1, 2, 3, 4, 5, 678_901, datetime.UTC).timestamp() * 1e6)
    line = Entry(moment, "host", "zads-producer.service", "a\x1b[2Jb\nc\u202e").line()
    assert line == "2026-01-02T03:04:05.678Z host zads-producer a\\x1b[2Jb\\nc\\u202e"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kafka", "kafka.service"),
        ("zads-filters-*", "zads-filters-*.service"),
        ("zads-filters-moving@1.service", "zads-filters-moving@1.service"),
    ],
)
def test_a_unit_of_ours_may_be_named(text: str, found: str) -> None:
    assert journals.unit(text) == found


@pytest.mark.parametrize("text", ["ssh", "--all", "kafka;reboot", "", "zads-x y", "*"])
def test_any_other_unit_is_refused(text: str) -> None:
    with pytest.raises(ZadsError, match="not a unit of ours"):
        journals.unit(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10min", 600), ("10m", 600), ("2h", 7200), ("3d", 259200)])
def test_a_span_ends_now(text: str, seconds: int) -> None:
    assert journals.moment(text, NOW) == NOW - seconds


def test_a_time_is_in_utc_unless_it_says_otherwise() -> None:
    assert journals.moment("2018-11-29T04:00", NOW) == 1543464000
    assert journals.moment("2018-11-29T04:00+01:00", NOW) == 1543460400
    for text in ("", "yesterday", "-1h", "1w", "@5"):
        with pytest.raises(ZadsError, match="no time"):
            journals.moment(text, NOW)


KNOWN = Secrets({"hunter22": "<the password of anna>", 'a"b\\c:d=e': "<the password of bob>", "hunter22more": "<more>"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("login of anna with hunter22 fails", "login of anna with <the password of anna> fails"),
        ("xhunter22more", "x<more>"),
        ("json " + json.dumps('a"b\\c:d=e'), 'json "<the password of bob>"'),
        ('properties a"b\\\\c\\:d\\=e', "properties <the password of bob>"),
        ("sasl.password=somethingElse, next", "sasl.password=<hidden>, next"),
        ('{"token": "abc"}', '{"token": "<hidden>"}'),
        ("PASSWORD = x", "PASSWORD = <hidden>"),
        ("the password is wrong", "the password is wrong"),
        ("password=hunter22", "password=<the password of anna>"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert KNOWN.hide(text) == shown


def test_the_secrets_of_a_deployment_are_its_passwords_and_the_lines_of_its_keys(tmp_path: Path) -> None:
    line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
    key = tmp_path / "origin/admin.key"
    key.parent.mkdir()
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{line}\nshort\n-----END PRIVATE KEY-----\n")
    hidden = Secrets.of(tmp_path, {"anna": "hunter22", "tiny": "ab"})
    assert hidden.hide(f"reads {line} of hunter22 ab short") == (
        "reads <the key origin/admin.key> of <the password of anna> ab short"
    )
    assert Secrets.of(tmp_path / "none", {}).hide("nothing is known") == "nothing is known"


@given(st.text(), st.text(min_size=6))
def test_no_text_that_holds_a_secret_shows_it(around: str, secret: str) -> None:
    mark = "\N{BLACK SQUARE}"
    shown = Secrets({secret: mark}).hide(around + secret + around)
    assert secret not in shown.replace("<hidden>", mark) or mark in secret


def line(at: int, message: Any, **more: Any) -> bytes:
    return json.dumps({"__REALTIME_TIMESTAMP": str(at), "MESSAGE": message, **more}).encode() + b"\n"


def test_an_entry_is_read_whatever_form_its_message_has(module: ModuleType) -> None:
    assert module.entry(line(5, "text", _SYSTEMD_UNIT="kafka.service"), 99) == entry(5, "text")
    assert module.entry(line(5, "Started.", UNIT="kafka.service", _SYSTEMD_UNIT="init.scope"), 99) == entry(
        5, "Started."
    )
    assert module.entry(line(5, [27, 65, 255], _SYSTEMD_UNIT="kafka.service"), 99)["text"] == "\x1bA\\xff"
    assert module.entry(line(5, None), 99) == entry(5, "", "?")
    assert module.entry(line(5, "x" * 12), 10)["text"] == "x" * 10 + "... (12 characters)"
    for broken in (b"", b"{", b"[]", b"5", b'{"MESSAGE": "x"}', b'{"__REALTIME_TIMESTAMP": "x"}'):
        assert module.entry(broken, 99) is None


def test_reading_ends_at_the_bounds_and_says_so(module: ModuleType) -> None:
    lines = [line(number, f"text {number}") for number in range(10, 0, -1)]
    found, more = module.newest(iter(lines), None, 3, 10**6, 99)
    assert ([one["at"] for one in found], more) == ([10, 9, 8], True)
    assert module.newest(iter(lines), None, 10, 10**6, 99)[1] is False
    found, more = module.newest(iter(lines), re.compile("text 1"), 9, 10**6, 99)
    assert ([one["at"] for one in found], more) == ([10, 1], False)
    assert module.newest(iter(lines), None, 9, len(lines[0]) + 1, 99)[1] is True


def ask(tmp_path: Path, script: str, **options: Any) -> dict[str, Any]:
    """What the module answers where `journalctl` is a script."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible")), "localhost", "--one-line", "-m", "unit_journals", "-a",
            json.dumps({"units": ["kafka.service", "zads-*.service"], "since": 5, **options}), "-e",
            json.dumps({"ansible_become": False, "ansible_python_interpreter": sys.executable}),
        ],
        env={
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSIBLE_CACHE_PLUGIN": "memory",
            "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout.split(" => ", 1)[1])
    return answer


def test_the_module_reads_what_journalctl_says_and_ends_it_when_it_has_enough(tmp_path: Path) -> None:
    said = line(7, "said", UNIT="kafka.service").decode().strip()
    answer = ask(tmp_path, f"echo \"$@\" >{tmp_path}/asked; while :; do echo '{said}'; done", lines=3)
    assert [one["text"] for one in answer["entries"]] == ["said"] * 3
    assert answer["more"] is True
    assert abs(answer["clock"] - time.time()) < 30
    asked = (tmp_path / "asked").read_text()
    assert "--since=@5 --unit=kafka.service --unit=zads-*.service" in asked
    ask(tmp_path, f'echo "$@" >{tmp_path}/asked', until=9)
    assert "--since=@5 --until=@9 --unit" in (tmp_path / "asked").read_text()


def test_a_host_without_units_of_the_pattern_has_nothing_to_say(tmp_path: Path) -> None:
    said = ask(tmp_path, "echo 'Failed to add filter for units: No data available' >&2; exit 1")
    assert (said["entries"], said["more"]) == ([], False)


def test_the_module_says_why_journalctl_fails_and_which_pattern_is_none(tmp_path: Path) -> None:
    assert "journalctl fails: no journal" in ask(tmp_path, "echo no journal >&2; exit 1")["msg"]
    assert "'(' is no regular expression" in ask(tmp_path, "true", pattern="(")["msg"]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the hosts answer; under ``command``, what was run."""
    given: dict[str, Any] = {}

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        given["command"] = command
        asked = json.loads(command[command.index("-e") + 1])
        if "answers" in given:
            Path(asked["logs_to"]).write_text(json.dumps(given["answers"]))
        return subprocess.CompletedProcess(command, 4 if "answers" not in given else 0, stdout="it is broken\x1b[2J\n")

    monkeypatch.setattr(logs.subprocess, "run", run)
    monkeypatch.setattr(logs, "ROOT", tmp_path)
    secrets = tmp_path / ".zads/local/secrets"
    secrets.mkdir(parents=True)
    (secrets / "passwords.yml").write_text("anna: hunter22\n")
    return given


def answer(*entries: dict[str, Any], more: bool = False, clock: float | None = None) -> dict[str, Any]:
    return {"entries": list(entries), "more": more, "clock": time.time() if clock is None else clock}


def test_the_command_prints_the_merged_lines_without_secrets(answers: dict[str, Any], capsys: Any) -> None:
    answers["answers"] = {
        "a": answer(entry(2_000_000, "second hunter22\x07")),
        "b": answer(entry(1_000_000, "first", "zads-producer.service")),
    }
    assert logs.main(["local", "--host", "a,b", "--unit", "kafka", "--since", "1970-01-01"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "1970-01-01T00:00:01.000Z b zads-producer first",
        "1970-01-01T00:00:02.000Z a kafka second <the password of anna>\\x07",
    ]
    assert printed.err == ""
    asked = json.loads(answers["command"][answers["command"].index("-e") + 1])
    assert (asked["logs_units"], asked["logs_since"]) == (["kafka.service"], 0)
    assert "logs_until" not in asked, "a host whose clock is ahead shows its newest lines, too"
    assert answers["command"][-2:] == ["--limit", "a,b"]


def test_the_time_may_end_before_the_present(answers: dict[str, Any], capsys: Any) -> None:
    answers["answers"] = {"a": answer()}
    assert logs.main(["local", "--since", "1970-01-02", "--until", "1970-01-03"]) == 0
    assert capsys.readouterr() == ("", "logs: nothing was found; SINCE=1d looks further back\n")
    asked = json.loads(answers["command"][answers["command"].index("-e") + 1])
    assert (asked["logs_since"], asked["logs_until"]) == (86400, 2 * 86400)


def test_a_host_that_does_not_answer_is_named_and_the_others_are_shown(answers: dict[str, Any], capsys: Any) -> None:
    answers["answers"] = {
        "a": answer(entry(1, "line"), clock=time.time() - 60),
        "b": {"unreachable": True, "msg": "no route"},
    }
    assert logs.main(["local"]) == 1
    printed = capsys.readouterr()
    assert "line" in printed.out
    assert printed.err.splitlines() == [
        "logs: a: its clock differs, so its lines stand in the wrong place",
        "logs: b: no route",
    ]


def test_lines_that_are_left_out_are_mentioned(answers: dict[str, Any], capsys: Any) -> None:
    answers["answers"] = {"a": answer(entry(1, "one"), entry(2, "two"))}
    assert logs.main(["local", "--lines", "1"]) == 0
    printed = capsys.readouterr()
    assert "one" not in printed.out
    assert "these are the newest 1 lines" in printed.err


def test_a_playbook_that_fails_shows_why_without_moving_the_cursor(answers: dict[str, Any], capsys: Any) -> None:
    assert logs.main(["local"]) == 4
    assert capsys.readouterr().err == "it is broken\\x1b[2J\n"


@pytest.mark.parametrize(
    "words", [["--since", "soon"], ["--unit", "ssh"], ["--until", "2h"], ["--since", "9000-01-01"]]
)
def test_wrong_words_are_refused_before_anything_runs(answers: dict[str, Any], words: list[str]) -> None:
    assert logs.main(["local", *words]) == 2
    assert "command" not in answers


def test_a_number_of_lines_without_end_is_refused(answers: dict[str, Any]) -> None:
    with pytest.raises(SystemExit):
        logs.main(["local", "--lines", "0"])


def test_entries_that_a_collector_has_taken_name_their_own_host_and_are_shown_once(module: ModuleType) -> None:
    one = {"at": 5, "unit": "kafka.service", "text": "x", "host": "public-3"}
    entry = {"__REALTIME_TIMESTAMP": "5", "_HOSTNAME": "public-3", "MESSAGE": "x", "_SYSTEMD_UNIT": "kafka.service"}
    line = json.dumps(entry)
    assert module.entry(line.encode(), 100, with_host=True) == one
    assert "host" not in module.entry(line.encode(), 100)
    found = journals.merged({"monitor-1": [one, one, {**one, "host": "public-2"}]}, 10)
    assert [entry.host for entry in found] == ["public-2", "public-3"]
