"""The auditor's mail, sent to a real relay in a thread: over TLS or not at all, and no secret in an error."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zads.auditor.mail import Mail, MailError, Settings
from zads.errors import ZadsError
from zads.site.certificates import Pair

PASSWORD = "a-password-of-the-relay"


class Relay:
    """Speaks as much SMTP as a client needs, for one connection after the other."""

    def __init__(self, directory: Path, *, implicit: bool = False, offers_tls: bool = True) -> None:
        authority = Pair.make(directory / "ca", "authority")
        server = Pair.make(directory / "relay", "localhost", names=["localhost"], issuer=authority)
        authority.save()
        server.save()
        self.authority = directory / "ca.crt"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(directory / "relay.crt", directory / "relay.key")
        self._implicit, self._offers = implicit, offers_tls
        self.refuses = ""
        self.lines: list[str] = []
        self.in_clear: list[str] = []
        self._listener = socket.create_server(("localhost", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)  # else an accept that waits would still take a connection
            self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
                with accepted as connection:
                    self._speak(
                        self._context.wrap_socket(connection, server_side=True) if self._implicit else connection
                    )
            except OSError:
                if self._listener.fileno() < 0:
                    return

    def _speak(self, connection: socket.socket) -> None:
        secure, body = self._implicit, False
        reader = connection.makefile("rb")
        connection.sendall(b"220 relay\r\n")
        while raw := reader.readline():
            line = raw.decode().strip("\r\n")
            (self.lines if secure else self.in_clear).append(line)
            verb = line.split(" ")[0].upper()
            if body:
                answer, body = ("250 queued", False) if line == "." else ("", True)
            elif verb == "EHLO":
                more = "250-STARTTLS\r\n" if self._offers and not secure else ""
                answer = f"250-relay\r\n{more}250 AUTH PLAIN"
            elif verb == "STARTTLS":
                connection.sendall(b"220 go on\r\n")
                connection, secure = self._context.wrap_socket(connection, server_side=True), True
                reader = connection.makefile("rb")
                continue
            elif verb == self.refuses:
                answer = f"535 no: {line}"
            else:
                answer, body = {
                    "DATA": ("354 go on", True),
                    "AUTH": ("235 welcome", False),
                    "QUIT": ("221 bye", False),
                }.get(verb, ("250 ok", False))
            if answer:
                connection.sendall(f"{answer}\r\n".encode())
            if verb == "QUIT" and not body:
                return


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    made = Relay(tmp_path)
    yield made
    made.close()


def settings(relay: Relay, **more: Any) -> Settings:
    known = {
        "relay": "localhost", "port": relay.port, "sender": "zads@example.org", "authority": str(relay.authority),
        "recipients": ("one@example.org", "two@example.org"), "user": "zads", "password": PASSWORD,
    }  # fmt: skip
    return Settings(**{**known, **more})


def test_a_line_is_sent_to_all_within_tls(relay: Relay) -> None:
    Mail("prod", settings(relay)).send("night 20300101: DIFFERS: \u202eone\nline")
    assert [line.split(" ")[0].upper() for line in relay.in_clear] == ["EHLO", "STARTTLS"]
    assert "Subject: ZADS prod: night 20300101: DIFFERS: \\u202eone\\nline" in relay.lines
    assert [line for line in relay.lines if line.lower().startswith("rcpt")] == [
        "rcpt TO:<one@example.org>", "rcpt TO:<two@example.org>"
    ]  # fmt: skip


def test_tls_may_begin_at_once(tmp_path: Path) -> None:
    relay = Relay(tmp_path, implicit=True)
    Mail("prod", settings(relay, tls="implicit", user="")).send("a line")
    assert relay.in_clear == []
    assert not [line for line in relay.lines if line.upper().startswith("AUTH")]
    relay.close()


def test_a_relay_without_tls_gets_nothing(tmp_path: Path) -> None:
    relay = Relay(tmp_path, offers_tls=False)
    with pytest.raises(MailError):
        Mail("prod", settings(relay)).send("a line")
    assert not [line for line in relay.in_clear if "MAIL" in line.upper() or "AUTH" in line.upper()]
    relay.close()


def test_a_relay_whose_certificate_is_anothers_gets_nothing(relay: Relay, tmp_path: Path) -> None:
    Pair.make(tmp_path / "other", "other").save()
    with pytest.raises(MailError, match="CERTIFICATE"):
        Mail("prod", settings(relay, authority=str(tmp_path / "other.crt"))).send("a line")
    assert relay.lines == []


def test_an_error_tells_no_password_even_if_the_relay_repeats_it(relay: Relay) -> None:
    relay.refuses = "AUTH"
    with pytest.raises(MailError) as error:
        Mail("prod", settings(relay)).send("a line")
    assert "535" in str(error.value)
    assert PASSWORD not in str(error.value)
    assert "AUTH" not in str(error.value)


def test_a_relay_that_is_away_is_an_error_in_words(relay: Relay) -> None:
    relay.close()
    with pytest.raises(MailError, match=f"localhost:{relay.port}: ConnectionRefused"):
        Mail("prod", settings(relay)).send("a line")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        (json.dumps({"relay": "mail.example.org", "password": PASSWORD}), "auditor_mail.sender"),
        (
            json.dumps({"relay": "m", "sender": "a@b\nBcc: x@y", "recipients": ["a@b"], "password": PASSWORD}),
            "auditor_mail.sender",
        ),
        (json.dumps({"relay": "m", "sender": "a@b", "recipients": ["a@b"], "passwort": PASSWORD}), "passwort"),
    ],
)
def test_wrong_settings_are_named_and_not_quoted(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mail.json"
    path.write_text(content)
    with pytest.raises(ZadsError, match=said) as error:
        Mail.read("prod", path)
    assert PASSWORD not in str(error.value)
