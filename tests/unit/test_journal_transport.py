"""Journals travel over TLS, from hosts with a certificate of the logs' own authority and from no others.

Systemd's own programs run here as the roles' units run them, on files in place of a host's journal.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
import yaml

from bench.broker import await_true
from zads.site.certificates import Pair
from zads.site.secrets import Authorities, Changes, Host

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path("/usr/lib/systemd")
REMOTE, UPLOAD = PROGRAMS / "systemd-journal-remote", PROGRAMS / "systemd-journal-upload"
needs_systemd = pytest.mark.skipif(
    not UPLOAD.exists() or not Path("/usr/bin/stunnel4").exists(),
    reason="not installed: apt-get install systemd-journal-remote stunnel4",
)
EVENT = '{"level": "warning", "event": "refused", "candid": "697251920115015007"}'


def render(role: str, **values: object) -> dict[str, object]:
    """The variables of a role, rendered."""
    defaults = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    known: dict[str, object] = {**defaults, **values}
    for name, value in yaml.safe_load((ROOT / f"roles/{role}/vars/main.yml").read_text()).items():
        if isinstance(value, dict):
            known[name] = {key: jinja2.Template(str(one)).render(known) for key, one in value.items()}
        else:
            known[name] = jinja2.Template(str(value)).render(known)
    return known


def unit(variables: object) -> str:
    """A unit's file."""
    assert isinstance(variables, dict)
    return jinja2.Template((ROOT / "roles/journal_access/templates/journal.service.j2").read_text()).render(variables)


def command(variables: object) -> str:
    """A unit's command line."""
    assert isinstance(variables, dict)
    return str(variables["command"])


def here(text: str, directory: Path) -> str:
    """A command line or a file with the paths of a test."""
    text = text.replace("\\\n", " ").replace("/etc/zads/journal", str(directory))
    text = text.replace("/var/log/journal/remote", str(directory / "remote"))
    return text.replace("/var/lib/zads-journal-upload", str(directory))


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    changes = Changes()
    authorities = Authorities(tmp_path / "secrets", changes, given=False, check=False, renew_days=30)
    authorities.logs([Host("collector", ["localhost"]), Host("sender", ["192.0.2.1"])])
    assert changes.problems == []
    assert sorted(changes.created) == ["logs/ca", "logs/collector/journal", "logs/sender/journal"]
    return tmp_path / "secrets" / "logs"


def place(directory: Path, secrets: Path, host: str) -> Path:
    directory.mkdir()
    (directory / "ca.crt").write_bytes((secrets / "ca.crt").read_bytes())
    for kind in ("crt", "key"):
        (directory / f"own.{kind}").write_bytes((secrets / host / f"journal.{kind}").read_bytes())
    return directory


def write(target: Path, monotonic: int, message: str) -> None:
    """Add an entry to a journal."""
    entry = (
        f"__REALTIME_TIMESTAMP=15434600000000{monotonic:02}\n__MONOTONIC_TIMESTAMP={monotonic}\n"
        "_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=sender\n_SYSTEMD_UNIT=zads-producer.service\n"
        f"PRIORITY=4\nMESSAGE={message}\n\n"
    )
    subprocess.run([REMOTE, f"--output={target}", "-"], input=entry, text=True, check=True, capture_output=True)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal with one entry."""
    (tmp_path / "source").mkdir()
    target = tmp_path / "source" / "sender.journal"
    write(target, 1, EVENT)
    return target


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def collector(secrets: Path, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A collector: its directory, and its port."""
    directory = place(tmp_path / "collector", secrets, "collector")
    (directory / "remote").mkdir()
    ports = free_port(), free_port()
    role = render(
        "journal_collector", journal_collector_address="127.0.0.1", journal_collector_port=ports[0],
        journal_collector_local_port=ports[1],
    )  # fmt: skip
    (directory / "stunnel.conf").write_text(here(str(role["_journal_collector_front"]), directory))
    commands = (
        here(command(role[name]), directory) for name in ("_journal_collector_unit", "_journal_collector_front_unit")
    )
    processes = [subprocess.Popen(one.split(), stderr=subprocess.DEVNULL) for one in commands]
    try:
        for port in ports[::-1]:
            await_true(lambda port=port: listens(port), f"port {port}", 60)  # type: ignore[misc]
        yield directory / "remote", ports[0]
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def send(directory: Path, journal: Path, port: int) -> int:
    role = render(
        "journal_upload", groups={"log_collectors": ["collector"]}, journal_upload_port=port,
        hostvars={"collector": {"ansible_host": "localhost"}},
    )  # fmt: skip
    line = here(command(role["_journal_upload_unit"]), directory)
    words = [*line.split(), f"--file={journal}", "--follow=no"]
    return subprocess.run(words, capture_output=True, timeout=120, check=False).returncode


def collected(directory: Path) -> str:
    command = ["journalctl", f"--directory={directory}", "--output=json", "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@needs_systemd
def test_entries_arrive_as_they_were_and_none_is_missing(
    collector: tuple[Path, int], journal: Path, secrets: Path, tmp_path: Path
) -> None:
    remote, port = collector
    sender = place(tmp_path / "sender", secrets, "sender")
    assert send(sender, journal, port) == 0
    write(journal, 2, "later")
    assert send(sender, journal, port) == 0  # it remembers how far it came
    found = [json.loads(line) for line in collected(remote).splitlines()]
    assert (found[0]["_HOSTNAME"], found[0]["PRIORITY"], found[0]["MESSAGE"]) == ("sender", "4", EVENT)
    # systemd 252 sends the last entry again when it begins again; `make logs` shows it once.
    assert [one["MESSAGE"] for one in found] in ([EVENT, "later"], [EVENT, EVENT, "later"])


@needs_systemd
def test_a_stranger_is_refused_and_a_stranger_is_told_nothing(
    collector: tuple[Path, int], journal: Path, secrets: Path, tmp_path: Path
) -> None:
    remote, port = collector
    sender = place(tmp_path / "sender", secrets, "sender")
    other = Pair.make(tmp_path / "other", "other")
    Pair.make(tmp_path / "stranger", "sender", names=["sender"], issuer=other).save()
    for kind in ("crt", "key"):
        (sender / f"own.{kind}").write_bytes((tmp_path / f"stranger.{kind}").read_bytes())
    assert send(sender, journal, port) != 0
    assert collected(remote) == ""
    # The other way round: a collector of another authority gets nothing.
    other.save()
    sender = place(tmp_path / "again", secrets, "sender")
    (sender / "ca.crt").write_bytes((tmp_path / "other.crt").read_bytes())
    assert send(sender, journal, port) != 0
    assert collected(remote) == ""


def test_units_run_as_a_user_without_rights_and_are_bounded() -> None:
    groups, hostvars = {"log_collectors": ["m"]}, {"m": {"ansible_host": "2001:db8::1"}}
    sender = render("journal_upload", groups=groups, hostvars=hostvars, journal_upload_port=19532)
    taker = render("journal_collector")
    units = [
        unit(sender["_journal_upload_unit"]), unit(taker["_journal_collector_unit"]),
        unit(taker["_journal_collector_front_unit"]),
    ]  # fmt: skip
    assert "--url=https://[2001:db8::1]:19532" in units[0]
    for one in units:
        assert "User=zads-journal\n" in one
        assert "CapabilityBoundingSet=\n" in one
        assert "ProtectSystem=strict\n" in one
        assert "{{" not in one
    assert "--vacuum-size=4G" in units[1]
    assert "--vacuum-time=30d" in units[1]
    assert "--listen-http=127.0.0.1:" in units[1]
    assert "requireCert = yes" in str(taker["_journal_collector_front"])
