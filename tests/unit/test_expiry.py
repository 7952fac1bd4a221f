"""Nothing ends unnoticed: what is kept, what daemons show, accounts, and passwords."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from zads import cli
from zads.commands import expiry as command
from zads.inventory import Inventory
from zads.site import certificates, expiry
from zads.site.ages import Limits
from zads.site.authority import Authority
from zads.site.certificates import Pair, fingerprint
from zads.site.expiry import Daemon, End
from zads.site.people import User

NOW = datetime.datetime(2031, 5, 1, 12, tzinfo=datetime.UTC)
LIMITS = Limits()


@pytest.mark.parametrize(
    ("ends", "problem", "says"),
    [
        (NOW + datetime.timedelta(days=30), "", ""),
        (NOW + datetime.timedelta(days=30, seconds=-1), "", "ends in 29 days"),
        (NOW - datetime.timedelta(seconds=1), "", "has ended 1 days ago"),
        (NOW + datetime.timedelta(days=99), "is another", "is another"),
        (None, "does not answer", "does not answer"),
    ],
)
def test_what_has_time_is_not_wrong(ends: datetime.datetime | None, problem: str, says: str) -> None:
    assert End("certificate", "one", ends, 30, problem).wrong(NOW) == says


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    directory = tmp_path / ".zads/here/secrets"
    Authority.make(directory / "public/kafka-ca", "ZADS public Kafka").save()
    issuer = Authority.load(directory / "public/kafka-ca")
    assert issuer is not None
    for name in ("public/one/kafka", "public/gone/kafka", "public/admin"):
        Pair.make(directory / name, name, names=["localhost"], issuer=issuer.issuer).save()
    return directory


def test_kept_certificates_are_those_of_hosts_that_are_there(secrets: Path) -> None:
    found = expiry.kept(secrets, ["one"], LIMITS)
    assert [(one.kind, one.name, one.act) for one in found] == [
        ("certificate", "public/admin", 30),
        ("authority", "public/kafka-ca", 365),
        ("certificate", "public/one/kafka", 30),
    ]  # fmt: skip
    authority = Authority.load(secrets / "public/kafka-ca")
    assert authority is not None
    authority.advance()
    named = [one.name for one in expiry.kept(secrets, ["one"], LIMITS) if one.kind == "authority"]
    assert named == ["public/kafka-ca", "public/kafka-ca (trusted, issues nothing)"]


@contextlib.contextmanager
def daemon(own: Path, *, demands: Path | None = None) -> Iterator[int]:
    """A port that shows a certificate, and may demand one. Yields its number."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.with_suffix(".crt"), own.with_suffix(".key"))
    if demands:
        context.load_verify_locations(demands)
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
                        encrypted.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


def test_a_daemon_is_asked_for_what_it_shows(secrets: Path) -> None:
    """Also one that lets in nobody without a certificate, as the ensembles and the listener for brokers do."""
    own = secrets / "public/one/kafka"
    pair = Pair.load(own)
    assert pair is not None
    for demands in (None, secrets / "public/kafka-ca.crt"):
        with daemon(own, demands=demands) as port:
            asked = [Daemon("one", "127.0.0.1", port)]
            (found,) = expiry.served(asked, LIMITS, expiry.fingerprints(secrets), 5)
            assert (found.kind, found.ends, found.problem) == ("served", pair.certificate.not_valid_after_utc, "")
            (other,) = expiry.served(asked, LIMITS, {"something else"}, 5)
            assert "another certificate than the control machine has" in other.problem
            assert expiry.served(asked, LIMITS, seconds=5)[0].problem == "", "who has no list cannot compare"


def test_daemons_that_are_silent_plain_or_away_do_not_hide_the_others(secrets: Path) -> None:
    with daemon(secrets / "public/one/kafka") as port, socket.create_server(("127.0.0.1", 0)) as silent:
        asked = [
            Daemon("silent", "127.0.0.1", silent.getsockname()[1]),
            Daemon("away", "127.0.0.1", 1),
            Daemon("one", "127.0.0.1", port),
        ]
        found = {one.name: one for one in expiry.served(asked, LIMITS, seconds=0.5)}
    assert found["one"].problem == ""
    for name in ("silent", "away"):
        assert found[name].problem.startswith("does not answer")
        assert found[name].wrong(NOW)


def test_an_account_ends_with_its_last_day_and_a_password_is_old_after_its_time(tmp_path: Path) -> None:
    day = NOW.date()
    (account,) = expiry.accounts(
        [User(name="alice", site="public", expires=day), User(name="bob", site="public")], LIMITS
    )
    assert (account.days(NOW), account.wrong(NOW)) == (0, "ends in 0 days"), "the whole of the last day is left"
    made = tmp_path / "made.json"
    assert expiry.passwords(made, LIMITS) == []
    made.write_text(json.dumps({"reader": str(day - datetime.timedelta(days=731))}))
    (password,) = expiry.passwords(made, LIMITS)
    assert password.wrong(NOW) == "has ended 2 days ago"
    assert expiry.passwords(made, Limits(password=0)) == []


@pytest.fixture
def deployed(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """An environment of one host, at which nobody listens."""
    policy = {
        "topics_night": {"partitions": 2, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}},
        "users": [{"name": "alice", "site": "public", "programmes": [1]}],
    }
    root = Path(__file__).resolve().parents[2]
    hosts = {"one": {**policy, "ansible_host": "127.0.0.1", "kafka_clients_port": 1, "kafka_brokers_port": 1}}
    inventory = Inventory("here", root, {"public_kafka": ["one"]}, hosts)
    monkeypatch.setattr(Inventory, "load", lambda *_: inventory)
    monkeypatch.setattr(Inventory, "state", secrets.parent)
    return inventory


def test_the_command_exits_1_if_somebody_has_to_act(
    deployed: Inventory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one.name for one in command.daemons(deployed)] == ["Kafka for clients on one", "Kafka for brokers on one"]
    assert cli.run(["expiry", "--offline"]) == 0
    assert "0 need somebody" in capsys.readouterr().out
    assert cli.run(["expiry"]) == 1
    assert "does not answer" in capsys.readouterr().out
    later = certificates.now() + datetime.timedelta(days=705)
    monkeypatch.setattr(certificates, "now", lambda: later)
    assert cli.run(["expiry", "--offline", "--json"]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["public/one/kafka"]["wrong"] == "ends in 24 days"
    assert found["public/kafka-ca"]["wrong"] == ""
    assert "public/gone/kafka" not in found
    deployed.hosts["one"]["certificates_renew_days"] = "soon"
    assert cli.run(["expiry"]) == 1
    assert "certificates_renew_days is 'soon'" in capsys.readouterr().err


def test_hosts_and_the_control_machine_know_a_certificate_by_the_same(
    secrets: Path, plugin: Callable[[str], ModuleType]
) -> None:
    pair = Pair.load(secrets / "public/admin")
    assert pair is not None
    text = (secrets / "public/admin.crt").read_text()
    assert plugin("module_utils/certificate_text.py").fingerprints(text) == [fingerprint(pair.certificate)]
