"""Reaching a site: each step that can fail does fail, with what to do; tried on real sockets and certificates."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from zads import cli, reach
from zads.commands import reach as command
from zads.reach import FAIL, OK, SKIP, Step
from zads.site import certificates
from zads.site.certificates import Pair, beside

SECONDS = 1.0


@contextlib.contextmanager
def listening(pair: Pair | None = None, says: bytes = b"") -> Iterator[int]:
    """A server at 127.0.0.1: with TLS if it has a certificate, else it says something, or nothing at all."""
    context = None
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(beside(pair.path, "crt"), beside(pair.path, "key"))

    def serve(listener: socket.socket) -> None:
        held = []
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                with contextlib.suppress(OSError):
                    if context is not None:
                        connection.settimeout(5)
                        held.append(context.wrap_socket(connection, server_side=True))
                    elif says:
                        connection.sendall(says)
        for one in held:
            one.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture
def authority(tmp_path: Path) -> Pair:
    return saved(Pair.make(tmp_path / "ca", "ZADS test"))


def saved(pair: Pair) -> Pair:
    pair.save()
    return pair


def leaf(authority: Pair, *names: str) -> Pair:
    return saved(Pair.make(authority.path.with_name("leaf"), "broker-1", names=names, issuer=authority))


def conf(authority: Pair, port: int, protocol: str = "sasl_ssl") -> dict[str, str]:
    return {
        "bootstrap.servers": f"127.0.0.1:{port}", "security.protocol": protocol,
        "ssl.ca.location": str(beside(authority.path, "crt")), "sasl.username": "anna",
    }  # fmt: skip


def steps(settings: dict[str, str]) -> list[Step]:
    return list(reach.tried(settings, "anna-check", SECONDS))


def failing(settings: dict[str, str]) -> Step:
    """The one step that fails; each before it has succeeded, and none after it is tried."""
    found = steps(settings)
    assert [one.state for one in found] == [OK] * (len(found) - 2) + [FAIL, SKIP]
    assert found[-2].remedy, "it says what to do"
    return found[-2]


def test_a_name_that_is_not_known_fails_at_the_name(authority: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    step = failing({**conf(authority, 1), "bootstrap.servers": "broker-1.example.org:9094"})
    assert (step.where, step.what) == ("broker-1.example.org:9094", "name")
    assert "DNS" in step.remedy


@pytest.mark.parametrize("address", ["broker-1", "broker-1:x", ":9094"])
def test_an_address_without_a_port_fails_at_the_name(authority: Pair, address: str) -> None:
    assert failing({**conf(authority, 1), "bootstrap.servers": address}).says == "this is no HOST:PORT"


def test_a_closed_port_fails_at_the_connection(authority: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    step = failing(conf(authority, port))
    assert (step.what, "nobody listens" in step.says) == ("connection", True)


def test_a_dropped_packet_fails_at_the_connection(authority: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def drops(*_: object, **__: object) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", drops)
    step = failing(conf(authority, 9))
    assert (step.what, "firewall" in step.remedy) == ("connection", True)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_does_not_speak_tls_fails_at_the_encryption(authority: Pair, says: bytes) -> None:
    with listening(says=says) as port:
        step = failing(conf(authority, port))
    assert step.what == "encryption"
    assert "does not answer with TLS" in step.says


def test_another_authority_fails_at_the_encryption(authority: Pair, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = saved(Pair.make(tmp_path / "other/ca", "ZADS test"))
    with listening(leaf(other, "127.0.0.1")) as port:
        step = failing(conf(authority, port))
    assert "not of the authority in ca.pem" in step.says
    assert "newest kit" in step.remedy


def test_another_name_fails_at_the_encryption_and_the_names_of_the_certificate_are_said(authority: Pair) -> None:
    with listening(leaf(authority, "broker-1.example.org", "192.0.2.1")) as port:
        step = failing(conf(authority, port))
    assert step.says == (
        "its certificate is not for 127.0.0.1, but of broker-1 (valid for broker-1.example.org, 192.0.2.1)"
    )


@pytest.mark.parametrize(("years", "says"), [(-3, "has ended"), (1, "is not valid yet")])
def test_the_dates_of_a_certificate_count(
    authority: Pair, monkeypatch: pytest.MonkeyPatch, years: int, says: str
) -> None:
    real = certificates.now
    monkeypatch.setattr(certificates, "now", lambda: real() + datetime.timedelta(days=365 * years))
    pair = leaf(authority, "127.0.0.1")
    with listening(pair) as port:
        step = failing(conf(authority, port))
    assert says in step.says
    assert "clock" in step.remedy


def test_a_missing_authority_fails_before_anything_is_sent(authority: Pair) -> None:
    with listening() as port:
        step = failing({**conf(authority, port), "ssl.ca.location": "/nowhere/ca.pem"})
    assert "cannot be used" in step.says


def test_who_speaks_tls_but_not_kafka_fails_at_the_login(authority: Pair) -> None:
    with listening(leaf(authority, "127.0.0.1", "broker-1")) as port:
        settings = {**conf(authority, port, "ssl")}
        del settings["sasl.username"]
        found = steps(settings)
    assert [one.what for one in found] == ["name", "connection", "encryption", "login", "metadata"]
    assert found[2].says.startswith("TLSv1.3, certificate of broker-1 (valid for 127.0.0.1, broker-1), until ")
    assert found[3].state == FAIL
    assert "no answer to the certificate" in found[3].says


def test_a_certificate_that_ends_soon_is_worth_a_word(authority: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = certificates.now
    monkeypatch.setattr(certificates, "now", lambda: real() - datetime.timedelta(days=365 * 2 - 5))
    with listening(leaf(authority, "127.0.0.1")) as port:
        step = steps(conf(authority, port, "ssl"))[2]
    assert (step.state, step.remedy) == (OK, "the operators should renew it now")


# What comes after the login, with a client that answers as the test says.


class Client:
    """An administration client and a consumer."""

    def __init__(self, topics: dict[str, int], brokers: list[int], **answers: Any) -> None:
        self.topics, self.brokers, self.answers = topics, brokers, answers
        self.asked: list[str] = []

    def __call__(self, settings: dict[str, Any]) -> Client:
        self.asked.append(settings.get("bootstrap.servers", ""))
        if error := self.answers.get("refuses"):
            settings["error_cb"](KafkaError(error, "it refuses"))
        return self

    def list_topics(self, timeout: float) -> Any:
        if "refuses" in self.answers:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        topics = {name: SimpleNamespace(partitions=range(count)) for name, count in self.topics.items()}
        brokers = {number: SimpleNamespace(host="127.0.0.1", port=number) for number in self.brokers}
        return SimpleNamespace(topics=topics, brokers=brokers)

    def poll(self, timeout: float) -> Any:
        return self.answers.get("message")

    def committed(self, places: list[Any], timeout: float) -> list[Any]:
        code = self.answers.get("group")
        return [SimpleNamespace(error=None if code is None else KafkaError(code, "denied"))]

    def get_watermark_offsets(self, place: Any, timeout: float) -> tuple[int, int]:
        if code := self.answers.get("topic"):
            raise KafkaException(KafkaError(code, "denied"))
        return self.answers.get("offsets", (0, 10))

    def assign(self, places: list[Any]) -> None:
        self.asked.append(f"{places[0].topic} {places[0].offset}")

    def close(self) -> None:
        self.asked.append("closed")


def message(code: int | None = None) -> Any:
    return SimpleNamespace(error=lambda: None if code is None else KafkaError(code), value=lambda: b"x" * 7)


@pytest.fixture
def port() -> Iterator[int]:
    with listening(says=b"x") as found:
        yield found


def with_client(client: Client, port: int, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    monkeypatch.setattr(reach, "AdminClient", client)
    monkeypatch.setattr(reach, "Consumer", client)
    return steps(
        {"bootstrap.servers": f"127.0.0.1:{port}", "security.protocol": "sasl_plaintext", "sasl.username": "anna"}
    )


NIGHT = "ztf_20300101_programid1"


def test_everything_works(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({"ztf_filter_x": 1, NIGHT: 2, "__internal": 1}, [port], message=message())
    found = with_client(client, port, monkeypatch)
    assert [one.state for one in found] == [OK] * 6
    assert found[2].says == "as anna"
    assert found[3].says == "1 brokers, 2 topics that this client may see"
    assert found[5].says == f"a record of 7 bytes of {NIGHT}"
    assert client.asked[-1] == "closed"


def test_a_refused_password_fails_at_the_login(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_client(Client({}, [], refuses=KafkaError._AUTHENTICATION), port, monkeypatch)
    assert (found[-2].what, found[-2].state) == ("login", FAIL)
    assert "the broker refuses anna" in found[-2].says
    assert "password" in found[-2].remedy


def test_an_advertised_address_that_is_not_reachable_is_named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    found = with_client(Client({NIGHT: 1}, [port, closed], message=message()), port, monkeypatch)
    failed = [one for one in found if one.state == FAIL]
    assert [(one.where, one.what) for one in failed] == [
        (f"127.0.0.1:{closed}", "connection"),
        (f"127.0.0.1:{closed}", "advertised"),
    ]
    assert found[-1].what == "read", "the other brokers are tried all the same"


def test_a_group_or_a_topic_that_is_not_granted_fails_there(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({NIGHT: 1}, [port], message=message(), group=KafkaError.GROUP_AUTHORIZATION_FAILED)
    assert [one.what for one in with_client(client, port, monkeypatch) if one.state == FAIL] == ["group"]
    client = Client({NIGHT: 1}, [port], topic=KafkaError.TOPIC_AUTHORIZATION_FAILED)
    [step] = [one for one in with_client(client, port, monkeypatch) if one.state == FAIL]
    assert (step.what, step.remedy) == ("read", "this client has no right to read it")


def test_without_topics_or_records_nothing_has_failed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_client(Client({}, [port]), port, monkeypatch)[-1].state == SKIP
    assert with_client(Client({NIGHT: 2}, [port], offsets=(5, 5)), port, monkeypatch)[-1].state == SKIP
    marks = Client({NIGHT: 2}, [port], message=message(KafkaError._PARTITION_EOF))
    assert with_client(marks, port, monkeypatch)[-1].state == SKIP, "marks of transactions alone"


def test_empty_partitions_that_take_too_long_are_no_failure(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_READ_SECONDS", -1)
    step = with_client(Client({NIGHT: 2}, [port], offsets=(5, 5)), port, monkeypatch)[-1]
    assert (step.state, step.says) == (SKIP, "no record in 0 partitions; the others were not tried")


def test_records_that_do_not_come_are_a_failure(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = with_client(Client({NIGHT: 1}, [port]), port, monkeypatch)[-1]
    assert (step.what, step.state) == ("read", FAIL)


# The command, and the kit's program.


def test_the_command_prints_each_step_and_fails_with_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.properties"
    file.write_text("bootstrap.servers=a:1\nsasl.username=anna\n")
    asked = []

    def tried(conf: dict[str, str], group: str, seconds: float) -> Iterator[Step]:
        asked.append((conf["bootstrap.servers"], group))
        yield Step("a:1", "name", OK, "192.0.2.1")
        yield Step("a:1", "login", FAIL, "refused\x1b[2J", "a new kit")

    monkeypatch.setattr(command.reach, "tried", tried)
    assert cli.run(["reach", "--kafka", str(file)]) == 1
    assert asked == [("a:1", "anna-reach")]
    assert capsys.readouterr().out.splitlines() == [
        f"as {file}",
        "ok   a:1 name: 192.0.2.1",
        "FAIL a:1 login: refused\\x1b[2J",
        "     what to do: a new kit",
    ]
    assert cli.run(["reach", "--kafka", str(file), "--json"]) == 1
    assert [step["state"] for step in json.loads(capsys.readouterr().out)] == [OK, FAIL]


def test_without_an_option_the_operators_try_both_sites_and_an_unknown_user_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = SimpleNamespace(client=lambda user: tmp_path / f"{user}.properties")
    monkeypatch.setattr(command.Inventory, "load", lambda env, root: inventory)
    assert [path.stem for path in command._files("local", None, None)] == ["admin-origin", "admin-public"]
    assert [path.stem for path in command._files("local", "public", None)] == ["admin-public"]
    (tmp_path / "anna.properties").touch()
    assert [path.stem for path in command._files("local", None, "anna")] == ["anna"]
    with pytest.raises(Exception, match="there are anna"):
        command._files("local", None, "bob")


def test_the_module_stands_alone_as_in_a_kit(tmp_path: Path) -> None:
    """In a kit it lies beside programs whose Python may be older, and this package is not installed there."""
    (tmp_path / "reach.py").write_bytes(Path(reach.__file__).read_bytes())
    script = "import sys; sys.modules['zads'] = None; import reach; print(reach.SECONDS)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{reach.SECONDS}\n"), done.stderr
